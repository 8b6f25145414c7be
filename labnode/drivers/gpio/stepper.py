"""Stepper motors, which know where they are by counting their steps."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import gpiozero

from labnode.clock import earliest
from labnode.drivers.framework.driver import Ref, Widget, command
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin, PinGroup
from labnode.drivers.gpio.trajectory import FULL_STEPS, HALF_STEPS, WAVE, Pulses, Trajectory
from labnode.errors import BadInput, DeviceError, Interlocked
from labnode.locale import Joined, Message, Wording
from labnode.schema import Between, Doc, Duration

log = logging.getLogger(__name__)

_FASTEST = 2000.0  # steps per second: lgpio's thread wakes up twice for each
_AHEAD = 4  # waves that are sent: so much goes on after the last decision
_EVERY = WAVE / 1e6  # seconds between two looks while it moves
_MARGIN = 1.2  # of the way between min and max: how far an end switch is searched for

RELEASED: Literal["released"] = "released"
End = Literal["min", "max"]


@register("stepper")
@dataclass(kw_only=True)
class Stepper(Output):
    """A stepper motor, on a driver with STEP and DIR inputs (A4988, DRV8825, TMC2209, TB6600) or on
    a board with a transistor for each of four coils (ULN2003 with a 28BYJ-48, L298N).

    Its value is the position, in `unit`: so many steps as `steps_per_unit` says are 1. `set` moves
    to a position, `move` by a distance, both with `max_speed` and `acceleration`; `stop` brakes and
    releases. For limits, interlocks and its dead man it is on from a command until it is
    *released*, its safe value: no pulses, and no power if it has `enable` or coils. A reset, an
    interlock, the emergency stop and every end of labnode release it. In interlocks write
    `force: {cart: released}`.

    `min` and `max` are soft limits. `min_end` and `max_end` name the inputs of end switches. While
    one is on, or cannot be read, nothing moves towards it; of pulses that are already on their way
    there are 40 ms at most, 80 steps at 2,000 steps per second, which the way behind the switch
    must allow. Being released ends pulses within a millisecond.

    With `home` it searches its end switch before every session, and whenever `home` is called: at
    `home_speed` until the switch is on, then at a quarter of that until it is off again, which is
    `home_position`. It moves only when it knows its position, which it forgets when it is released
    in motion or stopped by an end switch at speed.

    The hardware thread sends pulses in waves of 10 ms, up to four of them ahead. When it is held up
    for longer, the motor stands still on its way and then goes on from rest, and may have lost
    steps if it was fast. At most 2,000 steps per second are possible.

    Example::

        cart:
          driver: stepper
          step: GPIO17
          direction: GPIO27
          enable: GPIO22
          steps_per_unit: 5
          unit: mm
          min: 0
          max: 300
          max_speed: 100
          acceleration: 200
    """

    widget: ClassVar[Widget] = "slider"
    moves: ClassVar[bool] = True

    safe: Literal["released"] = RELEASED
    initial: float | None = None
    step_pin: Annotated[Pin | None, Doc("The pin of the driver's STEP input.")] = field(
        default=None, metadata={"key": "step"}
    )
    direction_pin: Annotated[
        Pin | None, Doc("The pin of the driver's DIR input, high towards max.")
    ] = field(default=None, metadata={"key": "direction"})
    enable: Annotated[Pin | None, Doc("The pin of the driver's ENABLE input.")] = None
    enable_active_high: Annotated[
        bool, Doc("Whether a high ENABLE gives the motor power; by default a low one does.")
    ] = False
    coils: Annotated[
        list[Pin] | None, Doc("Instead of step and direction: the pins of four coils, in order.")
    ] = None
    half_steps: Annotated[bool, Doc("For coils: twice as many steps, of half the size.")] = False
    invert: Annotated[bool, Doc("Whether it turns the other way round.")] = False
    steps_per_unit: Annotated[float, Between(0.0001), Doc("The steps of one `unit`.")] = 1.0
    min: Annotated[float | None, Doc("The lowest position.")] = None
    max: Annotated[float | None, Doc("The highest position.")] = None
    max_speed: Annotated[float, Between(0.001), Doc("The highest speed, in units per second.")] = (
        100.0
    )
    acceleration: Annotated[
        float, Between(0.001), Doc("How fast the speed changes, in units per second, per second.")
    ] = 200.0
    min_end: Annotated[Ref | None, Doc("The input that is on at the lower end.")] = None
    max_end: Annotated[Ref | None, Doc("The input that is on at the upper end.")] = None
    home_end: Annotated[
        Literal["min", "max"] | None,
        Doc("The end whose switch tells where it is; by default it begins with 0 where it stands."),
    ] = field(default=None, metadata={"key": "home"})
    home_speed: Annotated[
        float | None,
        Between(0.001),
        Doc("The speed of the search, in units per second; by default a tenth of max_speed."),
    ] = None
    home_position: Annotated[
        float | None, Doc("Where the switch goes off; by default at min or max.")
    ] = None
    detach_after: Annotated[
        Duration | None, Doc("It is released so long after a move; by default it holds its place.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coils is None and (self.step_pin is None or self.direction_pin is None):
            raise ValueError(Message("driver.stepper-pins"))
        if self.coils is not None and (self.step_pin or self.direction_pin):
            raise ValueError(Message("driver.stepper-either"))
        if self.coils is not None and len(self.coils) != 4:
            raise ValueError(Message("driver.four-coils", n=len(self.coils)))
        fastest = _FASTEST / self.steps_per_unit
        if self.max_speed > fastest:
            speed, steps = f"{fastest:g}", f"{_FASTEST:g}"
            raise ValueError(Message("driver.stepper-fastest", speed=speed, steps=steps))
        self._check_numbers()
        if self.home_end is None:
            return
        if self.min is None or self.max is None:
            raise ValueError(Message("driver.home-limits"))
        if self._switch(self.home_end) is None:
            raise ValueError(Message("driver.home-switch", end=self.home_end))

    def warnings(self) -> list[str | Wording]:
        found = [*super().warnings()]
        if self.coils is None and self.enable is None:
            found.append(Message("driver.stepper-power"))
        return found

    def rest_level(self) -> dict[int, bool]:
        levels = {pin.number: False for pin in self._lines}
        return levels | ({self.enable.number: not self.enable_active_high} if self.enable else {})

    # ------------------------------------------------------------------ open and close

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._target: float | str = RELEASED
        self._homed = False
        self._homing: Literal["seek", "leave"] | None = None
        self._searches = False  # the command that is on its way is `home`
        self._stops = False  # `stop` was called: it is released when it stands still
        self._end: End | None = None  # whose switch has stopped it
        self._steps: deque[int] = deque()  # of the waves that were sent
        self._cancelled = 0  # waves
        self._made = 0  # steps, from position 0
        self._left_at = 0  # steps at which the switch of its home went off
        self._look_at: float | None = None
        self._still_since = 0.0

    def open(self) -> None:
        self._way = Trajectory(
            self.max_speed * self.steps_per_unit, self.acceleration * self.steps_per_unit
        )
        phases = HALF_STEPS if self.half_steps else FULL_STEPS
        self._pulses = Pulses(self._way, phases if self.coils else (), invert=self.invert)
        self._steps.clear()
        self._made, self._homed = 0, False
        self.hardware = PinGroup(self._devices())
        self.reset()
        self.opened()

    def _devices(self) -> Iterator[Any]:
        pins = self.services.pins
        if self.enable is not None:
            yield gpiozero.DigitalOutputDevice(
                self.enable.name, active_high=self.enable_active_high, pin_factory=pins
            )
        self._waves = pins.waves([pin.number for pin in self._lines], 0, self.services.clock)
        yield self._waves

    @property
    def _lines(self) -> list[Pin]:
        return self.coils or [pin for pin in (self.step_pin, self.direction_pin) if pin]

    # ------------------------------------------------------------------ values

    @property
    def value(self) -> float:
        return self._at(self._made)

    @property
    def target(self) -> float | str:
        return self._target

    def is_safe(self, value: Any) -> bool:
        return bool(value == RELEASED)

    def check(self, where: str, value: Any) -> float | str:
        if value == RELEASED or type(value) in (int, float):
            return RELEASED if value == RELEASED else self._at(self._steps_to(value))
        wrong = Message("error.value-or", expected=self._values(), other=f"'{RELEASED}'")
        raise BadInput(Joined(f"{where}: ", wrong))

    def state(self) -> dict[str, Any]:
        speed = self._way.speed * self._way.direction / self.steps_per_unit
        homed = {} if self.home_end is None else {"homed": self._homed}
        end = {} if self._end is None else {"end": self._end}
        moving = {"target": self._target, "speed": round(speed, 3), "moving": self.moving}
        return {**super().state(), **moving, **homed, **end}

    def describe(self) -> dict[str, Any]:
        if self.min is None or self.max is None:
            return {**super().describe(), "widget": "value"}
        step = max(1 / self.steps_per_unit, (self.max - self.min) / 1000)
        return {**super().describe(), "min": self.min, "max": self.max, "step": round(step, 6)}

    @property
    def moving(self) -> bool:
        """Whether steps are on their way or to come."""
        return bool(self._steps) or not self._pulses.ended

    def _steps_to(self, position: float) -> int:
        return round(position * self.steps_per_unit)

    def _at(self, steps: int) -> float:
        return round(steps / self.steps_per_unit, 6)

    # ------------------------------------------------------------------ commands

    @command
    def set(self, value: bool | float | str) -> None:
        """Move to a position."""
        self.put(value)

    @command
    def move(self, distance: float) -> None:
        """Move by a distance from where it is or is on its way to."""
        begin = self.value if isinstance(self._target, str) else self._target
        self.put(begin + distance, "move")

    @command
    def stop(self) -> None:
        """Brake, and release it when it stands still."""
        if self._homing is not None or not self.moving:
            self.put(RELEASED, "stop")
        else:
            self._way.brake()
            self._target = self._at(self._way.target)
            self._stops = True

    @command
    def home(self) -> None:
        """Search the end switch, to know the position."""
        if self.home_end is None:
            raise BadInput(Message("error.no-home", name=self.name))
        self._searches = True
        try:
            self.put(self._nearest(self._home_position), "home")
        finally:
            self._searches = False

    def put(self, value: Any, where: str = "set") -> None:
        if not self._knows_where and not self.is_safe(value):
            raise Interlocked(Message("error.not-homed", device=self.called))
        super().put(value, where)

    @property
    def _knows_where(self) -> bool:
        """Whether it may move."""
        return self.home_end is None or self._homed or self._searches

    def prepare(self) -> None:
        """Home, where it has a home."""
        if self.home_end is None:
            return
        self.home()
        assert self.min is not None
        assert self.max is not None
        way = (self.max - self.min) * _MARGIN
        longest = 5 * way / self._home_speed + way / self.max_speed + 5
        self.services.wait(longest, lambda: self._homing is None and not self.moving)
        if not self._homed:
            raise DeviceError(self._error or f"'{self.name}' could not be homed")

    # ------------------------------------------------------------------ driving

    def drive(self, value: Any) -> None:
        if value == RELEASED:
            self._target = RELEASED  # first: nothing more is sent
            self._release()
            return
        self._take_note()
        if not self._knows_where:
            raise DeviceError("it does not know where it is: it has to be homed first")
        self._target = value
        self._stops = False
        self._end = None
        self._homing = "seek" if self._searches else None
        if self._homing:
            self._homed = False
            self._search(towards=True)
        else:
            self._go_to(self._steps_to(value))
        if self.enable is not None:
            self.hardware.members[0].on()

    def _release(self) -> None:
        if self.enable is not None:
            self.hardware.members[0].off()
        self._cancelled += self._waves.cancel(0)
        self._look_at = self.services.clock.now()  # the hardware thread takes note of it

    def _go_to(self, steps: int) -> None:
        self._way.max_speed = self.max_speed * self.steps_per_unit
        self._way.target = steps
        self._look_at = self.services.clock.now()

    def due(self) -> float | None:
        if self._way.speed and self._blocked(self._way.direction):
            return 0.0  # long ago: an edge of a switch was seen just now
        return earliest(super().due(), self._look_at)

    def poll(self) -> None:
        super().poll()
        self._take_note()
        now = self.services.clock.now()
        if self._target == RELEASED:
            self._look_at = None
            return
        self._mind_the_ends(now)
        self._send()
        if self._target == RELEASED:  # meanwhile, by another thread
            self._cancelled += self._waves.cancel(0)
        if self.moving:
            self._look_at, self._still_since = now + _EVERY, now
        else:
            self._rest(now)

    def _take_note(self) -> None:
        """Count the steps of waves that were made, but not of those that were cancelled."""
        pending = self._waves.pending + self._cancelled
        while len(self._steps) > pending:
            self._made += self._steps.popleft()
        if self._target == RELEASED:
            self._homing = None
            if self.moving:
                self._steps.clear()
                self._cancelled = 0
                self._pulses.halt(self._made)
                self._homed = False

    def _rest(self, now: float) -> None:
        """It stands still at its target."""
        after = 0.0 if self._stops else self.detach_after
        self._look_at = None if after is None else self._still_since + after
        if self._look_at is not None and self._look_at <= now:
            self._stops = False
            self._drive(RELEASED, now)

    # ------------------------------------------------------------------ end switches and homing

    def _switch(self, end: End) -> Ref | None:
        return self.min_end if end == "min" else self.max_end

    def _is_on(self, end: End) -> bool:
        """Whether the switch is on, as it is, too, when it cannot be read."""
        name = self._switch(end)
        try:
            return name is not None and self.services.device(name).value in (True, None)
        except Exception:  # noqa: BLE001
            return True

    def _blocked(self, direction: int) -> bool:
        return self._is_on("max" if direction > 0 else "min")

    def _mind_the_ends(self, now: float) -> None:
        way = self._way
        ahead = (
            way.direction
            if way.speed
            else (way.target > way.position) - (way.target < way.position)
        )
        if ahead and self._blocked(ahead):
            self._meet("max" if ahead > 0 else "min")
        elif self._homing == "leave" and way.speed and not self._is_on(self.home_end or "min"):
            self._left_at = self._made
            self._pulses.halt()
        if self._homing is not None and not self.moving:
            self._search_on(now)

    def _meet(self, end: End) -> None:
        """An end switch is on: no further pulse towards it."""
        slow = self._way.speed <= self.acceleration * self.steps_per_unit * _EVERY * _AHEAD
        self._pulses.halt()
        if self._homing is None:
            self._end = end
            self._homed = self._homed and slow  # it could have braked in that time, too
            self._target = self._at(self._way.target)
            log.info("'%s' has met the end switch '%s'.", self.name, self._switch(end))

    def _search(self, *, towards: bool) -> None:
        """Move to the end switch of its home, or away from it."""
        assert self.min is not None
        assert self.max is not None
        sign = 1 if (self.home_end == "max") == towards else -1
        way = self._steps_to((self.max - self.min) * _MARGIN)
        self._go_to(self._way.position + sign * way)
        speed = self._home_speed if towards else self._home_speed / 4
        self._way.max_speed = speed * self.steps_per_unit

    def _search_on(self, now: float) -> None:
        """A part of the search has ended."""
        assert self.home_end is not None
        on = self._is_on(self.home_end)
        if self._homing == "seek" and on:
            self._homing = "leave"
            self._search(towards=False)
        elif self._homing == "leave" and not on:
            self._homing, self._homed = None, True
            self._made += self._steps_to(self._home_position) - self._left_at
            self._pulses.halt(self._made)
            self._go_to(self._steps_to(float(self._target)))
        else:
            self._homing = None
            self._drive(RELEASED, now)
            state = "never came on" if not on else "never went off"
            self._error = f"the end switch '{self._switch(self.home_end)}' {state}"
            log.warning("'%s' could not be homed: %s.", self.name, self._error)

    @property
    def _home_speed(self) -> float:
        return min(self.home_speed or self.max_speed / 10, self.max_speed)

    @property
    def _home_position(self) -> float:
        default = self.min if self.home_end == "min" else self.max
        return (default or 0.0) if self.home_position is None else self.home_position

    def _nearest(self, position: float) -> float:
        return min(self.most, max(self.least, position))

    # ------------------------------------------------------------------ waves

    def _send(self) -> None:
        if not self._steps:  # the first wave, or the last one is over: it stands still
            self._way.speed = 0.0
        while len(self._steps) < _AHEAD:
            wave, steps = self._pulses.wave()
            if not wave:
                break
            self._waves.send(wave)
            self._steps.append(steps)
