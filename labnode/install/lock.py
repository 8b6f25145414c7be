"""Lock files and bills of materials: the libraries of a release, each file with its hash.

A lock file is what pip takes with `--require-hashes`. Comments above each library name its files,
in the order of the hashes, so that a directory of wheels can be checked against it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from labnode.clock import utc
from labnode.errors import ConfigError

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROCESSORS = ("x86_64", "aarch64")  # 32-bit ARM has no wheels but those for every machine
# What other libraries want for themselves and labnode does not use: sqlite-utils its command that
# installs plug-ins, colorzero a module of old Pythons.
LEFT_OUT = {"pip", "setuptools"}
EXTRAS = ("visa",)  # each with a lock of its own, for the releases whose boards need it
# Without a wheel for every Python, and built from source where Debian has none either.
BUILT_FROM_SOURCE = "lgpio"

_ROOT = Path(__file__).parent.parent.parent
_HEADING = """\
{what}
Made by .venv/bin/python -m labnode.install.lock; do not edit it by hand."""

_GLIBCS = (17, 28, 31, 34, 35, 36)  # Debian 12 has 2.36
_LINUX = ("linux_", "manylinux")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FILE = re.compile(r"# (\S+\.(?:whl|tar\.gz))")
_LIBRARY = re.compile(r"([a-z0-9-]+)==(\S+) \\")
_HASH = re.compile(r" +--hash=sha256:([0-9a-f]{64})( \\)?")


@dataclass(frozen=True)
class Library:
    """One library of a lock; `files` is {file name: SHA-256}, wheels and perhaps the source."""

    name: str  # normalised: "prometheus-client"
    version: str
    files: Mapping[str, str]

    def wheels(self, here: Platform) -> list[str]:
        return [name for name in self.files if here.takes(name)]

    @property
    def source(self) -> str | None:
        """The file that it can be built from."""
        return next((name for name in self.files if name.endswith(".tar.gz")), None)

    def line(self, hashes: Iterable[str]) -> str:
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{h}" for h in hashes)])


@dataclass(frozen=True)
class Platform:
    """Which wheels a Python can use; `python` is "3.13", `processor` as wheels are named."""

    python: str
    processor: str

    @property
    def tags(self) -> list[str]:
        """What pip calls the wheels that Debian 12 and newer can use."""
        return [f"manylinux_2_{minor}_{self.processor}" for minor in _GLIBCS]

    @classmethod
    def this(cls) -> Platform:
        return cls(f"3.{sys.version_info.minor}", _processor(platform.machine(), sys.maxsize))

    def takes(self, file: str) -> bool:
        """Whether `file` is a wheel for it, as far as the name says."""
        if not file.endswith(".whl"):
            return False
        pythons, abi, platforms = file.removesuffix(".whl").split("-")[-3:]
        minor = int(self.python.partition(".")[2])
        fitting = {"py3", f"py3{minor}", f"cp3{minor}"}
        if abi == "abi3":
            fitting |= {f"cp3{older}" for older in range(2, minor)}
        return bool(fitting & set(pythons.split("."))) and any(
            tag == "any" or (tag.startswith(_LINUX) and tag.endswith(self.processor))
            for tag in platforms.split(".")
        )


def _processor(kernel: str, largest: int) -> str:
    """A 32-bit Python may run on a 64-bit kernel, as on Raspberry Pi OS; then `kernel` misleads."""
    if largest < 2**32:
        return {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}.get(kernel, kernel)
    return kernel


def read_lock(file: Path) -> list[Library]:
    """The libraries of a lock file. ConfigError when a line is not one of a lock."""
    found: list[Library] = []
    names: list[str] = []
    library: tuple[str, str] | None = None
    hashes: list[str] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if match := _FILE.fullmatch(line):
            names.append(match[1])
        elif match := _LIBRARY.fullmatch(line):
            library = match[1], match[2]
        elif library and (match := _HASH.fullmatch(line)):
            hashes.append(match[1])
            if not match[2]:
                if len(names) != len(hashes):
                    raise ConfigError(f"{file}:{number}: {library[0]} has not a hash for each file")
                found.append(Library(*library, dict(zip(names, hashes, strict=True))))
                names, library, hashes = [], None, []
        elif line and not line.startswith("#"):
            raise ConfigError(f"{file}:{number}: this is no line of a lock file: {line}")
    return found


def lock_text(libraries: Iterable[Library], heading: str) -> str:
    """A lock file of `libraries`."""
    lines = [f"# {line}" for line in heading.splitlines()]
    for library in sorted(libraries, key=lambda library: library.name):
        files = sorted(library.files.items())
        lines += ["", *(f"# {name}" for name, _ in files)]
        lines += [f"{library.name}=={library.version} \\"]
        lines += [f"    --hash=sha256:{sha256} \\" for _, sha256 in files]
        lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join(lines) + "\n"


def missing(libraries: Iterable[Library], here: Platform, directory: Path | None) -> list[str]:
    """The libraries that have no wheel for `here`, in `directory` if one is given."""
    if directory is None:
        return [library.name for library in libraries if not library.wheels(here)]
    return [lib.name for lib in libraries if not any(_wheels_in(directory, lib, here))]


def requirements(
    libraries: Iterable[Library], here: Platform, directory: Path | None
) -> Iterator[str]:
    """Lines for pip's `--require-hashes`: the wheels for `here`, in `directory` if one is given.

    A file there that the lock names has to have the hash of the lock. Another one of the right
    version was made by the person who gives the directory, and counts as it is. ConfigError where
    there is none, or one that is not what the lock says.
    """
    for library in libraries:
        if directory is None:
            hashes = [library.files[name] for name in library.wheels(here)]
        else:
            hashes = [_checked(file, library) for file in _wheels_in(directory, library, here)]
        if not hashes:
            where = f"in {directory}" if directory else "in the lock"
            raise ConfigError(
                f"there is no wheel of {library.name} {library.version} {where} for Python "
                f"{here.python} on {here.processor}"
            )
        yield library.line(hashes)


def _wheels_in(directory: Path, library: Library, here: Platform) -> Iterator[Path]:
    for file in sorted(directory.glob("*.whl")):
        name, version, *_ = file.name.split("-")
        if (normalised(name), version) == (library.name, library.version) and here.takes(file.name):
            yield file


def _checked(file: Path, library: Library) -> str:
    """The hash of `file`, which is that of the lock if the lock knows the file."""
    found = sha256(file)
    if library.files.get(file.name, found) != found:
        raise ConfigError(
            f"{file} is not the file of that name that labnode was tested with: its SHA-256 is "
            f"{found}, the lock has {library.files[file.name]}"
        )
    return found


def sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def normalised(name: str) -> str:
    """A library's name as in locks: "PyYAML" and "pyyaml" are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


