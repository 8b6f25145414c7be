"""Running other programs: `run` for the hardware thread, Inquiry for an io thread."""

from __future__ import annotations

import errno
import os
import re
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
from labnode.supervisor.client import FAILED, Supervisor

_PIECE = 65536
_MOST_OUTPUT = 8 << 20  # bytes; a program that prints more is ended
_MOST_ANSWER = 1 << 16  # bytes that an Inquiry accepts
_MOST_LINES = 500  # waiting for the hardware thread
_LONGEST_LINE = 500  # characters; the rest is left out
_TAIL = 100  # lines kept to see why a program failed
_NEWS_EVERY = 0.1  # seconds between two wake-ups of the hardware thread for output
_KILL_AFTER = 1.0  # seconds after SIGTERM
_LAST_WORDS = 0.5  # seconds in which output is still read after the end
_STARTED_WITHIN = 30.0  # seconds that a supervisor has to start a program
_GONE_WITHIN = 1.0  # seconds that a supervisor has to kill a program
_ENDED_WITHIN = 4.0  # seconds; more than all of these
_LOOK = 1.0  # seconds, for boards without a worker: news wakes the hardware thread
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Cause(StrEnum):
    """Why a program ended."""

    ITSELF = "by itself"
    STOPPED = "it was stopped"
    TIMEOUT = "it took too long"
    FLOOD = "it said too much"


@dataclass(frozen=True)
class Ended:
    """How a program ended; a `code` below 0 is a signal, `output` has its last lines."""

    code: int
    output: tuple[str, ...]
    cause: Cause = Cause.ITSELF

    @property
    def well(self) -> bool:
        return self.code == 0 and self.cause is Cause.ITSELF


OnOutput = Callable[[Sequence[str], str], None]


def run(
    argv: Sequence[str],
    services: Services,
    supervisor: Supervisor,
    *,
    name: str,
    timeout: float,
    on_output: OnOutput = lambda _lines, _rest: None,
    environment: Mapping[str, str] | None = None,
    files: Mapping[str, Path] | None = None,
) -> Ended:
    """Run a program until it ends, `timeout` is over, or the task is to stop.

    For the hardware thread, which serves calls, polls and interlocks meanwhile. `on_output` gets
    the new lines and the beginning of the next one, at most every 0.1 s. No shell sees the
    arguments; the environment has PATH, `environment` and little else. `files` are copied into the
    folder of the supervisor, where the program runs. Afterwards neither the program nor anything
    that it has started is left. OSError: it could not be started.
    """
    output = supervisor.start(
        argv, environment=_environment(environment), timeout=timeout, files=files or {}
    )
    process = _Process(supervisor, output, services, name=name, timeout=timeout)
    try:
        while not process.over:
            if not services.wait(_LOOK, process.has_news):
                process.end(Cause.STOPPED)
                services.outlast(_ENDED_WITHIN, lambda: process.over)
                break
            on_output(*process.news())
        on_output(*process.news())
    finally:
        process.close()
    return process.ended()


