"""What people read who write a board file as others did before them."""

from __future__ import annotations

from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.errors import ConfigError
from labnode.lab.loader import load_lab

HEAD = """\
schema: 1
devices:
  temp: {driver: virtual, safe: 20}
  door: {driver: button, pin: 4}
"""


def told(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_lab(load_board(path))
    return [str(p).replace(f"{tmp_path}/", "") for p in caught.value.problems]


QUOTES = "has a ': ' in it; put it in quotes"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("  a: {pin: 17, label: Heater: main}", f"5: the text after 'label:' {QUOTES}"),
        ("  a:\n    label: Heater: main", f"6: the text after 'label:' {QUOTES}"),
        ("  a:\n    label: 'Student's heater'\n    pin: 17", "6: the text after 'label:' has a '"),
        ("  a: {label: 'Student's heater', pin: 17}", "5: the text after 'label:' has a ' in it"),
        (
            "  a: {driver: relay, pin: 17, confirm: Close the lid, then press OK}",
            "5: the text after 'confirm:' ends at its ','; put all of it in quotes",
        ),
        ("  a:\n    driver:relay\n    pin: 17", "6: a space is missing after 'driver:'"),
        ("  a: {driver:relay, pin: 17}", "5: a space is missing after 'driver:'"),
        (
            "  a:\n    {driver: rgb_led, red: 17, green: 27,\n    blue: 22, safe: #000000}\n  b: 1",
            "7: a '#' begins a comment here; put the colour in quotes, as in \"#000000\"",
        ),
        (
            "  a:\n    driver: rgb_led\n    red: 17\n    green: 27\n    blue: 2\n    safe: #00FF00",
            "'safe' in device 'a': expected a text, but there is nothing: a '#' begins a comm",
        ),
        ("  a: {driver: pwm_output, pin: 18, safe: 50%}", "here: 50 % of 1 is 0.5"),
        ("  a: {driver: pwm_output, pin: 18, frequency: 25kHz}", "no unit here: write 25000"),
        ("  a: {driver: pwm_output, pin: 18, frequency: '12,5 Hz'}", "no unit here: write 12.5"),
        ("  a: {driver: relay, pin: 40}", "pin 40 of the header is GPIO21, written BOARD40"),
        ("  a: {driver: relay, pin: 39}", "pin 39 of the header is GND, no GPIO: BOARD39"),
        ("page: [temp]", "5: a row of the page is a list, even of one device"),
        (
            "sequences:\n  on_start:\n    - safe: all",
            "6: the steps of 'on_start' belong under 'steps:', as in on_start: {steps:",
        ),
        ("sequences: {on_dispose: {safe: all}}", "the steps of 'on_dispose' belong under"),
        ("sequences: {buttons: {go: [{wait: 1s}]}}", "5: the steps of 'go' belong under 'steps:'"),
    ],
)  # fmt: skip
def test_it_is_told_what_to_write(tmp_path: Path, lines: str, sentence: str) -> None:
    (problem,) = told(tmp_path, f"{HEAD}{lines}\n")
    assert sentence in problem


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("temp = 75", "at character 6: '=' compares nothing: write '=='"),
        ("temp => 75", "at character 6: write '>=' and not '=>'"),
        ("temp =< 75", "at character 6: write '<=' and not '=<'"),
        ("temp === 75", "at character 8: write '==', with two signs"),
        ("temp > 75 AND door", "at character 11: write 'and', in small letters"),
        ("NOT door", "at character 1: write 'not', in small letters"),
        ("temp ≥ 75", "at character 6: write '>=' and not '≥'"),
        ("temp <> 75", "at character 7: write '!=' and not '<>'"),
        ("door is true", "at character 6: write '==' and not 'is'"),
        ("temp > 75°C", "numbers have no unit in an expression: write 75, without '°C'"),
        ("(temp > 75 %)", "numbers have no unit in an expression: write 75, without '%'"),
        ("temp > 7,5", "write 7.5, with a point"),
        ("min(temp, 7) > 'x'", "a text has no order: compare it with == or !="),
        ("temp > 'x", "the text has no second '"),
    ],
)
def test_an_expression_is_told_what_to_write(
    tmp_path: Path, expression: str, sentence: str
) -> None:
    rule = f'  - {{name: a, require: "{expression}", for: [temp]}}'
    (problem,) = told(tmp_path, f"{HEAD}interlocks:\n{rule}\n")
    assert sentence in problem


def test_devices_as_a_list_are_told_how_they_get_their_names(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, "schema: 1\ndevices:\n  - {driver: relay, pin: 17}\n")
    assert problem.startswith("x.yaml:2: 'devices' is no list: each device begins with its name")


def test_a_library_that_the_module_needs_is_named(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text("import no_such_library.part\n")
    (problem,) = told(tmp_path, f"{HEAD}module: lab.py\n")
    assert problem.startswith("lab.py:1: the Python library 'no_such_library' is not installed")
    assert problem.endswith("-m pip install no_such_library")


@pytest.mark.parametrize("text", ["a: 'it's x7secret'", "{a: b: x7secret}", "a: b: x7secret"])
def test_a_text_that_breaks_the_file_is_in_no_message(tmp_path: Path, text: str) -> None:
    (problem,) = told(tmp_path, f"schema: 1\nlab:\n  {text}\n")  # it may be a password
    assert "after 'a:'" in problem
    assert "x7secret" not in problem
