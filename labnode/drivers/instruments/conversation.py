"""The io thread of an instrument: it opens the connection, and its devices take turns on it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from labnode.clock import Clock
from labnode.drivers.framework.io_thread import Backoff, IoLoop, Jobs, SlowJob
from labnode.drivers.framework.services import Services
from labnode.drivers.instruments.dialogue import Dialogue, Silent
from labnode.drivers.instruments.wire import TextWire
from labnode.errors import DeviceError, DeviceGone

log = logging.getLogger(__name__)

_RETRY = 5.0  # seconds, at most, between two attempts to reach it
_AT_ONCE = 0.5  # seconds after an attempt, at least, until a command has it tried again


@dataclass(frozen=True)
class InstrumentStatus:
    """How the connection is; replaced as a whole, so that any thread may read it."""

    connected: bool = False
    identity: str | None = None
    error: str | None = None


class Conversation:
    """One instrument's io thread.

    Each of its devices has a `Speaker`: one job that repeats, and one that waits, so that no queue
    grows. Jobs that were asked for come first, those of outputs before all others. A device that
    did not get an answer is told, and the others go on.
    """

    def __init__(
        self,
        name: str,
        services: Services,
        open_wire: Callable[[IoLoop], TextWire],
        greet: Callable[[TextWire], tuple[Dialogue, str | None]],
        changed: Callable[[], None],
    ) -> None:
        """`greet` says who is there, or raises; `changed` runs on the hardware thread."""
        self.status = InstrumentStatus()
        self._name = name
        self._clock = services.clock
        self._open_wire = open_wire
        self._greet = greet
        self._changed = changed
        self._io = IoLoop(name, services, self._run)
        self._speakers: tuple[Speaker, ...] = ()
        self._lock = threading.Lock()  # of the speakers
        self._dialogue: Dialogue | None = None
        self._backoff = Backoff(self._clock)
        self._tried_at = float("-inf")

    # ------------------------------------------------------------------ any thread

    def start(self) -> None:
        self._io.start()

    def stop(self) -> None:
        self._io.stop()

    def wake(self) -> None:
        self._io.wake()

    def post(self, call: Callable[[], None]) -> None:
        self._io.post(call)

    def add(self, speaker: Speaker) -> None:
        with self._lock:
            self._speakers = tuple(
                sorted((*self._speakers, speaker), key=lambda each: not each.first)
            )
        self.wake()

    def remove(self, speaker: Speaker) -> None:
        with self._lock:
            self._speakers = tuple(each for each in self._speakers if each is not speaker)

    # ------------------------------------------------------------------ jobs, on the io thread

    @property
    def dialogue(self) -> Dialogue:
        if self._dialogue is None:
            raise DeviceGone(f"'{self._name}' is not connected: {self.status.error or 'not yet'}")
        return self._dialogue

    # ------------------------------------------------------------------ the io thread

    def _run(self) -> None:
        try:
            while not self._io.stopping:
                try:
                    self._turn()
                except Exception:  # this thread is all that the instrument has
                    log.exception("A turn of the instrument %s failed.", self._name)
                    self._lose(DeviceError("there is a fault in labnode, which its log tells"))
        finally:
            self._close()

    def _turn(self) -> None:
        if self._dialogue is None and self._clock.now() >= self._next_attempt():
            self._connect()
            if self._dialogue is None:
                self._fail_what_waits()
        due = self._take() if self._dialogue is not None else None
        if due is not None:
            self._do(*due)
        elif not self._io.stopping:
            self._io.wait(self._idle_time())

    def _next_attempt(self) -> float:
        """When to try the next time: what was commanded does not wait for the back-off."""
        waits = any(speaker.asked for speaker in self._speakers)
        soon = min(self._backoff.at, self._tried_at + _AT_ONCE)
        return soon if waits else self._backoff.at

    def _idle_time(self) -> float | None:
        if self._dialogue is None:
            return max(0.0, self._next_attempt() - self._clock.now())
        return min(
            (rest for speaker in self._speakers if (rest := speaker.rest()) is not None),
            default=None,
        )

    def _take(self) -> tuple[Speaker, SlowJob] | None:
        """The next job: first what was asked for, then what repeats and has waited longest."""
        speakers = self._speakers
        asked = [speaker for speaker in speakers if speaker.asked]
        for speaker in asked or sorted(speakers, key=lambda each: each.due):
            job, _ = speaker.take()
            if job is not None:
                return speaker, job
        return None

    def _do(self, speaker: Speaker, job: SlowJob) -> None:
        error = speaker.do(job)
        if isinstance(error, Silent):
            self._resume()
        elif isinstance(error, DeviceGone):
            self._lose(error)
        else:
            self._backoff.works()

    def _connect(self) -> None:
        self._tried_at = self._clock.now()
        try:
            wire = self._open_wire(self._io)
            try:
                self._dialogue, identity = self._greet(wire)
            except BaseException:
                wire.close()
                raise
        except DeviceError as error:
            self._backoff.failed(_RETRY)
            self._say(InstrumentStatus(error=str(error)))
        else:
            self._backoff.opened()
            log.info("%s is connected: %s", self._name, identity or "it was not asked who it is")
            self._say(InstrumentStatus(connected=True, identity=identity))

    def _resume(self) -> None:
        """A question was not answered: the answer must not be taken for that to the next one."""
        if self._dialogue is not None and not self._io.stopping:
            with suppress(DeviceError):
                if self._dialogue.wire.resume():
                    return
            self._close()
            self._connect()
            if self._dialogue is None:
                self._tell_lost()

    def _lose(self, error: DeviceError) -> None:
        was_open = self._dialogue is not None
        self._close()
        self._backoff.lost(_RETRY)
        self._say(InstrumentStatus(error=str(error)))
        if was_open:
            self._tell_lost()

    def _tell_lost(self) -> None:
        for speaker in self._speakers:
            speaker.post(speaker.lost)

    def _fail_what_waits(self) -> None:
        for speaker in self._speakers:
            if speaker.asked:
                job, _ = speaker.take()
                if job is not None:
                    speaker.do(job)  # which finds no connection

    def _close(self) -> None:
        dialogue, self._dialogue = self._dialogue, None
        if dialogue is not None:
            with suppress(DeviceError, OSError):
                dialogue.wire.close()

    def _say(self, status: InstrumentStatus) -> None:
        if status != self.status:
            if status.error is not None:
                log.warning("%s is not connected: %s", self._name, status.error)
            self.status = status
            self.post(self._changed)
            for speaker in self._speakers:
                speaker.post(speaker.changed)


class Speaker(Jobs):
    """One device's place on the connection of its instrument; a JobRunner of slow drivers."""

    def __init__(
        self,
        connection: Conversation,
        name: str,
        clock: Clock,
        *,
        changed: Callable[[], None],
        lost: Callable[[], None],
        first: bool,
    ) -> None:
        """`first`: an output.

        On the hardware thread run `changed`, when there is another status of the connection, and
        `lost`, when one that was open is gone.
        """
        super().__init__(name, clock)
        self.changed = changed
        self.lost = lost
        self.first = first
        self._connection = connection
        self._stopped = False

    @property
    def dialogue(self) -> Dialogue:
        """For jobs: what the instrument is spoken to with; DeviceGone without a connection."""
        return self._connection.dialogue

    @property
    def due(self) -> float:
        return self._due if self._repeated is not None else float("inf")

    def rest(self) -> float | None:
        """Seconds until there is something to do; None: until something is asked for."""
        if self.asked:
            return 0.0
        return None if self._repeated is None else max(0.0, self._due - self._clock.now())

    def start(self) -> None:
        self._connection.add(self)

    def stop(self) -> bool:
        self._stopped = True
        self._connection.remove(self)
        return True

    def wake(self) -> None:
        self._connection.wake()

    def post(self, call: Callable[[], None]) -> None:
        self._connection.post(lambda: None if self._stopped else call())
