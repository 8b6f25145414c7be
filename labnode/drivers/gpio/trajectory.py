"""The way of a motor to a position, step by step, and the pulses that these steps are."""

from __future__ import annotations

import math
from collections.abc import Sequence

WAVE = 10_000  # microseconds of a wave at least; the last pulse may make it a little longer
_PULSE = 250  # microseconds that a step's pulse lasts at most; drivers need about 2
FULL_STEPS = (0b0011, 0b0110, 0b1100, 0b1001)  # the coils that are on, two at a time
HALF_STEPS = (0b0001, 0b0011, 0b0010, 0b0110, 0b0100, 0b1100, 0b1000, 0b1001)


class Trajectory:
    """Steps towards `target`, which may change at any time, as may `max_speed`.

    `position` counts steps, `speed` is in steps per second (never negative), `direction` 1 or -1.
    Each step changes the square of the speed by twice the acceleration at most (v² = 2·a·s), which
    makes a trapezoid of the speed over time, or a triangle where the way is short.
    """

    def __init__(self, max_speed: float, acceleration: float) -> None:
        self.max_speed = max_speed
        self.position = 0
        self.target = 0
        self.speed = 0.0
        self.direction = 1
        self._acceleration = acceleration

    @property
    def ended(self) -> bool:
        """Whether it stands still at its target."""
        return self.speed == 0 and self.position == self.target

    def step(self) -> float | None:
        """Make the next step; the seconds since the one before it, None when it has `ended`."""
        if self.ended:
            return None
        if self.speed == 0:
            self.direction = 1 if self.target > self.position else -1
        left = max(0, (self.target - self.position) * self.direction - 1)  # after this step
        change = 2 * self._acceleration
        before = self.speed**2
        fastest = min(before + change, self.max_speed**2, left * change)
        square = max(before - change, fastest)
        after = math.sqrt(square) if square > change * 1e-6 else 0.0  # or rounding would go on
        together = self.speed + after
        self.position += self.direction
        self.speed = after
        # A step alone is half of it faster and half of it slower.
        return 2 / together if together else 2 / math.sqrt(self._acceleration)

    def brake(self) -> None:
        """Stop as soon as the acceleration allows it."""
        way = math.ceil(self.speed**2 / (2 * self._acceleration))
        self.target = self.position + self.direction * way

    def halt(self, position: int) -> None:
        """Stand still, now, at a position."""
        self.position = self.target = position
        self.speed = 0.0


class Pulses:
    """The steps of a trajectory as waves: levels, each with the microseconds until the next ones.

    Without `phases` the first bit of the levels is for a driver's STEP input and the second for its
    DIR input, which changes at least half a step before a pulse. With `phases` each bit is for a
    coil, and a step is the change to the next phase.
    """

    def __init__(self, way: Trajectory, phases: Sequence[int], *, invert: bool) -> None:
        self._way = way
        self._phases = phases
        self._invert = invert
        self._left: list[tuple[int, int]] = []  # of the next step, which the trajectory has made

    @property
    def ended(self) -> bool:
        """Whether nothing is left to be made."""
        return self._way.ended and not self._left

    def wave(self) -> tuple[list[tuple[int, int]], int]:
        """The levels of the next 10 ms, and the steps in them; fewer at the target."""
        wave: list[tuple[int, int]] = []
        time, steps = WAVE, 0
        while time > 0 and (self._left or self._begin()):
            levels, micros = self._left.pop(0)
            if self._left and micros > time:  # the wait before a pulse: the rest comes later
                self._left.insert(0, (levels, micros - time))
                micros = time
            elif not self._left:
                steps += self._way.direction
            wave.append((levels, micros))
            time -= micros
        if wave:
            wave.append((self._between(self._made), 1))
        return wave, steps

    def halt(self, position: int | None = None) -> None:
        """Make no further step; the trajectory is at `position`, by default where waves end."""
        here = self._made if position is None else position
        self._left.clear()
        self._way.halt(here)

    def _begin(self) -> bool:
        """Begin with the next step; False at the target."""
        seconds = self._way.step()
        if seconds is None:
            return False
        micros = max(2, round(seconds * 1e6))
        pulse = min(micros // 2, _PULSE)
        before = self._way.position - self._way.direction
        during = self._between(self._way.position) | (0 if self._phases else 1)
        self._left = [(self._between(before), micros - pulse), (during, pulse)]
        return True

    @property
    def _made(self) -> int:
        """The position after the steps that are in waves."""
        return self._way.position - (self._way.direction if self._left else 0)

    def _between(self, position: int) -> int:
        """The levels between two pulses."""
        if self._phases:
            turned = -position if self._invert else position
            return self._phases[turned % len(self._phases)]
        return ((self._way.direction > 0) != self._invert) << 1
