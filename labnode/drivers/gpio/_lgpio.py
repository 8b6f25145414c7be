"""The Pi's pins through lgpio: outputs have their level from the first moment and keep it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import lgpio
from gpiozero import PinPWMFixedValue, PinUnknownPi
from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin
from gpiozero.pins.local import LocalPiPin

from labnode.drivers.gpio.gpiochips import LineRequest
from labnode.drivers.gpio.pin import GENERIC_REVISION
from labnode.errors import DeviceError

log = logging.getLogger(__name__)


class PiPins(LGPIOFactory):  # type: ignore[misc]
    """The pins of one GPIO chip."""

    def __init__(self, chip: int) -> None:
        with _Explained(f"gpiochip{chip}"):
            super().__init__(chip=chip)
        self.pin_class = PiPin
        # gpiozero keeps these on the class, for all factories of the process: a factory that is
        # closed would leave its pins, with a dead handle, to the next one.
        self.pins: dict[Any, PiPin] = {}
        self._reservations: dict[Any, list[Any]] = defaultdict(list)
        self._res_lock = Lock()
        self.groups: set[tuple[int, ...]] = set()  # claimed, and so until the chip is closed

    def close_devices_on(self, pin: PiPin) -> None:
        """Close the device that was being made of a pin and cannot have it.

        It lives on in the traceback, and would keep its reservation as long as that exists.
        """
        with self._res_lock:
            references = list(self._reservations[pin.info])
        for device in [reference() for reference in references]:
            if device is not None:
                device.close()

    def line_events(self, request: LineRequest) -> int:
        """A descriptor with the kernel's events of some lines; DeviceError."""
        return request.open(self.chip)

    def waves(self, lines: Sequence[int], levels: int, clock: Any) -> PiWaves:  # noqa: ARG002
        """Some lines that waves of pulses are sent to; until then they have these levels."""
        return PiWaves(self, tuple(lines), levels)

    def _get_revision(self) -> int:
        try:
            return int(super()._get_revision())
        except PinUnknownPi:  # a simulated chip (gpio-sim), or a board like the Pi
            return GENERIC_REVISION


class PiPin(LGPIOPin):  # type: ignore[misc]
    """A pin like gpiozero's, except in the moments that matter to a motor.

    gpiozero claims every pin as a floating input first, starts PWM at 0 whatever the level was, and
    turns an output into a floating input when it closes. Here an output has its level in the same
    request that makes it one, PWM starts from that level, and closing leaves the level driven.
    """

    def __init__(self, factory: Any, info: Any) -> None:
        LocalPiPin.__init__(self, factory, info)  # not LGPIOPin's, which claims an input
        self._pwm: tuple[float, float] | None = None  # frequency, duty in percent
        self._pulsing = False
        self._claimed = False
        self._bounce: int | None = None
        self._callback: Any = None
        self._edges = lgpio.BOTH_EDGES

    def close(self) -> None:
        if self.factory._handle is None or not self._claimed:
            return
        self.when_changed = None
        if self.function == "output":
            self.frequency = None
        else:
            super().close()

    def output_with_state(self, state: Any) -> None:
        level = int(bool(state))
        with _Claim(self):
            lgpio.gpio_claim_output(self.factory._handle, self._number, level)
            # Claiming what is an output already changes nothing, not even its level.
            lgpio.gpio_write(self.factory._handle, self._number, level)

    def _set_function(self, value: str) -> None:
        with _Claim(self):
            super()._set_function(value)

    def _set_state(self, value: Any) -> None:
        if self._pwm:
            self._pwm = (self._pwm[0], 100 * float(value))
            self._transmit()
        else:
            super()._set_state(value)

    def _set_frequency(self, value: float | None) -> None:
        duty = 100 * float(self._get_state())
        if value:
            if self.function != "output":
                raise PinPWMFixedValue(f"cannot start PWM on pin {self!r}")
            self._pwm = (value, duty)
            self._transmit()
        elif self._pwm:
            self._stop(duty > 50)
            self._pwm = None

    def _call_when_changed(self, *edge: Any) -> None:
        try:
            super()._call_when_changed(*edge)
        except Exception:  # it would end lgpio's only thread, and with it the edges of all pins
            log.exception("An edge of %s could not be handled.", self)

    def _transmit(self) -> None:
        """Set the pin's frequency and duty cycle.

        lgpio applies a new duty cycle at the end of the current period, which may be seconds away.
        Fully on and fully off cannot wait, because they are most outputs' safe values: they are
        written as levels, for which no thread of lgpio wakes up either.
        """
        assert self._pwm is not None
        frequency, duty = self._pwm
        if duty in (0, 100):
            self._stop(duty == 100)
        else:
            lgpio.tx_pwm(self.factory._handle, self._number, frequency, duty)
            self._pulsing = True

    def _stop(self, level: bool) -> None:
        if self._pulsing:  # stopping PWM that does not run is an error
            lgpio.tx_pwm(self.factory._handle, self._number, 0, 0)
            self._pulsing = False
        lgpio.gpio_write(self.factory._handle, self._number, int(level))


