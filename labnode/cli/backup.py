"""`labnode backup` and `labnode restore`: a node's data in one file."""

# ruff: noqa: PLC0415
from __future__ import annotations

import os
from pathlib import Path

import click

from labnode.cli.options import FILE, SETTINGS, STATE_DIR, settings_without_credentials
from labnode.errors import LabnodeError


@click.command()
@click.argument("file", type=FILE, required=False)
@SETTINGS
@STATE_DIR
def backup(file: Path | None, settings: Path | None, state_dir: Path | None) -> None:
    """Write what a node keeps into one file.

    That is its database, the files of its returning users, and the key from which students'
    addresses are derived: keep FILE as safe as a password. Without FILE it is made in `backups` in
    the state directory. An existing file is never overwritten. The node may run or not.
    """
    from labnode.store.backup import back_up

    directory = _directory(settings, state_dir)
    if file is None:
        (directory / "backups").mkdir(mode=0o700, exist_ok=True)
        file = directory / "backups" / f"labnode-{_now()}.tar"
    click.echo(f"Backing up {directory}; a node that runs goes on.", err=True)
    content = back_up(directory, file)
    if os.geteuid() == 0 and file.is_relative_to(directory):
        owner = directory.stat()
        for path in (file.parent, file):
            os.chown(path, owner.st_uid, owner.st_gid)
    click.echo(
        f"{file}: {content.size / 1e6:.1f} MB; sessions: {content.sessions}, "
        f"files of users: {content.files}"
    )


@click.command()
@click.argument("file", type=FILE)
@SETTINGS
@STATE_DIR
def restore(file: Path, settings: Path | None, state_dir: Path | None) -> None:
    """Put back what `labnode backup` wrote.

    The node must not run. FILE is looked through before anything is changed, and what was there is
    kept in a directory beside it.
    """
    from labnode.node.state_dir import without_node
    from labnode.store.backup import restore as put_back

    directory = settings_without_credentials(settings, {"state_dir": state_dir}).state_dir
    if not file.is_file():
        raise LabnodeError(f"There is no file {file}.")
    aside = f"before-restore-{_now()}"
    with without_node(directory):
        content = put_back(file, directory, aside)
    click.echo(
        f"{directory} is as it was in {file} (sessions: {content.sessions}, files of users: "
        f"{content.files}). What was there before is in {directory / aside}."
    )


def _directory(settings: Path | None, state_dir: Path | None) -> Path:
    """The state directory that the options name, else that of this user's only node."""
    directory = settings_without_credentials(settings, {"state_dir": state_dir}).state_dir
    if state_dir or settings or (directory / "labnode.db").exists():
        return directory
    there = sorted(path.parent for path in directory.glob("*/labnode.db"))
    if len(there) == 1:
        return there[0]
    found = ", ".join(map(str, there)) or f"none in {directory}"
    raise LabnodeError(f"--state-dir or --settings say which node is meant ({found}).")


def _now() -> str:
    from datetime import UTC, datetime

    from labnode.clock import Clock

    return datetime.fromtimestamp(Clock().wall(), UTC).strftime("%Y%m%d-%H%M%S")
