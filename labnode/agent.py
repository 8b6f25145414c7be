"""The composition root: builds a node out of its parts, starts them and stops them in order."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NoReturn

from labnode import emergency
from labnode.board import Board, BoardFile
from labnode.clock import Clock, Event
from labnode.control import ControlSocket
from labnode.control.commands import Commands
from labnode.estop import EmergencyStop
from labnode.events import Bus
from labnode.lab import Lab, Node, Turnover
from labnode.lab.programming import Programming
from labnode.platform.systemd import Systemd
from labnode.platform.watchdog import Watchdog, ask_web
from labnode.recordings import Recordings
from labnode.sessions import HOOK_LIMIT, Sessions
from labnode.settings import Settings
from labnode.state import StateDir
from labnode.store import Pruning, Store
from labnode.tasks import Lane, Tasks
from labnode.tasks.queues import Queues
from labnode.telemetry import Telemetry
from labnode.upkeep import Upkeep
from labnode.web.access import Access
from labnode.web.admin import administration
from labnode.web.app import student_app
from labnode.web.server import WebServer
from labnode.web.site import Wsgi, site
from labnode.web.starting import starting
from labnode.web.uploads import Uploads
from labnode.web.websockets import WebSockets
from labnode.weblab.api import protocol_app
from labnode.worker import Worker

log = logging.getLogger(__name__)

BROKEN = 70  # the exit code (EX_SOFTWARE) of a node that did not end in order

_HTTP_THREADS = 20
_STOP_WITHIN = 10.0  # seconds for all of a stop; the parts below are less in sum
_HARDWARE_STOPS_WITHIN = 4.0
_MAKE_SAFE_WITHIN = 2.0
_WATCH_EVERY = 1.0
_WATCH_HALTED_EVERY = 0.25  # an emergency stop has to be acknowledged within a second


class Agent:
    """A node: one board, its lab and everything around them, from `start()` to `stop()`.

    `listen` False leaves the web server and the control socket out; `app` can be called without
    them. `hung_after` is how many seconds a turn of the hardware thread may take.
    """

    def __init__(
        self,
        file: BoardFile,
        lab: Lab,
        settings: Settings,
        *,
        simulate: bool = False,
        listen: bool = True,
        clock: Clock | None = None,
        hung_after: float = 30.0,
    ) -> None:
        self.settings = settings
        self.clock = clock or Clock()
        self.bus = Bus()
        self._listen = listen
        self._ready = False
        self._ended = threading.Event()
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            state = StateDir(settings.state_dir, settings.secret_key)
            undo.callback(state.close)
            secret = state.secret
            self.board = Board(
                file,
                clock=self.clock,
                bus=self.bus,
                simulate=simulate,
                work_dir=settings.state_dir,
            )
            self.store = Store(settings.state_dir / "labnode.db", self.clock)
            undo.callback(self.store.close)
            queues = Queues(settings.state_dir / "queue.db")
            undo.callback(queues.close)
            self.worker = Worker(
                self.board,
                self.clock,
                background=settings.background_threads,
                seats=_HTTP_THREADS // 2,
                hung_after=hung_after,
            )
            self.tasks = Tasks(self.store, self.worker, self.clock, self.bus, queues)
            self.board.interlocks.restore(self.store.recall("faults") or [])
            self.board.interlocks.remember = partial(self.store.remember_soon, "faults")
            self.sessions = Sessions(
                file.session,
                secret,
                store=self.store,
                tasks=self.tasks,
                worker=self.worker,
                clock=self.clock,
                bus=self.bus,
                prepare=lab.prepare,
                clean=lab.clean,
                load_user=lab.load_user,
                keep_expired=settings.expired_users_timeout,
                faults=self.board.obstacles,
                hook_limit=HOOK_LIMIT + file.turnover_time,
            )
            self._pruning = Pruning(
                self.store,
                self.clock,
                history=settings.history,
                task_expires=settings.task_expires,
                idle=lambda: not self.sessions.live(),
            )
            self.estop = EmergencyStop(self.board, self.sessions, self.store)
            self.board.attach(
                self.worker.post,
                self.tasks.pause,
                progress=self.tasks.progress,
                outlast=self.worker.outlast,
                emergency=self.estop.press,
            )
            self.websockets = WebSockets(self.sessions, self.worker, self.bus)
            access = Access(self.sessions, settings, state.secret, file.lab.name)
            parts = (self.board, self.worker, self.sessions, self.clock)
            turnover = Turnover(*parts, lab.functions)
            self.upkeep = Upkeep(*parts, turnover)
            kept = settings.state_dir / "recordings"
            self.recordings = Recordings(kept, self.sessions, self.board, self.clock)
            self.node = node = Node(
                self.board,
                self.worker,
                self.tasks,
                self.sessions,
                Programming(self.board, self.tasks, self.worker, settings.state_dir),
                turnover,
                self.recordings,
                observer_link=access.observers.link,
                push=self.websockets.push,
            )
            lab.bind(node)
            self._commands = Commands(
                node, self.clock, self.store, self.estop, url=lambda: self.url
            )
            status = self._commands.status
            self.telemetry = Telemetry(settings, self.board, self.bus, self.clock, status)
            uploads = Uploads(node, access, settings.base_path)
            admin = administration(settings, node, self._commands.by_name, self.clock, self.fault)
            self._site: Wsgi = self.telemetry.counted(
                site(
                    student_app(
                        lab, node, settings, uploads, clock=self.clock, websockets=self.websockets
                    ),
                    protocol_app(self.sessions, settings, clock=self.clock),
                    settings,
                    undo.enter_context(admin),
                )
            )
            self.web = WebServer(
                self.app,
                host=settings.host,
                port=settings.port,
                threads=_HTTP_THREADS,
                trusted_proxies=settings.trusted_proxies,
                large=uploads.expected,
            )
            self._control = ControlSocket(settings.state_dir, self._commands.by_name)
            self._undo = undo.pop_all()

    @property
    def url(self) -> str:
        """Where it listens, as a URL without a slash at its end."""
        host, port = self.web.address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{self.settings.base_path}"

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """All that the node serves, in WSGI."""
        return (self._site if self._ready else starting)(environ, start_response)

    def start(self) -> None:
        """Open the board, finish what the last run left, begin to take students.

        DeviceError when a device does not open, ConfigError when the port cannot be had; what was
        begun is undone.
        """
        try:
            if self._listen:  # first: without its port, a node must not touch board nor sessions
                self.web.start()
                self.telemetry.start()
                self.websockets.start()
            self.estop.restore()
            self.worker.start(
                partial(self.tasks.next_job, Lane.HARDWARE),
                partial(self.tasks.next_job, Lane.BACKGROUND),
            )
            self.tasks.recover()
            self.upkeep.start()
            self.recordings.start()
            self.sessions.recover()
            self.sessions.reaper.start()
            self._ready = self.telemetry.ready = True
            if self._listen:
                self._control.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> bool:
        """End everything within 10 s, devices safe first; False when something did not end.

        Sessions that are active stay so in the store, to be resumed by the next run.
        """
        ended = True

        def stop_worker() -> None:
            nonlocal ended
            if not self.worker.stop(_HARDWARE_STOPS_WITHIN):
                ended = False
                emergency.tell_what_runs_on(self.worker.hardware_thread)
                self._make_safe()

        steps: list[Callable[[], object]] = [
            partial(self._control.stop, 0.5),
            partial(self._pruning.stop, 0.5),
            self.sessions.close,
            self.tasks.stop_all,
            partial(self.upkeep.stop, 0.5),
            self.upkeep.last_words,
            partial(self.recordings.stop, 0.5),
            partial(self.sessions.reaper.stop, 0.5),
            # Before the worker, which still serves the last words of their handlers.
            partial(self.websockets.stop, 0.5),
            stop_worker,
            partial(self.web.stop, 1.0),
            partial(self.telemetry.stop, 0.2),
            self._undo.close,
        ]
        for step in steps:
            try:
                step()
            except Exception:
                log.exception("A part of the node did not stop as it should.")
                ended = False
        self._ended.set()
        return ended

    def fault(self) -> str | None:
        """Why this process must not go on owning the hardware, or None."""
        parts = [self.sessions.reaper.fault, self.worker.fault, self.board.fault]
        parts += [self.tasks.overdue, self.store.fault, self._control.fault]
        parts += [self.web.fault, self.websockets.fault, self.telemetry.fault]
        return next((fault for part in parts if (fault := part()) is not None), None)

    def trouble(self) -> str | None:
        """Why systemd's watchdog must not be fed, or None; asks the web server from outside."""
        prefix = self.settings.weblab_base or self.settings.base_path
        return self.fault() or ask_web(self.web.address, f"{prefix}/weblab/health")

    def watch(self, stop: Event, systemd: Systemd) -> None:
        """Tell `systemd` how it is until `stop`; end the process when the hardware has no owner."""
        watchdog = Watchdog(systemd, self.clock, self.trouble, self._commands.sentence)
        watchdog.turn()
        while not stop.wait(_WATCH_HALTED_EVERY if self.board.halted else _WATCH_EVERY):
            if (fault := self.fault()) is not None:
                self.give_up(fault)
            watchdog.turn()
            self._pruning.turn()
        systemd.stopping()

    def limit_stop(self, stop: Event) -> None:
        """Have the process end in any case, 10 s after `stop` is set."""
        emergency.limit(stop.wait, self._ended, _STOP_WITHIN, self.give_up)

    def give_up(self, why: str) -> NoReturn:
        """There is never a second owner: make safe what can be, and let systemd start anew."""
        log.critical("The agent ends itself: %s.", why)
        emergency.tell_where_threads_are()
        self._make_safe()
        logging.shutdown()
        os._exit(BROKEN)

    def _make_safe(self) -> None:
        """Drive the outputs to safe past the hardware thread, which may hold on to anything."""
        for failure in emergency.within(_MAKE_SAFE_WITHIN, self.board.make_safe):
            log.critical("Not safe: %s.", failure)
