"""Extras of a release: the libraries that only some boards need, added where a board's driver does.

Each is installed into a directory of its own beside the release's other files, from a lock that the
release brings. A line in site-packages leads there, and is written last.
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from labnode.clock import Clock
from labnode.errors import ConfigError
from labnode.install.changes import Change, Failed, MakeDirectories, delete
from labnode.install.labs import Needs, needs_of
from labnode.install.lock import Component, bill_of_materials, normalised, read_lock
from labnode.install.programs import quietly, ran
from labnode.install.release import ROOT, SHARE, Builder, Pip, files_for
from labnode.install.service import LabServices


def add(release: Path, extra: str, pip: Pip) -> None:
    """Install `extra` into `release`, whose Python is running here, with a bill of its own."""
    directory = release / SHARE / "extras" / extra
    locked = read_lock(_lock(release, extra))
    delete(directory)  # of a power cut
    directory.mkdir(parents=True, exist_ok=True)
    hashes = pip.install_locked(locked, into=release, directory=directory)
    libraries = [
        Component.of_wheel(installed, hashes.get(normalised(installed.name), ""))
        for installed in distributions(path=[str(directory)])
    ]
    name, needs = f"labnode[{extra}]", [library.name for library in libraries]
    whole = Component(name, "", f"pkg:pypi/labnode#{extra}", needs=needs)
    bill = bill_of_materials(name, [whole, *libraries], Clock().wall())
    text = json.dumps(bill, indent=2) + "\n"
    (directory / "sbom.cdx.json").write_text(text, encoding="utf-8")
    ran("sync", "-f", directory)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(release)}))
    (site / _line(extra)).write_text(f"{directory}\n", encoding="utf-8")


def _lock(release: Path, extra: str) -> Path:
    lock = files_for(release) / "lock" / f"{extra}.txt"
    if not lock.is_file():
        raise ConfigError(f"{release.name} has no extra '{extra}'")
    return lock


def _line(extra: str) -> str:
    """The file in site-packages that leads to `extra`."""
    return f"labnode-{extra}.pth"


def add_extras(
    builder: Builder, release: Path, services: LabServices, known: Mapping[str, Needs]
) -> None:
    """Add to `release` what the boards of all labs need; `known` are the needs of a new board.

    The other boards are asked because the release may be new, or the board may have changed.
    """
    if not (release / "bin" / "labnode").exists():  # in a dry run
        return
    for lab in dict.fromkeys([*builder.target.labs(), *known]):
        needs = known.get(lab) or needs_of(lab, builder.target, release)
        for extra in needs.extras if needs else ():
            if builder.changes.make(AddExtra(release, extra, lab, builder)):
                services.restart.add(lab)


class AddExtra(Change):
    """An extra in a release; a lab that runs with this release has to be started again."""

    def __init__(self, release: Path, extra: str, lab: str, builder: Builder) -> None:
        self._release = release
        self._lab = lab
        self._extra = extra
        self._builder = builder
        self._directories = MakeDirectories(release / SHARE / "extras")

    @property
    def sentence(self) -> str:
        return (
            f"add the extra {self._extra}, which the board of {self._lab} needs, to {self._release}"
        )

    def needed(self) -> bool:
        return not self._lines()

    def do(self) -> None:
        self._directories.do()
        builder = self._builder
        tools = builder.changes.scratch / "tools"
        builder.make_tools(tools)
        step = builder.step("add", self._release, self._extra, "--tools", tools)
        done = quietly(*step, cwd=ROOT)
        if not done:
            why = builder.why(done.said, self._release)
            raise Failed(f"pip could not install the extra {self._extra}{why}")

    def undo(self) -> None:
        for line in self._lines():
            line.unlink()
        delete(self._directories.path / self._extra)
        self._directories.undo()

    def _lines(self) -> list[Path]:
        return list(self._release.glob(f"lib/python*/site-packages/{_line(self._extra)}"))
