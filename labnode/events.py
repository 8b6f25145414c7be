"""Events as dataclasses, and the bus that publishes them; publishing never blocks or raises."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """A device has a new value (JSON)."""

    device: str
    value: Any


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A session has a new state; `reason` says why it ends."""

    session_id: str
    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class HandRaised:
    """A student asks for help, or no longer does."""

    session_id: str


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """A task has a new status or new data."""

    task_id: str
    session_id: str | None
    status: str


class TaskStatusChanged(TaskChanged):
    """A task has a new status, or was asked to stop."""


@dataclass(frozen=True, slots=True)
class FaultChanged:
    """An interlock is "active", "latched" or "cleared"."""

    name: str
    state: str
    message: str


@dataclass(frozen=True, slots=True)
class EmergencyPressed:
    """A device asked for an emergency stop; its board is halted and safe already."""

    why: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the student of a session, or to all students."""

    text: str | Mapping[str, str]
    session_id: str | None = None


class Subscription:
    """The unread events of one reader; beyond `limit` the oldest are dropped."""

    def __init__(
        self, kinds: tuple[type, ...], wake: Callable[[], None] | None, limit: int
    ) -> None:
        self.dropped = 0
        self._kinds = kinds
        self._wake = wake
        self._queue: deque[Any] = deque(maxlen=limit)
        self._lock = threading.Lock()

    def drain(self) -> list[Any]:
        """Everything since the last call, oldest first."""
        with self._lock:
            events = list(self._queue)
            self._queue.clear()
        return events

    def _offer(self, event: object) -> None:
        if self._kinds and not isinstance(event, self._kinds):
            return
        with self._lock:
            self.dropped += len(self._queue) == self._queue.maxlen
            self._queue.append(event)
        if self._wake is not None:
            self._wake()


class Bus:
    """Gives every event to the subscriptions to its kind."""

    def __init__(self) -> None:
        self._subscriptions: tuple[Subscription, ...] = ()
        self._lock = threading.Lock()

    def subscribe(
        self, *kinds: type, wake: Callable[[], None] | None = None, limit: int = 1000
    ) -> Subscription:
        """A queue of the events of `kinds` (none: all).

        `wake` is called after each event, on the publisher's thread, and must not wait: most only
        set a flag. What it raises is logged and does not reach the publisher.
        """
        subscription = Subscription(kinds, wake, limit)
        with self._lock:
            self._subscriptions += (subscription,)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def publish(self, event: object) -> None:
        """Queue `event` for its subscriptions; returns at once."""
        for subscription in self._subscriptions:
            try:
                subscription._offer(event)
            except Exception:  # not the publisher's problem: the event is queued
                log.exception("A reader of events could not be woken.")
