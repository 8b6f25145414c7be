"""A PID controller: drives an output so that a value stays where it is wanted."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from labnode.clock import earliest
from labnode.drivers.framework.driver import Claim, Derived, Driver, Ref
from labnode.drivers.framework.input import Input
from labnode.drivers.framework.output import NumberOutput, SwitchOutput
from labnode.drivers.framework.readings import Readings
from labnode.drivers.framework.registry import register
from labnode.drivers.logic.commanding import RETRY, Commanding
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration

log = logging.getLogger(__name__)


class Controller:
    """The control law, without devices or time of its own.

    A PID in the parallel form whose D term follows the measurement, so that a new setpoint is no
    blow (Astrom, Murray: Feedback Systems, chapter 11). Against windup the integral grows neither
    further beyond a limit nor while the output does not obey.
    """

    def __init__(self, kp: float, ki: float, kd: float, low: float, high: float) -> None:
        self._gains = kp, ki, kd
        self._limits = low, high
        self.integral = min(high, max(low, 0.0))
        self._measured: float | None = None

    def output(self, wanted: float, measured: float, seconds: float, *, obeyed: bool) -> float:
        """What to drive from now on; the last output lasted `seconds`."""
        kp, ki, kd = self._gains
        low, high = self._limits
        error, before = wanted - measured, self._measured
        slope = 0.0 if before is None or seconds <= 0 else (measured - before) / seconds
        self._measured = measured
        grown = self.integral + ki * error * seconds
        rest = kp * error - kd * slope
        further = (grown - self.integral) * (rest + grown - min(high, max(low, rest + grown)))
        if obeyed and further <= 0:
            self.integral = min(high, max(low, grown))
        return min(high, max(low, rest + self.integral))


@register("pid")
@dataclass(kw_only=True)
class Pid(SwitchOutput, Commanding):
    """A PID controller. While it is on it drives an output so that `input` gets near `setpoint`.

    The output's limits, interlocks and dead man count as they do for students. The controller goes
    off, and its output to safe, when the input is missing or stale, and stays off until it is
    switched on again. An output that is only on or off is on for a part of each `cycle`.

    Example::

        hold: {driver: pid, input: temp, setpoint: 40, output: fan, kp: -0.1, ki: -0.002}
    """

    moves: ClassVar[bool] = True  # for its dead man

    input: Annotated[Ref, Doc("The device whose value is controlled: a sensor or a formula.")]
    setpoint: Annotated[
        float | Ref, Doc("What the value has to be: a number, or a device such as a virtual one.")
    ]
    output: Annotated[Ref, Doc("The output that it drives: a number, or on and off.")]
    kp: Annotated[
        float, Doc("Output per unit of error; negative gains where more output means less.")
    ]
    ki: Annotated[float, Doc("Output per unit of error and second.")] = 0.0
    kd: Annotated[float, Doc("Output per unit of change in a second.")] = 0.0
    sample_time: Annotated[
        Duration, Between(0.02, 3600), Doc("How often it looks at the input and drives the output.")
    ] = 1.0
    output_min: Annotated[
        float | None, Doc("The least that it drives; by default the output's min, or 0.")
    ] = None
    output_max: Annotated[
        float | None, Doc("The most that it drives; by default the output's max, or 1.")
    ] = None
    cycle: Annotated[
        Duration | None,
        Between(0.1, 3600),
        Doc("For an output that is on or off: the period; it is on for a part of each."),
    ] = None
    min_pulse: Annotated[
        Duration, Doc("With `cycle`: shorter pulses, and shorter pauses, are left out.")
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.safe or self.hold:
            raise ValueError(Message("driver.pid-safe"))
        if {math.copysign(1, gain) for gain in (self.kp, self.ki, self.kd) if gain} == {1, -1}:
            raise ValueError(Message("driver.pid-signs"))
        if self.cycle is not None and not 2 * self.min_pulse <= self.cycle >= self.sample_time:
            raise ValueError(Message("driver.pid-cycle"))
        self._range = 0.0, 1.0
        self._rests: Any = False

    def claims(self) -> list[Claim]:
        return [*super().claims(), self.output_claim(self.output)]

    def misfits(self, devices: Mapping[str, Driver | None]) -> Iterator[tuple[str, Message]]:
        for key in ("input", "setpoint"):
            name = getattr(self, key)
            other = devices.get(name)
            if other is not None and other.value_type.kind not in (float, None):
                yield key, Message("driver.shows-no-number", name=name, kind=other.kind)
        for name in sorted(set(_untrusted(devices, self.input))):
            yield "input", Message("driver.needs-stale-after", name=name)
        output = devices.get(self.output)
        if isinstance(output, NumberOutput) and self.cycle is not None:
            yield "cycle", Message("driver.needs-no-cycle", name=self.output)
        elif isinstance(output, SwitchOutput) and self.cycle is None:
            yield "output", Message("driver.needs-cycle", name=self.output)
        elif output is not None and not isinstance(output, NumberOutput | SwitchOutput):
            yield "output", Message("driver.not-driven", name=self.output, kind=output.kind)
        yield from self._limit(output)

    def _limit(self, output: Driver | None) -> Iterator[tuple[str, Message]]:
        """Take the limits of the output."""
        low, high = 0.0, 1.0
        if isinstance(output, NumberOutput):
            low, high = output.least, output.most
        elif isinstance(output, SwitchOutput):
            self._rests = output.safe
        mine = (
            low if self.output_min is None else self.output_min,
            high if self.output_max is None else self.output_max,
        )
        self._range = mine
        if not low <= mine[0] < mine[1] <= high:
            key = "output_min" if self.output_min is not None else "output_max"
            given, taken = _range(*mine), _range(low, high)
            yield key, Message("driver.takes-range", name=self.output, taken=taken, given=given)

    # ------------------------------------------------------------------ at run time

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._begin()
        self._lost = False  # the input could not be trusted

    def _begin(self) -> None:
        self._controller = Controller(self.kp, self.ki, self.kd, *self._range)
        self._looked_at = -math.inf
        self._power: float | None = None
        self._obeyed = True
        self._cycle_at = self._off_at = -math.inf

    def put(self, value: Any, where: str = "set") -> None:
        if value and not self._value:
            self._begin()
        super().put(value, where)
        self._lost = self._lost and not value

    def reset(self) -> None:
        super().reset()
        self._lost = False

    def state(self) -> dict[str, Any]:
        state = super().state()
        if self._value and self._power is not None:
            state["power"] = round(self._power, 4)
        if self._lost:
            state = {"locked": Message("page.no-input", name=self.input).words, **state}
        return state

    def work(self, now: float) -> float | None:
        if self._value:
            wanted, measured = self._wanted(), self._measured()
            if wanted is not None and measured is not None:
                self._look(now, wanted, measured)
                return earliest(self._drive_output(now), self._looked_at + self.sample_time)
            log.warning("'%s' goes off: '%s' shows nothing to be trusted.", self.name, self.input)
            self._lost = True
            self.stay_safe()
        self._power = None
        return None if self.give_up(self.output, self._safe_output()) else now + RETRY

    def _look(self, now: float, wanted: float, measured: float) -> None:
        if now >= self._looked_at + self.sample_time:  # as `work` says, to the last bit
            seconds = now - self._looked_at if self._power is not None else 0.0
            self._power = self._controller.output(wanted, measured, seconds, obeyed=self._obeyed)
            self._looked_at = now

    def _drive_output(self, now: float) -> float | None:
        """Drive the output; when to do so again before the next look."""
        assert self._power is not None
        output: Any = self.services.device(self.output)
        if self.cycle is None:
            self._obeyed = self.bring(self.output, round(output.nearest(self._power), 6))
            return None
        if now >= self._cycle_at + self.cycle:
            self._cycle_at, self._off_at = now, now + self._on_time(self._power)
        on = now < self._off_at
        self._obeyed = self.bring(self.output, on != self._rests)
        ends = self._off_at if on else self._cycle_at + self.cycle
        return ends if ends > now else None

    def _on_time(self, power: float) -> float:
        assert self.cycle is not None
        seconds = power * self.cycle
        if seconds < self.min_pulse or seconds <= 0:
            return 0.0
        return self.cycle if self.cycle - seconds < self.min_pulse else seconds

    def _safe_output(self) -> Any:
        output: Any = self.services.device(self.output)
        return output.safe

    def _wanted(self) -> float | None:
        name = self.setpoint
        return name if isinstance(name, float) else _number(self.services.snapshot, name)

    def _measured(self) -> float | None:
        return _number(self.services.snapshot, self.input)


def _range(low: float, high: float) -> Message:
    return Message("driver.range", low=f"{low:g}", high=f"{high:g}")


def _number(snapshot: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    """The value of a device, None unless it is a number that can be trusted."""
    readings = Readings(snapshot)
    value = readings.value(name)
    if type(value) not in (int, float) or readings.stale(name) or not readings.connected(name):
        return None
    return float(value)


def _untrusted(devices: Mapping[str, Driver | None], name: str) -> Iterator[str]:
    """The sensors behind a value that never get stale."""
    device = devices.get(name)
    if isinstance(device, Derived):
        for source in device.sources:
            yield from _untrusted(devices, source)
    elif isinstance(device, Input) and device.sample_every and device.stale_after is None:
        yield name
