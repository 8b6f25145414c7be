"""What is done to the node while its output is on, and how long that stays on."""

from __future__ import annotations

import signal
from dataclasses import replace

from labnode.clock import Clock
from labnode.errors import LabnodeError
from labnode.locale import Message
from labnode.prove.node import LIMIT, OUTPUT, Keeper, NodeFiles
from labnode.prove.report import Measurement
from labnode.prove.visit import Visit
from labnode.prove.wire import Wire

_GOES_ON_WITHIN = 5.0  # seconds
_MARGIN = 60.0  # seconds that are waited longer than promised, to measure a promise that breaks

# What docs/reliability.md promises, in seconds.
DEATH = 2.0
HANG = 3.0


class Faults:
    """Does harm to a node; `wire` sees what becomes of its output."""

    def __init__(self, keeper: Keeper, files: NodeFiles, wire: Wire, clock: Clock) -> None:
        self._keeper = keeper
        self._files = files
        self._wire = wire
        self._clock = clock

    def killed(self, times: int) -> list[Measurement]:
        """SIGKILL, again and again."""
        return self._ended("SIGKILL", signal.SIGKILL, DEATH, times)

    def stopped(self) -> list[Measurement]:
        """SIGSTOP: the process is there and does nothing."""
        return self._ended("SIGSTOP", signal.SIGSTOP, self._keeper.watchdog + 2.0, 1)

    def hung(self) -> Measurement:
        """A lab's clean-up that never ends, while the output is on."""
        self._keeper.start(replace(self._files, hangs=True))
        visit = self._switched_on()
        at = self._clock.now()
        visit.leave()
        fell = self._wire.until(False, HANG + _MARGIN)
        return _judged(
            Message("cli.row-hang", limit=f"{LIMIT:g}"),
            HANG,
            [None if fell is None else fell - at],
            went_on_again=fell is not None and self._wire.rose_after(fell),
        )

    def _ended(self, name: str, number: int, promised: float, times: int) -> list[Measurement]:
        stayed, took, rose = 0, list[float | None](), False
        for _ in range(times):
            visit = self._switched_on()
            at = self._clock.now()
            self._keeper.signal(number)
            self._keeper.recover()
            visit.end()
            fell = self._wire.until(False, _MARGIN)
            took.append(None if fell is None else fell - at)
            stayed += fell is None or fell - at > 0.05
            rose |= fell is not None and self._wire.rose_after(fell)
        level = Message("cli.stayed", stayed=stayed, n=times)
        safe = Message("cli.row-safe", signal=name)
        return [
            Measurement(Message("cli.row-by-itself", signal=name), "", level),
            _judged(safe, promised, took, went_on_again=rose),
        ]

    def _switched_on(self) -> Visit:
        visit = Visit(self._files.server())
        visit.switch_on(OUTPUT)
        if self._wire.until(True, _GOES_ON_WITHIN) is None:
            raise LabnodeError(Message("cli.prove-loose"))
        return visit


def _judged(
    what: Message, promised: float, took: list[float | None], *, went_on_again: bool
) -> Measurement:
    known = [seconds for seconds in took if seconds is not None]
    kept = len(known) == len(took) and max(known) <= promised and not went_on_again
    measured = _in_words(known, len(took))
    if went_on_again:
        measured = Message("cli.on-again", took=measured)
    return Measurement(what, Message("cli.within", time=f"{promised:g} s"), measured, kept)


def _in_words(known: list[float], times: int) -> Message:
    """How long it took at most, and how often of `times` it never came."""
    if not known:
        return Message("cli.never")
    seconds = f"{max(known):.2f}"
    took = Message("cli.took-one", seconds=seconds)
    if times > 1:
        took = Message("cli.took-many", seconds=seconds, n=times)
    if len(known) == times:
        return took
    return Message("cli.never-in", never=times - len(known), n=times, took=took)
