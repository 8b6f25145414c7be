"""The composition root: state directory, ports and safety watch of a node, and its runtime."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from labnode.board import Board, BoardFile, load_board
from labnode.clock import Clock, Event
from labnode.control import ControlSocket
from labnode.errors import Busy
from labnode.http import WebServer
from labnode.http.writer import Sink
from labnode.lab import Lab
from labnode.node import failsafe
from labnode.node.apply import BoardChange
from labnode.node.commands import Commands
from labnode.node.estop import EmergencyStop
from labnode.node.front import Wsgi, front
from labnode.node.runtime import Runtime, all_done
from labnode.node.state_dir import StateDir
from labnode.sessions import Sessions
from labnode.settings import Settings
from labnode.settings.passwords import SHORTEST
from labnode.store import Store
from labnode.system.systemd import Systemd
from labnode.system.watchdog import Watchdog, ask_web
from labnode.tasks import Tasks
from labnode.worker import Worker

log = logging.getLogger(__name__)

BROKEN = 70  # the exit code (EX_SOFTWARE) of a node that did not end in order

_HTTP_THREADS = 20
_ADMIN_THREADS = 4
_CHANGE_STOPS_WITHIN = 3.0
_STOP_WITHIN = 10.0  # seconds for all of a stop; the parts below are less in sum
_WATCH_EVERY = 1.0
_WATCH_STOPS_WITHIN = 1.0


class Agent:
    """A node from `start()` to `stop()`.

    A change of the board replaces `runtime`. With `listen` False there is no web server and no
    control socket; `app` can be called without them. `hung_after` is how many seconds a turn of the
    hardware thread may take; `load` reads another board's file; `listener` is the socket that the
    service manager keeps for it.
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
        load: Callable[[Path], BoardFile] = load_board,
        listener: socket.socket | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or Clock()
        self.board_change = BoardChange(self, self.clock, load)
        self.commands = Commands(self, self.board_change, self.clock)
        self.safety = failsafe.SafetyWatch(self, self.clock)
        self._simulate = simulate
        self._listen = listen
        self._hung_after = hung_after
        self._ready = False
        self.app = front(lambda: self.site, settings)
        self.admin_app = front(lambda: self.admin_site, settings)
        self._stopping = False
        self._ended = threading.Event()
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self._state = StateDir(settings.state_dir, settings.secret_key)
            undo.callback(self._state.close)
            self.runtime = self._build(file, lab)
            undo.callback(self._close_runtime)
            self.web = WebServer(
                self.app,
                host=settings.host,
                port=settings.port,
                threads=_HTTP_THREADS,
                trusted_proxies=settings.trusted_proxies,
                large=self._expects_large,
                listener=listener,
            )
            self.admin_web = self._admin_server()
            self._control = ControlSocket(settings.state_dir, self.commands.by_name)
            self._undo = undo.pop_all()

    # The parts of the present runtime.

    @property
    def board(self) -> Board:
        return self.runtime.board

    @property
    def store(self) -> Store:
        return self.runtime.store

    @property
    def worker(self) -> Worker:
        return self.runtime.worker

    @property
    def tasks(self) -> Tasks:
        return self.runtime.tasks

    @property
    def sessions(self) -> Sessions:
        return self.runtime.sessions

    @property
    def estop(self) -> EmergencyStop:
        return self.runtime.estop

    @property
    def url(self) -> str:
        """Where it listens, as a URL without a slash at its end."""
        return _url(self.web, self.settings.base_path)

    @property
    def admin_url(self) -> str | None:
        """Where the administration is, if it has an address of its own."""
        return _url(self.admin_web, f"{self.settings.base_path}/admin") if self.admin_web else None

    @property
    def site(self) -> Wsgi | None:
        """The application of the present runtime; None while it is not ready."""
        return self.runtime.site if self._ready else None

    @property
    def admin_site(self) -> Wsgi | None:
        """The same for the administration's own address."""
        return self.runtime.admin_site if self._ready else None

    def start(self) -> None:
        """Open the board, finish what the last run left, and accept students.

        DeviceError if a device does not open, ConfigError if the port is not available; everything
        is stopped again then.
        """
        try:
            if self._listen:  # first: without its port, a node must not touch board nor sessions
                if not self.web.inherits:
                    self.web.start()
                if self.admin_web is not None:
                    self.admin_web.start()
            self.runtime.start()
            self._ready = True
            if self._listen:
                if self.web.inherits:  # who has come meanwhile has waited, and is not refused
                    self.web.start()
                self._control.start()
                self._warn()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> bool:
        """Stop everything within 10 s, devices safe first; False if something did not end.

        Active sessions stay active in the store, and the next run resumes them.
        """
        self._stopping = True
        self.web.hold()
        silent = all_done([partial(self._control.stop, 0.5)])
        changed = self.board_change.stop(_CHANGE_STOPS_WITHIN)
        ended = self.runtime.stop()
        steps: list[Callable[[], object]] = [partial(self.web.stop, 1.0), self._undo.close]
        if self.admin_web is not None:
            steps.insert(0, partial(self.admin_web.stop, 0.2))
        closed = all_done(steps)
        self._ended.set()
        return silent and changed and ended and closed

    def change_to(self, file: BoardFile, lab: Lab) -> None:
        """Serve another board; if it does not open, serve the old one again and raise the error."""
        old = self.runtime
        self._ready = False
        try:
            if not (old.stop() and all_done([old.close])):
                self.give_up("the board cannot be changed, because something holds on to it")
            try:
                self._begin(file, lab)
            except Exception:
                if not self._stopping:
                    self._go_back(old)
                raise
        finally:
            self._ready = True

    def _build(self, file: BoardFile, lab: Lab) -> Runtime:
        return Runtime(
            file,
            lab,
            self.settings,
            self._state.secret,
            clock=self.clock,
            simulate=self._simulate,
            listen=self._listen,
            hung_after=self._hung_after,
            http_threads=_HTTP_THREADS,
            owner=self,
            commands=self.commands.by_name,
        )

    def _admin_server(self) -> WebServer | None:
        """The web server of the administration: what holds up the students' does not hold up it."""
        access = self.settings.admin
        if access is None or access.host is None:
            return None
        return WebServer(
            self.admin_app,
            host=access.host,
            port=access.port,
            threads=_ADMIN_THREADS,
            trusted_proxies=self.settings.trusted_proxies,
            name="admin",
        )

    def _warn(self) -> None:
        """Log what the operator should change in the settings."""
        if self.settings.admin_among_students:
            log.warning(
                "The administration is at the address where students come: anybody who reaches it "
                "may guess its password. admin: {host: 127.0.0.1, port: 9080} in the settings "
                "gives it one of its own."
            )
        if not self._simulate and (whose := self.settings.short_passwords):
            log.warning(
                "Passwords with less than %d characters can be guessed: those of %s.",
                SHORTEST,
                ", ".join(whose),
            )

    def _expects_large(self, environ: dict[str, Any]) -> Sink | None:
        return self.runtime.uploads.expected(environ) if self._ready else None

    def _close_runtime(self) -> None:
        self.runtime.close()  # not the first one, if the board has changed

    def _begin(self, file: BoardFile, lab: Lab) -> None:
        if self._stopping:
            raise Busy("The node is stopping.")
        self.runtime = runtime = self._build(file, lab)
        try:
            runtime.start()
        except BaseException:
            if not (runtime.stop() and all_done([runtime.close])):
                self.give_up("the new board did not open, and something holds on to it")
            raise

    def _go_back(self, old: Runtime) -> None:
        try:
            self._begin(old.file, old.lab)
        except Exception:
            log.exception("The board as it was does not open any more.")
            self.give_up("it has no board left")

    def fault(self) -> str | None:
        """Why this process must not go on owning the hardware, or None."""
        fault = self.runtime.fault() if self._ready else None  # each wait of a change has an end
        return (
            fault
            or self.web.fault()
            or (self.admin_web.fault() if self.admin_web else None)
            or self._control.fault()
            or self.safety.fault()
        )

    def trouble(self) -> str | None:
        """Why systemd's watchdog must not be fed, or None; sends a request to the web server."""
        prefix = self.settings.weblab_base or self.settings.base_path
        return self.fault() or ask_web(self.web.address, f"{prefix}/weblab/health")

    def watch(self, stop: Event, systemd: Systemd) -> None:
        """Keep `systemd` informed until `stop`, with the safety watch running.

        The process ends itself when the node has a fault, or when the safety watch does.
        """
        watchdog = Watchdog(systemd, self.clock, self.trouble, self.commands.sentence)
        self.safety.start()
        try:
            watchdog.turn()
            while not stop.wait(_WATCH_EVERY):
                if (fault := self.safety.fault()) is not None:
                    self.give_up(fault)
                watchdog.turn()
                self.runtime.turn()
        finally:
            self.safety.stop(_WATCH_STOPS_WITHIN)
        systemd.stopping()

    def limit_stop(self, stop: Event) -> None:
        """Make the process end 10 s after `stop` is set at the latest."""
        failsafe.limit_stop(self, stop, self._ended, _STOP_WITHIN)

    def give_up(self, why: str) -> NoReturn:
        """Make the outputs safe and end the process, for systemd to start a new one."""
        try:
            log.critical("The agent ends itself: %s.", why)
            failsafe.log_thread_stacks()
        finally:  # also when there is no memory for what comes before
            try:
                self.runtime.make_safe()
                logging.shutdown()
            finally:
                os._exit(BROKEN)


def _url(server: WebServer, path: str) -> str:
    host, port = server.address
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"
