"""A stepper on mock pins: its way, its limits and its end switches, and the pulses of all that."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.board import Board, load_board
from labnode.clock import ManualClock
from labnode.drivers.framework.driver import Ref
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.stepper import Stepper
from labnode.drivers.gpio.trajectory import FULL_STEPS, HALF_STEPS, Trajectory
from labnode.errors import BadInput, DeviceError, Interlocked
from tests.drivers.conftest import Bench
from tests.kit.wiring import lone_board

A_WAVE = 0.01
AHEAD = 0.04  # seconds that go on after the last decision


def cart(bench: Bench, **options: Any) -> Stepper:
    pins = {"step_pin": Pin(17), "direction_pin": Pin(27), "enable": Pin(22)}
    given = {"steps_per_unit": 5, "max_speed": 100, "acceleration": 200, **pins, **options}
    driver = bench.open(Stepper(**given), "cart")
    assert isinstance(driver, Stepper)
    return driver


def lives(bench: Bench, driver: Stepper, seconds: float) -> None:
    """Let the hardware thread do what is due for some seconds."""
    end = bench.clock.now() + seconds
    while bench.clock.now() < end:
        due = driver.due()
        if due is not None and due <= bench.clock.now():
            driver.poll()
        else:
            bench.clock.advance(0.001)


def arrives(bench: Bench, driver: Stepper) -> float:
    """The seconds until it stands still."""
    begin = bench.clock.now()
    lives(bench, driver, 0.002)
    while driver.moving:
        assert bench.clock.now() < begin + 60
        lives(bench, driver, 0.002)
    return bench.clock.now() - begin


def pulses(driver: Stepper) -> int:
    """The rising edges of the STEP pin."""
    levels = [levels & 1 for wave in driver._waves.sent for levels, _ in wave]
    return sum(b > a for a, b in zip([0, *levels], levels, strict=False))


# --- the way ---


def test_a_way_is_a_trapezoid_of_speed_over_time() -> None:
    way = Trajectory(max_speed=1000, acceleration=2000)
    way.target = 1000
    times = []
    while (seconds := way.step()) is not None:
        times.append(seconds)
    assert len(times) == 1000
    assert sum(times) == pytest.approx(1.5)  # 1 s at full speed, and 0.5 s for both ramps
    assert min(times) == pytest.approx(0.001)


def test_however_its_target_changes_it_arrives_and_is_never_too_fast() -> None:
    chance = random.Random(1)
    for _ in range(40):
        way = Trajectory(chance.uniform(5, 2000), chance.uniform(10, 9000))
        for _ in range(4):
            way.target = chance.randint(-300, 300)
            for _ in range(chance.randint(1, 200)):
                way.step()
                assert way.speed <= way.max_speed + 1e-6
        for _ in range(5000):
            if way.step() is None:
                break
        assert (way.position, way.speed) == (way.target, 0)


# --- moving ---


def test_it_moves_to_a_position_in_time_and_with_a_pulse_for_each_step(bench: Bench) -> None:
    motor = cart(bench)
    assert (motor.value, motor.target, bench.level("GPIO22")) == (0, "released", True)
    motor.set(100)
    assert (motor.target, bench.level("GPIO22")) == (100, False)
    assert arrives(bench, motor) == pytest.approx(1.5, abs=0.1)
    assert (motor.value, pulses(motor), bench.level("GPIO27")) == (100, 500, True)
    motor.move(-40)
    arrives(bench, motor)
    assert (motor.value, pulses(motor), bench.level("GPIO27")) == (60, 700, False)
    assert motor.state() == {**motor.state(), "target": 60, "speed": 0, "moving": False}


def test_a_new_target_counts_at_once_and_it_brakes_before_it_turns_round(bench: Bench) -> None:
    motor = cart(bench)
    motor.set(100)
    lives(bench, motor, 0.7)
    assert motor.state()["speed"] == 100
    motor.set(0)
    farthest = motor.value
    while motor.moving:
        lives(bench, motor, 0.01)
        farthest = max(farthest, motor.value)
    assert motor.value == 0
    assert 60 < farthest < 90  # v²/2a is 25


def test_pulses_are_at_least_half_a_step_after_a_change_of_direction(bench: Bench) -> None:
    motor = cart(bench)
    motor.set(10)
    arrives(bench, motor)
    motor._waves.sent.clear()
    motor.set(0)
    lives(bench, motor, 0.05)
    (levels, micros), *_ = motor._waves.sent[0]
    assert (levels, micros >= 250) == (0b00, True)


@pytest.mark.parametrize(("half", "phases"), [(False, FULL_STEPS), (True, HALF_STEPS)])
@pytest.mark.parametrize("invert", [False, True])
def test_four_coils_go_through_their_phases_and_have_no_current_when_released(
    bench: Bench, half: bool, phases: tuple[int, ...], invert: bool
) -> None:
    coils = [Pin(5), Pin(6), Pin(13), Pin(19)]
    motor = bench.open(Stepper(coils=coils, half_steps=half, invert=invert, max_speed=50), "motor")
    motor.set(9)
    arrives(bench, motor)
    seen = [levels for wave in motor._waves.sent for levels, _ in wave]
    changes = [b for a, b in zip([None, *seen], seen, strict=False) if a != b]
    sign = -1 if invert else 1
    assert changes == [phases[sign * step % len(phases)] for step in range(10)]
    levels = sum(int(bench.level(pin.name)) << place for place, pin in enumerate(coils))
    assert levels == phases[sign * 9 % len(phases)]  # it holds its place
    motor.reset()
    assert [bench.level(pin.name) for pin in coils] == [0, 0, 0, 0]


def test_it_is_released_after_a_while_at_rest_if_it_is_told_so(bench: Bench) -> None:
    motor = cart(bench, detach_after=1.0)
    motor.set(10)
    arrives(bench, motor)
    assert motor.target == 10
    lives(bench, motor, 1.1)
    assert (motor.target, motor.value, bench.level("GPIO22")) == ("released", 10, True)


def test_a_stop_brakes_and_then_releases(bench: Bench) -> None:
    motor = cart(bench)
    motor.set(100)
    lives(bench, motor, 0.7)
    before = motor.value
    motor.stop()
    assert arrives(bench, motor) == pytest.approx(0.5, abs=0.1)
    lives(bench, motor, 0.05)
    assert motor.target == "released"
    assert 20 < motor.value - before < 32
    assert motor._made == pulses(motor)


# --- what ends it ---


def test_being_released_ends_pulses_at_once_from_any_thread(bench: Bench) -> None:
    motor = cart(bench)
    motor.set(100)
    lives(bench, motor, 0.7)
    thread = threading.Thread(target=motor.make_safe)
    thread.start()
    thread.join()
    assert (motor._waves.pending, motor.target, bench.level("GPIO22")) == (0, "released", True)
    sent, there = len(motor._waves.sent), motor.value
    lives(bench, motor, 0.1)
    assert len(motor._waves.sent) == sent
    assert motor.moving is False
    assert motor.value - there <= A_WAVE * 100  # what was cancelled does not count


def test_its_dead_man_releases_it_in_motion(bench: Bench) -> None:
    motor = cart(bench, max_speed=10)
    bench.heard_at = bench.clock.now()
    motor.set(100)
    lives(bench, motor, 5.1)
    assert motor.state() == {**motor.state(), "target": "released", "unheard": True}
    assert 40 < motor.value < 51


def test_held_up_it_ends_after_40_ms_and_goes_on_from_rest(bench: Bench) -> None:
    motor = cart(bench)
    motor.set(100)
    lives(bench, motor, 0.7)
    before = motor.value
    bench.clock.advance(2)  # nobody polls
    motor._take_note()
    assert 0 < motor.value - before <= (AHEAD + A_WAVE) * 100
    motor.poll()
    assert motor._way.speed < 50
    arrives(bench, motor)
    assert (motor.value, pulses(motor)) == (100, 500)


# --- what its options say ---


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"step_pin": None}, "a stepper has the pins step and direction, or the four of coils"),
        ({"coils": [Pin(5)] * 4}, "either step and direction or coils"),
        ({"max_speed": 401}, "max_speed can be 400 at most, which are 2000 steps per second"),
        ({"min": 5, "max": 5}, r"min \(5\) must be less than max \(5\)"),
        ({"max": 9, "initial": 10.0}, r"initial \(10\) is not among a number to 9"),
        ({"home_end": "min"}, "home needs min and max"),
        ({"home_end": "max", "min": 0, "max": 9}, "home: max needs max_end, its switch"),
    ],
)
def test_options_that_cannot_be_meant_are_told(options: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"step_pin": Pin(17), "direction_pin": Pin(27), "steps_per_unit": 5}
    with pytest.raises(ValueError, match=sentence):
        Stepper(**{**given, **options})


def test_positions_are_whole_steps_within_the_soft_limits(bench: Bench) -> None:
    motor = cart(bench, min=0, max=50)
    assert motor.accept("x", 10.07) == 10
    for value in (51, -1, True, "home"):
        with pytest.raises(BadInput, match="'value' must be a number from 0 to 50"):
            motor.set(value)
    motor.set("released")
    with pytest.raises(BadInput, match="'cart' has no home"):
        motor.home()
    assert motor.describe() == {**motor.describe(), "min": 0, "max": 50, "step": 0.2}


# --- on a board ---

RAIL = """\
devices:
  cart:
    driver: stepper
    step: 17
    direction: 27
    enable: 22
    steps_per_unit: 5
    min: 0
    max: 100
    max_speed: 100
    acceleration: 400
    min_end: left
    max_end: right
    {home}
  left: {{driver: button, pin: 5}}
  right: {{driver: button, pin: 6}}
  lid: {{driver: button, pin: 13}}
  drill: {{driver: relay, pin: 19}}
