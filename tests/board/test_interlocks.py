from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.drivers.framework.expressions import Expression
from labnode.errors import ConfigError, Interlocked
from labnode.events import EmergencyPressed, FaultChanged

Make = Callable[..., Any]

DEVICES = """\
devices:
  heater: {driver: relay, pin: 17}
  fan: {driver: pwm_output, pin: 18, safe: 0}
  door: {driver: button, pin: 27}
  hot: {driver: digital_input, pin: 22}
  left: {driver: relay, pin: 23}
  right: {driver: relay, pin: 24}
interlocks:
"""
LID = "  - {name: lid, require: door, for: [heater], message: {en: The lid is open, es: Abierta}}\n"
HOT = "  - {name: too-hot, when: hot, force: {heater: off, fan: 1.0}, latch: true}\n"
SLOW = "  - {name: slow, when: hot, force: {heater: off}, for_time: 3s}\n"
SIDES = "  - {name: sides, mutex: [left, right], wait: 2s}\n"


@pytest.fixture
def board(rig: Make) -> Make:
    def make(*rules: str) -> Any:
        made = rig(DEVICES + "".join(rules))
        made.board.open()
        return made

    return make


def value(rig: Any, device: str) -> Any:
    return rig.board.snapshot[device]["value"]


def show(rig: Any, device: str, what: Any) -> None:
    rig.board.simulation.drive(device, what)
    rig.board.refresh(device)


def test_without_what_is_required_an_output_cannot_be_on(board: Make) -> None:
    rig = board(LID)
    with pytest.raises(Interlocked, match="Heater is interlocked: The lid is open"):
        rig.board.command("heater", "on")
    assert value(rig, "heater") is False
    show(rig, "door", True)
    rig.board.command("heater", "on")
    assert value(rig, "heater") is True


def test_rules_that_do_not_set_off_each_other_come_to_rest(
    board: Make, caplog: pytest.LogCaptureFixture
) -> None:
    rig = board(LID)
    show(rig, "door", True)
    rig.board.command("heater", "on")
    show(rig, "door", False)
    assert caplog.text == ""


