"""The steps of install.sh that are Python: `python -m labnode.install STEP`, in the clone."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from labnode.errors import ConfigError
from labnode.install.lock import Platform
from labnode.install.release import (
    DEBIAN,
    Pip,
    collect,
    copy_labnode_wheel,
    fill,
    without_wheel,
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="labnode.install")
    steps = parser.add_subparsers(dest="step", required=True)
    lacking = steps.add_parser("without-wheel", help="libraries that have no wheel here")
    filling = steps.add_parser("fill", help="install labnode into a virtual environment")
    filling.add_argument("release", type=Path)
    filling.add_argument("source", type=Path, help="the clone, or a wheel of labnode")
    filling.add_argument("--debian", action="append", default=[], help="from Debian: this library")
    filling.add_argument("--left-out", action="append", default=[], help="not needed: this one")
    building = steps.add_parser("wheel", help="put a wheel of labnode into a directory")
    collecting = steps.add_parser("collect", help="put all wheels into a directory, for --wheels")
    for step in (building, collecting):
        step.add_argument("directory", type=Path)
    for step in (lacking, filling, building):
        step.add_argument("--wheels", type=Path, help="wheels, instead of an index")
    for step in (filling, building):
        step.add_argument("--tools", type=Path, required=True, help="where pip is")
    here = Platform.this()
    collecting.add_argument("--python", default=here.python, help="of that machine, such as 3.13")
    collecting.add_argument("--processor", default=here.processor, help="such as aarch64, armv7l")
    given = parser.parse_args()
    try:
        if given.step == "without-wheel":
            sys.stdout.write("".join(f"{name}\n" for name in without_wheel(given.wheels)))
        elif given.step == "wheel":
            copy_labnode_wheel(given.directory, Pip(given.tools, given.wheels))
        elif given.step == "collect":
            _collect(given.directory.absolute(), Platform(given.python, given.processor))
        else:
            pip = Pip(given.tools, given.wheels)
            fill(given.release, given.source, pip, debian=given.debian, left_out=given.left_out)
    except ConfigError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # pip has said why


def _collect(directory: Path, target: Platform) -> None:
    with tempfile.TemporaryDirectory() as tools:
        venv.create(tools, with_pip=True)
        lacking = collect(directory, target, Pip(Path(tools)))
    for package in (DEBIAN[library][0] for library in lacking):
        sys.stderr.write(f"Not there as a wheel; that machine needs Debian's {package}.\n")


if __name__ == "__main__":
    main()
