from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.drivers.gpio.pin import Pin
from labnode.errors import ConfigError

Write = Callable[[str], Path]

DEVICES = """devices:
  heater: {driver: relay, pin: GPIO17}
  fan: {driver: pwm_output, pin: 18}
  door: {driver: button, pin: 27}
  spy: {driver: led, pin: 22, access: system}
"""


def problems(path: Path) -> list[str]:
    """What is wrong, with the lines as in "x.yaml:3: ..."."""
    with pytest.raises(ConfigError) as raised:
        load_board(path)
    prefix = f"{path.parent}/"
    return [str(problem).removeprefix(prefix) for problem in raised.value.problems]


def test_a_small_file_has_all_defaults(write: Write) -> None:
    board = load_board(write("devices: {led: {driver: led, pin: 4}}"))
    assert (board.title.pick(), board.lab.name, board.lab.category) == ("x", "x", "Labs")
    session = board.session
    assert (session.users, session.max_time, session.connect_timeout) == (1, 3600, 60)
    assert (session.timeout, session.poll_interval, session.start_wait) == (15, 5, 60)
    assert (session.dispose_wait, session.on_restart) == (20, "resume")
    assert (board.page, board.module, board.simulate) == (None, None, {})
    assert list(board.devices) == ["led"]


def test_all_of_a_file_is_read(write: Write, tmp_path: Path) -> None:
    (tmp_path / "lab.py").touch()
    board = load_board(
        write(
            DEVICES + "title: {en: Oven, es: Horno}\n"
            "lab: {name: oven, category: Control}\n"
            "session: {users: 2, max_time: 10m, timeout: -1, on_restart: dispose}\n"
            "simulate: {door: not heater}\n"
            "page: [[fan, heater], [door]]\n"
            "module: lab.py\n"
        )
    )
    assert (board.title.pick("es"), board.lab.name, board.lab.category) == (
        "Horno", "oven", "Control",
    )  # fmt: skip
    session = board.session
    assert (session.users, session.max_time, session.timeout) == (2, 600, -1)
    assert session.on_restart == "dispose"
    assert board.simulate["door"].value.names == {"heater"}
    assert board.page == (("fan", "heater"), ("door",))
    assert board.module == tmp_path / "lab.py"
    assert board.devices["fan"].claims() == [Pin(18).claim]


def test_students_see_the_page_first_then_the_rest_but_never_what_is_not_theirs(
    write: Write,
) -> None:
    board = load_board(write(DEVICES + "page: [[door, fan]]\n"))
    assert board.on_page() == ["door", "fan", "heater"]


def test_a_file_without_a_schema_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(DEVICES)
    assert problems(path) == [
        "x.yaml:1: missing key 'schema'; a board file begins with 'schema: 1'"
    ]


@pytest.mark.parametrize("version", ["2", "true", "'1'"])
def test_another_schema_is_told_so(tmp_path: Path, version: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"schema: {version}\n{DEVICES}")
    (problem,) = problems(path)
    assert problem.startswith("x.yaml:1: this labnode reads board files of 'schema: 1', not ")


def test_a_file_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    assert problems(tmp_path / "no.yaml") == ["no.yaml: there is no such file"]


def test_an_empty_file_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.touch()
    (problem,) = problems(path)
    assert problem.startswith("x.yaml:1: expected a mapping with ")


def test_a_pin_that_two_devices_use_names_both_with_their_lines(write: Write) -> None:
    path = write(
        "devices:\n  heater: {driver: relay, pin: 17}\n  fan: {driver: led, pin: BOARD11}\n"
    )
    assert problems(path) == [
        "x.yaml:4: 'fan' uses pin GPIO17, which 'heater' (line 3) already uses"
    ]


