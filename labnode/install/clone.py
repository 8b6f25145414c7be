"""A clone: its virtual environment .venv, the demo, and the tests."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import NoReturn

from labnode.clock import Clock
from labnode.install.changes import Failed, say
from labnode.install.lock import EXTRAS
from labnode.install.options import Misused
from labnode.install.programs import (
    Apt,
    RunResult,
    Words,
    have,
    is_root,
    need_space,
    python_version,
    quietly,
    ran,
    why_pip_failed,
)

_LONGEST_TURN = 900.0  # seconds
_SHELL_SCRIPTS = ("install.sh", ".ci/run", "deploy/first-boot/first-boot")
_PYTEST = ["-m", "pytest", "-n", "auto", "--maxprocesses", "4", "--dist", "worksteal"]
_AXE = "axe-core@4.14.1"  # of the npm registry; npm checks what it has got
_A_MINUTE = "this takes about a minute, on a small Pi a few"


class Venv:
    """.venv in the clone: made once, and again only when it has to be.

    The clone is installed as editable: after a `git pull` the new code runs without a new .venv.
    The stamp is the last thing that an installation writes.
    """

    def __init__(self, clone: Path, python: str, clock: Clock) -> None:
        self.clone = clone
        self.path = clone / ".venv"
        self.python = self.path / "bin" / "python"
        self._made_with = python
        self._stamp = self.path / "labnode-stamp"
        self._clock = clock

    def prepare(self, extras: str = "") -> None:
        """Afterwards it has labnode, and the libraries of the tests if `extras` is "test"."""
        began = self._clock.now()
        with turn(self.clone, self._clock):
            if fault := self.fault():
                say(f"making .venv anew: {fault}")
                self._remove()
            if not self.path.is_dir() or self._stamped("pyproject") != self._hash():
                if not self.path.is_dir():
                    self._make()
                self._install_labnode()
                say(f"ready after {self._clock.now() - began:.0f} s")
            if extras and self._stamped("extras") != extras:
                self._install_extras(extras)
                say(f"ready after {self._clock.now() - began:.0f} s")

    def prepare_docs(self) -> None:
        """Afterwards it has labnode and MkDocs."""
        self.prepare()
        with turn(self.clone, self._clock):
            parts = "import material, mkdocstrings_handlers.python"
            if self.has("mkdocs") and ran(self.python, "-I", "-c", parts):
                return
            self._need_right()
            need_space(150, ".venv", self.clone)
            say(f"installing MkDocs; {_A_MINUTE}")
            done = self._pip(".[docs]")
            if not done:
                raise Failed(f"pip could not install MkDocs{why_pip_failed(done.said)}")

    def fault(self) -> str:
        """Why the .venv that is there is of no use; "" when it is fine or not there."""
        fault = ""
        if not self.path.exists() and not self.path.is_symlink():
            return fault
        if not self._stamp.is_file():
            fault = "its installation was not finished"
        elif self._stamped("path") != str(self.clone):
            fault = "it was made in another directory"
        elif (version := python_version(self.python)) is None:
            fault = "its Python does not start"
        elif self._stamped("python") != version:
            fault = "it was made for another version of Python"
        elif not self.has("labnode") or not ran(self.python, "-I", "-c", "import labnode"):
            fault = "labnode is missing in it"
        return fault

    def has(self, program: str) -> bool:
        return os.access(self.path / "bin" / program, os.X_OK)

    def _stamped(self, key: str) -> str:
        if not self._stamp.is_file():
            return ""
        lines = self._stamp.read_text(encoding="utf-8").splitlines()
        pairs = (line.partition(" ") for line in lines)
        return next((value for name, _, value in pairs if name == key), "")

    def _write_stamp(self, extras: str) -> None:
        new = self._stamp.with_name(f"{self._stamp.name}.new")
        new.write_text(
            f"path {self.clone}\npython {python_version(self.python)}\n"
            f"pyproject {self._hash()}\nextras {extras}\n",
            encoding="utf-8",
        )
        new.replace(self._stamp)

    def _hash(self) -> str:
        return hashlib.sha256((self.clone / "pyproject.toml").read_bytes()).hexdigest()

    def _remove(self) -> None:
        try:
            shutil.rmtree(self.path) if self.path.is_dir() else self.path.unlink()
        except OSError:
            raise Failed(
                f"you cannot remove {self.path}, which {_owner(self.path)} made: "
                f"sudo rm -rf '{self.path}'"
            ) from None

    def _make(self) -> None:
        if not os.access(self.clone, os.W_OK):
            raise Failed(f"you may not write into {self.clone}, where .venv has to go")
        need_space(200, ".venv", self.clone)
        say(f"making .venv with Python {python_version(self._made_with)}")
        if not quietly(self._made_with, "-m", "venv", self.path):
            raise Failed(f"{self._made_with} could not make {self.path}")

    def _install_labnode(self) -> None:
        self._need_right()
        self._stamp.unlink(missing_ok=True)
        say(f"installing labnode and the libraries it needs; {_A_MINUTE}")
        done = self._pip(".")
        if not done:
            raise Failed(f"pip could not install labnode{why_pip_failed(done.said)}")
        self._write_stamp("")

    def _install_extras(self, extras: str) -> None:
        """The stamp stays: where this fails, the demo goes on with what there was.

        Only a wheel is taken of what is not needed everywhere: 32-bit machines have none of some,
        and a compiler (for cryptography one of Rust) would take an hour. esptool itself is Python,
        without a wheel.
        """
        self._need_right()
        need_space(400, ".venv", self.clone)
        say(f"installing the libraries of the tests; {_A_MINUTE}")
        done = self._pip(".[suite]")
        if not done:
            raise Failed(
                f"pip could not install the libraries of the tests{why_pip_failed(done.said)}"
            )
        wheels = ["--only-binary=:all:", "--no-binary=esptool", f"--constraint={self._libraries()}"]
        for part in ("linters", "esptool", "docs"):
            done = self._pip(f".[{part}]", *wheels, shown=False)
            if not done:
                say(
                    f"{part}: left out, because pip found no wheel of everything; what it said is "
                    f"in {done.log}"
                )
        self._write_stamp(extras)

    def _libraries(self) -> Path:
        """A file with what is installed, so that pip does not try all other versions of that, too.

        The pip of Debian 12 does where something has no wheel, for an hour on an emulated ARM.
        """
        site = map(str, self.path.glob("lib/python*/site-packages"))
        there = {each.name: each.version for each in distributions(path=list(site))}
        there.pop("labnode", None)
        file = self.path / "labnode-libraries.txt"
        file.write_text("".join(f"{name}=={version}\n" for name, version in sorted(there.items())))
        return file

    def _need_right(self) -> None:
        if not os.access(self.path, os.W_OK):
            raise Failed(
                f"you may not write into {self.path}, which {_owner(self.path)} made: "
                f"sudo rm -rf '{self.path}', or go on as that user"
            )

    def _pip(self, what: str, *options: str, shown: bool = True) -> RunResult:
        # PIP_USER: `user = true` in a pip.conf cannot work in a venv. The rest there is respected.
        how = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--editable"]
        command: list[Words] = [self.python, "-m", "pip", "install", *how, what, *options]
        # In the clone: pip reads [ ] in the path of a project as extras.
        return quietly(*command, cwd=self.clone, environ={"PIP_USER": "0"}, shown=shown)


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return f"user {path.stat().st_uid}"


@contextmanager
def turn(clone: Path, clock: Clock) -> Iterator[None]:
    """Two install.sh at once would spoil each other's .venv: the second waits. Failed, at last."""
    descriptor = os.open(clone, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _take_turn(descriptor, clone, clock)
        yield
    finally:
        os.close(descriptor)


def _take_turn(descriptor: int, clone: Path, clock: Clock) -> None:
    began = None
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if began is None:
                began = clock.now()
                say("another install.sh is busy with this clone; waiting for it")
            if clock.now() - began >= _LONGEST_TURN:
                raise Failed(
                    f"another install.sh has been busy with {clone} for 15 minutes; stop that one "
                    "first"
                ) from None
            clock.event().wait(0.5)
        except OSError:  # a file system without locks: one goes without
            return
        else:
            return


def demo(venv: Venv, words: Sequence[str]) -> NoReturn:
    """labnode takes our place: Ctrl-C goes to it, and its exit code to the caller."""
    venv.prepare()
    os.execv(venv.path / "bin" / "labnode", ["labnode", "demo", *words])


def docs(venv: Venv, words: Sequence[str]) -> int:
    """Build the documents into site/ and, unless --build, serve them on loopback until Ctrl-C."""
    port = "8000"
    if words[:1] == ["--port"] and len(words) == 2 and words[1].isdecimal():
        port = words[1]
    elif words and words != ["--build"]:
        raise Misused(f"docs takes --build or --port N, not '{' '.join(words)}'")
    venv.prepare_docs()
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    build = [str(venv.path / "bin" / "mkdocs"), "build", "--strict", "--quiet"]
    if status := subprocess.run(build, cwd=venv.clone, env=environ, check=False).returncode:
        return status
    site = venv.clone / "site"
    _tell(f"The documents are in {site}; open index.html there.")
    if "--build" in words:
        return 0
    return _serve(venv, site, port)


def _serve(venv: Venv, site: Path, port: str) -> NoReturn:
    _tell(f"They are also at http://127.0.0.1:{port}/ until Ctrl-C.")
    serve = ["python", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(site), port]
    os.execv(venv.python, serve)


class Suite:
    """`./install.sh test`: every check and test, or one of the larger runs."""

    def __init__(self, venv: Venv, python: str) -> None:
        self._venv = venv
        self._clone = venv.clone
        self._python = python
        self._apt = Apt()

    def run(self, words: Sequence[str]) -> int:
        """The exit code."""
        which, rest = (words[0], words[1:]) if words else ("", ())
        larger = {"--system": self._system, "--real": self._real, "--arm": self._arm}
        if which in larger:
            return larger[which](rest)
        if which in ("--tools", "--audit") and rest:
            raise Misused(f"test {which} takes no '{rest[0]}'")
        if which == "--tools":
            if not is_root():
                raise Failed(
                    "only root can install the tools of the tests: sudo ./install.sh test --tools"
                )
            self._install_tools()
            return 0
        if which == "--audit":
            return self._audit()
        return self._checks_and_tests(words)

    def _checks_and_tests(self, words: Sequence[str]) -> int:
        self._venv.prepare("test")
        self._install_tools()
        failed = []
        if self._venv.has("ruff") and self._venv.has("mypy"):
            failed += self._check("ruff check", "ruff", "check", ".")
            failed += self._check("ruff format", "ruff", "format", "--check", ".")
            failed += self._check("mypy", "mypy")
        else:
            say(
                "no ruff and mypy here (not everything they need has a wheel for this machine): "
                "their checks are skipped"
            )
        if have("shellcheck"):
            failed += self._check("shellcheck", "shellcheck", *_SHELL_SCRIPTS)
        else:
            say("no shellcheck on this machine: that check is skipped")
        _tell("== pytest")
        status = self._watch("python", *_PYTEST, *words)
        if failed:  # only now: a person who reads "passed" has to learn what failed above
            say(f"failed before the tests: {', '.join(failed)}")
        return status or int(bool(failed))

    def _check(self, name: str, *command: Words) -> list[str]:
        """[name] if it has failed."""
        _tell(f"== {name}")
        return [name] if self._watch(*command) else []

    def _watch(self, *command: Words) -> int:
        """The exit code of a program that has the terminal, and hears of Ctrl-C itself."""
        own = f"{self._venv.path / 'bin'}:{os.environ['PATH']}"
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            environ = {**os.environ, "PATH": own}
            # Else each program that the tests start would compile all of labnode again.
            environ.pop("PYTHONDONTWRITEBYTECODE", None)
            path = shutil.which(str(command[0]), path=own) or command[0]
            return subprocess.run(
                [path, *command[1:]], cwd=self._clone, env=environ, check=False
            ).returncode
        finally:
            signal.signal(signal.SIGINT, before)

    def _system(self, words: Sequence[str]) -> int:
        """The installer itself, for real, in fresh Debian roots (tests/system/README.md)."""
        if not is_root():
            raise Failed(
                "these tests make Debian systems and install into them: sudo ./install.sh test "
                "--system"
            )
        if not have("mmdebstrap") and not self._apt.install("mmdebstrap", "debian-archive-keyring"):
            raise Failed("these tests need mmdebstrap")
        self._venv.prepare("test")
        tests = ["-p", "no:cacheprovider", "tests/system/installation.py"]
        return self._watch("python", "-m", "pytest", *tests, *words)

    def _real(self, words: Sequence[str]) -> int:
        """The central servers of other people, as they are published (tests/real/README.md)."""
        if not have("redis-server"):
            if not is_root() or not self._apt.install("redis-server"):
                raise Failed("these tests need Redis: sudo apt-get install redis-server")
            ran("systemctl", "disable", "--now", "redis-server")
        self._venv.prepare("test")
        tests = ["-p", "no:cacheprovider", "tests/real/scenarios.py"]
        return self._watch("python", "-m", "pytest", *tests, *words)

    def _arm(self, words: Sequence[str]) -> int:
        """The tests in an emulated Debian of another processor (tests/arm/README.md)."""
        if not words:
            raise Misused("test --arm takes a root, such as trixie-armhf")
        if not is_root():
            raise Failed(
                "these tests run in Debian systems of their own: sudo ./install.sh test --arm "
                f"{words[0]}"
            )
        if not os.environ.get("LABNODE_TEST_ARM"):
            raise Failed(
                "LABNODE_TEST_ARM has to name the command that makes the roots; see "
                "tests/arm/README.md"
            )
        return self._watch(self._python, "-B", self._clone / "tests/arm/suite.py", *words)

    def _audit(self) -> int:
        """Known weaknesses of the libraries of releases, by pip-audit in a venv of its own."""
        with tempfile.TemporaryDirectory(prefix="labnode-audit.") as scratch:
            tools = Path(scratch) / "tools"
            if not quietly(self._python, "-m", "venv", tools):
                raise Failed(f"{self._python} could not make a virtual environment")
            python = tools / "bin" / "python"
            install = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
            if not quietly(python, *install, "pip-audit", environ={"PIP_USER": "0"}):
                raise Failed(
                    "pip-audit could not be installed, and nothing was looked at; does this "
                    "machine reach the internet?"
                )
            # --strict: a library that could not be looked at fails the audit, too.
            how = ["--strict", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
            for lock in ("runtime", "build", *EXTRAS):
                how += ["--requirement", str(self._clone / "deploy" / "lock" / f"{lock}.txt")]
            if self._watch(tools / "bin" / "pip-audit", *how):
                raise Failed("a library has known weaknesses, or could not be looked at; see above")
        return 0

    def _install_tools(self) -> None:
        """Debian's programs that the tests use, where they are missing and we are root."""
        if is_root() and have("apt-get"):
            self._install(have("shellcheck"), "shellcheck")
            if not have("nginx") and self._apt.install("nginx-light"):
                # The tests start it themselves: the service would only take this machine's port 80.
                ran("systemctl", "disable", "--now", "nginx")
            self._install(have("mcopy"), "mtools")
            self._install(have("strace"), "strace")
            if not have("sshd") and self._apt.install("openssh-server", "iproute2"):
                ran("systemctl", "disable", "--now", "ssh")  # the tests start their own, too
            self._install(_have_browser(), "chromium", "chromium-driver")
            self._install(_have_programmers(), "avrdude", "openocd")
        self._install_axe()
        if not _have_browser():
            say(
                "no chromium with chromedriver on this machine: the browser test is skipped "
                "(Debian: sudo apt-get install chromium chromium-driver)"
            )
        if not _have_programmers():
            say(
                "no avrdude or no openocd on this machine: their tests are skipped "
                "(Debian: sudo apt-get install avrdude openocd)"
            )
        if not (self._venv.has("esptool.py") or have("esptool") or have("esptool.py")):
            say(
                "no esptool here (not everything it needs has a wheel for this machine): its tests "
                "are skipped (Debian: sudo apt-get install esptool)"
            )

    def _install_axe(self) -> None:
        """What the browser tests judge accessibility by, in .venv/axe."""
        home = self._venv.path / "axe"
        if (home / "node_modules/axe-core/axe.min.js").is_file():
            return
        if not have("npm"):
            say(
                "no npm on this machine: the tests with axe-core are skipped (Debian: sudo apt-get "
                "install npm)"
            )
            return
        say(f"installing {_AXE} for the tests")
        quiet = ("--no-save", "--ignore-scripts", "--no-audit", "--no-fund")
        if not quietly("npm", "install", "--prefix", home, *quiet, _AXE):
            say("npm could not install it: the tests with axe-core are skipped")

    def _install(self, there: bool, *packages: str) -> None:
        if not there:
            self._apt.install(*packages)


def _have_programmers() -> bool:
    return have("avrdude") and have("openocd")


def _have_browser() -> bool:
    return (have("chromium") or have("chromium-browser")) and have("chromedriver")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