class PiWaves:
    """Lines that change together, by waves of pulses that a thread of lgpio sends in time.

    Levels are numbers with a bit for each line, the first line's the lowest. lgpio looks for new
    waves 50 times a second while it sends none, and follows one with the next without a gap.
    """

    _QUEUE = 10  # waves that lgpio takes, LG_TX_BUF of its lgPthTx.h

    def __init__(self, factory: PiPins, lines: tuple[int, ...], levels: int) -> None:
        self._factory = factory
        self._lines = lines
        self._names = [f"GPIO{line}" for line in lines]
        self._lock = Lock()  # between the claims of `cancel` there is no group
        factory.reserve_pins(self, *self._names)
        try:
            if lines in factory.groups:
                self.cancel(levels)
            else:
                self._claim(levels)
        except BaseException:
            self.close()
            raise

    def send(self, pulses: Sequence[tuple[int, int]]) -> None:
        """Queue a wave: levels, each with the microseconds until the next ones."""
        mask = (1 << len(self._lines)) - 1
        wave = [lgpio.pulse(levels, mask, micros) for levels, micros in pulses]
        with self._lock, _Explained(self):
            lgpio.tx_wave(self._factory._handle, self._lines[0], wave)

    @property
    def pending(self) -> int:
        """How many waves are being sent or wait."""
        return self._QUEUE - int(
            lgpio.tx_room(self._factory._handle, self._lines[0], lgpio.TX_WAVE)
        )

    def cancel(self, levels: int) -> int:
        """End all waves, at once, and have the lines at these levels (any thread).

        Returns how many waves did not end by themselves. lgpio ends a wave only when its group is
        given up, and so the lines are, for a fraction of a millisecond.
        """
        with self._lock, _Explained(self):
            handle, leader = self._factory._handle, self._lines[0]
            ended = self.pending
            if ended:
                lgpio.group_free(handle, leader)
                self._factory.groups.discard(self._lines)
                self._claim(levels)
            else:
                lgpio.group_write(handle, leader, levels)
            return ended

    def close(self) -> None:
        """Release the lines to others; they stay driven as they are."""
        self._factory.release_pins(self, *self._names)

    def _claim(self, levels: int) -> None:
        bits = [levels >> place & 1 for place in range(len(self._lines))]
        with _Explained(self):
            lgpio.group_claim_output(self._factory._handle, list(self._lines), bits)
        self._factory.groups.add(self._lines)

    def _conflicts_with(self, other: object) -> bool:  # gpiozero asks before it reserves pins
        return other is not self

    def __str__(self) -> str:
        return " and ".join(self._names)


class _Explained:
    """Raises DeviceError for an error of lgpio: `what` cannot be had.

    A generator with @contextmanager would tie its traceback into a circle on Python 3.13, and
    half-made devices would stay open until the garbage collector comes.
    """

    def __init__(self, what: object) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, lgpio.error):
            raise DeviceError(
                f"{self._what!s} cannot be had ({str(error).strip(chr(39))}): another program has "
                "it, or the kernel does, for a bus or an overlay"
            ) from error


class _Claim(_Explained):
    """The same for a pin, which is claimed afterwards, or given up by its device."""

    def __init__(self, pin: PiPin) -> None:
        super().__init__(pin)
        self._pin = pin

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self._pin._claimed = True
        elif not self._pin._claimed:
            self._pin.factory.close_devices_on(self._pin)
        super().__exit__(kind, error, traceback)
