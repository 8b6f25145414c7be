"""The node's side of a supervisor."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from labnode.supervisor.supervise import MOST_FILES, MOST_REQUEST, TERMINATE

SOCKET = Path("/run/labnode-tool.sock")  # systemd starts a supervisor for each connection to it

FAILED = "its supervisor has failed"

_CLOSED_WITHIN = 0.5  # seconds until a supervisor has ended, which has nothing left to wait for
_MOST_ANSWER = 1 << 12  # bytes
_MOST_ANSWERS = 3  # that may still come at the end: started, the exit code, nothing more
_START = (
    "import sys; sys.path.append(sys.argv[1]); import labnode.supervisor.supervise as s; s.main()"
)
_PACKAGES = Path(__file__).parent.parent.parent  # what labnode is imported from

_leaving: list[subprocess.Popen[bytes]] = []  # supervisors that still remove their folders


class Supervisor:
    """Runs programs, one at a time; neither they nor what they have started outlive it.

    With a `folder` they run there and may do what the node may. Without one they are confined to a
    folder of their own, to `port` or (without one) USB programmers, and to the `writable`
    directories. Under systemd they are then another user's, with no network and nothing of the
    node's, unless they have `writable` directories, which are the node's.
    """

    def __init__(
        self, folder: Path | None = None, *, port: str = "", writable: Collection[Path] = ()
    ) -> None:
        self._request = {
            "folder": None if folder is None else str(folder),
            "port": port,
            "writable": [str(path) for path in writable],
        }
        self._copied = self._running = False
        self._process: subprocess.Popen[bytes] | None = None
        if folder is None and not writable and (connection := _connect()) is not None:
            self._connection = connection
        else:
            self._connection, self._process = _start()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Readable when there is an `answer`."""
        return self._connection.fileno()

    def start(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout: float,
        files: Mapping[str, Path],
    ) -> int:
        """Run a program; returns the descriptor of its output, stderr too, for the caller to close.

        `files` are copied into the folder under the names that are their keys, before the first
        program; later ones have them, too. `timeout` (seconds) only limits the processor time,
        generously. OSError: one of the files cannot be read, or the supervisor is gone.
        """
        files = {} if self._copied else files
        if len(files) > MOST_FILES:
            raise OSError(errno.E2BIG, f"more than {MOST_FILES} files cannot be copied")
        request = {
            **self._request,
            "argv": list(argv),
            "environment": dict(environment),
            "timeout": timeout,
            "files": list(files),
        }
        data = json.dumps(request).encode()
        if len(data) > MOST_REQUEST:
            raise OSError(errno.E2BIG, "its arguments are too long")
        with ExitStack() as kept:
            given = []
            for path in files.values():
                try:
                    given.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                except OSError as error:  # not ENOENT, which would say so of the program
                    why = f"{path.name} cannot be read: {error.strerror}"
                    raise OSError(errno.EIO, why) from error
                kept.callback(os.close, given[-1])
            output, end = os.pipe()
            kept.callback(os.close, end)
            try:
                socket.send_fds(self._connection, [data], [end, *given])
            except OSError as error:
                os.close(output)
                raise OSError(errno.EIO, FAILED) from error
        self._copied = self._running = True
        return output

    def terminate(self) -> None:
        """Send SIGTERM to the program and what is still in its process group."""
        with suppress(OSError):
            self._connection.send(TERMINATE)

    def kill(self) -> None:
        """Have the program killed, with all that it has started: the answer says when it is gone.

        No other program can be started afterwards.
        """
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def answer(self) -> dict[str, int]:
        """What the supervisor says next: `started`, or the `errno` of a start that failed.

        After `started` comes the program's exit `code` (below 0: a signal), when nothing of it is
        left. Empty when there will be no answer: the supervisor has died.
        """
        try:
            answer = json.loads(self._connection.recv(_MOST_ANSWER) or b"{}")
        except (OSError, ValueError, RecursionError):
            return {}
        # A tool of the same user may have taken over the supervisor.
        if not isinstance(answer, dict) or not all(isinstance(n, int) for n in answer.values()):
            return {}
        if "started" not in answer:
            self._running = False
        return answer

    def close(self) -> None:
        """End what runs, and remove the folder; idempotent."""
        self.kill()
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        for _ in range(_MOST_ANSWERS):
            if not poll.poll(_CLOSED_WITHIN * 1000) or not self.answer():
                break
        self._connection.close()
        if self._process is not None:
            try:
                self._process.wait(_CLOSED_WITHIN)
            except subprocess.TimeoutExpired:
                if self._running:
                    self._process.kill()
                    self._process.wait()
                else:
                    _leaving.append(self._process)


def _connect() -> socket.socket | None:
    """A connection to a supervisor of systemd's; None: there is none for us."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.setblocking(False)  # a hardware thread waits for no other program
    try:
        connection.connect(str(SOCKET))
    except OSError:
        connection.close()
        return None
    return connection


def _start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A supervisor as a child of ours."""
    _leaving[:] = [process for process in _leaving if process.poll() is None]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, str(_PACKAGES)],
            stdin=theirs.fileno(),
            env={"TMPDIR": tempfile.gettempdir()},
            start_new_session=True,  # Ctrl-C is not for it
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, process
