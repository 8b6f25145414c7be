"""The composition root: builds a node out of its parts, starts them and stops them in order."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from functools import partial

from labnode.board import Board, BoardFile
from labnode.clock import Clock, Event
from labnode.events import Bus
from labnode.lab import Lab, Node
from labnode.sessions import Reason, Sessions
from labnode.settings import Settings
from labnode.state import StateDir
from labnode.store import Store
from labnode.tasks import Lane, Tasks
from labnode.tasks.queues import Queues
from labnode.web.app import student_app
from labnode.web.server import WebServer
from labnode.web.site import Wsgi, site
from labnode.weblab.api import protocol_app
from labnode.worker import Worker

log = logging.getLogger(__name__)

HTTP_THREADS = 20
_STOP_WITHIN = 5.0  # seconds for the hardware; with all the rest a stop stays below 10 s
_WATCH_EVERY = 1.0
_BROKEN = 70  # the exit code (EX_SOFTWARE) when the hardware has lost its owner


class Agent:
    """A node: one board, its lab and everything around them, from `start()` to `stop()`.

    `listen` False leaves the web server out; `app` can be called without it.
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
    ) -> None:
        self.settings = settings
        self.clock = clock or Clock()
        self.bus = Bus()
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            state = StateDir(settings.state_dir, settings.secret_key)
            undo.callback(state.close)
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
                seats=HTTP_THREADS // 2,
            )
            self.tasks = Tasks(self.store, self.worker, self.clock, self.bus, queues)
            self.board.attach(self.worker.post, self.tasks.pause)
            self.sessions = Sessions(
                file.session,
                state.secret,
                store=self.store,
                tasks=self.tasks,
                worker=self.worker,
                clock=self.clock,
                bus=self.bus,
                prepare=lab.prepare,
                clean=lab.clean,
                load_user=lab.load_user,
                keep_expired=settings.expired_users_timeout,
            )
            node = Node(self.board, self.worker, self.tasks, self.sessions)
            lab.bind(node)
            self.app: Wsgi = site(
                student_app(lab, node, settings, state.secret),
                protocol_app(self.sessions, settings, clock=self.clock),
                settings,
            )
            self._undo = undo.pop_all()
        self.web = WebServer(
            self.app,
            host=settings.host,
            port=settings.port,
            threads=HTTP_THREADS,
            trusted_proxies=settings.trusted_proxies,
        )
        self._listen = listen

    @property
    def url(self) -> str:
        """Where it listens, as a URL without a slash at its end."""
        host, port = self.web.address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{self.settings.base_path}"

    def start(self) -> None:
        """Open the board, finish what the last run left, begin to take students.

        DeviceError when a device does not open, ConfigError when the port cannot be had; what was
        begun is undone.
        """
        try:
            self.worker.start(
                partial(self.tasks.next_job, Lane.HARDWARE),
                partial(self.tasks.next_job, Lane.BACKGROUND),
            )
            self.tasks.recover()
            self.sessions.recover()
            self.sessions.reaper.start()
            if self._listen:
                self.web.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> bool:
        """End everything within 10 s, devices safe first; False when something did not end.

        Sessions that are active stay so in the store, to be resumed by the next run.
        """
        self.sessions.close()
        self.tasks.stop_all()
        self.sessions.reaper.stop(1.0)
        ended = self.worker.stop(_STOP_WITHIN)
        if not ended:
            log.critical("The hardware thread did not stop; its devices are made safe from here.")
            self._make_safe()
        self.web.stop(2.0)
        self._undo.close()
        return ended

    def end_sessions(self, reason: Reason, timeout: float) -> bool:
        """End all sessions and wait for their clean-up; False when one was not clean in time."""
        end = self.clock.now() + timeout
        sessions = self.sessions.live()
        for session in sessions:
            self.sessions.end(session, reason)
        return all(s.disposed.wait(max(0.0, end - self.clock.now())) for s in sessions)

    def fault(self) -> str | None:
        """Why this process must not go on owning the hardware, or None."""
        if not self.sessions.reaper.alive:
            return "the reaper has died"
        return self.worker.fault() or self.tasks.overdue()

    def watch(self, stop: Event) -> None:
        """Return when `stop` is set; end the process at once when the hardware lost its owner."""
        while not stop.wait(_WATCH_EVERY):
            if (fault := self.fault()) is not None:
                self._die(fault)

    def _die(self, fault: str) -> None:
        """There is never a second owner: make safe what can be, and let systemd start anew."""
        log.critical("The agent ends itself: %s.", fault)
        self._make_safe()
        logging.shutdown()
        os._exit(_BROKEN)

    def _make_safe(self) -> None:
        """Drive the outputs to safe past the hardware thread, which may hold on to anything."""
        failures: list[str] = []
        attempt = threading.Thread(
            target=lambda: failures.extend(self.board.make_safe()), name="make-safe", daemon=True
        )
        attempt.start()
        attempt.join(2.0)
        for failure in ["making devices safe took too long"] if attempt.is_alive() else failures:
            log.critical("Not safe: %s.", failure)
