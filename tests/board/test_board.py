from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.clock import ManualClock
from labnode.drivers.gpio import factories
from labnode.errors import BadInput, DeviceError, NotFound
from tests.kit.wiring import lone_board

Make = Callable[..., Any]

PLAIN = """
devices:
  heater: {driver: relay, pin: 17, active_high: false, label: {en: Heater, es: Calefactor}}
  fan: {driver: pwm_output, pin: 18, safe: 1.0, unit: "%", group: Air, min: 0.2}
  door: {driver: button, pin: 27}
  front_lamp: {driver: led, pin: 22, confirm: {en: "Sure?", es: "¿Seguro?"}}
  spy: {driver: led, pin: 23, access: system}
page: [[door], [fan, heater]]
"""
FAULTY = """
devices:
  one: {{driver: faulty, broken: "{one}"}}
  two: {{driver: faulty, broken: "{two}"}}
  led: {{driver: led, pin: 17, safe: true}}
  three: {{driver: faulty, broken: "{three}"}}
"""


def faulty(one: str = "", two: str = "", three: str = "") -> str:
    return FAULTY.format(one=one, two=two, three=three)


def test_opening_brings_every_output_to_its_safe_level_and_tells_the_values(rig: Make) -> None:
    plain = rig(PLAIN)
    assert set(plain.values().values()) == {None}
    plain.board.open()
    assert (plain.level("GPIO17"), plain.level("GPIO18")) == (1, 1)
    assert plain.values() == {
        "heater": False, "fan": 1.0, "door": False, "front_lamp": False, "spy": False,
    }  # fmt: skip
    assert ("fan", 1.0) in plain.news()


def test_devices_open_in_the_order_of_the_file_and_close_in_the_reverse(
    rig: Make, log: list[str]
) -> None:
    board = rig(faulty()).board
    board.open()
    board.close()
    board.close()
    names = ["one.open", "two.open", "three.open", "three.close", "two.close", "one.close"]
    assert log == names


def test_when_one_does_not_open_all_are_closed_safe_and_the_error_names_it(
    rig: Make, log: list[str]
) -> None:
    rig = rig(faulty(three="open"))
    with pytest.raises(DeviceError, match="'three' did not open: no open"):
        rig.board.open()
    assert log[-3:] == ["three.close", "two.close", "one.close"]
    assert (rig.board.pins.pin("GPIO17").function, rig.level("GPIO17")) == ("output", 1)
    assert factories.pins_in_use(rig.board.pins) == []


def test_what_does_not_close_after_a_failed_open_is_told_too(rig: Make, log: list[str]) -> None:
    board = rig(faulty(one="close", two="open close")).board
    with pytest.raises(DeviceError) as raised:
        board.open()
    assert raised.value.message == (
        "'two' did not open: no open; 'two' did not close: no close; 'one' did not close: no close"
    )


