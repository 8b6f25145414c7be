"""What is in a release: libraries that the lock files name, labnode, and a bill of materials."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from labnode.clock import Clock
from labnode.errors import ConfigError
from labnode.install.lock import Library, Platform, missing, normalised, read_lock, requirements
from labnode.install.sbom import Component, bill_of_materials

ROOT = Path(__file__).parent.parent.parent  # the clone
LOCKS = ROOT / "deploy" / "lock"
# Libraries that Debian has for machines without a wheel: {library: (package, its modules)}.
DEBIAN = {
    "lgpio": ("python3-lgpio", ("lgpio", "_lgpio")),
    "pyyaml": ("python3-yaml", ("yaml",)),
}


@dataclass(frozen=True)
class Pip:
    """The pip of `tools`, a virtual environment to throw away; `wheels` instead of an index."""

    tools: Path
    wheels: Path | None = None

    def install(self, *what: str | Path, into: Path | None = None) -> dict[str, str]:
        """Install `what` into the virtual environment `into`, by default its own.

        Returns {library: SHA-256 of the file that it came in}.
        """
        report = self.tools / "report.json"
        target: list[str | Path] = ["--python", into / "bin" / "python"] if into else []
        how = ["--no-deps", "--no-cache-dir", "--progress-bar=off"]
        self._run([*target, "install", *how, "--report", report, *self._index(), *what])
        installed = json.loads(report.read_text())["install"]
        files = {item["metadata"]["name"]: item["download_info"] for item in installed}
        return {normalised(name): _sha256(file["archive_info"]) for name, file in files.items()}

    def install_locked(
        self, libraries: Sequence[Library], into: Path | None = None
    ) -> dict[str, str]:
        """Install wheels of `libraries`, whose hashes have to be those of the lock."""
        lines = self.tools / "requirements.txt"
        lines.write_text("\n".join(requirements(libraries, Platform.this(), self.wheels)) + "\n")
        options = ["--require-hashes", "--only-binary=:all:"]
        return self.install(*options, "--requirement", lines, into=into)

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
    share = release / "share" / "labnode"
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
    pip.download([*libraries, *read_lock(LOCKS / "build.txt")], target, directory)
    copy_labnode_wheel(directory, pip)
    return lacking


def copy_labnode_wheel(directory: Path, pip: Pip) -> None:
    """Put a wheel of labnode, from the clone, into `directory`."""
    shutil.copy2(pip.build_labnode(), directory)


def _sha256(archive: dict[str, Any]) -> str:
    """Of a file in pip's report; pip before 23.1, such as Debian 12's, has "hash" alone."""
    digest: str = archive.get("hash", "").partition("sha256=")[2]
    return digest or archive["hashes"]["sha256"]
