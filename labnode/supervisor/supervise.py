"""The supervisor: a process that runs programs for the other end of its connection, one at a time.

It imports little: it starts anew for each file that is written, also on a Pi Zero.
"""

# pathlib takes long to load on a small Pi.
# ruff: noqa: PTH101, PTH102, PTH103, PTH106, PTH108, PTH113, PTH118, PTH120, PTH123, PTH208
from __future__ import annotations

import errno
import json
import os
import pwd
import re
import select
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from labnode.supervisor.confine import adopt_orphans, confine, die_with_parent

MOST_REQUEST = 1 << 16  # bytes of a request
MOST_FILES = 16  # that come with a request, besides the output
TERMINATE = b"terminate"  # instead of a request: SIGTERM for the program that runs

_DEVICE = re.compile(r"/dev/[\w./:-]+")
_PROGRAMMERS = ("bus", "hidraw", "gpiochip", "spidev")
_PASSES = 1000  # attempts to stop programs that start others all the time
_GONE_WITHIN = 50  # looks, 10 ms apart, at whether killed processes are gone


class Malformed(Exception):
    """A message that is no request; the text says why."""


class Request:
    """A program to run. The keys of its JSON are the attributes here.

    `folder`: where it runs, with the rights of the supervisor; None: confined, in a folder that the
    supervisor makes. `files`: the names of copies to make there, before the first program, of the
    descriptors that come along after the first one, which is the output.
    """

    def __init__(self, data: bytes) -> None:
        try:
            given = json.loads(data)
        except (ValueError, RecursionError):
            raise Malformed("a request is JSON") from None
        if not isinstance(given, dict) or set(given) != {*_KEYS}:
            raise Malformed(f"a request has the keys {', '.join(_KEYS)}")
        for key, check in _KEYS.items():
            if not check(given[key]):
                raise Malformed(f"{key} is wrong")
        self.argv: list[str] = given["argv"]
        self.environment: Mapping[str, str] = given["environment"]
        self.timeout: float = given["timeout"]
        self.folder: str | None = given["folder"]
        self.port: str = given["port"]
        self.writable: Sequence[str] = given["writable"]
        self.files: Sequence[str] = given["files"]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_path(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and value.startswith("/")


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_name(value: object) -> bool:
    """A path that stays in the folder."""
    return _is_text(value) and not {"", ".", ".."}.intersection(str(value).split("/"))


_KEYS: Mapping[str, Callable[[Any], bool]] = {
    "argv": lambda value: _are_texts(value) and bool(value) and bool(value[0]),
    "environment": lambda value: (
        isinstance(value, dict)
        and all(name and "=" not in name and "\0" not in name for name in value)
        and _are_texts([*value.values()])
    ),
    "timeout": lambda value: type(value) in (int, float) and 0 < value < 1e6,
    "folder": lambda value: value is None or _is_path(value),
    "port": lambda value: value == "" or _is_path(value),
    "writable": lambda value: isinstance(value, list) and all(map(_is_path, value)),
    "files": lambda value: isinstance(value, list) and all(map(_is_name, value)),
}


def main(users: Collection[str] = ()) -> None:
    """Serve the connection on descriptor 0, made by this user, root or one of `users`."""
    connection = socket.socket(fileno=0)
    os.set_inheritable(0, False)
    if connection.family != socket.AF_UNIX or connection.type != socket.SOCK_SEQPACKET:
        sys.exit("labnode.supervisor: stdin is no connection of the node's")
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, uid, _ = struct.unpack("iII", peer)
    if uid not in {0, os.getuid(), *(pwd.getpwnam(name).pw_uid for name in users)}:
        sys.exit(f"labnode.supervisor: the user {uid} may not ask for anything")
    adopt_orphans()
    supervisor = _Supervision(connection)
    try:
        while supervisor.serve():
            pass
    except Malformed as error:
        supervisor.answer(malformed=str(error))
        sys.exit(f"labnode.supervisor: {error}")
    finally:
        supervisor.close()
    os._exit(0)  # the node waits for it, and Python takes its time to end


class _Supervision:
    """The service of one connection, and the folder that its programs have in common."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._folder: str | None = None

    def serve(self) -> bool:
        """Run the next program; False when the other end is closed."""
        message, received, flags, _ = socket.recv_fds(
            self._connection, MOST_REQUEST + 1, MOST_FILES + 1, socket.MSG_CMSG_CLOEXEC
        )
        try:
            if not message:
                return False
            if len(message) > MOST_REQUEST or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise Malformed("the request is too long")
            if message == TERMINATE:  # for a program that has just ended by itself
                return True
            request = Request(message)
            if len(received) != len(request.files) + 1:
                raise Malformed("it has not one descriptor for the output and one for each file")
            if request.files and (request.folder is not None or self._folder is not None):
                # A program that ran there may have put a link in the way.
                raise Malformed("files are copied into a new folder only")
            try:
                folder = request.folder or self._own_folder()
                for name, descriptor in zip(request.files, received[1:], strict=True):
                    _copy(descriptor, f"{folder}/{name}")
                process = _start(request, folder, received[0])
            except OSError as error:
                self.answer(errno=error.errno)
                return True
            self.answer(started=True)
        finally:
            for descriptor in received:
                os.close(descriptor)
        return self._wait_for(process)

    def answer(self, **answer: Any) -> None:
        with suppress(OSError):  # nobody waits for it any more
            self._connection.send(json.dumps(answer).encode())

    def close(self) -> None:
        end_descendants()
        if self._folder is not None:
            _remove(self._folder)
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # systemd has a copy of the descriptor

    def _own_folder(self) -> str:
        if self._folder is None:
            parent = os.environ.get("TMPDIR", "/tmp")
            folder = f"{parent}/labnode-{os.urandom(8).hex()}"
            os.mkdir(folder, mode=0o700)
            self._folder = folder
        return self._folder

    def _wait_for(self, process: int) -> bool:
        """Answer with how a program ends, when nothing of it is left."""
        ended = os.pidfd_open(process)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(self._connection, select.POLLIN)
        go_on = True
        while go_on and ended not in dict(poll.poll()):
            if self._connection.recv(len(TERMINATE)) == TERMINATE:
                os.killpg(process, signal.SIGTERM)
            else:  # closed, or a request, which would be too early
                os.kill(process, signal.SIGKILL)
                go_on = False
        os.close(ended)
        _, status = os.waitpid(process, 0)
        end_descendants()
        self.answer(code=os.waitstatus_to_exitcode(status))
        return go_on


def _copy(source: int, path: str) -> None:
    status = os.fstat(source)
    if not stat.S_ISREG(status.st_mode):
        raise Malformed("only regular files can be copied")
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    mode = 0o700 if status.st_mode & 0o111 else 0o600
    copy = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        done = 0
        while number := os.sendfile(copy, source, done, 1 << 20):
            done += number
    finally:
        os.close(copy)


def _remove(folder: str) -> None:
    """Delete a folder with all that is in it; nothing of that runs any more."""
    directories = [folder]
    for directory in directories:
        with suppress(OSError):
            os.chmod(directory, 0o700)
            for entry in os.scandir(directory):
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
                else:
                    os.unlink(entry.path)
    for directory in reversed(directories):
        with suppress(OSError):  # not empty: what could not be deleted
            os.rmdir(directory)


def _start(request: Request, folder: str, output: int) -> int:
    """The process of a program; OSError: it does not start."""
    path = request.environment.get("PATH", os.defpath)
    program = _find(request.argv[0], path, folder)
    failed, failing = os.pipe()
    process = os.fork()
    if process == 0:
        _become(request, program, folder, output, failing)
    os.close(failing)
    with open(failed, "rb") as pipe:
        number = pipe.read()
    if number:
        os.waitpid(process, 0)
        raise OSError(int(number), os.strerror(int(number)))
    return process


def _become(request: Request, program: str, folder: str, output: int, failing: int) -> None:
    """In a new process: become the program, or say into `failing` why that does not work."""
    number = errno.EIO
    try:
        die_with_parent(signal.SIGKILL)
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.chdir(folder)
        if request.folder is None:
            processor_time = 4 * int(request.timeout) + 10  # four processors may work at once
            confine(program, folder, _devices(request), request.writable, processor_time)
        os.execve(program, request.argv, {"HOME": folder, "TMPDIR": folder, **request.environment})
    except OSError as error:
        number = error.errno or number
    finally:
        os.write(failing, str(number).encode())
        os._exit(127)


def _devices(request: Request) -> list[str]:
    """What a program may open of /dev: its port and what its arguments name.

    One without a port gets all programmers on USB, and on pins that the node does not hold.
    """
    named = [path for argument in request.argv for path in _DEVICE.findall(argument)]
    if request.port:
        return [request.port, *named]
    return named + [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith(_PROGRAMMERS)]


def _find(name: str, path: str, folder: str) -> str:
    """Where a program is: on the PATH, or `name` from `folder`. OSError: nowhere."""
    places = [folder] if "/" in name else path.split(os.pathsep)
    there = False
    for place in places:
        program = os.path.join(place, name)
        if os.path.isfile(program):
            there = True
            if os.access(program, os.X_OK):
                return program
    number = errno.EACCES if there else errno.ENOENT
    raise OSError(number, os.strerror(number))


# ------------------------------------------------------------------ processes


def end_descendants() -> None:
    """Kill everything that was started from here, also what is its own session, and reap it.

    A process whose parent ends becomes a child of this one (see adopt_orphans), so nothing escapes.
    """
    if not _has_children():
        return
    stopped: dict[int, int] = {}  # pidfds by pid
    for _ in range(_PASSES):  # a stopped process starts no others
        new = {pid: parent for pid, parent in _descendants().items() if pid not in stopped}
        if not new:
            break
        for process, parent in new.items():
            with suppress(OSError):  # ended meanwhile
                descriptor = os.pidfd_open(process)
                stopped[process] = descriptor
                if _parent(process) == parent:  # otherwise the pid may be somebody else's by now
                    signal.pidfd_send_signal(descriptor, signal.SIGSTOP)
                else:
                    os.close(stopped.pop(process))
    for descriptor in stopped.values():
        with suppress(OSError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
    for _ in range(_GONE_WITHIN):
        if not _has_children():
            return
        select.select([], [], [], 0.01)


def _has_children() -> bool:
    """Whether there are any that live, after those that have ended are reaped."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _descendants() -> dict[int, int]:
    """The parents of all descendants, by their pids."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):  # ended meanwhile
                children.setdefault(_parent(int(name)), []).append(int(name))
    found: dict[int, int] = {}
    ahead = [os.getpid()]
    while ahead:
        parent = ahead.pop()
        found.update(dict.fromkeys(children.get(parent, ()), parent))
        ahead += children.get(parent, ())
    return found


def _parent(process: int) -> int:
    with open(f"/proc/{process}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
