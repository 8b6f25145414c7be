"""A release: a virtual environment with labnode, the libraries of the lock, and a bill of these."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import py_compile
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from labnode.clock import Clock
from labnode.errors import ConfigError
from labnode.install.changes import Change, Changes, Failed, MakeDirectories
from labnode.install.lock import (
    Component,
    Library,
    Platform,
    bill_of_materials,
    missing,
    normalised,
    read_lock,
    requirements,
)
from labnode.install.options import Options
from labnode.install.programs import (
    Apt,
    InstallPackages,
    Words,
    can_make_venvs,
    free_space,
    is_new_enough,
    need_space,
    python_is_needed,
    python_version,
    quietly,
    ran,
    told,
    why_pip_failed,
)
from labnode.install.target import Target

ROOT = Path(__file__).parent.parent.parent  # the clone
LOCKS = ROOT / "deploy" / "lock"
# Libraries that Debian has for machines without a wheel: {library: (package, its modules)}.
DEBIAN = {
    "lgpio": ("python3-lgpio", ("lgpio", "_lgpio")),
    "pyyaml": ("python3-yaml", ("yaml",)),
}

SHARE = Path("share") / "labnode"
_STAMP = SHARE / "release"  # written when a release is whole
_COMPILER = ("gcc", "libc6-dev", "python3-dev", "swig")  # for lgpio, where nobody has it
_ROOM = 250  # megabytes
_FULL = 20


@dataclass(frozen=True)
class Pip:
    """The pip of `tools`, a virtual environment to throw away; `wheels` instead of an index."""

    tools: Path
    wheels: Path | None = None

    def install(
        self, *what: str | Path, into: Path | None = None, directory: Path | None = None
    ) -> dict[str, str]:
        """Install `what` into the virtual environment `into`, by default its own.

        With `directory` it goes there, for the Python of that environment. Returns {library:
        SHA-256 of the file that it came in}.
        """
        report = self.tools / "report.json"
        target: list[str | Path] = ["--python", into / "bin" / "python"] if into else []
        where: list[str | Path] = ["--target", directory] if directory else []
        how = ["--no-deps", "--no-cache-dir", "--progress-bar=off", "--report", report, *where]
        self._run([*target, "install", *how, *self._index(), *what])
        installed = json.loads(report.read_text())["install"]
        files = {item["metadata"]["name"]: item["download_info"] for item in installed}
        return {normalised(name): _sha256(file["archive_info"]) for name, file in files.items()}

    def install_locked(
        self,
        libraries: Sequence[Library],
        into: Path | None = None,
        directory: Path | None = None,
    ) -> dict[str, str]:
        """Install wheels of `libraries`, whose hashes have to be those of the lock."""
        lines = self.tools / "requirements.txt"
        lines.write_text("\n".join(requirements(libraries, Platform.this(), self.wheels)) + "\n")
        options = ["--require-hashes", "--only-binary=:all:"]
        return self.install(*options, "--requirement", lines, into=into, directory=directory)

    def download(self, libraries: Sequence[Library], target: Platform, directory: Path) -> None:
        """Put the wheels of `libraries` for the machine `target` into `directory`."""
        lines = self.tools / "requirements.txt"
        lines.write_text("\n".join(requirements(libraries, target, None)) + "\n")
        tags = [f"--platform={tag}" for tag in target.tags]
        how = ["--no-deps", "--no-cache-dir", "--progress-bar=off", "--require-hashes"]
        which = ["--only-binary=:all:", f"--python-version={target.python}", *tags]
        self._run(["download", *how, *which, "--dest", directory, "--requirement", lines])

    def build_labnode(self) -> Path:
        """The wheel of labnode, from the clone."""
        return self._build(".")  # a relative path: pip reads [ ] in a path as extras

    def build_locked(self, library: Library) -> Path:
        """A wheel of `library`, from its source, whose hash has to be that of the lock."""
        source = library.source
        if source is None:
            raise ConfigError(
                f"there is no wheel of {library.name} {library.version} for this machine"
            )
        lines = self.tools / "source.txt"
        lines.write_text(library.line([library.files[source]]) + "\n")
        return self._build("--require-hashes", "--no-binary=:all:", "--requirement", lines)

    def _build(self, *what: str | Path) -> Path:
        """A wheel, made with what build.txt names and nothing else."""
        self.install_locked(read_lock(LOCKS / "build.txt"))
        directory = self.tools / "wheels"
        shutil.rmtree(directory, ignore_errors=True)
        how = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--progress-bar=off"]
        self._run(["wheel", *how, "--wheel-dir", directory, *self._index(), *what])
        (wheel,) = directory.glob("*.whl")
        return wheel

    def _index(self) -> list[str | Path]:
        return ["--no-index", "--find-links", self.wheels] if self.wheels else []

    def _run(self, arguments: Sequence[str | Path]) -> None:
        # PIP_USER: `user = true` in a pip.conf cannot work. PYPI: lgpio with its own C library.
        environment = {**os.environ, "PIP_USER": "0", "PYPI": "1"}
        pip = ["-m", "pip", "--no-input", "--disable-pip-version-check"]
        python = self.tools / "bin" / "python"
        subprocess.run([python, *pip, *arguments], cwd=ROOT, env=environment, check=True)


def without_wheel(wheels: Path | None) -> list[str]:
    """The libraries that have no wheel for this machine."""
    return missing(read_lock(LOCKS / "runtime.txt"), Platform.this(), wheels)


def fill(
    release: Path, source: Path, pip: Pip, *, debian: Sequence[str], left_out: Sequence[str]
) -> None:
    """Install labnode from `source`, the clone or a wheel, into the virtual environment `release`.

    Libraries in `debian` are those of this system, whose Python is running here. Of those in
    `left_out` none is installed.
    """
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(release)}))
    wanted = [
        library
        for library in read_lock(LOCKS / "runtime.txt")
        if library.name not in (*debian, *left_out)
    ]
    lacking = missing(wanted, Platform.this(), None) if pip.wheels is None else []
    hashes = pip.install_locked([each for each in wanted if each.name not in lacking], into=release)
    for library in wanted:
        if library.name in lacking:
            hashes |= pip.install("--no-index", pip.build_locked(library), into=release)
    wheel = source if source.is_file() else pip.build_labnode()
    hashes |= pip.install("--no-index", wheel, into=release)
    parts = [
        Component.of_wheel(installed, hashes.get(normalised(installed.name), ""))
        for installed in distributions(path=[str(site)])
    ]
    parts += [link(site, library) for library in debian]
    share = release / SHARE
    share.mkdir(parents=True, exist_ok=True)
    bill = bill_of_materials("labnode", parts, Clock().wall())
    (share / "sbom.cdx.json").write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")


def link(site: Path, library: str) -> Component:
    """Lead to the modules of Debian's package in `site`, and to nothing else of the system."""
    package, modules = DEBIAN[library]
    for module in modules:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ConfigError(f"Debian's {package} is not there for this Python: no {module}")
        origin = Path(spec.origin)
        there = origin.parent if spec.submodule_search_locations else origin
        (site / there.name).symlink_to(there)
        if there.suffix == ".py":
            py_compile.compile(str(site / there.name), quiet=1)
    said = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Version}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return Component.of_debian(package, said.stdout.strip())


