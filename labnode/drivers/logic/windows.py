"""What a formula remembers: values over the last seconds, in bounded memory, and hystereses."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_PIECES = 200  # of a window: the memory that one takes at most, and how exactly it ends


@dataclass
class _Piece:
    """A short part of a window: for how long the value was known, its integral and extremes."""

    number: int
    low: float = math.inf
    high: float = -math.inf
    known: float = 0.0
    integral: float = 0.0


class Window:
    """The last `seconds` of a value that stays until the next one comes.

    It has 200 pieces, and what is older goes a piece at a time; no value makes it larger.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._width = seconds / _PIECES
        self._pieces: deque[_Piece] = deque(maxlen=_PIECES + 1)
        self._points: deque[tuple[float, float]] = deque(maxlen=_PIECES + 2)  # time, value
        self._value: float | None = None
        self._until = 0.0  # all that is before is in the pieces
        self._newest: float | None = None  # when it was last sampled; None: it is always known

    def sample(self, now: float, value: float | None, sampled: float | None) -> None:
        """From `now` on it is `value`, None while nobody knows; `sampled` says when it was read."""
        self.go_on(now)
        if value is None:
            self._points.clear()  # no rate is taken across a time that nobody knows
        else:
            self._add(self._number(now), 0.0, value)
            self._note(now if sampled is None else sampled, value)
        self._value, self._newest = value, sampled

    def go_on(self, now: float) -> None:
        """It is still the same value."""
        begin = max(self._until, now - self._seconds)
        number = self._number(begin)
        while self._value is not None and begin < now:
            end = min(now, (number + 1) * self._width)
            self._add(number, max(0.0, end - begin), self._value)
            begin, number = max(begin, end), number + 1
        self._until = now
        oldest = self._number(now - self._seconds)
        while self._pieces and self._pieces[0].number < oldest:
            self._pieces.popleft()
        while len(self._points) > 1 and self._points[1][0] <= now - self._seconds:
            self._points.popleft()

    def over(self, function: str) -> float | None:
        """Its "avg", "max", "min" or "rate" (per second); None while nobody knows."""
        if self._value is None:
            return None
        if function == "rate":
            return self._rate()
        if function != "avg":
            return max(p.high for p in self._pieces) if function == "max" else self._lowest()
        known = integral = 0.0
        for piece in self._pieces:
            begins = piece.number * self._width - (self._until - self._seconds)
            part = min(1.0, max(0.0, 1 + begins / self._width))  # of the oldest: what is left
            known += part * piece.known
            integral += part * piece.integral
        return integral / known if known else self._value

    def _lowest(self) -> float:
        return min(piece.low for piece in self._pieces)

    def _rate(self) -> float | None:
        begin = self._points[0][0]
        if self._newest is None:
            passed = self._until - max(begin, self._until - self._seconds)
        else:  # between two samples nobody knows
            passed = self._newest - begin
        return (self._points[-1][1] - self._points[0][1]) / passed if passed > 0 else None

    def _number(self, time: float) -> int:
        return math.floor(time / self._width)

    def _add(self, number: int, seconds: float, value: float) -> None:
        if not self._pieces or self._pieces[-1].number < number:
            self._pieces.append(_Piece(number))
        piece = self._pieces[-1]
        piece.low, piece.high = min(piece.low, value), max(piece.high, value)
        piece.known += seconds
        piece.integral += seconds * value

    def _note(self, time: float, value: float) -> None:
        if len(self._points) > 1 and time - self._points[-2][0] < self._width:
            self._points.pop()
        self._points.append((time, value))


class FormulaMemory:
    """The past of one formula (see Past): its windows by device and seconds, its hystereses."""

    def __init__(self, windows: Iterable[tuple[str, float]]) -> None:
        self._keys = tuple(windows)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._windows = {key: Window(key[1]) for key in self._keys}
        self._seen: dict[tuple[str, float], Any] = {}
        self._on: dict[int, bool] = {}

    def watch(self, now: float, snapshot: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what devices show now."""
        for key, window in self._windows.items():
            state = snapshot.get(key[0], {})
            if self._seen.get(key) is state:
                window.go_on(now)
            else:
                window.sample(now, _number_of(state), state.get("sampled"))
            self._seen[key] = state

    def over(self, function: str, device: str, seconds: float) -> float | None:
        return self._windows[device, seconds].over(function)

    def switched(self, place: int, value: Any, low: Any, high: Any) -> bool | None:
        if None in (value, low, high):
            return None
        if value > high or value < low:
            self._on[place] = value > high
        return self._on.setdefault(place, False)


def _number_of(state: Mapping[str, Any]) -> float | None:
    value = state.get("value")
    if not isinstance(value, int | float) or state.get("stale") or "error" in state:
        return None
    return float(value)
