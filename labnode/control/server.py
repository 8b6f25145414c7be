"""The node's end of the control socket, in its state directory, for its own user alone."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from labnode.clock import Clock
from labnode.control.protocol import NAME, address, read_line
from labnode.errors import BadInput, ConfigError, Forbidden, LabnodeError

log = logging.getLogger(__name__)

Command = Callable[..., dict[str, Any]]

_PATIENCE = 2.0  # seconds for a client to say what it wants, and to take the answer
_LONGEST = 1000  # bytes of a command's line
_MOST = 8  # clients at once
_ONLY_LOOKING = ("status", "sessions", "tasks", "events", "applied")
_CREDENTIALS = struct.Struct("3i")  # process, user, group


class ControlSocket:
    """Answers `commands` at DIRECTORY/control.sock from `start` to `stop`.

    Each client has a thread for as long as its command takes: an emergency stop waits for nobody.
    `directory` has to be this node's alone: what is left of a node that was killed is taken away.
    """

    def __init__(self, directory: Path, commands: Mapping[str, Command]) -> None:
        self._directory = directory
        self._commands = commands
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()
        self._rooms = threading.BoundedSemaphore(_MOST)
        self._numbers = itertools.count(1)
        self._clients: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Listen; ConfigError where the file system has no room for a socket."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            (self._directory / NAME).unlink(missing_ok=True)
            os.fchmod(listener.fileno(), 0o600)  # before bind: it is never open to others
            with address(self._directory) as place:
                listener.bind(place)
            listener.listen(8)
        except OSError as error:
            listener.close()
            raise ConfigError(
                f"{self._directory / NAME}: the control socket cannot be made ({error.strerror})"
            ) from None
        self._listener = listener
        self._thread.start()

    def fault(self) -> str | None:
        """Why commands reach the node no more, or None; any thread may ask."""
        if self._listener is None or self._thread.is_alive():
            return None
        return "the thread of the control socket has died"

    def stop(self, timeout: float) -> bool:
        """Take the socket away; False when a thread did not end in time. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is None:
            return not self._thread.is_alive()
        self._stopping.set()
        with contextlib.suppress(OSError):
            (self._directory / NAME).unlink()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # ends accept(), which close() alone does not
        now = Clock().now
        end = now() + timeout
        threads = [self._thread, *self._clients]
        for thread in threads:
            thread.join(max(0.0, end - now()))
        listener.close()
        return not any(thread.is_alive() for thread in threads)

    def _run(self) -> None:
        listener = self._listener
        while listener is not None and not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    log.error("The control socket does not accept: %s", error.strerror)
                    self._stopping.wait(1.0)
                continue
            self._rooms.acquire()
            client = threading.Thread(
                target=self._serve,
                args=(connection,),
                name=f"control-{next(self._numbers)}",
                daemon=True,
            )
            self._clients.add(client)
            client.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # a client that goes away is no matter
                answer = json.dumps(self._answer(connection)).encode() + b"\n"
                connection.settimeout(_PATIENCE)
                connection.sendall(answer)
        finally:
            self._clients.discard(threading.current_thread())
            self._rooms.release()

    def _answer(self, connection: socket.socket) -> dict[str, Any]:
        try:
            try:
                line = read_line(connection, timeout=_PATIENCE, limit=_LONGEST)
            except ValueError:
                raise BadInput("A command is one line of text.") from None
            name, _, options = line.strip().partition(" ")
            process = _same_user(connection)  # after reading: else the answer could be lost
            if name not in self._commands:
                known = ", ".join(self._commands)
                raise BadInput(f"This node knows no command {name!r}; it knows {known}.")
            call = _with_options(name, self._commands[name], options)
            if name not in _ONLY_LOOKING:
                log.info("%s, asked for by process %d.", name, process)
            return {"result": call()}
        except OSError:
            raise
        except LabnodeError as error:
            return {"error": {"code": error.code, "message": error.message}}
        except Exception:
            log.exception("A command could not be done.")
            return {"error": {"code": "error", "message": "It failed; the node's log says how."}}


def _with_options(name: str, command: Command, text: str) -> Command:
    """`command` with its options, a JSON object; BadInput for what it does not take."""
    if not text:
        return command
    try:
        options = json.loads(text)
        signature(command).bind(**options)
    except (ValueError, TypeError, RecursionError):
        raise BadInput(f"The command {name} does not take {text}.") from None
    return partial(command, **options)


def _same_user(connection: socket.socket) -> int:
    """The process at the other end; Forbidden when it is another user's."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(raw)
    if user != os.geteuid():
        raise Forbidden("Only the user that the node runs as may control it.")
    return int(process)