def collect(directory: Path, target: Platform, pip: Pip) -> list[str]:
    """Put all that a release for `target` is made of into `directory`.

    Returns the libraries of which there is no wheel: Debian's packages take their place.
    """
    locked = read_lock(LOCKS / "runtime.txt")
    lacking = missing(locked, target, None)
    libraries = [library for library in locked if library.name not in lacking]
    others = [
        each for lock in LOCKS.glob("*.txt") if lock.stem != "runtime" for each in read_lock(lock)
    ]
    pip.download([*libraries, *others], target, directory)
    copy_labnode_wheel(directory, pip)
    return lacking


def copy_labnode_wheel(directory: Path, pip: Pip) -> None:
    """Put a wheel of labnode, from the clone, into `directory`."""
    shutil.copy2(pip.build_labnode(), directory)


def _sha256(archive: dict[str, Any]) -> str:
    """Of a file in pip's report; pip before 23.1, such as Debian 12's, has "hash" alone."""
    digest: str = archive.get("hash", "").partition("sha256=")[2]
    return digest or archive["hashes"]["sha256"]


# --- how one is built ---


def is_clone() -> bool:
    """Whether we run from a clone; else from a release, which knows how to remove itself."""
    return (ROOT / "pyproject.toml").is_file()


def files_for(release: Path) -> Path:
    """What `release` brings for the system; in a dry run, what the clone has."""
    share = release / SHARE
    return share if share.is_dir() or not is_clone() else ROOT / "deploy"


