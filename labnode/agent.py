"""The composition root: builds a node out of its parts, starts them and stops them in order."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NoReturn

from labnode.board import Board, BoardFile
from labnode.clock import Clock, Event
from labnode.control import ControlSocket
from labnode.control.commands import Commands
from labnode.events import Bus
from labnode.lab import Lab, Node
from labnode.platform.systemd import Systemd
from labnode.platform.watchdog import Watchdog, ask_web
from labnode.sessions import Reason, Sessions
from labnode.settings import Settings
from labnode.state import StateDir
from labnode.store import Store
from labnode.tasks import Lane, Tasks
from labnode.tasks.queues import Queues
from labnode.web.app import student_app
from labnode.web.server import WebServer
from labnode.web.site import Wsgi, site
from labnode.web.websockets import WebSockets
from labnode.weblab.api import protocol_app
from labnode.weblab.messages import health
from labnode.worker import Worker

log = logging.getLogger(__name__)

BROKEN = 70  # the exit code (EX_SOFTWARE) of a node that did not end in order

_HTTP_THREADS = 20
_STOP_WITHIN = 10.0  # seconds for all of a stop; the parts below are less in sum
_HARDWARE_STOPS_WITHIN = 5.0
_MAKE_SAFE_WITHIN = 2.0
_WATCH_EVERY = 1.0


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
            self.websockets = WebSockets(self.sessions, self.worker, self.bus)
            node = Node(
                self.board, self.worker, self.tasks, self.sessions, push=self.websockets.push
            )
            lab.bind(node)
            self._site: Wsgi = site(
                student_app(lab, node, settings, state.secret, self.websockets),
                protocol_app(self.sessions, settings, clock=self.clock),
                settings,
            )
            self.web = WebServer(
                self.app,
                host=settings.host,
                port=settings.port,
                threads=_HTTP_THREADS,
                trusted_proxies=settings.trusted_proxies,
            )
            self._commands = Commands(node, self.clock, self.store, url=lambda: self.url)
            self._control = ControlSocket(settings.state_dir, self._commands.by_name)
            self._undo = undo.pop_all()

    @property
    def url(self) -> str:
        """Where it listens, as a URL without a slash at its end."""
        host, port = self.web.address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{self.settings.base_path}"

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Everything that the node serves, as a WSGI application."""
        if self._ready:
            return self._site(environ, start_response)
        message = "The lab is just starting; ask again in a moment."
        headers = [("Content-Type", "application/json"), ("Retry-After", "2"), ("Refresh", "2")]
        if environ.get("PATH_INFO", "").endswith("/weblab/health"):
            start_response("200 OK", headers[:1])
            return [json.dumps(health([message])).encode()]
        start_response("503 Service Unavailable", headers)
        return [json.dumps({"error": True, "code": "busy", "message": message}).encode()]

    def start(self) -> None:
        """Open the board, finish what the last run left, begin to take students.

        DeviceError when a device does not open, ConfigError when the port cannot be had; what was
        begun is undone.
        """
        try:
            if self._listen:  # first: without its port, a node must not touch board nor sessions
                self.web.start()
                self.websockets.start()
            self.worker.start(
                partial(self.tasks.next_job, Lane.HARDWARE),
                partial(self.tasks.next_job, Lane.BACKGROUND),
            )
            self.tasks.recover()
            self.sessions.recover()
            self.sessions.reaper.start()
            self._ready = True
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
                self._tell_what_runs_on()
                self._make_safe()

        steps: list[Callable[[], object]] = [
            partial(self._control.stop, 0.5),
            self.sessions.close,
            self.tasks.stop_all,
            partial(self.sessions.reaper.stop, 0.5),
            # Before the worker, which still serves the last words of their handlers.
            partial(self.websockets.stop, 0.5),
            stop_worker,
            partial(self.web.stop, 1.0),
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

    def end_sessions(self, reason: Reason, timeout: float) -> bool:
        """End all sessions and wait for their clean-up; False when one was not clean in time."""
        end = self.clock.now() + timeout
        sessions = self.sessions.live()
        for session in sessions:
            self.sessions.end(session, reason)
        return all(s.disposed.wait(max(0.0, end - self.clock.now())) for s in sessions)

    def fault(self) -> str | None:
        """Why this process must not go on owning the hardware, or None."""
        parts = [self.sessions.reaper.fault, self.worker.fault, self.tasks.overdue]
        parts.append(self.store.fault)
        if self._listen:
            parts += [self.web.fault, self.websockets.fault, self._control.fault]
        return next((fault for part in parts if (fault := part()) is not None), None)

    def trouble(self) -> str | None:
        """Why systemd's watchdog must not be fed, or None; asks the web server from outside."""
        prefix = self.settings.weblab_base or self.settings.base_path
        return self.fault() or ask_web(self.web.address, f"{prefix}/weblab/health")

    def watch(self, stop: Event, systemd: Systemd) -> None:
        """Tell `systemd` how it is until `stop`; end the process when the hardware has no owner."""
        watchdog = Watchdog(systemd, self.clock, self.trouble, self._commands.sentence)
        watchdog.turn()
        systemd.ready()
        while not stop.wait(_WATCH_EVERY):
            if (fault := self.fault()) is not None:
                self.give_up(fault)
            watchdog.turn()
        systemd.stopping()

    def limit_stop(self, stop: Event) -> None:
        """Have the process end in any case, 10 s after `stop` is set."""

        def limit() -> None:
            stop.wait()
            if not self._ended.wait(_STOP_WITHIN):
                self.give_up(f"it did not stop within {_STOP_WITHIN:g} s")

        threading.Thread(target=limit, name="stop-limit", daemon=True).start()

    def give_up(self, why: str) -> NoReturn:
        """There is never a second owner: make safe what can be, and let systemd start anew."""
        log.critical("The agent ends itself: %s.", why)
        _tell_where_threads_are()
        self._make_safe()
        logging.shutdown()
        os._exit(BROKEN)

    def _tell_what_runs_on(self) -> None:
        hardware = self.worker.hardware_thread
        if any(thread.ident == hardware for thread in threading.enumerate()):
            log.critical("The hardware thread did not stop; its devices are made safe from here.")
        else:
            log.critical("A task in the background did not stop; the process ends without it.")
        _tell_where_threads_are()

    def _make_safe(self) -> None:
        """Drive the outputs to safe past the hardware thread, which may hold on to anything."""
        failures: list[str] = []
        attempt = threading.Thread(
            target=lambda: failures.extend(self.board.make_safe()), name="make-safe", daemon=True
        )
        attempt.start()
        attempt.join(_MAKE_SAFE_WITHIN)
        for failure in ["making devices safe took too long"] if attempt.is_alive() else failures:
            log.critical("Not safe: %s.", failure)


def _tell_where_threads_are() -> None:
    """Log what holds the threads that run a lab's Python, for those who have to find out."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.name.startswith(("hardware", "background")) and thread.ident in frames:
            stack = "".join(traceback.format_stack(frames[thread.ident]))
            log.critical("Thread %s is at\n%s", thread.name, stack)
