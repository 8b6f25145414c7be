"""The wall clock: whether it is right, and who is told when somebody sets it."""

from __future__ import annotations

import ctypes
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from labnode.clock import Clock, Look, Watch

OLDEST = 1_735_689_600.0  # 2025, before labnode existed: a clock that says less was not set
_JUMP = 600.0  # seconds that the wall clock may gain or lose against the time that passes

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_REALTIME, _ABSOLUTE, _CANCEL_ON_SET = 0, 1, 2  # timerfd_create(2)
_SLOWLY = 60.0  # seconds between two looks where nothing can tell when to look

_libc = ctypes.CDLL(None, use_errno=True)


class WallClock:
    """The wall clock as far as it can be trusted; any thread may ask.

    It is `trustworthy` once NTP, or a clock with a battery, has confirmed it, and as long as it
    does not jump: then it has to be confirmed again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._offset = clock.wall() - clock.now()
        self._steady_since = clock.now()
        self._confirmed = False
        self._wakes: list[Callable[[], None]] = []
        self._watch: Watch | None = None

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.wall()

    @property
    def trustworthy(self) -> bool:
        """Whether it tells the right time of day."""
        self.look()
        return self._confirmed

    @property
    def doubt(self) -> str | None:
        """Why it is not trustworthy, in a sentence, or None."""
        if self.trustworthy:
            return None
        return (
            "The clock of this machine is not set: no time server (NTP) has answered, and it has "
            "no battery clock that is right."
        )

    @property
    def steady_for(self) -> float:
        """For how many seconds, known to this process, it has not jumped."""
        self.look()
        return self._clock.now() - self._steady_since

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake`, on any thread, when the clock was set or becomes trustworthy; until `stop`.

        What is slewed to the right time without being set is found within a minute.
        """
        with self._lock:
            self._wakes.append(wake)
        if self._watch is None:
            self._watch = self._clock.watch_wall(self.look)

    def stop(self, timeout: float) -> bool:
        """Wake nobody any more; False when the thread did not end in time."""
        with self._lock:
            self._wakes.clear()
            watch, self._watch = self._watch, None
        return watch is None or watch.stop(timeout)

    def look(self, was_set: bool = False) -> float | None:
        """Notice what has happened to it; in how many seconds to look again, None: when it is set.

        Whoever keeps its history calls this every few seconds: smaller jumps may add up.
        """
        with self._lock:
            now = self._clock.now()
            offset = self._clock.wall() - now
            jumped = abs(offset - self._offset) > _JUMP
            if jumped:
                self._steady_since, self._offset, self._confirmed = now, offset, False
            before = self._confirmed
            self._confirmed = before or self._clock.is_right()
            news = was_set or jumped or self._confirmed != before
            wakes = self._wakes[:] if news else []
        for wake in wakes:
            wake()
        return None if self._confirmed else _SLOWLY


def confirmed(wall: float, clocks: Path = Path("/sys/class/rtc")) -> bool:
    """Whether NTP, or one of the machine's battery clocks, confirms the time `wall`.

    NTP by the kernel, which knows of every client. It forgets when somebody sets the clock, and 9
    hours after the last answer of a server. A clock whose battery is empty begins long ago.
    """
    if 0 <= _libc.adjtimex(ctypes.create_string_buffer(1024)) < _TIME_ERROR:
        return True
    for file in clocks.glob("rtc*/since_epoch"):
        try:
            says = float(file.read_text())
        except (OSError, ValueError):
            continue
        if says >= OLDEST and abs(says - wall) <= _JUMP:
            return True
    return False


class ClockThread:
    """Calls `look` at first, whenever somebody has set the clock, and when `look` asks for it."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._end = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name="wall-clock", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the thread; False when it did not end in time."""
        os.eventfd_write(self._end, 1)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        timer = _timer()
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        if timer is not None:
            poll.register(timer, select.POLLIN)
        was_set = False
        while True:
            seconds = self._look(was_set)
            if timer is None:
                seconds = _SLOWLY
            ready = [number for number, _ in poll.poll(None if seconds is None else seconds * 1000)]
            if self._end in ready:
                break
            was_set = timer in ready
            if timer in ready and _has_ended(timer):
                poll.unregister(timer)
                os.close(timer)
                timer = None
        os.close(self._end)
        if timer is not None:
            os.close(timer)


def _timer() -> int | None:
    """A timer without an end, which can be read once the clock was set; None: there is none."""
    timer = int(_libc.timerfd_create(_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC))
    if timer < 0:
        return None
    latest = (1 << 8 * ctypes.sizeof(ctypes.c_long) - 1) - 1
    never = (ctypes.c_long * 4)(0, 0, latest, 0)
    if _libc.timerfd_settime(timer, _ABSOLUTE | _CANCEL_ON_SET, never, None) == 0:
        return timer
    os.close(timer)
    return None


def _has_ended(timer: int) -> bool:
    """Whether it can be read because it has ended (32 bits, after 2038): it tells no more.

    Reading fails with ECANCELED when the clock was set.
    """
    return int(_libc.read(timer, ctypes.create_string_buffer(8), 8)) == 8
