"""The one thread that owns every open WebSocket."""

from __future__ import annotations

import logging
import selectors
import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial

from labnode.clock import Clock
from labnode.errors import Busy
from labnode.waker import Waker
from labnode.web.websockets.channel import Channel
from labnode.web.websockets.limits import FAILED, SESSION_OVER, STOPPING, Limits

logger = logging.getLogger(__name__)

_HUNG_AFTER = 30.0  # seconds for a turn, in which it waits for nobody


class Hub:
    """Reads, writes and closes the sockets of its channels from `start` to `stop`.

    It never waits for one of them, and sleeps when none has anything to do.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._now = Clock().now
        self._lock = threading.Lock()  # of what follows
        self._thread: threading.Thread | None = None
        self._channels: set[Channel] = set()  # replaced as a whole: others read it without the lock
        self._waker: Waker | None = None  # None: not running
        self._stopping = True
        self._stop_at = 0.0
        self._turn_began: float | None = None  # None: it waits
        self._look_again = False  # some who are here may have to go
        self._new: deque[Channel] = deque()
        self._changed: deque[Channel] = deque()

    @property
    def channels(self) -> set[Channel]:
        """Those that are open now."""
        return self._channels

    def start(self) -> None:
        self._stopping, self._waker = False, Waker()
        self._thread = threading.Thread(
            target=self._run, args=(self._waker,), name="websockets", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Close all, those that do not answer after `timeout` seconds without waiting for it."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._lock:
            self._stop_at = self._now() + timeout
            self._stopping = True
        for channel in self._channels:
            channel.end(STOPPING)
        self._wake()
        thread.join(timeout + 1.0)

    def fault(self) -> str | None:
        """Why channels are not served any more, or None; any thread may ask."""
        thread, began = self._thread, self._turn_began
        if thread is None or self._stopping:
            return None
        if not thread.is_alive():
            return "the thread of the WebSockets has died"
        if began is not None and self._now() - began > _HUNG_AFTER:
            return f"the thread of the WebSockets had no turn for {_HUNG_AFTER:g} s"
        return None

    def check_room(self, session_id: str | None, looking: bool = False) -> None:
        """Busy when another channel of this session would be one too many.

        Those of observers (`looking`) are counted apart: they take none from the student.
        """
        kind = (session_id, looking)
        mine = sum((each.session_id, each.looking) == kind for each in self._channels)
        if self._stopping:
            raise Busy("The lab is not serving WebSockets now.")
        if len(self._channels) >= self._limits.sockets or mine >= self._limits.per_session:
            raise Busy("There are too many WebSockets open; close some, or try again later.")

    def adopt(self, channel: Channel) -> None:
        """Own a channel from now on. Any thread."""
        with self._lock:
            running = not self._stopping
            if running:
                channel.wake = self._tell
                self._channels = self._channels | {channel}
                self._new.append(channel)
        if running:
            self._wake()
        else:
            channel.end(STOPPING)
            channel.socket.close()

    def look_again(self) -> None:
        """Have all channels checked that may have to be closed. Any thread."""
        self._look_again = True
        self._wake()

    def _tell(self, channel: Channel) -> None:
        """A channel has something to send, or ends."""
        self._changed.append(channel)
        self._wake()

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            waker.wake()

    # ------------------------------------------------------------------ the thread

    def _run(self, waker: Waker) -> None:
        with selectors.DefaultSelector() as selector, closing(waker):
            selector.register(waker.descriptor, selectors.EVENT_READ, waker)
            while not self._is_over():
                try:
                    self._turn(selector)
                except Exception:
                    logger.exception("A turn of the WebSockets' hub failed")
            for channel in self._channels:
                self._drop(selector, channel)
            with self._lock:
                if self._waker is waker:
                    self._waker = None
                self._new.clear()
                self._changed.clear()

    def _is_over(self) -> bool:
        return self._stopping and (not self._channels or self._now() >= self._stop_at)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        """Wait for something to happen, and see to all that has happened."""
        self._turn_began = None
        happened = selector.select(self._timeout())
        self._turn_began = self._now()
        for key, events in happened:
            if isinstance(key.data, Channel):
                self._see_to(selector, key.data, partial(Channel.ready, events=events))
            else:
                key.data.heard()
        while self._new:
            self._see_to(selector, self._new.popleft(), Channel.begin)
        while self._changed:
            self._see_to(selector, self._changed.popleft(), Channel.write)
        if self._look_again:
            self._look_again = False
            for channel in self._channels:
                if not channel.receiver.may_stay():
                    channel.end(SESSION_OVER)
        now = self._now()
        for channel in [c for c in self._channels if c.deadline <= now]:
            self._see_to(selector, channel, Channel.tick)

    def _timeout(self) -> float | None:
        deadlines = [channel.deadline for channel in self._channels]
        if self._stopping:
            deadlines.append(self._stop_at)
        return max(0.0, min(deadlines) - self._now()) if deadlines else None

    def _see_to(
        self, selector: selectors.BaseSelector, channel: Channel, step: Callable[[Channel], None]
    ) -> None:
        """Take a step for one channel, whose troubles end that channel and never the hub."""
        if channel not in self._channels:
            return
        try:
            step(channel)
            self._watch(selector, channel)
        except OSError:
            channel.lose()
        except Exception:
            logger.exception("A WebSocket is closed because of a fault in the hub")
            channel.over = channel.ending is not None
            channel.end(FAILED)
        if channel.over:
            self._drop(selector, channel)

    def _watch(self, selector: selectors.BaseSelector, channel: Channel) -> None:
        key = selector.get_map().get(channel.socket)
        if key is None and channel.interest:
            selector.register(channel.socket, channel.interest, channel)
        elif key is not None and not channel.interest:
            selector.unregister(channel.socket)
        elif key is not None and key.events != channel.interest:
            selector.modify(channel.socket, channel.interest, channel)

    def _drop(self, selector: selectors.BaseSelector, channel: Channel) -> None:
        with suppress(KeyError, ValueError):  # it was not watched
            selector.unregister(channel.socket)
        channel.socket.close()
        channel.end(STOPPING)
        with self._lock:
            self._channels = self._channels - {channel}
