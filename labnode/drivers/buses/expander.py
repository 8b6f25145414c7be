"""I/O expanders on an I2C bus whose pins other devices use: `pin: NAME.A3`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from labnode.clock import earliest
from labnode.drivers.buses.i2c import I2cPart
from labnode.drivers.framework.driver import Claim, PinUse, Widget
from labnode.errors import DeviceError
from labnode.locale import Message, Wording
from labnode.schema import Between, Doc, Duration, did_you_mean


@dataclass(kw_only=True)
class Expander(I2cPart):
    """A chip whose pins are outputs and inputs of other devices of the board.

    It has no value of its own. It is open before the devices on its pins, and closes after them.
    While an input is on one of its pins, all of them are read every `sample_every`; while that
    fails, the inputs have no value.
    """

    widget: ClassVar[Widget] = "value"

    access: Literal["user", "system", "none"] = "system"
    sample_every: Annotated[
        Duration, Between(0.01, 10), Doc("The time between readings of its inputs, in seconds.")
    ] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self.pin_uses: dict[str, PinUse] = {}

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._inputs: list[WiredPin] = []
        self._next = 0.0
        self._levels: int | None = None  # of all pins, when they were last read
        self._outside: dict[int, bool] = {}  # simulated levels of inputs

    # ------------------------------------------------------------------ what a chip has

    @property
    @abstractmethod
    def pin_names(self) -> Collection[str]:
        """Its pins, the lowest bit first."""

    @abstractmethod
    def read_levels(self) -> int:
        """Whether each pin is high, as the bits of a number."""

    @abstractmethod
    def make_output(self, place: int, level: bool) -> None:
        """Make a pin an output that has its level from the first moment."""

    @abstractmethod
    def make_input(self, place: int, pull_up: bool) -> None:
        """Make a pin an input."""

    @abstractmethod
    def drive_level(self, place: int, level: bool) -> None:
        """Drive an output: any thread, without waiting."""

    @abstractmethod
    def driven_level(self, place: int) -> bool:
        """Whether an output is driven high; DeviceError when the chip does not answer."""

    def refusal(self, pull_up: bool | None) -> str | Wording | None:
        """Why the chip has no inputs with this `pull_up` (false: pulled down), if so."""
        return None if pull_up is not False else Message("driver.no-pull-down", chip=self.chip)

    # ------------------------------------------------------------------ for the devices on it

    def pin_claim(self, pin: str) -> Claim:
        """What a device on this pin claims; ValueError when there is no such pin."""
        if pin not in self.pin_names:
            hint = did_you_mean(pin, self.pin_names)
            hint = hint or Message("board.there-are", names=", ".join(self.pin_names))
            raise ValueError(Message("driver.no-pin", chip=self.chip, pin=repr(pin), hint=hint))
        return self.part_claim(Message("driver.claim-pin", name=pin))

    def output(self, pin: str, *, active_high: bool, value: bool) -> WiredPin:
        """Open an output with its first value; what it gives is like a gpiozero device."""
        wire = WiredPin(self, self._place(pin), active_high=active_high)
        self.make_output(wire.place, value == active_high)
        return wire

    def input(
        self, pin: str, *, pull_up: bool | None, active_high: bool, bounce: float
    ) -> WiredPin:
        """Open an input; what it gives is like a gpiozero device and its pin."""
        wire = WiredPin(self, self._place(pin), active_high=active_high, bounce=bounce)
        self._outside[wire.place] = bool(pull_up)
        self.make_input(wire.place, bool(pull_up))
        self._take_levels()
        wire.stable = wire.level
        self._inputs.append(wire)
        self._next = self.services.clock.now() + self.sample_every
        return wire

    def _place(self, pin: str) -> int:
        if self.hardware is None:
            raise DeviceError(f"'{self.name}' is not open")
        return list(self.pin_names).index(pin)

    # ------------------------------------------------------------------ reading

    def due(self) -> float | None:
        bounces = [wire.due for wire in self._inputs if wire.due is not None]
        return earliest(self._next, *bounces) if self._inputs else None

    def poll(self) -> None:
        now = self.services.clock.now()
        self._next = now + self.sample_every
        failed_before = self._levels is None
        try:
            self._take_levels()
        except DeviceError:
            if not failed_before:
                self._levels = None
                for wire in self._inputs:
                    wire.tell()
            raise
        for wire in self._inputs:
            wire.look(now, anew=failed_before)

    @property
    def levels(self) -> int:
        """Of all pins, as they were last read; DeviceError when that failed."""
        if self._levels is None:
            raise DeviceError(f"'{self.name}' does not answer")
        return self._levels

    def show(self, place: int, level: bool) -> None:
        """Make a simulated pin have this level from outside."""
        self._outside[place] = level
        self._take_levels()

    def _take_levels(self) -> None:
        levels = self.read_levels()
        if self.services.simulated:
            for place, level in self._outside.items():
                levels = levels & ~(1 << place) | level << place
        self._levels = levels

    def forget(self, wire: WiredPin) -> None:
        """An input is closed."""
        if wire in self._inputs:
            self._inputs.remove(wire)

    def close(self) -> None:
        """Release the chip, which goes on driving its outputs as they are."""
        self._inputs.clear()
        self._outside.clear()
        self._levels = None
        chip, self.hardware = self.hardware, None
        if chip is not None:
            chip.close()

    def reset(self) -> None:
        """Nothing: the devices on its pins are reset."""


class WiredPin:
    """One pin of an expander, with what drivers use of gpiozero's devices and of their pins."""

    def __init__(
        self, chip: Expander, place: int, *, active_high: bool, bounce: float | None = None
    ) -> None:
        self.place = place
        self.stable = False  # the level that counts, while shorter changes are ignored
        self.when_activated: Callable[[], None] | None = None
        self.when_deactivated: Callable[[], None] | None = None
        self.when_changed: Any = None  # of gpiozero's pins: edges here are too slow to pause them
        self._chip = chip
        self._active_high = active_high
        self._is_output = bounce is None
        self._bounce = bounce or 0.0
        self._changed_at: float | None = None

    @property
    def pin(self) -> WiredPin:
        return self

    @property
    def level(self) -> bool:
        return bool(self._chip.levels >> self.place & 1)

    @property
    def state(self) -> bool:
        return self._chip.driven_level(self.place) if self._is_output else self.stable

    @property
    def value(self) -> bool:
        _ = None if self._is_output else self._chip.levels  # an error while it is not read
        return self.state == self._active_high

    @value.setter
    def value(self, value: bool) -> None:
        self._chip.drive_level(self.place, bool(value) == self._active_high)

    def drive_high(self) -> None:
        self._show(True)

    def drive_low(self) -> None:
        self._show(False)

    def _show(self, level: bool) -> None:
        self._chip.show(self.place, level)
        self.stable = level

    @property
    def due(self) -> float | None:
        """When a change will have lasted long enough."""
        return None if self._changed_at is None else self._changed_at + self._bounce

    def look(self, now: float, *, anew: bool) -> None:
        """The chip has been read; `anew`: for the first time after it did not answer."""
        if self.level == self.stable:
            self._changed_at = None
        else:
            self._changed_at = now if self._changed_at is None else self._changed_at
            if now >= self._changed_at + self._bounce:  # as `due` says, to the last bit
                self.stable, self._changed_at = self.level, None
                anew = True
        if anew:
            self.tell()

    def tell(self) -> None:
        """Have the input be read again."""
        if self.when_activated is not None:  # drivers have one function for both
            self.when_activated()

    def close(self) -> None:
        self._chip.forget(self)
        self.when_activated = self.when_deactivated = None
