"""Options of several commands, and settings without credentials."""

# ruff: noqa: PLC0415
from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from labnode.settings import Settings

FILE = click.Path(path_type=Path)
SETTINGS = click.option(
    "--settings", type=FILE, metavar="FILE", help="The node's settings, a YAML file."
)
STATE_DIR = click.option(
    "--state-dir", type=FILE, metavar="DIR", help="The state directory of the node."
)


def program() -> str:
    """What a person types to start labnode: its name if that is found, else its path."""
    own = Path(sys.argv[0])
    found = shutil.which("labnode")
    if found and Path(found).resolve() == own.resolve():
        return "labnode"
    here = Path.cwd()
    return str(own.relative_to(here)) if own.is_relative_to(here) else str(own)


class InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)


def settings_without_credentials(
    path: Path | None, options: Mapping[str, Any] | None = None
) -> Settings:
    """The node's settings, for a command without credentials; `options` win over the file."""
    from labnode.settings import load_settings

    unused = {"weblab": {"username": "unused", "password": "unused and long"}, "clients": []}
    return load_settings(path, os.environ, {**unused, **(options or {})})