# --- the bill of materials, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/) ---


@dataclass(frozen=True)
class Component:
    """One library: what it is called (`purl`, a package URL), and the file that it came in."""

    name: str
    version: str
    purl: str
    sha256: str = ""
    license: str = ""
    needs: Sequence[str] = ()  # normalised names

    @classmethod
    def of_wheel(cls, installed: Distribution, sha256: str) -> Component:
        """One that pip has installed, from a file with this SHA-256."""
        name, version = normalised(installed.name), installed.version
        needs = [
            normalised(match[0])
            for text in installed.requires or []
            if "extra ==" not in text and (match := _REQUIREMENT.match(text))
        ]
        purl = f"pkg:pypi/{name}@{version}"
        return cls(name, version, purl, sha256, _license(installed), needs)

    @classmethod
    def of_debian(cls, package: str, version: str) -> Component:
        return cls(package, version, f"pkg:deb/debian/{package}@{version}")

    def described(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "library", "bom-ref": self.purl, "name": self.name}
        found |= {"version": self.version, "purl": self.purl}
        if self.sha256:
            found["hashes"] = [{"alg": "SHA-256", "content": self.sha256}]
        if self.license:
            found["licenses"] = [{"license": {"name": self.license}}]
        return found


def _license(installed: Distribution) -> str:
    """One line: some libraries have the whole text where its name belongs."""
    fields = installed.metadata
    said = fields.get_all("License-Expression") or fields.get_all("License") or [""]
    if said[0] and "\n" not in said[0]:
        return str(said[0])
    named = [text for text in fields.get_all("Classifier") or [] if text.startswith("License ::")]
    return ", ".join(text.rpartition(":: ")[2] for text in named)