class _Process:
    """A program that a supervisor runs, and the io thread that reads its output and ends it."""

    def __init__(
        self, supervisor: Supervisor, output: int, services: Services, *, name: str, timeout: float
    ) -> None:
        self.over = False
        self._supervisor = supervisor
        self._output = output
        self._services = services
        self._clock = services.clock
        self._cause = Cause.ITSELF
        self._ending_at: float | None = None  # when the end was decided
        self._terminated = self._killed = self._started = False
        self._exited_at: float | None = None
        self._killed_at = 0.0
        self._code = -int(signal.SIGKILL)
        self._error: OSError | None = None
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._rest = ""  # of the line that has not ended
        self._size = 0
        self._fresh = self._news = False  # there is output; the hardware thread was woken for it
        self._news_at = float("-inf")
        self._timeout = timeout
        self._deadline = self._clock.now() + _STARTED_WITHIN
        self._io = IoLoop(name, services, self._watch)
        try:
            self._io.start()
        except BaseException:
            os.close(output)
            raise

    # ------------------------------------------------------------------ the hardware thread's side

    def has_news(self) -> bool:
        return self._news or self.over

    def news(self) -> tuple[list[str], str]:
        """The lines since the last time, and the beginning of the next one."""
        self._news = False
        lines = []
        with suppress(IndexError):  # the io thread may add more at any time
            while True:
                lines.append(self._lines.popleft())
        return lines, self._rest

    def end(self, cause: Cause) -> None:
        """Send SIGTERM, and SIGKILL a second later (any thread)."""
        if self._ending_at is None:
            self._cause = cause
            self._ending_at = self._clock.now()
            self._io.wake()

    def close(self) -> None:
        if not self.over:
            self._cause = Cause.STOPPED if self._ending_at is None else self._cause
            self._supervisor.kill()
        if self._io.stop():  # otherwise its thread still uses it
            os.close(self._output)

    def ended(self) -> Ended:
        if self._error is not None:
            raise self._error
        return Ended(self._code, tuple(self._tail), self._cause)

    # ------------------------------------------------------------------ the io thread's side

    def _watch(self) -> None:
        try:
            self._read_all()
        finally:
            if self._exited_at is None:
                self._supervisor.kill()
            self._take_line()
            self.over = True
            self._services.post(_nothing)  # wakes the hardware thread

    def _read_all(self) -> None:
        answers = self._supervisor.fileno()
        reading = {self._output, answers}
        while reading and not self._io.stopping:
            ready, _ = self._io.wait(self._idle_time(), reading)
            if self._output in ready and not self._read():
                reading.discard(self._output)
            if answers in ready and not self._hear():
                reading.discard(answers)
                self._exited_at = self._clock.now()
            if self._exited_at is None:
                self._end_in_time()
            elif self._clock.now() - self._exited_at >= _LAST_WORDS:
                return
            if self._killed and self._clock.now() >= self._killed_at + _GONE_WITHIN:
                return  # not even the supervisor ends
            if self._fresh and not self._news and self._clock.now() >= self._news_at + _NEWS_EVERY:
                self._fresh, self._news, self._news_at = False, True, self._clock.now()
                self._services.post(_nothing)

    def _hear(self) -> bool:
        """Take an answer of the supervisor; False if it was the last one."""
        answer = self._supervisor.answer()
        if answer.get("started") and not self._started:
            self._started = True
            self._deadline = self._clock.now() + self._timeout
            return True
        number = answer.get("errno")
        if number is not None:
            self._error = OSError(number, os.strerror(number))
        elif not self._started and not self._killed:
            self._error = OSError(errno.EIO, FAILED)
        self._code = answer.get("code", self._code)
        return False

    def _idle_time(self) -> float:
        """Seconds until there is something to do without output."""
        if self._exited_at is not None:
            due = self._exited_at + _LAST_WORDS
        elif self._killed:
            due = self._killed_at + _GONE_WITHIN
        else:
            due = self._deadline if self._ending_at is None else self._ending_at + _KILL_AFTER
        if self._fresh and not self._news:
            due = min(due, self._news_at + _NEWS_EVERY)
        return max(0.0, due - self._clock.now())

    def _end_in_time(self) -> None:
        if self._ending_at is None and self._clock.now() >= self._deadline:
            self.end(Cause.TIMEOUT)
        if self._ending_at is not None and not self._killed:
            if self._clock.now() >= self._ending_at + _KILL_AFTER:
                self._killed, self._killed_at = True, self._clock.now()
                self._supervisor.kill()
            elif not self._terminated:
                self._terminated = True
                self._supervisor.terminate()

    def _read(self) -> bool:
        """Take a piece of the output; False at its end."""
        data = os.read(self._output, _PIECE)
        self._size += len(data)
        if self._size > _MOST_OUTPUT:
            self.end(Cause.FLOOD)
            return bool(data)  # ignored
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


def _plain(line: str) -> str:
    """A line without escape sequences and control characters."""
    text = _ESCAPES.sub("", line[: 2 * _LONGEST_LINE]).rstrip()
    text = "".join(c for c in text.replace("\t", " ") if c.isprintable())
    return text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 1] + "…"


def _nothing() -> None: ...


class Inquiry:
    """Runs programs that answer soon, one at a time, on an io thread; `end` is for any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, argv: Sequence[str], timeout: float) -> str:
        """The output (stderr, too) of a program that succeeds within `timeout`; else DeviceError.

        No shell sees the arguments.
        """
        deadline = self._clock.now() + timeout
        try:
            process = _start(argv)
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
        """End the program that runs, and those that follow."""
        self._ended = True
        process = self._process
        if process is not None:
            self._kill(process)

    def _read(self, output: int, name: str, deadline: float) -> bytes:
        """Everything until it closes its output."""
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
            if len(answer) > _MOST_ANSWER:
                raise DeviceError(f"{name} says more than {_MOST_ANSWER} bytes")
        raise DeviceError(f"{name} was ended")

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if process.returncode is None:  # its pid is not reused before it is waited for
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _too_slow(name: str) -> str:
    return f"{name} took too long and was ended"


def _environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What programs see of our environment: no more than PATH."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "LC_ALL": "C.UTF-8", **(more or {})}  # as messages are known


def _start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own.

    FileNotFoundError: it is not installed. Any other OSError: it is, and does not start.
    """
    environment = _environment()
    try:
        return subprocess.Popen(
            argv,
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
