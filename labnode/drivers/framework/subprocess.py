"""Programs of others: run for the hardware thread, which serves everybody else meanwhile."""

from __future__ import annotations

import errno
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from labnode.clock import Clock
from labnode.drivers.framework.io_thread import IoLoop
from labnode.drivers.framework.services import Services
from labnode.errors import DeviceError

_PIECE = 65536
_MOST_OUTPUT = 8 << 20  # bytes; a program that says more than that has lost its way
_MOST_LINES = 500  # that wait for the hardware thread
_LONGEST_LINE = 500  # characters; what follows is left out
_TAIL = 100  # lines that are kept to see why a program failed
_TELL_EVERY = 0.1  # seconds between two times that the hardware thread is told of output
_POLITE = 1.0  # seconds that a program has to end by itself when it shall
_LAST_WORDS = 0.5  # seconds in which its output is still read once it has ended
_ENDED_WITHIN = 4.0  # more than all of these
_LOOK = 1.0  # seconds; the hardware thread is woken by news, this is for boards without a worker
_MARK = "LABNODE_RUN"  # in the environment of a program and of all that it starts
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Cause(StrEnum):
    """Why a program ended."""

    ITSELF = "by itself"
    STOPPED = "it was stopped"
    TIMEOUT = "it took too long"
    FLOOD = "it said too much"


@dataclass(frozen=True)
class Ended:
    """What became of a program; `code` below 0 is a signal, `output` are its last lines."""

    code: int
    output: tuple[str, ...]
    cause: Cause = Cause.ITSELF

    @property
    def well(self) -> bool:
        return self.code == 0 and self.cause is Cause.ITSELF


Hear = Callable[[Sequence[str], str], None]


