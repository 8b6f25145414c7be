from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.board.config.sequences import Sequence, check_tasks
from labnode.clock.schedules import At, Every
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
        (
            "{selftest: {steps: [], every: 1h, at: 03:00}}",
            "'every' and 'at' both say when it comes; only one of them can",
        ),
        (
            "{selftest: {steps: [], at: 24:00}}",
            "expected a time of day such as 03:00, from 00:00 to 23:59, not '24:00'",
        ),
        (
            "{selftest: {steps: [], at: 3}}",
            "expected a text or a list or nothing, not the number 3",
        ),
        ("{selftest: {steps: [], at: []}}", "expected a time of day such as 03:00"),
        (
            "{selftest: {steps: [], at: 03:00, days: mon-noday}}",
            "expected days such as mon-fri or [sat, sun], not 'mon-noday'",
        ),
        ("{selftest: {steps: [], days: mon}}", "belong to times of day, and 'at' is missing"),
        (
            "{selftest: {steps: [], every: 1d, catch_up: true}}",
            "belong to times of day, and 'at' is missing",
        ),
        (
            "{selftest: {steps: [], every: 30s, timeout: 2m}}",
            "'every' is 30 s, which is shorter than the 'timeout' of 120 s",
        ),
        (
            "{scheduled: {water: {steps: []}}}",
            "scheduled 'water': it has to say when it comes, with 'every' or 'at'",
        ),
        ("{scheduled: {water: {at: 7:00}}}", "missing key 'steps' in scheduled 'water'"),
        (
            "{scheduled: {water: {at: 7:00, steps: [{set: {pump: on}}]}}}",
            "there is no device 'pump'",
        ),
        ("{scheduled: {on_idle: {at: 7:00, steps: []}}}", "'on_idle' cannot be the name of a"),
        ("{scheduled: {a b: {at: 7:00, steps: []}}}", "'a b' cannot be the name of a sequence"),
        (
            "{buttons: {water: {label: Water, steps: []}}, "
            "scheduled: {water: {at: 7:00, steps: []}}}",
            "'water' cannot be the name of a sequence: it is a letter, then letters, digits and "
            "'_', 40 at most, and no other sequence's",
        ),
    ],
)
def test_sequences_that_cannot_be_are_told(sequences: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"schema: 1\ndevices: {{}}\nsequences: {sequences}\n")
    with pytest.raises(ConfigError) as caught:
        load_board(path)
    assert sentence in str(caught.value)


def read(tmp_path: Path, sequences: str) -> Mapping[str, Sequence]:
    path = tmp_path / "x.yaml"
    path.write_text(f"schema: 1\ndevices: {{}}\nsequences:\n{sequences}\n")
    return load_board(path).sequences


def test_a_self_test_says_how_often_or_at_which_times_of_day(tmp_path: Path) -> None:
    for keys, schedule in {
        "": Every(6 * 3600),
        "every: 1d, ": Every(86400),
        "at: 03:00, ": At("03:00"),
        "at: [3:00, '15:30'], days: mon-fri, ": At(["3:00", "15:30"], "mon-fri"),
        "at: 03:00, days: [sat, sun], ": At("03:00", ["sat", "sun"]),
    }.items():
        test = read(tmp_path, f"  selftest: {{{keys}steps: []}}")["selftest"]
        assert test.schedule == schedule
        assert (test.on_error, test.catch_up) == ("quarantine", False)


def test_sequences_that_come_by_themselves_have_names(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "  scheduled:\n"
        "    water: {at: [7:00, 19:00], catch_up: true, timeout: 5m, steps: [{wait: 1s}]}\n"
        "    calibrate: {every: 12h, on_error: quarantine, steps: [{task: calibrate}]}",
    )
    water, calibrate = found["water"], found["calibrate"]
    assert (water.schedule, water.catch_up) == (At(["7:00", "19:00"]), True)
    assert (water.on_error, water.label, len(water.steps)) == ("fail", None, 1)
    assert (calibrate.schedule, calibrate.on_error) == (Every(12 * 3600), "quarantine")
    assert [str(sentence) for sentence in check_tasks(found, {})] == [
        "calibrate runs the task 'calibrate', which the lab's module does not have"
    ]


def test_tasks_that_the_module_does_not_have_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(DEVICES + "      - {task: calibrat}\n")
    sequences = load_board(path).sequences
    assert [str(words) for words in check_tasks(sequences, {"calibrate": None})] == [
        "on_start runs the task 'calibrat', which the lab's module does not have; did you mean "
        "'calibrate'?"
    ]
    assert check_tasks(sequences, {"calibrat": None}) == []


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ("[{wait: 39s}]", None),
        ("[{wait: 39s}, {pulse: {fan: {value: 0.5, for: 2s}}}]", "takes at least 41 s, but its"),
        ("[{wait: 39s}, {ramp: {fan: {to: 1, over: 5s}}}]", "takes at least 44 s, but its timeout"),
        (
            "[{set: {slow: on}}, {set: {slow: off}}, {wait: 20s}, {set: {slow: on}}]",
            "takes at least 50 s, but its timeout is 40 s: it can never be completed",
        ),
        (
            "[{pulse: {slow: 1s}}, {safe: all}, {pulse: {slow: 1s}}]",
            "takes at least 52 s, but its timeout is 40 s: it can never be completed",
        ),
        ("[{set: {slow: on}}]", "takes at least 50 s when an output has just been switched off"),
        ("[{wait: 15s}, {set: {slow: off}}]", None),
    ],
)
def test_a_sequence_that_cannot_fit_into_its_timeout_is_warned_of(
    tmp_path: Path, steps: str, sentence: str | None
) -> None:
    path = tmp_path / "x.yaml"
    slow = "  slow: {driver: relay, pin: 5, min_off_time: 50s}\nsequences:"
    text = DEVICES.replace("sequences:", slow).replace("    steps:\n", f"    steps: {steps}\n")
    path.write_text(text)
    found = [str(words) for words in load_board(path).warnings()]
    assert [w.partition(sentence or "")[0] for w in found] == (
        [] if sentence is None else ["on_start "]
    )
