"""Everything that is built from one board file, started and stopped in order."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

from labnode.board import Board, BoardFile
from labnode.clock import Clock, WallClock
from labnode.control import Command
from labnode.events import Bus
from labnode.lab import Lab, Node
from labnode.lab.operators import Operators
from labnode.lab.programming import Programming
from labnode.lab.recordings import Recordings
from labnode.lab.sequences import Sequences
from labnode.node import failsafe
from labnode.node.estop import EmergencyStop
from labnode.node.front import Wsgi, admin_site, site
from labnode.node.routines import Routines
from labnode.node.telemetry import Telemetry
from labnode.sessions import HOOK_LIMIT, Sessions
from labnode.settings import Settings
from labnode.store import KnownAddresses, Pruning, Store
from labnode.tasks import Lane, Tasks
from labnode.web.admin import administration
from labnode.web.app import student_app
from labnode.web.auth import Access
from labnode.web.camera import Streams
from labnode.web.lab_websockets import WebSockets
from labnode.web.uploads import Uploads
from labnode.weblab.api import protocol_app
from labnode.worker import Worker

if TYPE_CHECKING:
    from labnode.lab.reactions import Reactions

log = logging.getLogger(__name__)

_HARDWARE_STOPS_WITHIN = 4.0
_MAKE_SAFE_WITHIN = 2.0


class RuntimeOwner(Protocol):
    """The process that a runtime belongs to."""

    runtime: Runtime

    @property
    def url(self) -> str:
        """Where it listens."""

    def fault(self) -> str | None:
        """Why the process must not go on owning the hardware, or None."""


class Runtime:
    """A board with its threads, tasks, sessions, lab and pages, from `start()` to `stop()`.

    Only the state directory, which no other runtime may use, outlives a change of the board. `site`
    is the WSGI app, called by up to `http_threads` threads; `admin_site` that of the administration
    where it has an address of its own. With `listen` False, nothing opens a
    socket of its own. `commands` are those of the control socket.
    """

    def __init__(
        self,
        file: BoardFile,
        lab: Lab,
        settings: Settings,
        secret: bytes,
        *,
        clock: Clock,
        simulate: bool,
        listen: bool,
        hung_after: float,
        http_threads: int,
        owner: RuntimeOwner,
        commands: Mapping[str, Command],
    ) -> None:
        self.file = file
        self.lab = lab
        self.began = clock.now()
        self._listen = listen
        self.bus = Bus()
        self.wall = WallClock(clock)
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self.store = Store(settings.state_dir / "labnode.db", clock)
            undo.callback(self.store.close)
            self.worker = Worker(
                clock,
                background=settings.background_threads,
                slots=http_threads // 2,
                hung_after=hung_after,
            )
            self.tasks = Tasks(self.store, self.worker, clock, self.bus, self.wall)
            self.board = Board(
                file,
                clock=clock,
                bus=self.bus,
                simulate=simulate,
                worker=self.worker,
                tasks=self.tasks,
                store=self.store,
                operators=Operators(file.session, clock, self.store),
                work_dir=settings.state_dir,
            )
            self.sessions = Sessions(
                file.session,
                secret,
                store=self.store,
                tasks=self.tasks,
                worker=self.worker,
                clock=clock,
                bus=self.bus,
                lab=lab,
                board=self.board,
                keep_expired=settings.expired_users_timeout,
                hook_limit=HOOK_LIMIT + file.turnover_time,
            )
            self._pruning = Pruning(
                self.store,
                clock,
                self.wall,
                self.sessions,
                history=settings.history,
                task_expires=settings.task_expires,
            )
            self.estop = EmergencyStop(self.board, self.sessions, self.store)
            self.websockets = WebSockets(self.sessions, self.worker, self.bus)
            access = Access(
                self.sessions,
                settings,
                secret,
                file.lab.name,
                clock=clock,
                catalogues=file.catalogues,
                recording=file.record is not None,
            )
            sequences = Sequences(self.board, self.sessions, self.tasks, clock, lab.functions)
            self.routines = Routines(
                self.board,
                self.worker,
                self.sessions,
                sequences,
                clock=clock,
                wall=self.wall,
                store=self.store,
            )
            self._reactions = _reactions(self.board, self.worker, self.sessions, sequences, clock)
            kept = settings.state_dir / "recordings"
            self.recordings = Recordings(kept, self.sessions, self.board, clock)
            programming = Programming(self.board, self.tasks, self.worker, settings.state_dir)
            self.node = node = Node(
                self.board,
                self.worker,
                self.tasks,
                self.sessions,
                programming,
                sequences,
                self.recordings,
                pages=self.websockets,
                observers=access.observers,
            )
            lab.bind(node)
            self.streams = Streams(node, self.bus)
            known = KnownAddresses(self.store, "admin")
            admin = undo.enter_context(
                administration(
                    settings,
                    node,
                    commands,
                    clock,
                    fault=owner.fault,
                    known=known,
                    memory=self.store,
                )
            )
            self.telemetry = Telemetry(settings, self.board, self.bus, clock, commands["status"])
            self.uploads = Uploads(node, access, settings.base_path)
            student = student_app(
                lab,
                node,
                settings,
                self.uploads,
                clock=clock,
                websockets=self.websockets,
                streams=self.streams,
            )
            known = KnownAddresses(self.store, "servers")
            protocol = protocol_app(self.sessions, settings, clock=clock, known=known)
            self.admin_site: Wsgi | None = None
            if admin is not None and not settings.admin_among_students:
                self.admin_site = self.telemetry.counted(admin_site(admin, settings))
                admin = None
            pages = site(student, protocol, settings, admin)
            self.site: Wsgi = self.telemetry.counted(pages)
            self._undo = undo.pop_all()

    def start(self) -> None:
        """Open the board, finish what the last run left, and accept students.

        DeviceError if a device does not open; call `stop` also then.
        """
        if self._listen:
            self.telemetry.start()
            self.websockets.start()
        self.estop.restore()
        self.worker.start(
            self.board,
            partial(self.tasks.next_job, Lane.HARDWARE),
            partial(self.tasks.next_job, Lane.BACKGROUND),
        )
        self.tasks.recover()
        self.routines.start()
        self.recordings.start()
        self.sessions.recover()
        self.sessions.reaper.start()
        self.tasks.begin()
        self.telemetry.begin()

    def stop(self) -> bool:
        """Stop everything and make the devices safe; False if something did not end in time.

        Active sessions stay active in the store, and the next run resumes them.
        """
        ended = True

        def stop_worker() -> None:
            nonlocal ended
            if not self.worker.stop(_HARDWARE_STOPS_WITHIN):
                ended = False
                failsafe.log_unfinished_thread(self.worker.hardware_thread)
                self.make_safe()

        steps: list[Callable[[], object]] = [
            partial(self._pruning.stop, 0.5),
            self.sessions.close,
            self.tasks.stop_all,
            *([] if self._reactions is None else [self._reactions.stop]),
            partial(self.routines.stop, 0.5),
            self.routines.run_on_shutdown,
            partial(self.recordings.stop, 0.5),
            partial(self.sessions.reaper.stop, 0.5),
            # Before the worker, which their handlers may still call.
            partial(self.websockets.stop, 0.5),
            partial(self.streams.stop, 0.1),
            stop_worker,
            partial(self.telemetry.stop, 0.2),
            partial(self.wall.stop, 0.1),
        ]
        return all_done(steps) and ended

    def close(self) -> None:
        """Close the files after `stop`; idempotent."""
        self._undo.close()

    def turn(self) -> None:
        """Do the periodic work of the main thread."""
        self._pruning.turn()

    def fault(self) -> str | None:
        """Why this process must end itself, or None."""
        return (
            self.sessions.reaper.fault()
            or self.worker.fault()
            or self.board.fault()
            or self.tasks.overdue.fault()
            or self.tasks.timers.fault()
            or self.store.fault()
            or self.websockets.fault()
            or self.telemetry.fault()
            or self.recordings.fault()
            or self.routines.fault()
            or self._pruning.fault()
            or self.wall.fault()
        )

    def make_safe(self) -> None:
        """Drive the outputs to safe without the hardware thread."""
        failsafe.make_safe(self.board, _MAKE_SAFE_WITHIN)


def all_done(steps: list[Callable[[], object]]) -> bool:
    """Do every step even if others fail; False if one failed."""
    done = True
    for step in steps:
        try:
            step()
        except Exception:
            log.exception("A part of the node did not stop as it should.")
            done = False
    return done


def _reactions(
    board: Board, worker: Worker, sessions: Sessions, sequences: Sequences, clock: Clock
) -> Reactions | None:
    """Those of a board that has some."""
    if all(sequence.trigger is None for sequence in board.file.sequences.values()):
        return None
    from labnode.lab.reactions import Reactions  # noqa: PLC0415

    return Reactions(board, worker, sessions, sequences, clock)