def test_a_board_whose_values_cannot_be_settled_is_closed_again(
    rig: Make, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = rig(faulty())

    def fail() -> None:
        raise ValueError("a lamp cannot show 1e999")

    monkeypatch.setattr(rig.board.simulation, "restart", fail)
    with pytest.raises(ValueError, match="cannot show"):
        rig.board.open()
    assert log[-3:] == ["three.close", "two.close", "one.close"]
    monkeypatch.undo()
    rig.board.open()


def test_a_board_that_failed_to_open_can_be_opened_later(rig: Make, log: list[str]) -> None:
    board = rig(faulty(two="open")).board
    with pytest.raises(DeviceError):
        board.open()
    board.file.devices["two"].broken = ""
    board.open()
    assert board.snapshot["led"] == {"value": True}


def test_a_board_that_is_open_is_not_opened_again(rig: Make) -> None:
    board = rig(PLAIN).board
    board.open()
    with pytest.raises(DeviceError, match="open already"):
        board.open()


def test_a_reset_reaches_every_device_and_names_all_that_failed(rig: Make, log: list[str]) -> None:
    rig = rig(faulty(one="reset", three="reset"))
    rig.board.open()
    rig.board.command("led", "off")
    with pytest.raises(DeviceError) as raised:
        rig.board.reset()
    assert raised.value.message == "'one' did not reset: no reset; 'three' did not reset: no reset"
    assert "two.reset" in log
    assert rig.values()["led"] is True


def test_a_close_reaches_every_device_and_names_all_that_failed(rig: Make, log: list[str]) -> None:
    rig = rig(faulty(two="close"))
    rig.board.open()
    rig.board.command("led", "off")
    with pytest.raises(DeviceError, match=r"^'two' did not close: no close$"):
        rig.board.close()
    assert log[-3:] == ["three.close", "two.close", "one.close"]
    assert rig.level("GPIO17") == 1
    rig.board.close()


def test_after_closing_outputs_stay_driven_and_nothing_is_to_be_seen(rig: Make) -> None:
    rig = rig(PLAIN)
    rig.board.open()
    rig.board.command("heater", "on")
    rig.board.command("fan", "set", [0.3])
    rig.board.close()
    assert (rig.level("GPIO17"), rig.level("GPIO18")) == (1, 1)
    assert rig.board.pins.pin("GPIO18").function == "output"
    assert set(rig.values().values()) == {None}


def test_make_safe_works_from_another_thread_and_says_what_failed(
    rig: Make, log: list[str]
) -> None:
    rig = rig(faulty(two="make_safe"))
    rig.board.open()
    rig.board.command("led", "off")
    rig.news()
    failures: list[str] = []
    thread = threading.Thread(target=lambda: failures.extend(rig.board.make_safe()))
    thread.start()
    thread.join(10)
    assert failures == ["'two' did not make safe: no make_safe"]
    assert {"one.make_safe", "three.make_safe"} <= set(log)
    assert rig.level("GPIO17") == 1
    assert rig.news() == []
    rig.serve()
    assert rig.news() == [("led", True)]


@pytest.mark.parametrize("step", ["open", "make_safe", "reset", "close"])
def test_a_driver_that_exits_keeps_no_other_from_being_safe(
    rig: Make, log: list[str], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    rig = rig(faulty())
    one, three = rig.board.file.devices["one"], rig.board.file.devices["three"]
    monkeypatch.setattr(three, step, lambda: sys.exit("bye"))
    if step == "open":
        with pytest.raises(DeviceError, match="'three' did not open: bye"):
            rig.board.open()
        assert log[-2:] == ["two.close", "one.close"]
        return
    monkeypatch.setattr(one, step, lambda: sys.exit("bye"))
    rig.board.open()
    rig.board.command("led", "off")
    with suppress(DeviceError):
        getattr(rig.board, step)()
    assert f"two.{step}" in log
    assert rig.level("GPIO17") == 1


def test_an_emergency_while_the_board_is_closed_reaches_what_is_still_open(
    rig: Make, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = rig(faulty())
    rig.board.open()
    rig.board.command("led", "off")
    levels = []

    def slowly() -> None:
        assert rig.board.halt("smoke") == []
        levels.append(rig.level("GPIO17"))

    monkeypatch.setattr(rig.board.file.devices["three"], "close", slowly)
    rig.board.close()
    assert levels == [1]
    assert "one.make_safe" in log
    log.clear()
    assert rig.board.make_safe() == []
    assert log == []


def test_a_command_that_was_half_way_at_an_emergency_is_undone_although_that_has_ended(
    rig: Make,
) -> None:
    rig = rig(PLAIN)
    rig.board.open()
    heater = rig.board.file.devices["heater"]
    rig.board.halt("smoke")
    heater.drive(True)  # by the hardware thread, which looked before the emergency
    rig.board.resume()
    rig.serve()
    assert rig.values()["heater"] is False
    assert rig.level("GPIO17") == 1


def test_make_safe_never_raises_even_when_nobody_takes_the_news(rig: Make) -> None:
    rig = rig(PLAIN)
    assert rig.board.make_safe() == []
    rig.board.open()

    def refuse(_: object) -> None:
        raise RuntimeError("stopped")

    rig.post = refuse
    assert rig.board.make_safe() == []


def test_a_command_returns_its_result_and_tells_the_new_value(rig: Make, log: list[str]) -> None:
    rig = rig(faulty())
    rig.board.open()
    rig.news()
    assert rig.board.command("one", "set", {"value": 4}) == 8
    assert rig.news() == [("one", 4)]
    assert rig.board.command("one", "set", [4]) == 8
    assert rig.news() == []


def test_a_command_that_fails_is_a_device_error_with_its_name(rig: Make, log: list[str]) -> None:
    rig = rig(faulty(one="set"))
    rig.board.open()
    with pytest.raises(DeviceError, match=r"^one\.set: no set$"):
        rig.board.command("one", "set", [4])


def test_what_does_not_exist_is_not_found_with_a_close_match(rig: Make) -> None:
    board = rig(PLAIN).board
    with pytest.raises(NotFound, match=r"there is no device 'heatr'; did you mean 'heater'?"):
        board.command("heatr", "on")
    with pytest.raises(NotFound, match=r"'heater' has no command 'togle'; did you mean 'toggle'?"):
        board.command("heater", "togle")
    with pytest.raises(NotFound, match="'heater' has no command 'zzz'; it has set, on, off, tog"):
        board.command("heater", "zzz")
    with pytest.raises(NotFound, match=r"^'door' has no command 'on'$"):
        board.command("door", "on")
    with pytest.raises(NotFound, match="'heater' has no command 'close'"):
        board.command("heater", "close")


def test_arguments_are_checked_before_the_device_is_touched(rig: Make) -> None:
    rig = rig(PLAIN)
    rig.board.open()
    with pytest.raises(BadInput, match=r"heater\.set: 'value' must be true or false, not the nu"):
        rig.board.command("heater", "set", [1])
    with pytest.raises(BadInput, match=r"fan\.set: 'value' must be a number from 0\.2 to 1, not 7"):
        rig.board.command("fan", "set", {"value": 7})
    assert rig.values()["heater"] is False


def test_a_command_on_a_closed_board_is_a_device_error(rig: Make) -> None:
    with pytest.raises(DeviceError, match="'heater' is not open"):
        rig(PLAIN).board.command("heater", "on")


def test_an_edge_on_an_input_is_told_when_the_hardware_thread_takes_it(rig: Make) -> None:
    rig = rig(PLAIN)
    rig.board.open()
    rig.news()
    rig.board.pins.pin("GPIO27").drive_low()
    assert rig.news() == []
    rig.serve()
    assert rig.news() == [("door", True)]


def test_an_edge_that_is_taken_after_closing_changes_nothing(rig: Make) -> None:
    rig = rig(PLAIN)
    rig.board.open()
    rig.board.pins.pin("GPIO27").drive_low()
    rig.board.close()
    rig.serve()
    assert rig.values()["door"] is None


def test_a_snapshot_that_somebody_holds_does_not_change(rig: Make) -> None:
    rig = rig(PLAIN)
    rig.board.open()
    before = rig.board.snapshot
    rig.board.command("heater", "on")
    assert (before["heater"], rig.board.snapshot["heater"]) == ({"value": False}, {"value": True})
    with pytest.raises(TypeError):
        before["heater"] = {}


def test_devices_are_polled_when_they_are_due(rig: Make, log: list[str]) -> None:
    rig = rig(faulty())
    assert rig.board.poll() is None
    rig.board.open()
    log.clear()
    assert rig.board.poll() == 10
    assert log == ["one.poll", "two.poll", "three.poll"]
    rig.clock.advance(4)
    assert rig.board.poll() == 6
    assert len(log) == 3
    rig.clock.advance(100)
    assert rig.board.poll() == 10
    assert len(log) == 6
    rig.board.close()
    assert rig.board.poll() is None


def test_a_board_that_polls_nothing_says_so(rig: Make) -> None:
    board = rig(PLAIN).board
    board.open()
    assert board.poll() is None


def test_a_device_that_cannot_be_polled_has_no_value_until_it_can(
    rig: Make, log: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    rig = rig(faulty(one="poll"))
    rig.board.open()
    for _ in range(3):
        rig.board.poll()
        rig.clock.advance(10)
    assert rig.board.snapshot["one"] == {"value": None, "error": "no poll"}
    assert rig.board.snapshot["two"] == {"value": 0}
    assert caplog.text.count("device one cannot be read") == 1
    rig.board.file.devices["one"].broken = ""
    rig.board.poll()
    assert rig.board.snapshot["one"] == {"value": 0}


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        (("due", OSError("no time")), "no time"),
        (("state", {"level": 1}), "its state has no 'value'"),
        (("state", None), "its state has no 'value'"),
        (("state", {"value": float("nan")}), "it shows a value that is no number"),
    ],
)
def test_a_driver_with_a_mistake_keeps_no_interlock_from_acting(
    rig: Make,
    log: list[str],
    monkeypatch: pytest.MonkeyPatch,
    mistake: tuple[str, Any],
    error: str,
) -> None:
    method, answer = mistake
    rule = "{name: low, when: two < 1, force: {led: true}, for_time: 1s}"
    rig = rig(f"{faulty()}interlocks: [{rule}]\n")
    rig.board.open()
    rig.board.command("led", "off")

    def mistaken() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(rig.board.file.devices["one"], method, mistaken)
        rig.clock.advance(20)
        log.clear()
        pause = rig.board.poll()
        assert pause is not None
        assert pause > 0
        assert {"two.poll", "three.poll"} <= set(log)
        assert rig.board.snapshot["one"] == {"value": None, "error": error}
        assert rig.values()["led"] is True
    rig.clock.advance(20)
    rig.board.poll()
    assert rig.board.snapshot["one"] == {"value": 0}


def test_a_value_that_cannot_be_read_is_an_error_in_the_snapshot(rig: Make, log: list[str]) -> None:
    rig = rig(faulty(one="value"))
    rig.board.open()
    assert rig.board.snapshot["one"] == {"value": None, "error": "no value"}


def test_the_page_is_told_what_students_may_see_in_its_order_and_their_language(rig: Make) -> None:
    described = rig(PLAIN).board.describe(["es"])
    assert [device["name"] for device in described] == ["door", "fan", "heater", "front_lamp"]
    door, fan, heater, lamp = described
    assert heater == {
        "name": "heater",
        "driver": "relay",
        "label": "Calefactor",
        "group": None,
        "unit": "",
        "icon": "",
        "widget": "switch",
        "commands": [
            {"name": "set", "parameters": [{"name": "value", "type": "bool"}]},
            {"name": "on", "parameters": []},
            {"name": "off", "parameters": []},
            {"name": "toggle", "parameters": []},
        ],
        "confirm": False,
    }
    assert (fan["widget"], fan["min"], fan["max"], fan["step"]) == ("slider", 0.2, 1.0, 0.01)
    assert (fan["unit"], fan["group"]) == ("%", "Air")
    assert (door["widget"], door["commands"]) == ("lamp", [])
    assert (lamp["label"], lamp["confirm"]) == ("Front lamp", "¿Seguro?")
    json.dumps(described)


def test_without_hardware_the_error_says_what_is_missing(
    rig: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factories, "list_chips", list)
    board = rig(PLAIN, simulate=False).board
    with pytest.raises(DeviceError, match="no GPIO pins"):
        board.open()


def test_a_board_without_pins_needs_no_gpio(
    rig: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr("labnode.board.board.real_factory")
    port = tmp_path / "nothing"
    bench = rig(f"devices: {{console: {{driver: serial, port: {port}}}}}", simulate=False)
    bench.board.open()
    assert bench.board.snapshot["console"]["connected"] is False


def test_the_board_closes_the_factory_that_it_made_itself(
    rig: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    factory = factories.mock_factory()
    made: list[Any] = []

    def real(work_dir: Path | None) -> Any:
        made.append(work_dir)
        return factory

    monkeypatch.setattr("labnode.board.board.real_factory", real)
    board = rig(PLAIN, simulate=False, work_dir=tmp_path).board
    board.open()
    levels = factory.pins
    assert levels
    board.close()
    assert (made, levels, board.pins) == ([tmp_path], {}, None)


def test_a_board_without_a_worker_opens_and_closes_which_is_enough_to_make_safe(
    write: Callable[[str], Path],
) -> None:
    board = lone_board(load_board(write(PLAIN)), ManualClock())
    board.open()
    board.pins.pin("GPIO27").drive_low()
    board.close()
    assert board.pins.pin("GPIO18").state == 1
