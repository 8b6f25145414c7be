from __future__ import annotations

from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.board.config.sequences import check_tasks
from labnode.errors import ConfigError

DEVICES = """\
schema: 1
devices:
  heater: {driver: relay, pin: 17}
  fan: {driver: pwm_output, pin: 18, step: 0.1}
  door: {driver: button, pin: 27}
sequences:
  on_start:
    timeout: 40
    steps:
"""


def test_every_kind_of_step_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        DEVICES
        + "      - {safe: all}\n"
        + "      - {safe: [heater]}\n"
        + "      - {set: {heater: on, fan: 0.5}}\n"
        + "      - {pulse: {heater: 500ms}}\n"
        + "      - {pulse: {fan: {value: 0.5, for: 2s}}}\n"
        + "      - {ramp: {fan: {to: 1, over: 5s}}}\n"
        + "      - {wait: 1s}\n"
        + "      - {wait_for: door}\n"
        + "      - {wait_for: {expr: not door, timeout: 5s}}\n"
        + "      - {run: [echo, hello]}\n"
        + "      - {task: calibrate}\n"
        + "      - {task: {name: calibrate, args: {times: 3}}}\n"
        + "      - {notify: {en: Hello, es: Hola}}\n"
        + "      - {log: it begins}\n",
        encoding="utf-8",
    )
    sequence = load_board(path).sequences["on_start"]
    assert len(sequence.steps) == 14
    assert (sequence.timeout, sequence.on_error) == (40, "fail")
    assert sequence.tasks() == ["calibrate", "calibrate"]


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("{sett: {heater: on}}", "there is no step 'sett'; did you mean 'set'?"),
        ("{set: {heater: on}, wait: 1}", "a step has one key, one of set, pulse"),
        ("3", "a step has one key"),
        ("{set: {haeter: on}}", "there is no device 'haeter'; did you mean 'heater'?"),
        ("{set: {heater: 7}}", "heater: 'value' must be true or false, not the number 7"),
        ("{set: {door: on}}", "'door' is no output"),
        ("{set: 3}", "expected a mapping by device, not the number 3"),
        ("{pulse: {heater: 0}}", "expected a number of at least 0.001"),
        ("{pulse: {fan: 1s}}", "fan: 'value' must be a number, not nothing"),
        ("{ramp: {heater: {to: 1, over: 5s}}}", "'heater' has no values between"),
        ("{ramp: {fan: {to: 7, over: 5s}}}", "fan: 'value' must be a number from 0 to 1"),
        ("{ramp: {fan: {to: 1}}}", "missing key 'over'"),
        ("{wait: long}", "expected a duration such as"),
        ("{wait_for: dor}", "did you mean 'door'?"),
        ("{wait_for: {timeout: 3}}", "missing key 'expr'"),
        ("{safe: everything}", "expected 'all' or a list of devices"),
        ("{safe: [fann]}", "did you mean 'fan'?"),
        ("{program: {heater: blank}}", "'heater' programs nothing: it is a relay"),
        ("{serial: {door: hello}}", "'door' is no serial port: it is a button"),
        ("{run: []}", "expected a program and its arguments, as a list"),
        ("{run: echo hello}", "expected a list"),
        ("{notify: 3}", "expected a text"),
        ("{log: [a]}", "expected a text"),
    ],
)
def test_a_step_that_cannot_be_is_told_with_its_line(
    step: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"{DEVICES}      - {step}\n")
    with pytest.raises(ConfigError) as caught:
        load_board(path)
    assert "x.yaml:10: " in str(caught.value)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("sequences", "sentence"),
    [
        (
            "{on_strat: {steps: []}}",
            "unknown key 'on_strat' in sequences; did you mean 'on_start'?",
        ),
        ("{on_start: {}}", "missing key 'steps'"),
        ("{on_start: {steps: [], after: 3}}", "unknown key 'after'"),
        ("{on_start: {steps: [], on_error: explode}}", "expected warn, fail or quarantine"),
        ("{selftest: {steps: [], every: 0}}", "expected a number of at least 1"),
    ],
)
def test_sequences_that_cannot_be_are_told(sequences: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"schema: 1\ndevices: {{}}\nsequences: {sequences}\n")
    with pytest.raises(ConfigError) as caught:
        load_board(path)
    assert sentence in str(caught.value)


def test_tasks_that_the_module_does_not_have_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(DEVICES + "      - {task: calibrat}\n")
    sequences = load_board(path).sequences
    assert check_tasks(sequences, {"calibrate": None}) == [
        "on_start runs the task 'calibrat', which the lab's module does not have; did you mean "
        "'calibrate'?"
    ]
    assert check_tasks(sequences, {"calibrat": None}) == []