def test_a_device_problem_names_the_device_and_a_close_match(write: Write) -> None:
    path = write("devices:\n  heater: {driver: relay, pim: 17}\n")
    assert "x.yaml:3: unknown key 'pim' in device 'heater'; did you mean 'pin'?" in problems(path)


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("a: {driver: ledd, pin: 4}", "no driver 'ledd' for device 'a'; did you mean 'led'?"),
        ("a: {driver: zzz, pin: 17}", "no driver 'zzz' for device 'a'; the drivers are "),
        ("a: {driver: 5, pin: 17}", "there is no driver '5' for device 'a'; the drivers are"),
        ("a: {pin: 17}", "missing key 'driver' in device 'a'"),
        ("a: led", "device 'a': expected its options, such as {driver: led, pin: GPIO17}, not the"),
        ("a:", "device 'a': expected its options, such as {driver: led, pin: GPIO17}, not nothing"),
        ("a: {driver: led, pin: BOARD6}", "'pin' in device 'a': BOARD6 is GND, not a GPIO pin"),
        ("a: {driver: button, pin: 3, pull_up: false}", "device 'a': GPIO3 has a resistor"),
        ("2a: {driver: led, pin: 17}", "'2a' cannot be the name of a device: it is a letter"),
        ("and: {driver: led, pin: 17}", "'and' cannot be the name of a device: it means something"),
        ("class: {driver: led, pin: 17}", "'class' cannot be the name of a device: it means"),
    ],
)  # fmt: skip
def test_a_device_that_cannot_be_is_told_so(write: Write, device: str, sentence: str) -> None:
    (problem,) = problems(write(f"devices:\n  {device}\n"))
    assert problem.startswith("x.yaml:3: ")
    assert sentence in problem


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("simulate: {dor: heater}", "there is no device 'dor'; did you mean 'door'?"),
        ("simulate: {fan: heater}", "'fan' cannot be simulated: a pwm_output is no input"),
        ("simulate: {door: heater >}", "the expression 'heater >' for 'door', at character 9: exp"),
        ("simulate: {door: hetaer}", "at character 1: there is no device 'hetaer'; did you mean"),
        ("simulate: {door: [heater]}", "expected an expression for 'door', not a list"),
        ("simulate: {door: not door}", "the links go in a circle: door -> door"),
        ("page: [[door], [fann]]", "there is no device 'fann'; did you mean 'fan'?"),
        ("page: [[door, door]]", "'door' is on the page twice"),
        ("page: [[spy]]", "'spy' has access: system, so no page"),
        ("page: [[3]]", "expected the name of a device, or {text: ...}, {plot: [...]} or {task"),
        ("page: [door]", "a row of the page is a list, even of one device"),
        ("module: nothing.py", "there is no file "),
        ("module: ../x.py", "expected a Python file beside the board or below it, not '../x.py'"),
        ("module: /etc/x.py", "expected a Python file beside the board or below it"),
        ("module: notes.txt", "expected a Python file beside the board or below it"),
        ("module: [x.py]", "expected a Python file beside the board, not a list"),
        ("session: {users: 0}", "'session.users': expected a number of at least 1, not 0"),
        ("session: {timeout: -2}", "'session.timeout': expected -1 or a duration such as 5"),
        ("session: {max_time: 0}", "'session.max_time': expected a number of at least 1"),
        ("session: {on_restart: x}", "'session.on_restart': expected resume or dispose"),
        ("lab: {name: a@b}", "a lab's name or category has no '@'"),
        ("titel: x", "unknown key 'titel'; did you mean 'title'?"),
    ],
)
def test_a_key_that_cannot_be_is_told_so(write: Write, key: str, sentence: str) -> None:
    (problem,) = problems(write(f"{DEVICES}{key}\n"))
    assert problem.startswith("x.yaml:7: ")
    assert sentence in problem


def test_links_in_a_circle_over_several_inputs_name_all_of_it(write: Write) -> None:
    path = write(
        "devices:\n"
        "  a: {driver: button, pin: 4}\n  b: {driver: button, pin: 5}\n"
        "  c: {driver: button, pin: 6}\n"
        "simulate: {a: b, b: not c, c: b or a}\n"
    )
    assert problems(path) == ["x.yaml:6: the links go in a circle: a -> b -> c -> a"]


def test_a_link_may_be_a_constant(write: Write) -> None:
    board = load_board(write(DEVICES + "simulate: {door: on}\n"))
    assert board.simulate["door"].value.text == "true"


def test_everything_wrong_is_told_at_once_in_the_order_of_the_lines(write: Write) -> None:
    path = write(
        "devices:\n"
        "  a: {driver: ledd, pin: 1}\n"
        "  b: {driver: led, pin: 99}\n"
        "  c: {driver: led, pin: 4}\n"
        "  d: {driver: led, pin: 4}\n"
        "simulate: {b: a}\n"
        "page: [[z]]\n"
        "session: {users: x}\n"
        "module: no.py\n"
    )
    assert [problem.split(":")[1] for problem in problems(path)] == ["3", "4", "6", "8", "9", "10"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("mcp3228", None),
        ("mcp3108", None),
        ("ds18s20", None),
        ("bmp280", None),
        ("ads1015", None),
        ("mcp23s17_output_bank", None),
        ("MCP3208", "mcp3208"),
        ("ads-1115", "ads1115"),
        ("mcp23017_outputs_bank", "mcp23017_output_bank"),
        ("relais", "relay"),
    ],
)
def test_a_misspelt_driver_never_means_another_chip(
    tmp_path: Path, given: str, meant: str | None
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"schema: 1\ndevices: {{part: {{driver: {given}}}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_board(path)
    (problem,) = caught.value.problems
    expected = "; the drivers are ads1115, " if meant is None else f"; did you mean '{meant}'?"
    sentence = str(problem).partition("for device 'part'")[2]
    assert sentence.startswith(expected)
    kernel = "; a chip that Linux has a driver of its own for is an 'iio'"
    assert sentence.endswith(kernel) == (meant is None)
