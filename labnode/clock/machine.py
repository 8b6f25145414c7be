"""What the machine knows of its wall clock: who confirms it, and when somebody sets it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_REALTIME, _ABSOLUTE, _CANCEL_ON_SET = 0, 1, 2  # timerfd_create(2)
_SLOWLY = 60.0  # seconds between two looks where no timer tells when to look

_libc = ctypes.CDLL(None, use_errno=True)


def ntp_confirms() -> bool:
    """Whether NTP has set the clock: the kernel knows of every client.

    It forgets when somebody else sets the clock, and 9 hours after the last answer of a server.
    """
    return 0 <= int(_libc.adjtimex(ctypes.create_string_buffer(1024))) < _TIME_ERROR


def battery_clocks(directory: Path = Path("/sys/class/rtc")) -> Iterator[float]:
    """What the clocks say that go on while the machine is off, in seconds since 1970."""
    for file in directory.glob("rtc*/since_epoch"):
        with contextlib.suppress(OSError, ValueError):
            yield float(file.read_text())


class ClockThread:
    """Calls `look` at first, whenever somebody has set the clock, and when `look` asks for it."""

    def __init__(self, look: Callable[[bool], float | None]) -> None:
        self._look = look
        self._end = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name="wall-clock", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the thread; False when it did not end in time."""
        os.eventfd_write(self._end, 1)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def works(self) -> bool:
        return self._thread.is_alive()

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
