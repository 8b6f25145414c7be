"""The hardware thread's part: the board is made ready for a session, and cleaned after it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from labnode.sessions.session import Session
from labnode.tasks import Tasks
from labnode.worker import Hook, Worker

HOOK_LIMIT = 120.0  # seconds that on_start or on_dispose may wait in all

Work = Callable[[Session, bool], None]
Finished = Callable[[Session, Exception | None], None]


@dataclass(frozen=True)
class BoardWork:
    """What is done around a session, `limit` seconds of waiting at most.

    Both functions get the session and whether it is alone on the board.
    """

    prepare: Work
    clean: Work
    limit: float = HOOK_LIMIT


class OnBoard:
    """Queues the work before and after sessions.

    `live` gives the sessions that are not disposed, `end_if_over` ends one whose time is up.
    """

    def __init__(
        self,
        worker: Worker,
        tasks: Tasks,
        work: BoardWork,
        *,
        live: Callable[[], list[Session]],
        end_if_over: Callable[[Session], None],
    ) -> None:
        self._worker = worker
        self._tasks = tasks
        self._work = work
        self._live = live
        self._end_if_over = end_if_over

    def have_prepared(self, session: Session, finished: Finished) -> None:
        """Have the board made ready; `finished` is called on the hardware thread."""
        self._queue(session, self._run_prepare, finished)

    def have_cleaned(self, session: Session, finished: Finished) -> None:
        """Have the board cleaned; `finished` is called on the hardware thread."""
        self._queue(session, self._run_clean, finished)

    def cut_short(self, session: Session) -> None:
        """Ask the hook and the tasks of a session that starts to come to their end."""
        assert session.hook is not None
        session.hook.stopping = True
        self._tasks.close_session(session.id)
        self._worker.wake()

    def _queue(self, session: Session, work: Callable[[Session], None], finished: Finished) -> None:
        session.hook = Hook(partial(work, session), partial(finished, session), self._work.limit)
        self._worker.hook(session.hook)

    def _run_prepare(self, session: Session) -> None:
        self._end_if_over(session)
        if session.reason is not None:  # it has ended before it began
            return
        alone = self._is_alone(session)
        session.on_board = True
        try:
            self._work.prepare(session, alone)
        except BaseException:
            self._tasks.close_session(session.id)  # or what it has queued would begin now
            raise

    def _run_clean(self, session: Session) -> None:
        if session.on_board:  # a lab's on_dispose relies on what its on_start has done
            session.on_board = False
            self._work.clean(session, self._is_alone(session))

    def _is_alone(self, session: Session) -> bool:
        return not any(other.on_board for other in self._live() if other is not session)