interlocks:
  - {{name: lid, require: lid, for: [cart]}}
  - {{name: far, when: cart > {far}, force: {{cart: released}}}}
  - {{name: one, mutex: [cart, drill]}}
simulate: {{lid: true, left: "cart <= -4", right: "{right}"}}
"""
HOME = "home: min\n    home_speed: 20\n    home_position: -4"


class TickingClock(ManualClock):
    """Goes on while it is read, as real ones do."""

    def now(self) -> float:
        self.advance(1e-6)
        return super().now()


class Rail:
    """A board with a cart, whose hardware thread is the test."""

    def __init__(self, path: Path) -> None:
        self.clock = TickingClock()
        self.board: Board = lone_board(load_board(path), self.clock, worker=self, tasks=self)
        self.board.open()
        self.motor: Any = self.board.file.devices["cart"]

    busy_since = None

    def post(self, call: Callable[[], None]) -> None:
        pass  # mock pins change on this thread, and are read at each poll

    def outlast(self, seconds: float, over: Callable[[], bool]) -> bool:
        return self.pause(seconds, over)

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        pass

    def pause(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        end = self.clock.now() + seconds
        while self.clock.now() < end and not (until and until()):
            rest = self.board.poll()
            self.clock.advance(min(0.005 if rest is None else max(rest, 0.001), 0.005))
        return True

    def arrives(self) -> None:
        self.pause(0.05)
        self.pause(60, lambda: not self.motor.moving)

    def set(self, value: Any) -> None:
        self.board.command("cart", "set", [value])

    @property
    def cart(self) -> dict[str, Any]:
        return self.board.snapshot["cart"]


Make = Callable[..., Rail]


@pytest.fixture
def rail(tmp_path: Path) -> Any:
    made: list[Rail] = []

    def make(home: str = HOME, right: str = "cart >= 104", far: int = 90) -> Rail:
        path = tmp_path / "rail.yaml"
        path.write_text("schema: 1\n" + RAIL.format(home=home, right=right, far=far))
        made.append(Rail(path))
        return made[-1]

    yield make
    for each in made:
        each.board.close()


def test_it_homes_before_a_session_and_moves_only_then(rail: Make) -> None:
    lab = rail()
    with pytest.raises(Interlocked, match="does not know where it is: it has to be homed first"):
        lab.set(10)
    lab.board.prepare()
    assert lab.cart == {**lab.cart, "value": 0, "homed": True, "moving": False}
    lab.set(50)
    lab.arrives()
    assert lab.cart == {**lab.cart, "value": 50, "homed": True}


def test_the_switch_of_its_home_goes_off_at_the_home_position(rail: Make) -> None:
    lab = rail()
    lab.motor._made = 100  # it begins anywhere
    lab.motor._way.halt(100)
    lab.board.refresh("cart")
    lab.motor.home()
    while lab.motor._homing != "leave" or lab.board.snapshot["left"]["value"]:
        lab.pause(0.005)
    # The simulated switch goes off where the cart is at -4 by what it counted before.
    off = lab.motor._made
    lab.pause(60, lambda: not lab.motor.moving)
    assert off == pytest.approx(-20, abs=2)
    assert lab.cart["value"] == 0


@pytest.mark.parametrize(
    ("left", "sentence"), [(False, "'left' never came on"), (True, "'left' never went off")]
)
def test_a_switch_that_never_changes_ends_the_search(rail: Make, left: bool, sentence: str) -> None:
    lab = rail(far=200)
    lab.board.simulation._links.pop("left")  # type: ignore[union-attr]
    lab.board.simulate("left", left)
    with pytest.raises(DeviceError, match=sentence):
        lab.board.prepare()
    assert lab.cart == {**lab.cart, "target": "released", "homed": False}


def test_an_end_switch_stops_it_within_40_ms_and_it_can_go_back(rail: Make) -> None:
    lab = rail(right="cart >= 60")
    lab.board.prepare()
    lab.set(80)
    lab.arrives()
    assert lab.cart == {**lab.cart, "end": "max", "homed": False, "moving": False}
    assert 60 <= lab.cart["value"] <= 60 + 100 * (AHEAD + 2 * A_WAVE)
    lab.board.command("cart", "home")
    lab.arrives()
    lab.pause(10, lambda: lab.motor._homed)
    assert lab.cart["homed"] is True
    assert "end" not in lab.cart


def test_without_a_home_it_stays_where_an_end_switch_is_on_and_leaves_it(rail: Make) -> None:
    lab = rail(home="detach_after: 1h", right="cart >= 60")
    lab.set(80)
    lab.arrives()
    there = lab.cart["value"]
    lab.set(80)
    lab.arrives()
    assert (lab.cart["value"], lab.cart["target"]) == (there, there)
    lab.set(10)
    lab.arrives()
    assert lab.cart["value"] == 10


def test_a_switch_that_cannot_be_read_counts_as_on(bench: Bench) -> None:
    motor = cart(bench, min_end=Ref("left"))

    def gone(name: str) -> Any:
        raise OSError("no such chip")

    bench.device = gone  # type: ignore[attr-defined]
    motor.set(-10)
    lives(bench, motor, 0.5)
    assert (motor.value, motor.state()["end"]) == (0, "min")
    motor.set(10)
    arrives(bench, motor)
    assert motor.value == 10


def test_an_interlock_releases_it_in_motion_and_it_forgets_its_position(rail: Make) -> None:
    lab = rail()
    lab.board.prepare()
    lab.set(80)
    lab.pause(0.3)
    lab.board.simulate("lid", False)
    assert lab.motor._waves.pending == 0
    lab.pause(0.05)
    assert lab.cart == {**lab.cart, "target": "released", "homed": False, "held": True}
    lab.board.simulate("lid", True)
    with pytest.raises(Interlocked, match="has to be homed first"):
        lab.set(10)


def test_interlocks_judge_it_by_its_target(rail: Make) -> None:
    lab = rail()
    lab.board.prepare()
    with pytest.raises(Interlocked, match="'cart' is interlocked"):
        lab.set(95)
    with pytest.raises(Interlocked, match="'drill' cannot be on while 'cart' is"):
        lab.board.command("drill", "on")
    lab.set("released")
    lab.board.command("drill", "on")
    with pytest.raises(Interlocked, match="'cart' cannot be on while 'drill' is"):
        lab.set(0)  # where it is already


def test_an_emergency_stop_releases_it(rail: Make) -> None:
    lab = rail()
    lab.board.prepare()
    lab.set(80)
    lab.pause(0.2)
    assert lab.board.halt("pressed") == []
    assert lab.motor._waves.pending == 0
    lab.pause(0.1)
    assert lab.cart["target"] == "released"
