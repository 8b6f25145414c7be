from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from labnode.drivers.framework.driver import command
from labnode.drivers.framework.output import NumberOutput, Output
from labnode.drivers.framework.registry import register, registry
from labnode.drivers.gpio.digital_output import DigitalOutput
from labnode.drivers.gpio.motor import Motor
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_output import PwmOutput
from labnode.errors import BadInput, Busy, Interlocked


def heater(bench: Any, **options: Any) -> DigitalOutput:
    output: DigitalOutput = bench.open(DigitalOutput(pin=Pin(17), **options), "heater")
    return output


def test_what_is_on_for_too_long_is_made_safe_when_it_is_polled(bench: Any) -> None:
    output = heater(bench, max_on_time=10.0)
    output.on()
    bench.clock.advance(9)
    output.poll()
    assert output.value is True
    assert output.due() == bench.clock.now() + 1
    bench.clock.advance(1)
    output.poll()
    assert (output.value, output.due()) == (False, None)


def test_commanding_on_again_does_not_make_the_time_longer(bench: Any) -> None:
    output = heater(bench, max_on_time=10.0)
    output.on()
    bench.clock.advance(6)
    output.on()
    bench.clock.advance(4)
    output.poll()
    assert output.value is False


def test_nobody_polling_it_is_told_as_overdue(bench: Any) -> None:
    output = heater(bench, max_on_time=10.0)
    assert output.overdue(bench.clock.now() + 100) == 0
    output.on()
    assert output.overdue(bench.clock.now() + 12) == 2


def test_a_pulse_ends_by_itself(bench: Any) -> None:
    output = heater(bench, pulse=0.5)
    output.on()
    bench.clock.advance(0.5)
    output.poll()
    assert output.value is False
    assert output.describe() == {"widget": "button", "pulse": 0.5}


def test_for_an_output_that_is_safe_when_on_the_limits_are_for_being_off(bench: Any) -> None:
    output = heater(bench, safe=True, max_on_time=10.0)
    output.off()
    bench.clock.advance(10)
    output.poll()
    assert output.value is True


def test_what_was_switched_off_has_to_rest_and_says_how_long(bench: Any) -> None:
    output = heater(bench, min_off_time=5.0)
    bench.clock.advance(5)
    output.on()
    output.off()
    bench.clock.advance(2)
    assert output.state()["locked"] == {"message": "page.rests"}
    with pytest.raises(Busy, match=r"Heater was switched off a moment ago .* 3.0 s"):
        output.on()
    assert output.due() == bench.clock.now() + 3
    bench.clock.advance(3)
    output.poll()
    assert "locked" not in output.state()
    output.on()
    assert output.value is True


def test_after_opening_it_rests_because_nobody_knows_since_when_it_is_off(bench: Any) -> None:
    output = heater(bench, min_off_time=5.0)
    assert output.state()["locked"] == {"message": "page.rests"}
    with pytest.raises(Busy):
        output.on()
    bench.clock.advance(5)
    output.poll()
    assert "locked" not in output.state()


def test_a_reset_is_never_refused_and_counts_as_switching_off(bench: Any) -> None:
    output = heater(bench, min_off_time=5.0, max_per_second=0.1)
    bench.clock.advance(5)
    output.on()
    output.reset()
    assert output.value is False
    with pytest.raises(Busy):
        output.on()


def test_after_an_emergency_it_has_to_rest_too(bench: Any) -> None:
    output = heater(bench, min_off_time=5.0, max_on_time=60.0)
    bench.clock.advance(5)
    output.on()
    output.make_safe()  # by another thread
    output.stay_safe()  # then by the hardware thread
    assert output.due() == bench.clock.now() + 5
    with pytest.raises(Busy, match="has to rest for"):
        output.on()


@dataclass(kw_only=True)
class Stubborn(DigitalOutput):
    """Its hardware does not obey while it is `broken`."""

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self.broken = False

    def drive(self, value: bool) -> None:
        if self.broken:
            raise OSError("smoke")
        super().drive(value)


def stubborn(bench: Any, **options: Any) -> Stubborn:
    output: Stubborn = bench.open(Stubborn(pin=Pin(17), **options), "heater")
    return output


def test_what_does_not_obey_says_so_until_it_does(bench: Any) -> None:
    output = stubborn(bench)
    output.broken = True
    with pytest.raises(OSError, match="smoke"):
        output.on()
    assert output.state()["error"] == "OSError: smoke"
    output.broken = False
    output.off()
    assert "error" not in output.state()


def test_what_does_not_obey_counts_as_on(bench: Any) -> None:
    output = stubborn(bench, max_on_time=10.0)
    output.broken = True
    with pytest.raises(OSError, match="smoke"):
        output.on()
    assert output.overdue(bench.clock.now() + 12) == 2
    output.broken = False


def test_what_does_not_obey_is_on_since_it_was_switched_on(bench: Any) -> None:
    output = stubborn(bench, max_on_time=10.0)
    output.on()
    output.broken = True
    bench.clock.advance(4)
    with pytest.raises(OSError, match="smoke"):
        output.off()
    assert output.overdue(bench.clock.now() + 8) == 2
    output.broken = False


def test_too_many_changes_are_refused_but_never_the_safe_one(bench: Any) -> None:
    output = heater(bench, max_per_second=2)
    for _ in range(2):
        output.on()
        output.off()
    with pytest.raises(Busy, match="2 changes per second at most"):
        output.on()
    output.off()
    bench.clock.advance(0.5)
    output.on()
    assert output.value is True


def test_where_less_than_one_change_per_second_is_allowed_none_are_saved_up(bench: Any) -> None:
    output = heater(bench, max_per_second=0.5)
    for pause in (0, 2, 100):
        bench.clock.advance(pause)
        output.on()
        output.off()
        with pytest.raises(Busy, match=r"0\.5 changes per second at most"):
            output.on()


