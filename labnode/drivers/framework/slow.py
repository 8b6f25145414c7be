"""Sensors whose reading takes longer than the hardware thread can wait: an io thread reads them."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.io_thread import IoThread
from labnode.drivers.framework.output import SwitchOutput
from labnode.errors import Busy, DeviceError
from labnode.schema import Between, Doc, Duration

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class SlowSensor(Sensor):
    """A subclass has `read`, which runs on the io thread, takes its time and does not touch `self`
    but for its options and what it alone uses.

    While it cannot be read its state has an "error"; its value stays and gets old.
    """

    sample_every: Annotated[Duration, Between(0.05)] = 2.0

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._io: IoThread | None = None
        self._trouble: str | None = None

    def open(self) -> None:
        """To be called at the end of a subclass's own."""
        self._trouble = None
        if not self.services.simulated:
            self._io = IoThread(self.name, self.services)
            self._io.repeat(self.sample_every, self.read, self._took, self._missed)
            self._io.start()
        self.opened()

    def opened(self) -> None:
        super().opened()
        if self._io is not None:
            self._next = None  # it is not the hardware thread that reads

    def close(self) -> None:
        io, self._io = self._io, None
        try:
            if io is not None:
                self.interrupt()
                io.stop()
        finally:
            super().close()

    def interrupt(self) -> None:
        """End the reading that may be under way (hardware thread, before the io thread stops)."""

    def state(self) -> dict[str, Any]:
        error = {} if self._trouble is None else {"error": self._trouble}
        return {**super().state(), **error}

    def _took(self, value: Any) -> None:
        if value is not None:
            self._trouble = None
            self.arrived(value)
        self.services.publish()

    def _missed(self, error: Exception) -> None:
        told, self._trouble = self._trouble, " ".join(str(error).split()) or type(error).__name__
        if self._trouble != told:  # once, not with every reading
            log.warning("device %s cannot be read: %s", self.name, self._trouble)
        self.services.publish()


_RETRY = 2.0  # seconds until what did not become safe is made safe again
_CLOSING = 2.0  # seconds that a close waits for it: the whole stop of a node has 5
_EMERGENCY = 0.2  # seconds that an emergency waits for it: it has 1 s for all devices


