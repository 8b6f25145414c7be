"""Reactions: short sequences that devices start when they are pressed or change."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from labnode.board import Board
from labnode.board.config.sequences import Sequence, Trigger
from labnode.clock import Clock
from labnode.errors import Stopped
from labnode.events import DeviceChanged
from labnode.lab.sequences import SequenceRun, Sequences
from labnode.sessions import Sessions, State
from labnode.worker import Worker, harmless

log = logging.getLogger(__name__)


class Reactions:
    """Runs the reactions of a board as calls on the hardware thread, at most one of each waits.

    A student's reaction needs a session that is active. What a reaction has set is made safe when
    it fails, and outside of sessions also when it has ended.
    """

    def __init__(
        self, board: Board, worker: Worker, sessions: Sessions, sequences: Sequences, clock: Clock
    ) -> None:
        self._board = board
        self._worker = worker
        self._sessions = sessions
        self._sequences = sequences
        self._clock = clock
        self._triggers: list[tuple[Sequence, Trigger]] = [
            (sequence, sequence.trigger)
            for sequence in board.file.sequences.values()
            if sequence.trigger is not None
        ]
        watched = {trigger.device for _, trigger in self._triggers}
        self._last: dict[str, Any] = dict.fromkeys(watched)
        self._again_at: dict[str, float] = {}  # when each may start again
        self._news = board.bus.subscribe(DeviceChanged, wake=self._look) if watched else None

    def stop(self) -> None:
        """Start none any more."""
        news, self._news = self._news, None
        if news is not None:
            self._board.bus.unsubscribe(news)

    def _look(self) -> None:
        """A device has changed (the thread that publishes that: the hardware's)."""
        for event in self._news.drain() if self._news is not None else ():
            if event.device not in self._last:
                continue
            before, self._last[event.device] = self._last[event.device], event.value
            if before is None or event.value is None or before == event.value:
                continue  # unknown before or now: it has not changed as far as anybody knows
            for sequence, trigger in self._triggers:
                pressed = event.value is True or not trigger.press
                if trigger.device == event.device and pressed:
                    self._start(sequence, trigger)

    def _start(self, sequence: Sequence, trigger: Trigger) -> None:
        now = self._clock.now()
        if now < self._again_at.get(sequence.name, 0.0):
            log.debug("%s rests.", sequence.name)
            return
        self._again_at[sequence.name] = now + max(trigger.rest, sequence.timeout)  # while it runs
        self._worker.queue(partial(self._run, sequence, trigger, now))

    def _run(self, sequence: Sequence, trigger: Trigger, started_at: float) -> None:
        try:
            live = self._sessions.live()
            active = [session for session in live if session.state is State.ACTIVE]
            if self._board.halted is not None or (trigger.student and not active):
                return
            session_id = active[0].id if trigger.student and len(active) == 1 else None
            done = False
            try:
                SequenceRun(sequence, self._sequences, session_id).run()
                done = True
            except Stopped:
                log.info("%s was ended before it was done.", sequence.name)
            except BaseException as caught:  # noqa: BLE001 - made harmless
                notes = "; ".join(getattr(caught, "__notes__", []))
                log.warning("%s: %s (%s)", sequence.name, harmless(caught), notes)
            if not (done and self._sessions.live()):
                self._board.reset(sequence.outputs())
        finally:
            self._again_at[sequence.name] = max(started_at + trigger.rest, self._clock.now())
