"""Conditions, loops, named values and commands in sequences, and the reactions of devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labnode.board import load_board
from labnode.clock import ManualClock
from labnode.errors import BadInput, ConfigError, DeviceError, TooLate
from labnode.lab.reactions import Reactions
from labnode.lab.sequences import SequenceRun
from labnode.sessions import State

Make = Callable[..., Any]

DEVICES = """\
devices:
  heater: {driver: relay, pin: 17, min_off_time: 2s}
  fan: {driver: pwm_output, pin: 18}
  leds: {driver: digital_output_bank, pins: [5, 6]}
  door: {driver: button, pin: 27}
  temp: {driver: virtual, safe: 20}
  mode: {driver: virtual, safe: slow, choices: [slow, fast]}
  motor: {driver: motor, forward: 23, backward: 24}
"""
ON_BOOT = DEVICES + "sequences:\n  on_boot:\n    timeout: 20\n    steps:\n"


class Passing:
    """The board's task, whose waits are over at once while the clock goes on."""

    def __init__(self) -> None:
        self.clock: ManualClock = ManualClock()
        self.waited = 0.0
        self.meanwhile: Callable[[float], None] = lambda _waited: None

    def pause(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        end = self.clock.now() + seconds
        while (left := end - self.clock.now()) > 0 and not (until and until()):
            self.clock.advance(min(0.1, left))
            self.waited += min(0.1, left)
            self.meanwhile(self.waited)
        return True

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        pass


class Lab:
    """A board with what its sequences and reactions need of a node."""

    def __init__(self, rig: Any, passing: Passing) -> None:
        passing.clock = rig.clock
        self.rig, self.passing = rig, passing
        self.board, self.clock = rig.board, rig.clock
        self.functions: dict[str, Any] = {}
        self.sessions: Any = self
        self.students: list[Any] = []
        self.queued: list[Callable[[], None]] = []
        self.board.open()

    def live(self) -> list[Any]:
        return self.students

    def queue(self, function: Callable[[], None]) -> None:
        self.queued.append(function)

    def serve(self) -> None:
        while self.queued:
            self.queued.pop(0)()

    def run(self, name: str = "on_boot") -> Any:
        run = SequenceRun(self.board.file.sequences[name], self, None)  # type: ignore[arg-type]
        run.run()
        return run

    @property
    def values(self) -> dict[str, Any]:
        values: dict[str, Any] = self.rig.values()
        return values


@pytest.fixture
def lab(rig: Make) -> Callable[[str], Lab]:
    def make(text: str) -> Lab:
        passing = Passing()
        return Lab(rig(text, tasks=passing), passing)

    return make


def test_a_condition_chooses_its_steps_and_a_missing_value_is_not_true(
    lab: Callable[[str], Lab], thermometer: None
) -> None:
    lost = DEVICES.replace("sequences", "") + "  lost: {driver: thermometer}\n"
    steps = (
        "sequences:\n  on_boot:\n    steps:\n"
        "      - if: {expr: mode == 'fast', then: [{set: {fan: 1}}], else: [{set: {fan: 0.5}}]}\n"
        "      - if: {expr: lost < 5, then: [{set: {leds: 3}}]}\n"
    )
    made = lab(lost + steps)
    made.run()
    assert (made.values["fan"], made.values["leds"]) == (0.5, 0)
    made.board.command("mode", "set", ["fast"])
    made.run()
    assert made.values["fan"] == 1


def test_named_values_are_those_of_their_moment_and_outputs_can_be_set_to_them(
    lab: Callable[[str], Lab],
) -> None:
    made = lab(
        ON_BOOT + "      - let: {begin: temp, half: begin / 40}\n"
        "      - set: {temp: 60}\n"
        "      - set: {fan: {expr: half}, leds: {expr: temp - begin - 38}}\n"
        "      - set: {heater: {expr: temp > 9}}\n"
        "      - if: {expr: temp > begin + 39, then: [{let: {x: 1}}, {set: {temp: {expr: x}}}]}\n"
    )
    made.clock.advance(3)
    made.run()
    values = made.values
    assert (values["fan"], values["leds"], values["heater"], values["temp"]) == (0.5, 2, True, 1)


def test_a_value_that_an_output_cannot_have_is_a_failure_of_the_step(
    lab: Callable[[str], Lab],
) -> None:
    made = lab(ON_BOOT + "      - set: {fan: {expr: temp}}\n")
    with pytest.raises(BadInput, match=r"fan: 'value' must be a number from 0 to 1, not 20"):
        made.run()


def test_a_loop_ends_when_its_expression_is_true_and_lets_others_in(
    lab: Callable[[str], Lab],
) -> None:
    made = lab(ON_BOOT + "      - repeat: {steps: [{wait: 1s}], until: door}\n")

    def press(waited: float) -> None:
        if waited > 4:
            made.board.simulate("door", True)

    made.passing.meanwhile = press
    made.run()
    assert 4 < made.passing.waited < 6


@pytest.mark.parametrize(
    ("loop", "error", "sentence", "rounds"),
    [
        ("times: 3", None, "", 3),
        ("times: 4, until: door", DeviceError, "'door' did not become true in 4 rounds", 4),
        ("until: door, timeout: 3.5s", TooLate, "the loop in on_boot took longer than its", 3),
        ("until: door", TooLate, "on_boot took longer than its timeout of 20 s", 19),
    ],
)
def test_every_loop_has_an_end(
    lab: Callable[[str], Lab], loop: str, error: Any, sentence: str, rounds: int
) -> None:
    steps = "[{wait: 1s}, {set: {temp: {expr: temp + 1}}}]"
    made = lab(f"{ON_BOOT}      - repeat: {{steps: {steps}, {loop}}}\n")
    if error is None:
        made.run()
    else:
        with pytest.raises(error, match=sentence):
            made.run()
    assert made.values["temp"] == 20 + rounds


def test_a_loop_without_waits_does_not_hold_up_others(lab: Callable[[str], Lab]) -> None:
    made = lab(ON_BOOT + "      - repeat: {steps: [{set: {leds: 1}}], times: 50}\n")
    made.run()
    assert made.passing.waited > 49 * 0.02


def test_a_command_of_any_device_is_a_step_and_waits_while_that_rests(
    lab: Callable[[str], Lab],
) -> None:
    made = lab(
        ON_BOOT + "      - call: {motor.set: {value: 0.25}}\n"
        "      - call: heater.on\n      - call: {leds.set_bit: [1, true]}\n"
    )
    made.run()
    assert (made.values["motor"], made.values["heater"], made.values["leds"]) == (0.25, True, 2)
    assert made.passing.waited == pytest.approx(2, abs=0.1)
    assert made.board.file.sequences["on_boot"].outputs() == {"motor", "heater", "leds"}


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("{repeat: {steps: [{wait: 1}]}}", "a loop without an end: give it 'until' or 'times'"),
        ("{repeat: {steps: [], until: 1 > 2}}", "'until' is always false: it has no end"),
        ("{repeat: {steps: [], until: 'true'}}", "'until' is always true: it has one round"),
        ("{repeat: {steps: [], until: mode}}", "is a text, neither true nor false"),
        ("{repeat: {steps: [{wait: 9}], times: 2, timeout: 5}}", "takes at least 18 s, but its"),
        ("{repeat: {steps: [{wiat: 9}], times: 2}}", "there is no step 'wiat'; did you mean 'wait"),
        ("{if: {expr: dor, then: []}}", "did you mean 'door'?"),
        ("{if: door}", "expected a mapping with the keys expr, then"),
        ("{let: {temp: 3}}", "'temp' cannot name a value: a device has it"),
        ("{let: {and: 3}}", "'and' cannot name a value: it has to be a word"),
        ("{let: 3}", "expected names and their values"),
        ("{wait_for: begin > 3}", "there is no device 'begin'"),
        ("{set: {fan: {expr: mode}}}", "'fan' cannot be set to 'mode': the types differ"),
        ("{set: {heater: {expr: temp}}}", "'heater' cannot be set to 'temp': the types differ"),
        ("{call: motor.forwards}", "'motor' has no command 'forwards'; did you mean 'forward'?"),
        ("{call: {moter.stop: {}}}", "there is no device 'moter'; did you mean 'motor'?"),
        ("{call: {leds.set_bit: [1]}}", "leds.set_bit needs 'value' (true or false)"),
        ("{call: {motor.set: fast}}", "motor.set: 'value' must be a number"),
        ("{call: {a.b: 1, c.d: 2}}", "one command at a time"),
        ("{wait: 21s}", "21 s are longer than the 20 s that all of 'on_boot' may take"),
        ("{wait_for: {expr: door, timeout: 30}}", "30 s are longer than the 20 s that all of"),
        ("{pulse: {heater: 21}}", "21 s are longer than the 20 s that all of 'on_boot' may"),
        ("{ramp: {fan: {to: 1, over: 60}}}", "60 s are longer than the 20 s that all of"),
        ("{if: {expr: door, then: [{wait: 25}]}}", "25 s are longer than the 20 s that all"),
    ],
)
def test_a_step_that_cannot_be_is_told_with_its_line(
    write: Callable[[str], Path], step: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_board(write(f"{ON_BOOT}      - {step}\n"))
    assert "x.yaml:14: " in str(caught.value)
    assert sentence in str(caught.value)


def test_what_the_end_of_the_node_does_not_wait_for_is_told_with_its_line(
    write: Callable[[str], Path],
) -> None:
    shutdown = "  on_shutdown:\n    timeout: 1m\n    steps:\n      - wait: 3s\n"
    with pytest.raises(ConfigError) as caught:
        load_board(write(ON_BOOT + "      - log: x\n" + shutdown))
    assert str(caught.value).endswith(
        "x.yaml:18: 3 s are longer than the 2 s that all of 'on_shutdown' may take"
    )


def test_a_name_ends_with_the_steps_that_it_stands_among(write: Callable[[str], Path]) -> None:
    inner = "      - if: {expr: door, then: [{let: {x: 1}}]}\n      - wait_for: x > 0\n"
    with pytest.raises(ConfigError, match="there is no device 'x'"):
        load_board(write(ON_BOOT + inner))


def test_a_loop_that_can_never_fit_into_its_sequence_is_a_warning(
    write: Callable[[str], Path],
) -> None:
    either = "{if: {expr: door, then: [{wait: 7}], else: [{wait: 8}]}}"
    loop = f"      - repeat: {{steps: [{either}], times: 3}}\n"
    (sentence,) = load_board(write(ON_BOOT + loop)).warnings()
    assert str(sentence).startswith("on_boot takes at least 21 s, but its timeout is 20 s")


REACTIONS = """\
sequences:
  reactions:
    greet: {on_press: door, rest: 10s, steps: [{set: {fan: 0.5}}, {wait: 1s}, {set: {leds: 1}}]}
    follow: {on_change: temp, by: system, rest: 2s, steps: [{set: {motor: 0.5}}]}
"""


@pytest.fixture
def reacting(lab: Callable[[str], Lab]) -> Callable[[], Lab]:
    def make() -> Lab:
        made = lab(DEVICES + REACTIONS)
        made.clock.advance(10)
        made.reactions = Reactions(made.board, made, made, made, made.clock)  # type: ignore[attr-defined, arg-type]
        for name in ("door", "temp"):  # what they show at first is no change
            made.board.bus.publish(SimpleNamespace())
            made.reactions._last[name] = made.values[name]  # type: ignore[attr-defined]
        made.students = [SimpleNamespace(id="s", state=State.ACTIVE)]
        return made

    return make


def press(lab: Lab) -> None:
    for value in (True, False):
        lab.board.simulate("door", value)
        lab.rig.serve()


def test_a_press_starts_a_sequence_once_and_not_again_before_its_rest(
    reacting: Callable[[], Lab],
) -> None:
    lab = reacting()
    press(lab)
    press(lab)
    assert len(lab.queued) == 1
    lab.serve()
    assert (lab.values["fan"], lab.values["leds"]) == (0.5, 1)
    lab.board.command("fan", "set", [0])
    press(lab)
    assert lab.queued == []
    lab.clock.advance(10)
    press(lab)
    lab.serve()
    assert lab.values["fan"] == 0.5


def test_a_students_reaction_needs_a_student_and_the_systems_leaves_nothing_on_without_one(
    reacting: Callable[[], Lab],
) -> None:
    lab = reacting()
    lab.students = []
    press(lab)
    lab.board.command("temp", "set", [30])
    lab.serve()
    assert (lab.values["fan"], lab.values["motor"]) == (0, 0)
    lab.clock.advance(20)
    lab.students = [SimpleNamespace(id="s", state=State.ACTIVE)]
    lab.board.command("temp", "set", [31])
    lab.serve()
    assert lab.values["motor"] == 0.5


def test_a_reaction_that_fails_makes_safe_what_it_has_set(
    reacting: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = reacting()

    def fail(_value: Any) -> None:
        raise OSError("no leds")

    monkeypatch.setattr(lab.board.file.devices["leds"], "drive", lambda v: v and fail(v))
    press(lab)
    lab.serve()
    assert lab.values["fan"] == 0


def test_after_its_end_and_in_an_emergency_nothing_starts(reacting: Callable[[], Lab]) -> None:
    lab = reacting()
    press(lab)
    lab.board.halt("smoke")
    lab.serve()
    assert lab.values["fan"] == 0
    lab.board.resume()
    lab.clock.advance(20)
    lab.reactions.stop()  # type: ignore[attr-defined]
    press(lab)
    assert lab.queued == []


@pytest.mark.parametrize(
    ("reaction", "sentence"),
    [
        ("{on_press: temp, steps: []}", "'temp' is never pressed: it is a virtual"),
        ("{on_press: dor, steps: []}", "there is no device 'dor'; did you mean 'door'?"),
        ("{on_press: door, on_change: temp, steps: []}", "it has to say what starts it"),
        ("{on_press: door, timeout: 20, steps: []}", "expected a number from 0.1 to 10"),
        ("{on_change: fan, steps: [{set: {fan: 1}}]}", "reactions start themselves: fan -> fan"),
        (
            "{on_change: temp, steps: [{if: {expr: door, then: [{call: {temp.set: 3}}]}}]}",
            "temp -> t",
        ),
        (
            "{on_change: fan, steps: [{set: {temp: 1}}]}\n"
            "    b: {on_change: temp, steps: [{set: {leds: 1}}]}\n"
            "    c: {on_change: leds, steps: [{set: {fan: 1}}]}",
            "reactions start themselves: ",
        ),
    ],
)
def test_a_reaction_that_cannot_be_is_told_with_its_line(
    write: Callable[[str], Path], reaction: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_board(write(f"{DEVICES}sequences:\n  reactions:\n    a: {reaction}\n"))
    assert "x.yaml:1" in str(caught.value)
    assert sentence in str(caught.value)


def test_what_sequences_do_is_told_in_sentences(write: Callable[[str], Path]) -> None:
    steps = (
        "      - let: {begin: temp}\n"
        "      - repeat: {steps: [{wait: 1s}], until: temp < begin - 5, times: 9, timeout: 15s}\n"
        "      - if: {expr: door, then: [{set: {heater: on}}], else: [{safe: [fan]}]}\n"
        "      - call: {motor.set: {value: 0.5}}\n"
        "      - pulse: {heater: 500ms}\n"
        "      - wait_for: {expr: not door, timeout: 5s}\n"
    )
    sequences = load_board(write(ON_BOOT + steps + REACTIONS.partition("\n")[2])).sequences
    assert [str(line) for line in sequences["on_boot"].explain()] == [
        "on_boot, when the node has started, within 20 s (a failure quarantines the board):",
        "  Call temp 'begin' from now on.",
        "  Repeat until temp < begin - 5, 9 times at most, for 15 s at most:",
        "    Wait 1 s.",
        "  If door:",
        "    Set heater to on.",
        "  Otherwise:",
        "    Make fan safe.",
        "  Command motor.set with value 0.5.",
        "  Set heater to on for 0.5 s, then make it safe.",
        "  Wait until not door, 5 s at most.",
    ]
    assert str(sequences["greet"].explain()[0]) == (
        "greet, when door comes on, while a student has the board, every 10 s at most, "
        "within 5 s (a failure is only logged):"
    )