def wheels_of(options: Options) -> Path | None:
    """The directory of --wheels. Failed when it is not there."""
    if "wheels" not in options:
        return None
    if not Path(options["wheels"]).is_dir():
        raise Failed(f"--wheels: there is no directory {options['wheels']}")
    return Path(options["wheels"]).resolve()


def has_lgpio(python: Words) -> bool:
    """A pip that finds no wheel installs an empty lgpio: what counts is what is in it."""
    return ran(python, "-B", "-c", "import lgpio; lgpio.gpiochip_open")


class Builder:
    """The Python, the source and the libraries of a release; `pins`: whether it drives any."""

    def __init__(
        self, options: Options, target: Target, changes: Changes, apt: Apt, *, pins: bool
    ) -> None:
        self.wheels = wheels_of(options)
        self.source = self._newest_wheel() or ROOT
        self.python = options["python"] or "/usr/bin/python3"
        self._asked_for = "python" in options
        self.target = target
        self.changes = changes
        self.apt = apt
        self.pins = pins
        self.debian: list[str] = []  # libraries that are Debian's
        self.compiled = False  # lgpio, from its source
        self.pins_said = ""  # where lgpio comes from, for the person

    def choose(self) -> Path:
        """Where the release belongs: its name says what is in it, so the same is built once."""
        if not is_clone():  # the copy of install.sh in a release
            running = self.target.release
            if self.source == ROOT and running is not None and running in ROOT.parents:
                return running
            raise Failed("another release is made in a clone of labnode: start install.sh there")
        self._ensure_python()
        self._choose_libraries()
        name = f"{self._version()}-{self._hash()[:8]}-py{python_version(self.python) or 3}"
        return self.target.releases / (name if self.pins else f"{name}-simulated")

    def step(self, *words: Words) -> list[Words]:
        """The command for a step of labnode.install, which runs in the clone."""
        wheels: list[Words] = ["--wheels", self.wheels] if self.wheels else []
        return [self.python, "-B", "-m", "labnode.install", *words, *wheels]

    def make_tools(self, directory: Path) -> None:
        """The pip that installs: it is thrown away afterwards, and no release has one."""
        if not quietly(self.python, "-m", "venv", directory):
            raise Failed(f"{self.python} could not make a virtual environment")

    def why(self, said: str, release: Path) -> str:
        """The end of a sentence: why `release` could not be filled, by what pip `said`."""
        if free_space(release.parent) < _FULL:
            return f": the disk with {self.target.opt} is full"
        if self.wheels:
            return f" from {self.wheels}; something is missing or broken there"
        return why_pip_failed(said)

    def _newest_wheel(self) -> Path | None:
        def version(wheel: Path) -> list[int]:
            return [int(number) for number in re.findall(r"\d+", wheel.name.split("-")[1])]

        return (
            max(self.wheels.glob("labnode-*.whl"), key=version, default=None)
            if self.wheels
            else None
        )

    def _ensure_python(self) -> None:
        """The system's own: one in somebody's home would be out of a service's reach."""
        version = python_version(self.python)
        if version is None and self._asked_for:
            self.changes.refuse(f"--python: {self.python} does not start")
        elif version is None:
            self._install(
                ["python3", "python3-venv"],
                "install python3 and python3-venv",
                python_is_needed(None),
            )
            version = python_version(self.python)
        if version is None or not is_new_enough(version):
            self.changes.refuse(python_is_needed(version))
        elif not can_make_venvs(self.python):
            package = f"python{version}-venv"
            failure = (
                f"{self.python} cannot make virtual environments; install the package {package}"
            )
            self._install([package], f"install {package}", failure)

    def _install(self, packages: list[str], sentence: str, failure: str) -> None:
        self.changes.make(InstallPackages(self.apt, packages, sentence, failure))

    def _choose_libraries(self) -> None:
        """Where the libraries come from of which not every machine has a wheel."""
        lacking = (told(*self.step("without-wheel"), cwd=ROOT) or "").split()
        if self.pins:
            self._choose_lgpio(has_wheel="lgpio" not in lacking)
        if "pyyaml" in lacking:  # a 32-bit ARM
            self.debian.append("pyyaml")
            if not ran(self.python, "-c", "import yaml"):
                failure = (
                    "apt-get could not install python3-yaml: there is no wheel of PyYAML for this "
                    "machine"
                )
                self._install(["python3-yaml"], "install python3-yaml", failure)

    def _choose_lgpio(self, *, has_wheel: bool) -> None:
        package, _ = DEBIAN["lgpio"]
        if has_lgpio(self.python):
            self.debian.append("lgpio")
            self.pins_said = "the library for the pins is the system's lgpio: nothing is compiled"
        elif self.wheels and any(self.wheels.glob("lgpio-*.whl")):
            return
        elif self.apt.offers(package, refresh=not self.changes.dry):
            self.debian.append("lgpio")
            failure = f"apt-get could not install {package}, the library for the pins"
            self._install([package], f"install {package}", failure)
        elif not has_wheel:
            self.compiled = True
            self.pins_said = (
                "lgpio, the library for the pins, has no wheel for Python "
                f"{python_version(self.python)} on this machine and no package in this Debian: it "
                "is compiled, which takes some minutes more on a Pi"
            )

    def _version(self) -> str:
        if self.source != ROOT:
            return self.source.name.split("-")[1]
        text = (ROOT / "labnode" / "__init__.py").read_text(encoding="utf-8")
        found = re.search(r'^__version__ = "(.*)"', text, re.M)
        return found[1] if found else "0"

    def _hash(self) -> str:
        """Of all that makes a release what it is."""
        digest = hashlib.sha256()
        for place, file in sorted(self._files()):
            name = file.relative_to(place.parent)
            digest.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def _files(self) -> Iterator[tuple[Path, Path]]:
        places = [ROOT / "deploy", ROOT / "install.sh", *([self.wheels] if self.wheels else [])]
        if self.source == ROOT:
            places += [ROOT / name for name in ("labnode", "boards", "pyproject.toml")]
        for place in places:
            files = place.rglob("*") if place.is_dir() else [place]
            for file in files:
                if file.is_file() and "__pycache__" not in file.parts:
                    yield place, file