def bill_of_materials(application: str, parts: Sequence[Component], wall: float) -> dict[str, Any]:
    """What a release is made of: `application` among `parts`; `wall` is the time of its making."""
    by_name = {part.name: part for part in parts}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid4().urn,
        "version": 1,
        "metadata": {
            "timestamp": utc(wall).isoformat(timespec="seconds"),
            "component": {**by_name[application].described(), "type": "application"},
        },
        "components": [part.described() for part in parts if part.name != application],
        "dependencies": [
            {
                "ref": part.purl,
                "dependsOn": sorted({by_name[n].purl for n in part.needs if n in by_name}),
            }
            for part in parts
        ],
    }


# --- the locks, made anew ---


def main() -> None:
    """Make the lock files anew, of the newest libraries: `python -m labnode.install.lock`.

    pip is asked what it would install, for each Python and processor that labnode supports. It
    needs the internet, and Python 3.11, the oldest, because pip reads the conditions of
    dependencies for the Python that it runs with.
    """
    if sys.version_info[:2] != (3, 11):
        sys.exit("the locks are made with Python 3.11, the oldest that labnode runs with")
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = project["project"]["dependencies"] + ["lgpio>=0.2"]
    build = project["build-system"]["requires"] + ["setuptools"]  # lgpio's source wants that one
    directory = _ROOT / "deploy" / "lock"
    optional = project["project"]["optional-dependencies"]
    for name, wanted, left_out, what in (
        ("runtime.txt", runtime, LEFT_OUT, "What a release of labnode is installed from."),
        ("build.txt", build, set[str](), "What makes the wheel of labnode, and of lgpio."),
        *(
            (f"{extra}.txt", optional[extra], set[str](), f"What the extra {extra} is made of.")
            for extra in EXTRAS
        ),
    ):
        libraries = [each for each in _locked(wanted) if each.name not in left_out]
        text = lock_text(libraries, _HEADING.format(what=what))
        (directory / name).write_text(text, encoding="utf-8")
        sys.stderr.write(f"{directory / name}: {len(libraries)} libraries\n")


def _locked(wanted: list[str]) -> list[Library]:
    """Everything that `wanted` needs, in one version for all machines."""
    versions = {i["name"]: i["version"] for i in _resolved(wanted, "3.11", "x86_64")}
    files: dict[str, dict[str, str]] = {name: {} for name in versions}
    for python in PYTHONS:
        for processor in PROCESSORS:
            pinned = [
                f"{name}=={version}"
                for name, version in versions.items()
                if name != BUILT_FROM_SOURCE or python in ("3.11", "3.12")
            ]
            for item in _resolved(pinned, python, processor, "--no-deps"):
                files[item["name"]][item["file"]] = item["sha256"]
    if BUILT_FROM_SOURCE in versions:
        source = f"{BUILT_FROM_SOURCE}=={versions[BUILT_FROM_SOURCE]}"
        (item,) = _report([source, "--no-deps", "--no-binary", ":all:"])
        files[item["name"]][item["file"]] = item["sha256"]
    return [Library(name, versions[name], files[name]) for name in versions]


def _resolved(
    wanted: list[str], python: str, processor: str, *options: str
) -> list[dict[str, str]]:
    tags = [f"--platform={tag}" for tag in Platform(python, processor).tags]
    return _report([*wanted, *options, *tags, f"--python-version={python}", "--only-binary=:all:"])


def _report(arguments: list[str]) -> list[dict[str, str]]:
    """What pip would install, from its own index alone: no other settings of this machine count."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"),
                *("install", "--dry-run", "--quiet", "--ignore-installed"),
                *("--target", directory, "--report", str(report), *arguments),
            ],
            check=True,
        )
        return [_item(item) for item in json.loads(report.read_text())["install"]]


def _item(item: dict[str, Any]) -> dict[str, str]:
    return {
        "name": normalised(item["metadata"]["name"]),
        "version": item["metadata"]["version"],
        "file": item["download_info"]["url"].rpartition("/")[2],
        "sha256": item["download_info"]["archive_info"]["hashes"]["sha256"],
    }


if __name__ == "__main__":
    main()
