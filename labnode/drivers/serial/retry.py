"""When a port that is not there, or does not open, or goes at once, is tried again."""

from __future__ import annotations

from collections.abc import Callable

_FIRST = 0.2  # seconds until the second attempt
_LOOK_EVERY = 1.0  # seconds, at most, between two looks for a port that is not there
_LAST = 5.0  # … between two attempts to use one that does not work
_ALIVE_AFTER = 5.0  # seconds after which a port that says nothing has worked


class Retry:
    """A pause that grows from failure to failure, until a port has worked."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.at = 0.0  # when it is tried again
        self._now = now
        self._pause = _FIRST
        self._opened_at = 0.0

    @property
    def due(self) -> bool:
        return self._now() >= self.at

    def missing(self) -> None:
        """It is not there."""
        self._put_off(_LOOK_EVERY)

    def failed(self) -> None:
        """It does not open, or something else is wrong."""
        self._put_off(_LAST)

    def opened(self) -> None:
        self._opened_at = self._now()

    def works(self) -> None:
        """It has said something."""
        self._pause = _FIRST

    def lost(self) -> None:
        """It was open and is gone: at once again, unless it goes again and again."""
        if self._now() - self._opened_at > _ALIVE_AFTER:
            self.works()
        if self._pause == _FIRST:
            self.at, self._pause = self._now(), 2 * _FIRST
        else:
            self._put_off(_LAST)

    def _put_off(self, longest: float) -> None:
        self._pause = min(self._pause, longest)
        self.at = self._now() + self._pause
        self._pause *= 2
