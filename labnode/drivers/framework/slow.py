"""Sensors and outputs too slow for the hardware thread: an io thread works for each."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

from labnode.clock import earliest
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.io_thread import IoThread
from labnode.drivers.framework.output import Output, SwitchOutput
from labnode.errors import Busy, DeviceError
from labnode.schema import Between, Doc, Duration

log = logging.getLogger(__name__)

T = TypeVar("T")

_RETRY = 2.0  # seconds until a switch that did not become safe is made safe again
_CLOSING = 2.0  # seconds that a close waits for that: the whole stop of a node has 5
_CLOSING_FAILED = 0.5  # seconds, of one that did not work before


class JobRunner(Protocol):
    """Runs the slow jobs of one device; see IoThread."""

    def start(self) -> None: ...
    def stop(self) -> bool: ...
    def repeat(
        self,
        every: float,
        job: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None: ...
    def submit(
        self,
        job: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None: ...


@dataclass(kw_only=True)
class SlowDriver(Driver):
    """A device behind an io thread; while that fails its state has an "error"."""

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._io: JobRunner | None = None
        self._failure: str | None = None

    def worker(self) -> JobRunner:
        """What runs its slow jobs from `open` to `close`; by default a thread of its own."""
        return IoThread(self.name, self.services)

    def interrupt(self) -> None:
        """End what the io thread is doing (hardware thread, before the io thread stops)."""

    def trouble(self) -> str | None:
        """Why it does not work, in a sentence; None while it does."""
        return self._failure

    def state(self) -> dict[str, Any]:
        error = {} if self._failure is None else {"error": self._failure}
        return {**super().state(), **error}

    def _failed(self, error: Exception, what: str = "") -> None:
        before, self._failure = self._failure, " ".join(str(error).split()) or type(error).__name__
        if self._failure != before:  # log it once, not every time
            log.warning("device %s%s: %s", self.name, what, self._failure)
        self.services.publish()


@dataclass(kw_only=True)
class SlowSensor(SlowDriver, Sensor):
    """A sensor whose reading takes longer than a few milliseconds.

    A subclass has `read`, which runs on the io thread and may take seconds. It uses options and
    what it alone uses, and nothing else of `self`. If it raises an exception, the state has an
    "error", and the value stays and becomes stale. In a simulation `read` is not called.
    """

    sample_every: Annotated[Duration, Between(0.05)] = 2.0

    def open(self) -> None:
        """Start the io thread; a subclass calls this at the end of its own `open`."""
        self._failure = None
        if not self.services.simulated:
            self._io = self.worker()
            self._io.repeat(self.sample_every, self.read, self._took, self._missed)
            self._io.start()
        self.opened()

    def opened(self) -> None:
        super().opened()
        if self._io is not None:
            self._next = None  # the io thread reads, not the hardware thread

    def close(self) -> None:
        io, self._io = self._io, None
        try:
            if io is not None:
                self.interrupt()
                io.stop()
        finally:
            super().close()

    def _took(self, value: Any) -> None:
        if value is not None:
            self._failure = None
            self.arrived(value)
        self.services.publish()

    def _missed(self, error: Exception) -> None:
        self._failed(error, " cannot be read")


@dataclass(kw_only=True)
class SlowOutput(SlowDriver, Output):
    """An output that answers slowly or not at all: a plug in the network, a power supply.

    A subclass has `transmit`, `answers_within` and, if the device says its state, `look`. The io
    thread runs `transmit` and `look`; they use options and what they alone use, and nothing else of
    `self`. In a simulation neither is called.

    A command returns at once; of several, the last one counts. The value is what the device has
    confirmed, None while that is unknown. After a failure the device is made safe, again and again
    until that works. A reset waits for that, and raises DeviceError if it does not happen in time.
    """

    check_every: Annotated[
        Duration | None, Between(1), Doc("The time between checks of its state, in seconds.")
    ] = 10.0

    @property
    @abstractmethod
    def answers_within(self) -> float:
        """How many seconds `transmit` takes at most."""

    @abstractmethod
    def transmit(self, value: Any) -> Any:
        """Bring the device to `value` (io thread); returns its state as the device says it.

        None if it does not say its state: then `value` counts as confirmed. DeviceGone if it does
        not answer, DeviceError if it refuses.
        """

    def look(self) -> Any:
        """The device's state as it says it, every `check_every` seconds (io thread).

        None if it does not say its state. Errors as in `transmit`.
        """
        return None

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._value: Any = None
        self._wanted = self.safe
        self._pending = False  # the io thread transmits `_wanted`, or is about to
        self._attempted = threading.Event()  # the io thread has tried to reach `_wanted`
        self._safe_now = False
        self._again_at: float | None = None
        self._check_at: float | None = None

    def open(self) -> None:
        self._wanted = self.safe
        self._value = self._failure = None
        if self.services.simulated:
            self._value = self.safe
        else:
            self._io = self.worker()
            self._io.start()
            self._begin()
            self._check_at = self._after(self.check_every)
        self.opened()

    def close(self) -> None:
        if self._io is None:
            return
        try:
            self.make_safe()
            self._attempted.wait(_CLOSING if self._failure is None else _CLOSING_FAILED)
        finally:
            io, self._io = self._io, None
            self.interrupt()
            io.stop()
            self._pending, self._again_at, self._check_at = False, None, None
        self._confirm_safe()

    def reset(self) -> None:
        super().reset()
        if self._io is not None:
            if self._again_at is not None:
                self._begin()  # now: it may work again
            # Twice: one command may be under way, and this one follows it.
            self.services.outlast(2 * self.answers_within, lambda: not self._pending)
            self._confirm_safe()
            self._value = self.safe

    def make_safe(self) -> None:
        if self._io is None:
            self._value = self.safe
        else:
            self._wanted = self.safe
            self._begin()

    def await_safe(self, seconds: float) -> None:
        if self._io is not None and self._failure is None:  # else it would hold up the others
            self._attempted.wait(seconds)

    def drive(self, value: Any) -> None:
        if self._io is None:
            self._value = value
        elif value != self._wanted or not (self._pending or self._again_at):
            self._wanted = value
            self._begin()

    @property
    def value(self) -> Any:
        return self._value

    def due(self) -> float | None:
        return earliest(super().due(), self._again_at, self._check_at)

    def poll(self) -> None:
        super().poll()
        if self._io is None:
            return
        now = self.services.clock.now()
        if self._again_at is not None and self._again_at <= now:
            self._begin()
        if self._check_at is not None and self._check_at <= now:
            self._check_at = self._after(self.check_every)
            self._submit()

    def _confirm_safe(self) -> None:
        if not self._safe_now:
            trouble = self.trouble() or "no answer"
            raise DeviceError(f"it has not confirmed that it is {_word(self.safe)}: {trouble}")

    def _begin(self) -> None:
        self._safe_now = False
        self._attempted.clear()
        self._pending, self._again_at = True, None
        self._submit()

    def _submit(self) -> None:
        assert self._io is not None
        with suppress(Busy):  # the work that waits already will do what is wanted by then
            self._io.submit(self._work, lambda then: then(), self._missed)

    def _work(self) -> Callable[[], None]:
        """Transmit or look (io thread); returns what the hardware thread does with the result."""
        pending = self._pending
        try:
            return self._transmit() if pending else partial(self._looked, self.look())
        except Exception as error:  # noqa: BLE001 - whatever it is, the device has failed
            return partial(self._not_confirmed if pending else self._missed, error)

    def _transmit(self) -> Callable[[], None]:
        wanted = self._wanted
        try:
            said = self.transmit(wanted)
            value = wanted if said is None else said
            if value != wanted:
                how = "switched" if isinstance(wanted, bool) else "set to"
                raise DeviceError(f"it was {how} {_word(wanted)} but is {_word(value)}")
            self._safe_now = value == self.safe
            return partial(self._confirmed, value)
        finally:
            if wanted == self._wanted:
                self._attempted.set()

    def _confirmed(self, value: Any) -> None:
        self._value = value
        self._failure = None
        self._pending = False
        if value != self._wanted:
            self._begin()  # another command came meanwhile
        self.services.publish()

    def _not_confirmed(self, error: Exception) -> None:
        self._pending = False
        self._value = None
        if self.is_safe(self._wanted):
            self._again_at = self._after(_RETRY)
        else:
            super().reset()  # it may have worked half-way
        self._failed(error)

    def _looked(self, value: Any) -> None:
        if value is not None and not self._pending:
            self._value, self._failure = value, None
            self.services.publish()

    def _missed(self, error: Exception) -> None:
        if not self._pending:
            self._value = None
        self._failed(error)

    def _after(self, seconds: float | None) -> float | None:
        return None if seconds is None else self.services.clock.now() + seconds


@dataclass(kw_only=True)
class SlowSwitch(SwitchOutput, SlowOutput):
    """A slow output that is on or off: a plug in the network, a hub.

    A subclass has `switch`, which answers within `time_limit`, and may have `look`.
    """

    time_limit: Annotated[
        Duration, Between(0.1, 10), Doc("How long to wait for an answer, in seconds.")
    ] = 2.0

    @property
    def answers_within(self) -> float:
        return self.time_limit

    @abstractmethod
    def switch(self, value: bool) -> bool | None:
        """Switch the device; returns, and raises, what SlowOutput.transmit does (io thread)."""

    def transmit(self, value: bool) -> bool | None:
        return self.switch(value)


def _word(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else f"{value:g}"