def test_rules_are_not_asked_again_while_nothing_has_changed(
    board: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = board(LID, HOT)
    rig.board.poll()
    asked = 0

    def count(self: Expression, readings: Any) -> Any:
        nonlocal asked
        asked += 1
        return evaluate(self, readings)

    evaluate = Expression.evaluate
    monkeypatch.setattr(Expression, "evaluate", count)
    for _ in range(10):
        rig.board.poll()
    assert asked == 0
    show(rig, "door", True)
    assert asked > 0


def test_when_what_is_required_ends_the_output_is_made_safe_at_once(board: Make) -> None:
    rig = board(LID)
    show(rig, "door", True)
    rig.board.command("heater", "on")
    show(rig, "door", False)
    assert value(rig, "heater") is False
    assert rig.board.snapshot["heater"]["locked"] == {"en": "The lid is open", "es": "Abierta"}
    assert rig.board.snapshot["heater"]["held"]
    show(rig, "door", True)
    assert "locked" not in rig.board.snapshot["heater"]
    assert "held" not in rig.board.snapshot["heater"]
    assert value(rig, "heater") is False


def test_a_condition_forces_outputs_and_commands_against_it_are_refused(board: Make) -> None:
    rig = board(HOT)
    rig.board.command("heater", "on")
    show(rig, "hot", True)
    assert (value(rig, "heater"), value(rig, "fan")) == (False, 1.0)
    for device, command, arguments in (
        ("heater", "on", None),
        ("heater", "toggle", None),
        ("fan", "set", [0.5]),
        ("fan", "off", None),
    ):
        with pytest.raises(Interlocked):
            rig.board.command(device, command, arguments)
    assert (value(rig, "heater"), value(rig, "fan")) == (False, 1.0)


def test_a_reset_does_not_undo_what_is_forced(board: Make) -> None:
    rig = board(HOT)
    show(rig, "hot", True)
    rig.board.reset()
    assert value(rig, "fan") == 1.0


def test_a_latched_fault_is_told_and_stays_until_it_is_over_and_cleared(board: Make) -> None:
    rig = board(HOT)
    show(rig, "hot", True)
    assert [(fault.name, fault.latched) for fault in rig.board.faults] == [("too-hot", True)]
    assert rig.board.obstacles() == ["too-hot: The interlock 'too-hot' acts."]
    assert rig.board.clear_faults() == ["too-hot"]
    show(rig, "hot", False)
    with pytest.raises(Interlocked):
        rig.board.command("heater", "on")
    assert rig.board.clear_faults() == []
    assert (rig.board.faults, rig.board.obstacles()) == ((), [])
    rig.board.command("heater", "on")


def test_latched_faults_are_remembered_and_restored(board: Make, rig: Make) -> None:
    first = board(HOT)
    show(first, "hot", True)
    assert first.remembered == [("faults", ["too-hot"])]
    again = rig(DEVICES + HOT, kept=["too-hot", "of another file"])
    again.board.open()
    assert (value(again, "heater"), value(again, "fan")) == (False, 1.0)


def test_a_fault_that_was_cleared_does_not_come_back_after_a_restart(board: Make) -> None:
    rig = board(HOT)
    show(rig, "hot", True)
    show(rig, "hot", False)
    rig.board.clear_faults()
    assert rig.remembered[-1] == ("faults", [])


def test_an_output_that_cannot_be_held_is_told_once(
    board: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = board(HOT)
    rig.board.command("heater", "on")

    def smoke(value: bool) -> None:
        raise OSError("smoke")

    with monkeypatch.context() as broken:
        broken.setattr(rig.board.file.devices["heater"], "drive", smoke)
        show(rig, "hot", True)
        for _ in range(3):
            rig.clock.advance(1)
            rig.board.poll()
    told = [m for m in caplog.messages if m == "'heater' cannot be held by 'too-hot'"]
    assert len(told) == 1


def test_a_condition_may_have_to_last_before_it_counts(board: Make) -> None:
    rig = board(SLOW)
    rig.board.command("heater", "on")
    show(rig, "hot", True)
    assert value(rig, "heater") is True
    assert rig.board.poll() == 3
    rig.clock.advance(3)
    rig.board.poll()
    assert value(rig, "heater") is False


def test_a_condition_that_ends_in_time_begins_anew(board: Make) -> None:
    rig = board(SLOW)
    rig.board.command("heater", "on")
    for _ in range(3):
        show(rig, "hot", True)
        rig.clock.advance(2)
        show(rig, "hot", False)
        rig.clock.advance(2)
        rig.board.poll()
    assert value(rig, "heater") is True


def test_of_a_mutex_one_is_on_and_the_other_waits(board: Make) -> None:
    rig = board(SIDES)
    rig.board.command("left", "on")
    with pytest.raises(Interlocked, match="Right cannot be on while Left is on"):
        rig.board.command("right", "on")
    rig.board.command("left", "off")
    with pytest.raises(Interlocked, match=r"Right has to wait for 2.0 s after Left"):
        rig.board.command("right", "on")
    assert "locked" in rig.board.snapshot["right"]
    assert "held" not in rig.board.snapshot["right"]
    assert rig.board.poll() == 2
    rig.clock.advance(2)
    rig.board.poll()
    assert "locked" not in rig.board.snapshot["right"]
    rig.board.command("right", "on")
    assert (value(rig, "left"), value(rig, "right")) == (False, True)


def test_the_one_of_a_mutex_that_was_on_may_be_on_again_at_once(board: Make) -> None:
    rig = board(SIDES)
    rig.board.command("left", "on")
    rig.board.command("left", "off")
    rig.board.command("left", "on")
    assert value(rig, "left") is True


def unreadable(self: Any) -> bool:
    raise OSError("no answer")


def test_one_of_a_mutex_of_which_nobody_knows_how_it_is_counts_as_before(
    board: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = board(SIDES)
    rig.board.command("left", "on")
    with monkeypatch.context() as broken:
        broken.setattr(type(rig.board.file.devices["left"]), "value", property(unreadable))
        rig.board.refresh("left")
    assert value(rig, "left") is None
    with pytest.raises(Interlocked, match="Right cannot be on while Left is on"):
        rig.board.command("right", "on")


def test_an_output_that_cannot_be_read_when_an_interlock_ends_keeps_no_other_from_ending(
    board: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = board("  - {name: lid, require: door, for: [heater, fan]}\n")
    with monkeypatch.context() as broken:
        broken.setattr(type(rig.board.file.devices["heater"]), "value", property(unreadable))
        show(rig, "door", True)
    assert "nobody knows how 'heater' is after an interlock" in caplog.messages
    rig.board.command("fan", "set", [0.5])
    assert value(rig, "fan") == 0.5


def test_what_would_be_forced_back_at_once_is_refused_beforehand(board: Make) -> None:
    rig = board("  - {name: air, when: heater and not fan > 0.5, force: {heater: off}}\n")
    with pytest.raises(Interlocked):
        rig.board.command("heater", "on")
    assert rig.board.pins.pin("GPIO17").levels.count(True) == 0
    rig.board.command("fan", "set", [0.8])
    rig.board.command("heater", "on")
    rig.board.command("fan", "off")
    assert value(rig, "heater") is False


def test_with_a_missing_value_a_when_is_false_and_a_require_not_fulfilled(
    rig: Make, thermometer: Any
) -> None:
    made = rig(
        "devices:\n"
        "  heater: {driver: relay, pin: 17}\n"
        "  fan: {driver: relay, pin: 18}\n"
        "  temp: {driver: thermometer}\n"
        "interlocks:\n"
        "  - {name: hot, when: temp > 75, force: {heater: off}, latch: true}\n"
        "  - {name: cool, require: temp < 75, for: [fan]}\n"
    )
    made.board.open()
    made.board.command("heater", "on")
    with pytest.raises(Interlocked):
        made.board.command("fan", "on")
    assert made.board.obstacles() == []
    show(made, "temp", 20.0)
    made.board.command("fan", "on")
    show(made, "temp", 80.0)
    assert value(made, "heater") is False
    assert made.board.obstacles() == ["hot: The interlock 'hot' acts."]


def test_a_latched_fault_is_not_cleared_while_nobody_knows_that_it_is_over(
    rig: Make, thermometer: Any
) -> None:
    made = rig(
        "devices:\n"
        "  heater: {driver: relay, pin: 17}\n"
        "  temp: {driver: thermometer}\n"
        "interlocks:\n"
        "  - {name: hot, when: temp > 75, force: {heater: off}, latch: true}\n",
        kept=["hot"],
    )
    made.board.open()
    assert made.board.clear_faults() == ["hot"]
    show(made, "temp", 20.0)
    assert made.board.clear_faults() == []


def test_a_sensor_that_dies_ends_what_hangs_on_it(rig: Make, thermometer: Any) -> None:
    made = rig(
        "devices:\n"
        "  heater: {driver: relay, pin: 17}\n"
        "  temp: {driver: thermometer, sample_every: 1, stale_after: 5}\n"
        "interlocks:\n"
        "  - {name: lost, when: stale(temp), force: {heater: off}}\n"
    )
    made.board.open()
    show(made, "temp", 20.0)
    made.board.command("heater", "on")
    made.board.simulation.drive("temp", None)
    for _ in range(4):
        made.clock.advance(1)
        made.board.poll()
    assert value(made, "heater") is True
    made.clock.advance(1)
    made.board.poll()
    assert value(made, "heater") is False


def test_faults_are_published(board: Make) -> None:
    rig = board(HOT)
    news = rig.bus.subscribe(FaultChanged)
    show(rig, "hot", True)
    show(rig, "hot", False)
    rig.board.clear_faults()
    assert [(event.name, event.state) for event in news.drain()] == [
        ("too-hot", "latched"),
        ("too-hot", "latched"),  # its reason is over
        ("too-hot", "cleared"),
    ]


def test_an_output_that_cannot_be_forced_is_tried_again(board: Make, monkeypatch: Any) -> None:
    rig = board(HOT)
    rig.board.command("heater", "on")
    heater = rig.board.file.devices["heater"]
    right = heater.drive
    monkeypatch.setattr(heater, "drive", lambda value: 1 / 0)
    show(rig, "hot", True)
    assert value(rig, "heater") is True
    monkeypatch.setattr(heater, "drive", right)
    rig.clock.advance(1)
    rig.board.poll()
    rig.board.refresh("heater")
    assert value(rig, "heater") is False


@pytest.mark.parametrize(
    ("rule", "condition", "held"),
    [
        ("  - {name: hot, when: hot, force: {fan: 1.0}}\n", "hot", 1.0),
        ("  - {name: closed, require: not door, for: [fan]}\n", "door", 0.0),
    ],
)
def test_an_output_that_does_not_obey_is_forced_every_half_second(
    board: Make, monkeypatch: pytest.MonkeyPatch, rule: str, condition: str, held: float
) -> None:
    rig = board(rule)
    rig.board.command("fan", "set", [0.8])
    begun, tries = rig.clock.now(), []
    monkeypatch.setattr(
        rig.board.file.devices["fan"],
        "drive",
        lambda value: tries.append((rig.clock.now() - begun, value)),
    )
    show(rig, condition, True)
    for _ in range(12):
        rig.clock.advance(0.125)
        rig.board.poll()
    assert tries == [(0, held), (0.5, held), (1.0, held), (1.5, held)]


def test_two_of_a_mutex_that_are_on_all_the_same_are_made_safe(board: Make) -> None:
    rig = board(SIDES)
    rig.board.command("left", "on")
    rig.board.file.devices["right"].drive(True)  # as by a fault of the hardware
    rig.board.refresh("right")
    assert (value(rig, "left"), value(rig, "right")) == (False, False)


def test_a_halt_makes_everything_safe_and_refuses_all_commands(board: Make) -> None:
    rig = board()
    rig.board.command("heater", "on")
    assert rig.board.halt("the red button") == []
    assert rig.board.pins.pin("GPIO17").state is False
    with pytest.raises(Interlocked, match="The board is stopped: the red button"):
        rig.board.command("heater", "on")
    with pytest.raises(Interlocked, match="The board is stopped"):
        rig.board.file.devices["heater"].put(True)
    rig.board.resume()
    rig.board.command("heater", "on")


def test_what_a_halt_could_not_make_safe_is_tried_again(board: Make, monkeypatch: Any) -> None:
    rig = board()
    rig.board.command("heater", "on")
    heater = rig.board.file.devices["heater"]
    right = heater.drive
    monkeypatch.setattr(heater, "drive", lambda value: 1 / 0)
    assert rig.board.halt("smoke") == ["'heater' did not make safe: division by zero"]
    rig.serve()
    monkeypatch.setattr(heater, "drive", right)
    rig.clock.advance(0.3)
    rig.board.poll()
    assert value(rig, "heater") is False


def test_a_halt_ends_what_an_interlock_has_switched_on(board: Make) -> None:
    rig = board(HOT)
    show(rig, "hot", True)
    assert value(rig, "fan") == 1.0
    rig.board.halt("the red button")
    rig.serve()
    assert value(rig, "fan") == 0.0
    rig.board.resume()
    rig.board.poll()
    assert value(rig, "fan") == 1.0


def test_after_an_interlock_the_limits_of_an_output_count_again(rig: Make) -> None:
    made = rig(
        "devices:\n"
        "  fan: {driver: pwm_output, pin: 18, max_on_time: 5}\n"
        "  hot: {driver: digital_input, pin: 22}\n"
        "interlocks: [{name: hot, when: hot, force: {fan: 1.0}}]\n"
    )
    made.board.open()
    show(made, "hot", True)
    made.clock.advance(60)
    made.board.poll()
    assert value(made, "fan") == 1.0
    show(made, "hot", False)
    made.clock.advance(5)
    made.board.poll()
    assert value(made, "fan") == 0.0


def test_a_halt_that_the_hardware_thread_does_not_hear_is_a_fault(board: Make) -> None:
    rig = board()
    rig.board.halt("the red button")
    assert rig.board.fault() is None
    rig.clock.advance(1.5)
    assert rig.board.fault() == "nobody has acknowledged an emergency stop"
    rig.posted.pop()()
    assert rig.board.fault() is None


def test_making_an_output_safe_does_not_wait_for_the_retry_of_another_rule(board: Make) -> None:
    rig = board(
        "  - {name: hot, when: hot, force: {fan: 0.3}}\n"
        "  - {name: closed, require: not door, for: [fan]}\n"
    )
    rig.board.command("fan", "set", [0.8])
    fan = rig.board.file.devices["fan"]
    drive, fan.drive = fan.drive, lambda _: None  # it does not obey
    show(rig, "hot", True)
    assert value(rig, "fan") == 0.8
    fan.drive = drive
    show(rig, "door", True)
    assert value(rig, "fan") == 0.0


def test_a_button_makes_everything_safe_before_anybody_is_told_of_it(rig: Make) -> None:
    made = rig(
        "devices:\n"
        "  heater: {driver: relay, pin: 17}\n"
        "  stop: {driver: button, pin: 27, role: estop}\n"
    )
    made.board.open()
    made.board.command("heater", "on")
    levels = []

    def fail() -> None:
        levels.append(made.level("GPIO17"))
        raise RuntimeError("the database is gone")

    made.bus.subscribe(EmergencyPressed, wake=fail)
    made.board.pins.pin("GPIO27").drive_low()
    assert levels == [0]
    assert made.board.halted == "'stop' is pressed"
    with pytest.raises(Interlocked, match="stopped: 'stop' is pressed"):
        made.board.command("heater", "on")


def test_an_output_that_is_overdue_is_a_fault(rig: Make) -> None:
    made = rig("devices:\n  heater: {driver: relay, pin: 17, max_on_time: 5}\n")
    made.board.open()
    made.board.command("heater", "on")
    made.clock.advance(5.5)
    assert made.board.fault() is None
    made.clock.advance(1)
    assert made.board.fault() == "'heater' is on for longer than its max_on_time"


def test_a_hardware_thread_that_hangs_while_a_dead_man_watches_is_a_fault_within_3_s(
    rig: Make,
) -> None:
    made = rig("devices:\n  heater: {driver: relay, pin: 17, deadman: 60}\n")
    made.board.open()
    made.busy_since = made.clock.now()
    made.clock.advance(100)
    assert made.board.fault() is None  # nothing is on: what it does may take long
    made.board.command("heater", "on")
    made.clock.advance(2.4)
    assert made.board.fault() is None
    made.clock.advance(0.2)
    assert "the hardware thread had no turn for 2.5 s" in str(made.board.fault())
    made.busy_since = None
    assert made.board.fault() is None


def test_an_output_that_the_dead_man_should_have_ended_is_a_fault(rig: Make) -> None:
    made = rig("devices:\n  heater: {driver: relay, pin: 17, deadman: 5}\n", operators=Lost())
    made.board.open()
    made.board.command("heater", "on")
    made.clock.advance(5.5)
    assert made.board.fault() is None
    made.clock.advance(1)
    assert made.board.fault() == "'heater' is on although nobody is heard who switched it on"


class Lost:
    """Nobody who commands is ever heard again."""

    def current(self) -> Lost:
        return self

    def heard_until(self, patience: float) -> float:
        return 0.0

    def was_lost(self, device: str) -> None:
        pass


def test_initial_values_are_given_after_the_reset_and_not_before(rig: Make) -> None:
    made = rig("devices:\n  lamp: {driver: led, pin: 17, initial: on}\n")
    made.board.open()
    made.board.reset()
    assert value(made, "lamp") is False
    made.board.prepare()
    assert value(made, "lamp") is True


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("{name: a, when: hot}", "missing key 'force' in interlock"),
        ("{name: a}", "has one of the keys 'when'"),
        ("{name: a, when: hot, require: door}", "has one of the keys 'when'"),
        ("{when: hot, force: {heater: off}}", "missing key 'name'"),
        ("{name: a, when: hott, force: {heater: off}}", "did you mean 'hot'?"),
        ("{name: a, when: hot, force: {heater: 3}}", "heater: 'value' must be true or false"),
        ("{name: a, when: hot, force: {fan: 3}}", "must be a number from 0 to 1, not 3"),
        ("{name: a, when: hot, force: {door: on}}", "'door' is no output: a button cannot be set"),
        ("{name: a, require: door, for: [haeter]}", "did you mean 'heater'?"),
        ("{name: a, mutex: [left]}", "a mutex is of two devices or more"),
        ("{name: a, mutex: [left, 3]}", "expected the name of a device, not the number 3"),
        ("{name: a, require: door, for: [heater], latch: on}", "unknown key 'latch'"),
    ],
)
def test_rules_that_cannot_be_are_told_with_their_line(
    rule: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"schema: 1\n{DEVICES}  - {rule}\n")
    with pytest.raises(ConfigError) as caught:
        load_board(path)
    assert "x.yaml:10: " in str(caught.value)
    assert sentence in str(caught.value)


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"schema: 1\n{DEVICES}{LID}{LID}")
    with pytest.raises(ConfigError, match="there are two interlocks called 'lid'"):
        load_board(path)


AIR = (
    "devices:\n  air: {driver: mcp3008, channel: 0, stale_after: 5s}\n"
    "  fan: {driver: relay, pin: 17}\n"
    "interlocks:\n"
    "  - {name: air, when: CONDITION, force: {fan: on}, latch: true}\n"
)


@pytest.mark.parametrize("condition", ["air > 45 or stale(air)", "stale(air)"])
def test_a_sensor_that_has_not_been_read_yet_forces_but_does_not_latch(
    rig: Make, condition: str
) -> None:
    started = rig(AIR.replace("CONDITION", condition))
    started.board.open()
    assert value(started, "fan") is True
    assert [(fault.active, fault.latched) for fault in started.board.faults] == [(True, False)]
    started.board.poll()  # the first reading
    assert (value(started, "air"), started.board.faults) == (0.0, ())
    started.board.command("fan", "off")


def test_a_sensor_that_is_not_read_in_time_latches(rig: Make) -> None:
    started = rig(AIR.replace("CONDITION", "stale(air)"))
    started.board.file.devices["air"].at_first = None  # it answers nothing
    started.board.open()
    for seconds, latched in ((0, False), (4.9, False), (0.1, True)):
        started.clock.advance(seconds)
        following = started.board.poll()
        assert [fault.latched for fault in started.board.faults] == [latched]
        assert latched or following < 5.001 - seconds
    started.board.simulate("air", 20)
    assert [(fault.active, fault.latched) for fault in started.board.faults] == [(False, True)]


def test_a_sensor_that_dies_later_latches(rig: Make) -> None:
    started = rig(AIR.replace("CONDITION", "air > 45 or stale(air)"))
    started.board.open()
    started.board.poll()
    started.board.simulate("air", None)
    started.clock.advance(5)
    started.board.poll()
    assert [fault.latched for fault in started.board.faults] == [True]


def test_of_three_that_exclude_each_other_one_is_on_at_most(board: Make) -> None:
    rig = board("  - {name: one, mutex: [left, right, heater], wait: 2s}\n")
    rig.board.command("right", "on")
    for other in ("left", "heater"):
        with pytest.raises(Interlocked, match=f"{other.capitalize()} cannot be on while Right is"):
            rig.board.command(other, "on")
    rig.board.command("right", "off")
    rig.clock.advance(1)
    with pytest.raises(Interlocked, match=r"Heater has to wait for 1\.0 s after Right"):
        rig.board.command("heater", "on")
    rig.clock.advance(1)
    rig.board.command("heater", "on")
    for name in ("left", "right"):
        rig.board.file.devices[name].force(True)
    rig.board.refresh("left", "right")
    assert [value(rig, name) for name in ("left", "right", "heater")] == [False] * 3
