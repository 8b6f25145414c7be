"""Makes the lock files anew, of the newest libraries: `python -m labnode.install.update_lock`.

pip is asked what it would install, for each Python and processor that labnode supports. It needs
the internet, and Python 3.11, the oldest, because pip reads the conditions of dependencies for the
Python that it runs with.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from labnode.install.lock import Library, Platform, lock_text, normalised

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROCESSORS = ("x86_64", "aarch64")  # 32-bit ARM has no wheels but those for every machine
# What other libraries want for themselves and labnode does not use: sqlite-utils its command that
# installs plug-ins, colorzero a module of old Pythons.
LEFT_OUT = {"pip", "setuptools"}
# Without a wheel for every Python, and built from source where Debian has none either.
BUILT_FROM_SOURCE = "lgpio"

_ROOT = Path(__file__).parent.parent.parent
_HEADING = """\
{what}
Made by .venv/bin/python -m labnode.install.update_lock; do not edit it by hand."""


def main() -> None:
    if sys.version_info[:2] != (3, 11):
        sys.exit("the locks are made with Python 3.11, the oldest that labnode runs with")
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = project["project"]["dependencies"] + ["lgpio>=0.2"]
    build = project["build-system"]["requires"] + ["setuptools"]  # lgpio's source wants that one
    directory = _ROOT / "deploy" / "lock"
    for name, wanted, left_out, what in (
        ("runtime.txt", runtime, LEFT_OUT, "What a release of labnode is installed from."),
        ("build.txt", build, set[str](), "What makes the wheel of labnode, and of lgpio."),
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
