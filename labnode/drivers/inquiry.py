"""Programs that are asked something by an io thread, and answer within a time."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from labnode.clock import Clock
from labnode.errors import DeviceError

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
