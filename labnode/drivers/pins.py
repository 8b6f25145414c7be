"""GPIO pins by name, made by a factory that leaves outputs driven: a mock one or the Pi's."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gpiozero import PinPWMFixedValue, PinSetInput
from gpiozero.pins.mock import MockFactory, MockPWMPin
from gpiozero.pins.pi import PiBoardInfo

from labnode.drivers.chips import find_chip, list_chips
from labnode.drivers.framework.driver import Claim
from labnode.errors import DeviceError
from labnode.schema import shown

GENERIC_REVISION = 0xC03111  # a Pi 4B: the 40-pin header that every Pi since 2014 has
_HEADER = PiBoardInfo.from_revision(GENERIC_REVISION).headers["J8"]
_HISTORY = 1000  # changes that a mock pin remembers: a simulated board may run for weeks


@dataclass(frozen=True)
class Pin:
    """A GPIO pin of the 40-pin header, written as 17, GPIO17 or BOARD11."""

    number: int

    expected = "a GPIO pin such as 17, GPIO17 or BOARD11 (GPIO0 to GPIO27)"
    json_schema: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 27},
            {"enum": [f"GPIO{number}" for number in range(28)]},
            {
                "type": "string",
                "pattern": "^(BOARD|GPIO|BCM|WPI|J8:|board|gpio)?[0-9]{1,2}$",
            },
        ]
    }

    @property
    def name(self) -> str:
        """As gpiozero calls it: "GPIO17"."""
        return f"GPIO{self.number}"

    @property
    def claim(self) -> Claim:
        """The pin, for one device alone."""
        return Claim("pin", self.name)

    @property
    def fixed_pull_up(self) -> bool:
        """Whether the board itself pulls it up, as the pins of the I2C bus."""
        return any(pin.name == self.name and pin.pull == "up" for pin in _HEADER.pins.values())

    def to_yaml(self) -> str:
        return self.name

    @classmethod
    def from_yaml(cls, value: object) -> Pin:
        """Parse what a board file says; ValueError with a sentence."""
        if isinstance(value, int | str) and not isinstance(value, bool):
            name = value.upper() if isinstance(value, str) else value
            for pin in _HEADER.pins.values():
                if name in pin.names and "gpio" in pin.interfaces:
                    return cls(int(pin.name.removeprefix("GPIO")))
                if name in pin.names and name != pin.name:
                    raise ValueError(f"{value} is {pin.name}, not a GPIO pin")
        raise ValueError(f"expected {cls.expected}, not {shown(value)}")


def header() -> dict[int, str]:
    """The 40 pins by position: {1: "3V3", 2: "5V", 3: "GPIO2", ...}."""
    return {position: str(pin.name) for position, pin in sorted(_HEADER.pins.items())}


def pins_in_use(factory: Any) -> list[str]:
    """The pins that devices of a factory have reserved and not released."""
    with factory._res_lock:
        reservations = [(pin.name, list(refs)) for pin, refs in factory._reservations.items()]
    return sorted(name for name, refs in reservations if any(ref() is not None for ref in refs))


def mock_levels(factory: Any) -> dict[str, dict[str, Any]]:
    """What the pins in use show: {"GPIO17": {"function": "output", "level": true}}, any thread."""
    pins = {name: factory.pin(name) for name in pins_in_use(factory)}
    return {name: {"function": pin.function, "level": pin.state} for name, pin in pins.items()}


class MockPin(MockPWMPin):  # type: ignore[misc]
    """A mock pin that does as the Pi's pins do under labnode: see `PiPin` in _lgpio.py.

    Its `state` is what the pin shows (True, False, or a number from 0 to 1 under PWM), `levels` is
    everything it has driven as an output.
    """

    def __init__(self, factory: Any, info: Any) -> None:
        self.levels: deque[bool | float] = deque(maxlen=_HISTORY)
        self.states: Any = ()
        self._frequency: float | None = None
        super().__init__(factory, info)

    def close(self) -> None:
        self.when_changed = None
        if self._function == "output":
            self.frequency = None
        else:
            super().close()

    def output_with_state(self, state: Any) -> None:
        self._function = "output"
        self._set_state(state)

    def _set_function(self, value: str) -> None:
        super()._set_function(value)
        if value == "output":
            self.levels.append(self._state)

    def _set_state(self, value: Any) -> None:
        if self._function == "input":
            raise PinSetInput(f"cannot set state of pin {self!r}")
        level = float(value) if self._frequency else bool(value)
        self._change_state(level)
        self.levels.append(level)

    def _set_frequency(self, value: float | None) -> None:
        if value is not None and self._function != "output":
            raise PinPWMFixedValue(f"cannot start PWM on pin {self!r}")
        stopped = value is None and self._frequency is not None
        self._frequency = value
        if stopped:
            self._set_state(self._state > 0.5)

    def clear_states(self) -> None:
        super().clear_states()
        self.states = deque(self.states, maxlen=_HISTORY)


def mock_factory() -> Any:
    """A gpiozero factory of mock pins, PWM included; look at `factory.pin("GPIO17").state`."""
    return MockFactory(revision=f"{GENERIC_REVISION:x}", pin_class=MockPin)


def real_factory(work_dir: Path | None = None) -> Any:
    """A gpiozero factory of this machine's pins; DeviceError says what is missing.

    lgpio makes a pipe in its working directory (LG_WD): `work_dir`, unless the environment has one.
    """
    if work_dir is not None:
        os.environ.setdefault("LG_WD", str(work_dir))
    chip = find_chip(list_chips())
    try:
        from labnode.drivers._lgpio import PiPins  # noqa: PLC0415  (needs lgpio)
    except ImportError as error:
        raise DeviceError(
            f"GPIO pins need the Python library lgpio, which cannot be imported ({error}): "
            "install the package python3-lgpio"
        ) from error
    except AttributeError as error:  # the empty lgpio 0.0.0.2 that pip installs without a wheel
        raise DeviceError(
            "the Python library lgpio that is installed is an empty one: "
            "install the package python3-lgpio instead"
        ) from error
    except OSError as error:
        raise DeviceError(
            f"lgpio cannot make its pipe in its working directory ({error}): "
            "set LG_WD to a directory where this user may write"
        ) from error
    return PiPins(chip.number)
