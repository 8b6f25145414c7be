"""What a process asks of the kernel, recorded or refused by strace (Debian: strace)."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.programs import ran
from tests.kit.waiting import eventually

_CALL = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<(.*)>)?(?: .*)?$")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*?)(?:, )? ?<unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(?:, )?(.*)\) += (-?\d+)(?:<(.*)>)?(?: .*)?$")
_ESCAPED = re.compile(r"(?:\\x[0-9a-f]{2})+")


def need_strace() -> None:
    """Skip the test where there is no strace, or where it may not trace this user's programs."""
    if shutil.which("strace") is None:
        pytest.skip("no strace (Debian: sudo apt-get install strace)")
    if ran(["strace", "-f", "-o", os.devnull, "true"]).returncode:
        pytest.skip("strace may not trace here")


def recording(calls: Sequence[str], into: Path) -> list[str]:
    """What to put before a command so that its calls are written into a file, and nothing else.

    The command is the direct child all the same, with the process id of what is started.
    """
    traced = ",".join(f"?{name}" for name in calls)
    return ["strace", "-D", "-f", "-qqq", "--seccomp-bpf", "-o", str(into), "-a1", "-yy", "-xx",
            "-s", "10000000", "-e", f"trace={traced}"]  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """`calls` on these files fail with an error, from each thread's call `since` on."""

    calls: Sequence[str]
    error: str  # as the kernel's headers name it
    paths: Iterable[Path]
    since: int = 1

    def options(self, record: Path) -> list[str]:
        """Those of strace; the record tells what was refused, see `refusals`."""
        calls = ",".join(f"?{name}" for name in self.calls)
        paths = [part for path in self.paths for part in ("-P", str(path))]
        inject = f"inject={calls}:error={self.error}:when={self.since}+"
        return ["-f", "-qqq", "-o", str(record), *paths, "-e", f"trace={calls}", "-e", inject]


def refusals(record: Path) -> int:
    """How many calls have failed."""
    return record.read_text(errors="replace").count("(INJECTED)")


@contextmanager
def failing(pid: int, fault: Fault, record: Path) -> Iterator[None]:
    """During the block a process, which has called `may_be_traced`, has a fault."""
    command = ["strace", *fault.options(record), "-p", str(pid)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as strace:
        try:
            eventually(lambda: strace.poll() is not None or _all_traced(pid))
            assert strace.poll() is None, "strace may not trace it"
            yield
        finally:
            strace.terminate()  # it leaves the process as it was


def may_be_traced() -> None:
    """Let this process be traced by others of its user, where Linux (Yama) asks it."""
    pr_set_ptracer, any_process = 0x59616D61, -1
    ctypes.CDLL(None).prctl(pr_set_ptracer, any_process, 0, 0, 0)


def _all_traced(pid: int) -> bool:
    threads = [thread.read_text() for thread in Path(f"/proc/{pid}/task").glob("*/status")]
    return all("TracerPid:\t0\n" not in status for status in threads)


@dataclass(frozen=True)
class Call:
    """One call of the kernel that did not fail; texts are decoded but for their quotes."""

    name: str
    arguments: list[str]  # a descriptor is N<path>
    result: int
    opened: str  # the path of the descriptor that is the result
    begun: int  # lines of the record
    ended: int

    def path(self, argument: int = 0) -> str:
        """Where a descriptor leads, or what a text says."""
        text = self.arguments[argument]
        inner = text.partition("<")[2].rpartition(">")[0] if text[:1] != '"' else text.strip('"')
        return _bytes(inner).decode(errors="replace")

    def data(self, argument: int = 1) -> bytes:
        return _bytes(self.arguments[argument].strip('"'))


def recorded(record: Path) -> Iterator[Call]:
    """The calls in the order in which they ended."""
    unfinished: dict[str, tuple[int, str]] = {}
    with record.open(encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines):
            if match := _BEGUN.match(line):
                unfinished[match[1]] = (number, match[3])
                continue
            begun = number
            if match := _RESUMED.match(line):
                begun, before = unfinished.pop(match[1])
                arguments = ", ".join(part for part in (before, match[3]) if part)
            elif match := _CALL.match(line):
                arguments = match[3]
            else:
                continue
            if int(match[4]) >= 0:
                opened = _bytes(match[5] or "").decode(errors="replace")
                yield Call(match[2], arguments.split(", "), int(match[4]), opened, begun, number)


def _bytes(text: str) -> bytes:
    """A text of strace's -xx, which is half escaped where it is a path with a note behind it."""

    def plain(match: re.Match[str]) -> str:
        return bytes.fromhex(match[0].replace("\\x", "")).decode("latin-1")

    return _ESCAPED.sub(plain, text).encode("latin-1")