@dataclass(kw_only=True)
class SlowSwitch(SwitchOutput):
    """A switch at the other end of a wire that is not ours: a plug in the network, a hub.

    A subclass has `switch` and `look`, which run on the io thread. A command returns at once; the
    newest one counts. The value is what has been confirmed, None while nobody knows. What did not
    work is made safe, again and again until that has worked; a reset waits for it and fails if it
    does not come.
    """

    time_limit: Annotated[
        Duration, Between(0.1, 10), Doc("How long it may take to answer, in seconds.")
    ] = 2.0
    check_every: Annotated[
        Duration | None, Between(1), Doc("How often it is asked whether it is on, in seconds.")
    ] = 10.0

    @abstractmethod
    def switch(self, value: bool) -> bool | None:
        """Switch it and return what it says it is then, None if it does not say (io thread)."""

    def look(self) -> bool | None:
        """What it says it is, None if it does not say (io thread)."""
        return None

    def interrupt(self) -> None:
        """End what the io thread does (hardware thread, before that stops)."""

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._io: IoThread | None = None
        self._value: bool | None = None
        self._trouble: str | None = None
        self._wanted = self.safe
        self._handed = False  # the io thread has it, or is about to
        self._tried = threading.Event()  # that was done what is wanted
        self._safe_now = False
        self._again_at: float | None = None
        self._check_at: float | None = None

    def open(self) -> None:
        self._wanted = self.safe
        self._value = self._trouble = None
        if self.services.simulated:
            self._value = self.safe
        else:
            self._io = IoThread(self.name, self.services)
            self._io.start()
            self._hand_over()
            self._check_at = self._after(self.check_every)
        self.opened()

    def close(self) -> None:
        if self._io is None:
            return
        try:
            self._make_safe_within(_CLOSING if self._trouble is None else _EMERGENCY)
        finally:
            io, self._io = self._io, None
            self.interrupt()
            io.stop()
            self._handed, self._again_at, self._check_at = False, None, None
        if not self._safe_now:
            raise DeviceError(self._unconfirmed())

    def reset(self) -> None:
        super().reset()
        if self._io is not None:
            self.services.outlast(self._patience, lambda: not self._handed)
            if not self._safe_now:
                raise DeviceError(self._unconfirmed())
            self._value = self.safe

    def make_safe(self) -> None:
        if self._io is None:
            self._value = self.safe
        else:
            # The process may end right after this; but for what does not answer nobody waits.
            self._make_safe_within(_EMERGENCY if self._trouble is None else 0)

    def drive(self, value: bool) -> None:
        if self._io is None:
            self._value = value
        elif value != self._wanted or not (self._handed or self._again_at):
            self._wanted = value
            self._hand_over()

    @property
    def value(self) -> bool | None:
        return self._value

    def state(self) -> dict[str, Any]:
        error = {} if self._trouble is None else {"error": self._trouble}
        return {**super().state(), **error}

    def due(self) -> float | None:
        times = (super().due(), self._again_at, self._check_at)
        return min((time for time in times if time is not None), default=None)

    def poll(self) -> None:
        super().poll()
        now = self.services.clock.now()
        if self._io is not None and self._again_at is not None and self._again_at <= now:
            self._hand_over()
        if self._io is not None and self._check_at is not None and self._check_at <= now:
            self._check_at = self._after(self.check_every)
            self._ask()

    # ------------------------------------------------------------------ to the io thread and back

    def _make_safe_within(self, seconds: float) -> None:
        self._wanted = self.safe
        self._hand_over()
        self._tried.wait(seconds)

    def _hand_over(self) -> None:
        self._safe_now = False
        self._tried.clear()
        self._handed, self._again_at = True, None
        self._ask()

    def _ask(self) -> None:
        assert self._io is not None
        with suppress(Busy):  # what waits already does what is wanted by then
            self._io.submit(self._work, lambda then: then(), self._missed)

    def _work(self) -> Callable[[], None]:
        """Switch it, if that is to be done, or look; gives what the hardware thread does then."""
        handed = self._handed
        try:
            return self._switch() if handed else partial(self._looked, self.look())
        except Exception as error:  # noqa: BLE001 - whatever it is, the device has failed
            return partial(self._failed if handed else self._missed, error)

    def _switch(self) -> Callable[[], None]:
        wanted = self._wanted
        try:
            said = self.switch(wanted)
            value = wanted if said is None else said
            if value != wanted:
                raise DeviceError(f"it was switched {_word(wanted)} but is {_word(value)}")
            self._safe_now = value == self.safe
            return partial(self._switched, value)
        finally:
            if wanted == self._wanted:
                self._tried.set()

    def _switched(self, value: bool) -> None:
        self._value = value
        self._trouble = None
        self._handed = False
        if value != self._wanted:
            self._hand_over()  # it was told otherwise meanwhile
        self.services.publish()

    def _failed(self, error: Exception) -> None:
        self._handed = False
        self._value = None
        self._tell(error)
        if self.is_safe(self._wanted):
            self._again_at = self._after(_RETRY)
        else:
            super().reset()  # nobody knows what a half of it has done
        self.services.publish()

    def _looked(self, value: bool | None) -> None:
        if value is not None and not self._handed:
            self._value, self._trouble = value, None
            self.services.publish()

    def _missed(self, error: Exception) -> None:
        if not self._handed:
            self._value = None
        self._tell(error)
        self.services.publish()

    def _tell(self, error: Exception) -> None:
        told, self._trouble = self._trouble, " ".join(str(error).split()) or type(error).__name__
        if self._trouble != told:
            log.warning("device %s: %s", self.name, self._trouble)

    def _after(self, seconds: float | None) -> float | None:
        return None if seconds is None else self.services.clock.now() + seconds

    @property
    def _patience(self) -> float:
        """For one that is under way and for the one that follows it."""
        return 2 * self.time_limit

    def _unconfirmed(self) -> str:
        return f"it has not confirmed that it is {_word(self.safe)}: {self._trouble or 'no answer'}"


def _word(value: bool) -> str:
    return "on" if value else "off"
