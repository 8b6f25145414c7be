"""The node's end of the control socket, in its state directory, for its own user alone."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from labnode.clock import Clock, Turn
from labnode.control.protocol import NAME, LineBuffer, address
from labnode.errors import BadInput, Busy, ConfigError, Forbidden, LabnodeError
from labnode.jsondata import parse
from labnode.locale import Wording
from labnode.threads import Pool

log = logging.getLogger(__name__)

Command = Callable[..., dict[str, Any]]

_PATIENCE = 2.0  # seconds for a client to send its command, and to read the answer
_LONGEST = 1000  # bytes of a command's line
_BACKLOG = 128  # clients that may connect while one is accepted
_MOST_READING = 32  # clients whose command has not arrived yet
_MOST_WAITING = 32  # commands that wait for a thread
_THREADS = 8  # for each pool
_URGENT = "estop"
_READ_ONLY = ("status", "sessions", "tasks", "events", "applied")
_CREDENTIALS = struct.Struct("3i")  # process, user, group


class ControlSocket:
    """Answers `commands` at DIRECTORY/control.sock from `start` to `stop`.

    One thread ("control") reads all clients and waits for none of them; others ("control-N") do
    the commands. An emergency stop waits for nothing: it has its own threads ("control-estop-N"),
    and a silent client is closed for the next one.
    `directory` has to be this node's alone: the socket of a node that was killed is removed.
    """

    def __init__(self, directory: Path, commands: Mapping[str, Command]) -> None:
        self._directory = directory
        self._commands = commands
        self._now = Clock().now
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()
        self._reading: dict[socket.socket, _Client] = {}  # oldest first
        sizes = {"most": _THREADS, "waiting": _MOST_WAITING}
        self._ordinary = Pool("control", self._serve, **sizes)
        self._urgent = Pool("control-estop", self._serve, **sizes)
        self._busy = Turn(Clock(), "control")
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Listen; ConfigError where the file system has no room for a socket."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            (self._directory / NAME).unlink(missing_ok=True)
            os.fchmod(listener.fileno(), 0o600)  # before bind: it is never open to others
            with address(self._directory) as place:
                listener.bind(place)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise ConfigError(
                f"{self._directory / NAME}: the control socket cannot be made ({error.strerror})"
            ) from None
        self._listener = listener
        self._thread.start()

    def fault(self) -> str | None:
        """Why commands no longer reach the node, or None; any thread may ask."""
        if self._listener is None:
            return None
        if not self._thread.is_alive():
            return "the thread of the control socket has died"
        return self._busy.fault()

    def stop(self, timeout: float) -> bool:
        """Remove the socket; False when a thread did not end in time. Idempotent."""
        end = self._now() + timeout
        listener, self._listener = self._listener, None
        if listener is not None:
            self._stopping.set()
            with contextlib.suppress(OSError):
                (self._directory / NAME).unlink()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends the wait for clients
        threads = [self._thread] if self._thread.ident else []
        for thread in threads:
            thread.join(timeout)
        if listener is not None:
            listener.close()
        for pool in (self._urgent, self._ordinary):
            for request in pool.take_waiting():
                request.connection.close()
            threads += pool.close()
        for thread in threads:
            thread.join(max(0.0, end - self._now()))
        return not any(thread.is_alive() for thread in threads)

    # ------------------------------------------------------------------ reading, on "control"

    def _run(self) -> None:
        listener = self._listener
        try:
            while listener is not None and not self._stopping.is_set():
                self._turn(listener)
        finally:
            for connection in list(self._reading):
                self._drop(connection)

    def _turn(self, listener: socket.socket) -> None:
        with selectors.PollSelector() as selector:
            for waited_for in (*self._reading, listener):
                selector.register(waited_for, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select(self._time_left())]
        with self._busy:
            for connection in list(self._reading):
                if connection in ready:
                    self._read(connection)
                elif self._reading[connection].deadline <= self._now():
                    self._drop(connection)
            if listener in ready:
                self._accept(listener)

    def _time_left(self) -> float | None:
        """Seconds until the first client's deadline."""
        oldest = next(iter(self._reading.values()), None)
        return None if oldest is None else max(0.0, oldest.deadline - self._now())

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if not self._stopping.is_set():
                log.error("The control socket does not accept: %s", error.strerror)
                self._stopping.wait(1.0)
            return
        connection.setblocking(False)
        if len(self._reading) == _MOST_READING:
            self._drop(next(iter(self._reading)))
        self._reading[connection] = _Client(LineBuffer(_LONGEST), self._now() + _PATIENCE)

    def _read(self, connection: socket.socket) -> None:
        line = self._reading[connection].line
        try:
            whole = line.add(connection.recv(_LONGEST + 1))
        except BlockingIOError:
            return
        except OSError:  # the client has gone
            self._drop(connection)
            return
        if not whole:
            return
        del self._reading[connection]
        try:
            name, _, options = line.text().strip().partition(" ")
            request = _Request(connection, name, options)
        except ValueError:
            request = _Request(connection, None)
        pool = self._urgent if request.name == _URGENT else self._ordinary
        if self._stopping.is_set() or not pool.put(request):
            _send(connection, _error(Busy("The node is busy with other commands.")))

    def _drop(self, connection: socket.socket) -> None:
        del self._reading[connection]
        connection.close()

    # ------------------------------------------------------------------ serving, on the pools

    def _serve(self, request: _Request) -> None:
        _send(request.connection, self._answer(request))

    def _answer(self, request: _Request) -> dict[str, Any]:
        try:
            if (name := request.name) is None:
                raise BadInput("A command is one line of text.")
            process = _same_user(request.connection)  # after reading, or the answer could be lost
            if name not in self._commands:
                known = ", ".join(self._commands)
                raise BadInput(f"This node knows no command {name!r}; it knows {known}.")
            call = _with_options(name, self._commands[name], request.options)
            if name not in _READ_ONLY:
                log.info("%s, asked for by process %d.", name, process)
            return {"result": call()}
        except LabnodeError as error:
            return _error(error)
        except Exception:
            log.exception("A command could not be done.")
            return {"error": {"code": "error", "message": "It failed; the node's log says how."}}


@dataclass(frozen=True)
class _Client:
    """A client whose command is being read, until the deadline."""

    line: LineBuffer
    deadline: float


@dataclass(frozen=True)
class _Request:
    """A client's command; `name` is None when it was not a line of text."""

    connection: socket.socket
    name: str | None
    options: str = ""


def _error(error: LabnodeError) -> dict[str, Any]:
    answer = {"code": error.code, "message": error.message}
    if isinstance(error.words, Wording):
        answer["words"] = error.words.words
    return {"error": answer}


def _send(connection: socket.socket, answer: dict[str, Any]) -> None:
    """Send the answer and close; a client that has gone is ignored."""
    with connection, contextlib.suppress(OSError):
        connection.settimeout(_PATIENCE)
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _with_options(name: str, command: Command, text: str) -> Command:
    """`command` with its options, a JSON object; BadInput for what it does not take."""
    if not text:
        return command
    try:
        options = parse(text)
        signature(command).bind(**options)
    except (ValueError, TypeError):
        raise BadInput(f"The command {name} does not take {text}.") from None
    return partial(command, **options)


def _same_user(connection: socket.socket) -> int:
    """The process at the other end; Forbidden when it is another user's."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(raw)
    if user != os.geteuid():
        raise Forbidden("Only the user that the node runs as may control it.")
    return int(process)
