"""Other programs: what they say, how they are run without a word, and Debian's packages of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from labnode.install.changes import Change, Failed, say

OLDEST_PYTHON = (3, 11)
_APT = [
    *("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "-qq"),
    *("-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=2"),
    *("-o", "Acquire::http::Timeout=30"),
]
_SHOWN = 15  # lines of a program that has failed

Words = str | Path


def have(program: str) -> bool:
    return shutil.which(program) is not None


def ran(*command: Words) -> bool:
    """Whether `command` was there and has succeeded; what it says is not shown."""
    return told(*command) is not None


def told(
    *command: Words,
    shown: bool = False,
    failing: bool = False,
    cwd: Path | None = None,
    **environ: str,
) -> str | None:
    """What `command` says on stdout; None when it is not there or has failed.

    Its stderr is the person's to see if `shown`. With `failing` it may fail.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if shown else subprocess.DEVNULL,
            cwd=cwd,
            env={**os.environ, **environ},
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:
        return None
    return done.stdout if failing or done.returncode == 0 else None


@dataclass(frozen=True)
class RunResult:
    """A program that was run without a word: what it said, and where that is if it has failed."""

    worked: bool
    said: str
    log: Path

    def __bool__(self) -> bool:
        return self.worked


def quietly(
    *command: Words,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    shown: bool = True,
) -> RunResult:
    """Run `command` without a word; when it fails, the end of what it said is shown if `shown`."""
    descriptor, name = tempfile.mkstemp(prefix="labnode-install.")
    log = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as output:
            worked = _run(command, cwd, {**os.environ, **(environ or {})}, output)
    except BaseException:
        log.unlink()
        raise
    said = log.read_text(encoding="utf-8", errors="replace")
    if worked:
        log.unlink()
    elif shown:
        sys.stderr.write("".join(f"    {line}\n" for line in said.splitlines()[-_SHOWN:]))
        say(f"everything it said is in {log}")
    return RunResult(worked, said, log)


def _run(
    command: Sequence[Words], cwd: Path | None, environ: Mapping[str, str], output: BinaryIO
) -> bool:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environ,
            check=False,
        )
    except OSError as error:
        output.write(f"{command[0]}: {error.strerror}\n".encode())
        return False
    return done.returncode == 0


def why_pip_failed(said: str) -> str:
    """The end of the sentence "pip could not install ...", by what it said."""
    if re.search(r"command '?\S*(gcc|cc|c\+\+|clang)'? failed: No such file", said):
        return (
            ": a library has no wheel for this machine, and there is no compiler to make one with "
            "(Debian: sudo apt-get install gcc python3-dev)"
        )
    if "No space left on device" in said:
        return ": the disk is full"
    if re.search(r"Retrying \(|Could not fetch URL|No matching distribution|timed out|Proxy", said):
        return "; does this machine reach the internet (or the index that pip is configured for)?"
    return "; what it said is above"


def is_root() -> bool:
    return told("id", "-u") == "0\n"


def free_space(directory: Path) -> int:
    """In megabytes; plenty, where df does not say."""
    said = told("df", "-m", "--output=avail", "--", directory, LC_ALL="C") or ""
    last = said.split()[-1:]
    return int(last[0]) if last and last[0].isdigit() else 999_999


def need_space(megabytes: int, what: str, directory: Path) -> None:
    """Failed when there is less room than that."""
    free = free_space(directory)
    if free < megabytes:
        raise Failed(
            f"the disk with {directory} has only {free} MB free; {what} needs about {megabytes} MB"
        )


# --- Python ---


def python_version(python: Words) -> str | None:
    """ "3.11"; None when it does not start."""
    said = told(python, "-I", "-c", 'import sys; print("%d.%d" % sys.version_info[:2])')
    return said.strip() if said else None


def is_new_enough(version: str) -> bool:
    return tuple(map(int, version.split("."))) >= OLDEST_PYTHON


def can_make_venvs(python: Words) -> bool:
    """Debian splits ensurepip from Python, so `venv` alone says nothing."""
    return ran(python, "-I", "-c", "import ensurepip, venv")


def python_is_needed(version: str | None) -> str:
    """The sentence for a machine that has no Python but this `version`."""
    oldest = ".".join(map(str, OLDEST_PYTHON))
    there, advice = "none was found", "sudo apt-get install python3 python3-venv"
    if version:
        there = f"this machine has {version}"
        advice = (
            "Debian 12, Raspberry Pi OS 12 and Ubuntu 24.04 have it; on Ubuntu 22.04: "
            "sudo apt-get install python3.11 python3.11-venv"
        )
    return f"labnode needs Python {oldest} or newer, and {there} ({advice})"


# --- Debian's packages ---


class Apt:
    """apt-get, whose lists are refreshed once."""

    def __init__(self) -> None:
        self._fresh = False

    def offers(self, package: str, *, refresh: bool) -> bool:
        if not have("apt-cache"):
            return False
        if refresh:
            self._refresh()
        said = told("apt-cache", "policy", package, LC_ALL="C") or ""
        return any(
            line.startswith("  Candidate: ") and line[13].isdigit() for line in said.splitlines()
        )

    def install(self, *packages: str) -> bool:
        """Whether it has worked; if not, why is shown."""
        if not have("apt-get"):
            return False
        say(f"installing {' '.join(packages)} with apt-get; this can take a few minutes")
        self._refresh()
        return bool(quietly(*_APT, "install", "--yes", "--no-install-recommends", *packages))

    def _refresh(self) -> None:
        if not self._fresh:
            quietly(*_APT, "update")  # old lists are often good enough
            self._fresh = True


class InstallPackages(Change):
    """Debian packages, which stay: other programs may use them by then."""

    def __init__(self, apt: Apt, packages: Sequence[str], sentence: str, failure: str) -> None:
        self._apt = apt
        self._packages = packages
        self._sentence = sentence
        self._failure = failure

    @property
    def sentence(self) -> str:
        return self._sentence

    def do(self) -> None:
        if not self._apt.install(*self._packages):
            raise Failed(self._failure)

    def undo(self) -> None:
        return