def run(
    argv: Sequence[str],
    services: Services,
    *,
    name: str,
    folder: Path,
    timeout: float,
    hear: Hear = lambda _lines, _rest: None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program in `folder` until it ends, or its `timeout` is over, or the task shall stop.

    For the hardware thread, where calls, polls and interlocks are served meanwhile. `hear` gets the
    lines that it has said, and the beginning of the next one, at most every 0.1 s. The program is
    named by an argument list, never seen by a shell; its environment is no more than PATH and
    `environment`. When this returns or raises, neither it nor what it has started is left.
    OSError: it could not be started.
    """
    process = _Process(
        argv,
        services,
        name=name,
        folder=folder,
        timeout=timeout,
        environment=environment or {},
    )
    try:
        while not process.over:
            if not services.wait(_LOOK, process.has_news):
                process.end(Cause.STOPPED)
                services.outlast(_ENDED_WITHIN, process.is_over)
                break
            hear(*process.news())
        hear(*process.news())
    finally:
        process.close()
    return process.ended()


class _Process:
    """A program with its io thread, which alone reads it, ends it and sees it end."""

    def __init__(
        self,
        argv: Sequence[str],
        services: Services,
        *,
        name: str,
        folder: Path,
        timeout: float,
        environment: Mapping[str, str],
    ) -> None:
        self.over = False
        self._services = services
        self._now = services.clock.now
        self._cause = Cause.ITSELF
        self._ending_at: float | None = None  # when it was asked to end
        self._asked = self._killed = False
        self._exited_at: float | None = None
        self._mark = secrets.token_hex(16)
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._rest = ""  # of the line that has not ended
        self._size = 0
        self._fresh = self._news = False  # it has said something; the hardware thread was told so
        self._told_at = float("-inf")
        self._deadline = self._now() + timeout
        self._popen = _start(
            argv, folder, {**_environment(folder), **environment, _MARK: self._mark}
        )
        assert self._popen.stdout is not None
        self._output = self._popen.stdout.fileno()
        try:
            self._ends = os.pidfd_open(self._popen.pid)
            self._io = IoLoop(name, services, self._watch)
            self._io.start()
        except BaseException:
            self._kill()
            self._popen.wait()
            self._popen.stdout.close()
            raise

    # ------------------------------------------------------------------ the hardware thread's side

    def has_news(self) -> bool:
        return self._news or self.over

    def is_over(self) -> bool:
        return self.over

    def news(self) -> tuple[list[str], str]:
        """The lines since the last time, and the beginning of the next one."""
        self._news = False
        lines = []
        with suppress(IndexError):  # the io thread may add more at any time
            while True:
                lines.append(self._lines.popleft())
        return lines, self._rest

    def end(self, cause: Cause) -> None:
        """Ask it to end; it is killed a second later. Any thread."""
        if self._ending_at is None:
            self._cause = cause
            self._ending_at = self._now()
            self._io.wake()

    def close(self) -> None:
        """Nothing is left of it, however it went."""
        if not self.over:
            self._cause = Cause.STOPPED if self._ending_at is None else self._cause
            self._kill()
        ended = self._io.stop()
        assert self._popen.stdout is not None
        if ended:  # else its thread still uses them
            self._popen.stdout.close()
            os.close(self._ends)

    def ended(self) -> Ended:
        code = self._popen.returncode
        killed = -signal.SIGKILL
        return Ended(killed if code is None else code, tuple(self._tail), self._cause)

    # ------------------------------------------------------------------ the io thread's side

    def _watch(self) -> None:
        """See it through to its end, whatever happens."""
        try:
            self._read_all()
        finally:
            if self._exited_at is None:
                self._kill()
            self._popen.wait()
            self._take_line()
            self.over = True
            self._services.post(_nothing)  # wakes the hardware thread

    def _read_all(self) -> None:
        reading = {self._output, self._ends}
        while reading and not self._io.stopping:
            ready, _ = self._io.wait(self._patience(), reading)
            if self._output in ready and not self._read():
                reading.discard(self._output)
            if self._ends in ready:
                reading.discard(self._ends)
                self._exited_at = self._now()
                self._kill()  # what it has started; its own number is taken until it is waited for
            if self._exited_at is None:
                self._see_to_its_end()
            elif self._now() - self._exited_at >= _LAST_WORDS:
                return
            if self._fresh and not self._news and self._now() >= self._told_at + _TELL_EVERY:
                self._fresh, self._news, self._told_at = False, True, self._now()
                self._services.post(_nothing)

    def _patience(self) -> float:
        """Seconds until there is something to do even if it says nothing."""
        if self._exited_at is not None:
            due = self._exited_at + _LAST_WORDS
        elif self._killed:
            due = self._now() + _ENDED_WITHIN
        else:
            due = self._deadline if self._ending_at is None else self._ending_at + _POLITE
        if self._fresh and not self._news:
            due = min(due, self._told_at + _TELL_EVERY)
        return max(0.0, due - self._now())

    def _see_to_its_end(self) -> None:
        if self._ending_at is None and self._now() >= self._deadline:
            self.end(Cause.TIMEOUT)
        if self._ending_at is not None and not self._killed:
            if self._now() >= self._ending_at + _POLITE:
                self._kill()
            elif not self._asked:
                self._asked = True
                with suppress(ProcessLookupError):
                    os.killpg(self._popen.pid, signal.SIGTERM)

    def _read(self) -> bool:
        """Take a piece of its output; False at the end of that."""
        data = os.read(self._output, _PIECE)
        self._size += len(data)
        if self._size > _MOST_OUTPUT:
            self.end(Cause.FLOOD)
            return bool(data)  # thrown away
        *lines, rest = re.split(r"[\r\n]", self._rest + data.decode(errors="replace"))
        for line in lines:
            self._rest = line
            self._take_line()
        self._rest = rest[: 2 * _LONGEST_LINE]
        self._fresh = True
        return bool(data)

    def _take_line(self) -> None:
        line, self._rest = _plain(self._rest), ""
        if line:
            self._lines.append(line)
            self._tail.append(line)

    def _kill(self) -> None:
        """End it at once, with its group and with whatever has left that: all have the mark."""
        self._killed = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        mark = f"{_MARK}={self._mark}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):  # it has ended, or is somebody else's
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        os.kill(int(entry.name), signal.SIGKILL)


def _start(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """FileNotFoundError: it is not installed. Any other OSError: it is, and does not start."""
    try:
        return subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except PermissionError as error:
        # A directory of the PATH that may not be searched gives this for what is nowhere, too.
        if shutil.which(argv[0], os.F_OK, environment["PATH"]) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0]) from error
        raise


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",  # the messages are known in English
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }


def _plain(line: str) -> str:
    """A line as people may see it."""
    text = _ESCAPES.sub("", line[: 2 * _LONGEST_LINE]).rstrip()
    text = "".join(c for c in text.replace("\t", " ") if c.isprintable())
    return text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 1] + "…"


def _nothing() -> None: ...


_MOST = 65536  # bytes of an answer; what says more has lost its way


class Inquiry:
    """One program at a time; `end` is for any thread, the rest for the io thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, argv: Sequence[str], timeout: float) -> str:
        """What it says (errors too) when it ends well within `timeout`; else DeviceError.

        It is named by a list of arguments, never seen by a shell, and nothing of it is left.
        """
        deadline = self._clock.now() + timeout
        try:
            process = subprocess.Popen(
                argv,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise DeviceError(f"{argv[0]} cannot be started: {error.strerror}") from error
        self._process = process
        assert process.stdout is not None
        try:
            answer = self._read(process.stdout.fileno(), argv[0], deadline)
            code = process.wait(max(0.1, deadline - self._clock.now()))
        except subprocess.TimeoutExpired:
            raise DeviceError(_too_slow(argv[0])) from None
        finally:
            self._kill(process)
            process.wait()
            process.stdout.close()
            self._process = None
        text = answer.decode(errors="replace").strip()
        if code != 0:
            last = f": {text.splitlines()[-1][:200]}" if text else ""
            raise DeviceError(f"{argv[0]} failed with code {code}{last}")
        return text

    def end(self) -> None:
        """End the one that runs, and all that come."""
        self._ended = True
        process = self._process
        if process is not None:
            self._kill(process)

    def _read(self, output: int, name: str, deadline: float) -> bytes:
        """All that it says until it ends, or has closed its output."""
        poll = select.poll()
        poll.register(output, select.POLLIN)
        answer = b""
        while not self._ended:
            left = deadline - self._clock.now()
            if left <= 0 or not poll.poll(left * 1000):
                raise DeviceError(_too_slow(name))
            piece = os.read(output, 4096)
            if not piece:
                return answer
            answer += piece
            if len(answer) > _MOST:
                raise DeviceError(f"{name} says more than {_MOST} bytes")
        raise DeviceError(f"{name} was ended")

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if process.returncode is None:  # its number is its own until it has been waited for
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _too_slow(name: str) -> str:
    return f"{name} took too long and was ended"
