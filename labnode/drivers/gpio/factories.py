"""gpiozero's pin factories: the Pi's and a mock one, which leave outputs driven."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpiozero import PinPWMFixedValue, PinSetInput
from gpiozero.pins.mock import MockFactory, MockPWMPin

from labnode.clock import Clock
from labnode.drivers.gpio.gpiochips import find_chip, list_chips
from labnode.drivers.gpio.pin import GENERIC_REVISION
from labnode.errors import DeviceError

_HISTORY = 1000  # changes that a mock pin keeps: a simulated board may run for weeks


def pins_in_use(factory: Any) -> list[str]:
    """The pins that devices of a factory have reserved and not released."""
    with factory._res_lock:
        reservations = [(pin.name, list(refs)) for pin, refs in factory._reservations.items()]
    return sorted(name for name, refs in reservations if any(ref() is not None for ref in refs))


def mock_levels(factory: Any) -> dict[str, dict[str, Any]]:
    """The pins in use: {"GPIO17": {"function": "output", "level": true}} (any thread)."""
    pins = {name: factory.pin(name) for name in pins_in_use(factory)}
    return {name: {"function": pin.function, "level": pin.state} for name, pin in pins.items()}


class MockPin(MockPWMPin):  # type: ignore[misc]
    """A mock pin that behaves like `PiPin` in _lgpio.py.

    Its `state` is True, False, or a number from 0 to 1 during PWM; `levels` are those that it has
    driven as an output.
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


class MockPins(MockFactory):  # type: ignore[misc]
    """gpiozero's factory of mock pins, with waves as `PiPins` in _lgpio.py has them."""

    def waves(self, lines: Sequence[int], levels: int, clock: Clock) -> MockWaves:
        """Waves that take their time by `clock`."""
        return MockWaves(self, lines, levels, clock)


class MockWaves:
    """Behaves like `PiWaves` in _lgpio.py; `sent` are the pulses of the latest waves."""

    def __init__(self, factory: Any, lines: Sequence[int], levels: int, clock: Clock) -> None:
        self.sent: deque[Sequence[tuple[int, int]]] = deque(maxlen=_HISTORY)
        self._factory = factory
        self._names = [f"GPIO{line}" for line in lines]
        self._pins = [factory.pin(name) for name in self._names]
        self._clock = clock
        self._waves: deque[tuple[float, int]] = deque()  # when each ends, and with which levels
        factory.reserve_pins(self, *self._names)
        for place, pin in enumerate(self._pins):
            pin.output_with_state(levels >> place & 1)

    def send(self, pulses: Sequence[tuple[int, int]]) -> None:
        begin = self._waves[-1][0] if self.pending else self._clock.now()
        seconds = sum(micros for _, micros in pulses) / 1e6
        self._waves.append((begin + seconds, pulses[-1][0]))
        self.sent.append(pulses)

    @property
    def pending(self) -> int:
        while self._waves and self._waves[0][0] <= self._clock.now():
            self._show(self._waves.popleft()[1])
        return len(self._waves)

    def cancel(self, levels: int) -> int:
        ended = self.pending
        self._waves.clear()
        self._show(levels)
        return ended

    def close(self) -> None:
        self._factory.release_pins(self, *self._names)

    def _show(self, levels: int) -> None:
        for place, pin in enumerate(self._pins):
            pin.state = levels >> place & 1

    def _conflicts_with(self, other: object) -> bool:
        return other is not self


def mock_factory() -> Any:
    """A gpiozero factory of mock pins with PWM; `factory.pin("GPIO17").state` shows one."""
    return MockPins(revision=f"{GENERIC_REVISION:x}", pin_class=MockPin)


def real_factory(work_dir: Path | None = None) -> Any:
    """A gpiozero factory of this machine's pins; DeviceError says what is missing.

    lgpio makes a pipe in its working directory: $LG_WD if it is set, else `work_dir`.
    """
    if work_dir is not None:
        os.environ.setdefault("LG_WD", str(work_dir))
    chip = find_chip(list_chips())
    here = Path.cwd()
    try:
        from labnode.drivers.gpio._lgpio import PiPins  # noqa: PLC0415  (needs lgpio)
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
    finally:
        os.chdir(here)  # lgpio goes where its pipe is, and that may be a folder that does not last
    return PiPins(chip.number)