class BuildRelease(Change):
    """A directory with a Python, labnode, its libraries, and what the system needs."""

    def __init__(self, release: Path, builder: Builder) -> None:
        self._release = release
        self._builder = builder
        self._above = MakeDirectories(release.parent)

    @property
    def sentence(self) -> str:
        why = ", which was not finished" if self._release.exists() else ""
        return f"install labnode as {self._release}{why}; this takes a minute, on a small Pi a few"

    def needed(self) -> bool:
        return not (self._release / _STAMP).is_file()

    def do(self) -> None:
        self._above.do()
        if self._release.exists():
            shutil.rmtree(self._release)
        need_space(_ROOM, "labnode", self._release.parent)
        builder = self._builder
        if not quietly(builder.python, "-m", "venv", "--without-pip", self._release):
            raise Failed(f"{builder.python} could not make {self._release}{self._why()}")
        if builder.compiled and not builder.wheels and not builder.apt.install(*_COMPILER):
            raise Failed("apt-get could not install what lgpio is compiled with")
        self._fill()
        self._add_files()

    def _fill(self) -> None:
        builder = self._builder
        tools = builder.changes.scratch / "tools"
        builder.make_tools(tools)
        libraries = [word for library in builder.debian for word in ("--debian", library)]
        libraries += [] if builder.pins else ["--left-out", "lgpio"]
        step = builder.step("fill", self._release, builder.source, "--tools", tools, *libraries)
        done = quietly(*step, cwd=ROOT)
        if not done:
            raise Failed(f"pip could not install labnode{self._why(done.said)}")
        if builder.pins and not has_lgpio(self._release / "bin" / "python"):
            raise Failed(f"the library for the pins, lgpio, does not work in {self._release}")

    def _add_files(self) -> None:
        share = self._release / SHARE
        shutil.copytree(ROOT / "deploy", share, dirs_exist_ok=True)
        shutil.copy2(ROOT / "install.sh", share)
        done = subprocess.run(
            [self._release / "bin" / "labnode", "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = done.stdout.strip().rpartition("\n")[2]
            raise Failed(f"the new labnode does not start: {last}")
        (self._release / _STAMP).write_text(done.stdout, encoding="utf-8")
        ran("sync", "-f", self._release)  # before a link leads there: a power cut must not spoil it

    def undo(self) -> None:
        if self._release.exists():
            shutil.rmtree(self._release)
        self._above.undo()

    def _why(self, said: str = "") -> str:
        return self._builder.why(said, self._release)
