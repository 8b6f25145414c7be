"""Every error that labnode raises on purpose: a code, an HTTP status, one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labnode.locale import Joined, Wording


class LabnodeError(Exception):
    """One clear sentence for a person: what, where, what was expected.

    `code` is for programs, `status` is the HTTP status that a route answers with.
    """

    code = "error"
    status = 500

    @property
    def message(self) -> str:
        """The sentence in English."""
        return str(self)

    @property
    def words(self) -> Any:
        """The sentence: a text, or what has it in several languages (`Message`, `Text`)."""
        return self.args[0] if len(self.args) == 1 else str(self)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file or in the environment."""

    where: str  # "boards/x.yaml:12", "LABNODE_PORT", ""
    message: str | Wording

    @property
    def words(self) -> str | Wording:
        """Where and what, in one line."""
        return Joined(self.where, self.message, between=": ") if self.where else self.message

    def __str__(self) -> str:
        return str(self.words)


class ConfigError(LabnodeError):
    """A board file, the settings or the command line cannot be used; `problems` has all reasons."""

    code = "config"

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = [Problem("", p) if isinstance(p, str) else p for p in problems]
        super().__init__(Joined(*(problem.words for problem in self.problems), between="\n"))


class BadInput(LabnodeError):
    """The caller sent something that cannot be used; the sentence names the key."""

    code, status = "bad-input", 400


class NotFound(LabnodeError):
    """The device, command or task does not exist (or is not this caller's)."""

    code, status = "not-found", 404


class Forbidden(LabnodeError):
    """The caller may not do this."""

    code, status = "forbidden", 403


class SessionOver(Forbidden):
    """The session that asked has ended, so its request no longer reaches the hardware."""

    code = "session-over"


class Occupied(LabnodeError):
    """The board is a student's; what was asked for has to wait until nobody is on it."""

    code, status = "occupied", 409


class Interlocked(LabnodeError):
    """An interlock or a limit of the board forbids it now; the sentence says which."""

    code, status = "interlocked", 409


class Outdated(LabnodeError):
    """A device has gone to safe since this was asked for, and would leave it again."""

    code, status = "outdated", 409


class AlreadyRunningError(LabnodeError):
    """A unique task was asked for while it is submitted or running."""

    code, status = "already-running", 409


class TooLittleTime(LabnodeError):
    """A task takes longer than its student has left."""

    code, status = "no-time", 409


class TooLate(LabnodeError, TimeoutError):
    """A wait came to its end before what it waited for."""

    code, status = "timeout", 504


class Deadlock(LabnodeError):
    """The wait could never end: the thing waited for needs the thread that waits."""

    code = "deadlock"


class Stopped(LabnodeError):
    """The task was asked to stop some time ago and still waits; raised from its wait to end it."""

    code = "stopped"


class Busy(LabnodeError):
    """Nothing is wrong, but not now; ask again after `retry_after` seconds."""

    code, status = "busy", 503

    def __init__(self, words: object, retry_after: float = 2) -> None:
        super().__init__(words)
        self.retry_after = retry_after


class StorageError(LabnodeError):
    """The node's database could not be read or written (a full or broken SD card)."""

    code, status = "storage", 503


class StartFailed(LabnodeError):
    """The board could not be made ready for a student; it has been cleaned up."""

    code, status = "start-failed", 503


class DeviceError(LabnodeError):
    """A device did not do what it was told."""

    code, status = "device", 503


class DeviceGone(DeviceError):
    """A device is unplugged or does not answer."""

    code = "device-gone"


class BadFile(BadInput):
    """A file is not what the device takes."""

    code = "bad-file"


class ToolFailed(DeviceError):
    """A board was not programmed; where it is `final`, trying again is of no use."""

    code = "tool-failed"

    def __init__(self, words: object, *, final: bool = False) -> None:
        super().__init__(words)
        self.final = final