def test_interlocks_are_asked_before_the_hardware(bench: Any) -> None:
    output = heater(bench)
    bench.forbidden = "the lid is open"
    with pytest.raises(Interlocked, match="the lid is open"):
        output.on()
    assert output.value is False


def test_what_an_interlock_forces_no_limit_delays_or_ends(bench: Any) -> None:
    output = heater(bench, min_off_time=5.0, max_on_time=1.0)
    output.force(True)
    bench.clock.advance(60)
    output.poll()
    assert output.value is True
    assert output.overdue(bench.clock.now()) == 0


def test_hardware_that_fails_half_way_is_made_safe(bench: Any) -> None:
    output = heater(bench)
    driven = []

    def drive(value: bool) -> None:
        driven.append(value)
        if value:
            raise OSError("no power")

    output.drive = drive  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no power"):
        output.on()
    assert driven == [True, False]


def test_a_number_is_within_its_limits_and_steps_or_safe(bench: Any) -> None:
    fan = bench.open(PwmOutput(pin=Pin(18), min=0.2, max=0.8, step=0.2, safe=1.0), "fan")
    for value in (0.2, 0.4, 0.8, 1.0, 0.0):
        fan.set(value)
        assert fan.value == value
    for value in (0.1, 0.3, 0.9, 0.8000001):  # not rounded first
        with pytest.raises(BadInput, match=r"a number from 0.2 to 0.8 in steps of 0.2, not"):
            fan.set(value)


@pytest.mark.parametrize(
    ("wished", "nearest"), [(0.0, 0.2), (0.29, 0.2), (0.31, 0.4), (0.55, 0.6), (1.0, 0.8)]
)
def test_the_nearest_value_is_one_that_may_be_set(
    bench: Any, wished: float, nearest: float
) -> None:
    fan = bench.open(PwmOutput(pin=Pin(18), min=0.2, max=0.8, step=0.2), "fan")
    assert fan.nearest(wished) == pytest.approx(nearest)


def test_steps_are_counted_from_the_lowest_value(bench: Any) -> None:
    fan = bench.open(PwmOutput(pin=Pin(18), min=0.05, max=0.85, step=0.2), "fan")
    fan.set(0.25)
    assert fan.value == 0.25
    with pytest.raises(BadInput):
        fan.set(0.2)


@pytest.fixture(params=["Output", "NumberOutput"])
def supply(request: pytest.FixtureRequest, bench: Any) -> Any:
    """A lab's own power supply, which does not look at its limits itself."""
    base: Any = {"Output": Output, "NumberOutput": NumberOutput}[request.param]

    @register("own_supply")
    @dataclass(kw_only=True)
    class Supply(base):  # type: ignore[misc]
        highest = 100.0
        safe: float = 0.0
        min: float | None = None
        max: float | None = None
        step: float | None = None

        def open(self) -> None:
            self.volts = self.safe
            self.opened()

        def check(self, where: str, value: Any) -> Any:
            return value

        def drive(self, value: float) -> None:
            self.volts = value

        @property
        def value(self) -> float:
            return self.volts

        @command
        def set(self, value: float) -> None:
            self.put(value)

        @command
        def volts_now(self, value: float) -> None:
            self.put(value, "volts_now")

    del registry["own_supply"]
    return bench.open(Supply(min=1.0, max=12.0, step=0.5), "supply")


@pytest.mark.parametrize("value", [99.0, -3.0, 0.5, 3.3])
def test_a_labs_own_number_keeps_its_limits_although_its_driver_does_not(
    supply: Any, value: float
) -> None:
    for command_of_it in (supply.set, supply.volts_now):
        with pytest.raises(BadInput, match=r"must be a number from 1 to 12 in steps of 0\.5, not"):
            command_of_it(value)
    with pytest.raises(BadInput, match="a number from 1 to 12"):
        supply.accept("supply", value)
    assert supply.value == 0.0


@pytest.mark.parametrize("value", [1.0, 12.0, 3.5, 0.0])
def test_a_labs_own_number_has_the_values_within_its_limits_and_safe(
    supply: Any, value: float
) -> None:
    supply.set(value)
    assert (supply.value, supply.accept("supply", value)) == (value, value)


def test_it_says_when_its_next_change_is_allowed(bench: Any) -> None:
    output = heater(bench, max_per_second=0.5)
    output.on()
    for pause, left in ((0, 2.0), (1, 1.0)):
        bench.clock.advance(pause)
        with pytest.raises(Busy) as refused:
            output.on()
        assert refused.value.retry_after == pytest.approx(left)


class Supply(Output):
    """A lab's own output, which has a lower limit alone, and takes texts."""

    safe = 0.0
    min = 0.0
    value = 0.0

    def drive(self, value: Any) -> None:
        self.value = value

    def check(self, where: str, value: Any) -> float:
        return float(value)


@pytest.mark.parametrize("volts", [-3, "-3"])
def test_a_limit_on_one_side_holds_and_is_told_whatever_is_given(bench: Any, volts: Any) -> None:
    supply = bench.open(Supply(), "supply")
    with pytest.raises(BadInput, match=r"supply.set: 'value' must be a number from 0, not -3"):
        supply.put(volts)
    supply.put("1e9")
    assert supply.value == 1e9


def test_a_slider_goes_over_all_values_in_a_hundred_steps(bench: Any) -> None:
    belt = bench.open(Motor(forward_pin=Pin(17), backward_pin=Pin(27)))
    assert [belt.describe()[name] for name in ("min", "max", "step")] == [-1, 1, 0.02]
