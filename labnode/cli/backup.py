"""`labnode backup` and `labnode restore`: a node's data in one file."""

# ruff: noqa: PLC0415
from __future__ import annotations

import os
import stat
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import click

from labnode.cli.language import said
from labnode.cli.options import FILE, SETTINGS, STATE_DIR, settings_without_credentials
from labnode.cli.owner import as_owner, become_owner, owner_of
from labnode.errors import LabnodeError


@click.command()
@click.argument("file", type=FILE, required=False)
@SETTINGS
@STATE_DIR
def backup(file: Path | None, settings: Path | None, state_dir: Path | None) -> None:
    """Save all data of a node in one file.

    It contains the database, the files of returning users, and the key from which students'
    addresses are derived: keep FILE as safe as a password. Without FILE, it goes into `backups` in
    the state directory. An existing file is never overwritten. The node may run or not.
    """
    from labnode.store.backup import ArchiveContent, back_up, new_archive

    directory = _directory(settings, state_dir)
    # Root alone may write elsewhere: it makes the file, and somebody with fewer rights fills it.
    elsewhere = _is_elsewhere(file, directory)
    if not elsewhere:
        become_owner(directory)
    if file is None:
        file = _backups(directory) / f"labnode-{_now()}.tar"
    place = directory if elsewhere else file.absolute().parent
    click.echo(said("cli.backing-up", directory=directory), err=True)
    with new_archive(file) as out:
        found = as_owner(lambda: asdict(back_up(directory, out, place)), directory)
    content = ArchiveContent(**found)
    click.echo(
        said(
            "cli.backed-up",
            file=file,
            size=f"{content.size / 1e6:.1f}",
            sessions=content.sessions,
            files=content.files,
        )
    )


@click.command()
@click.argument("file", type=FILE)
@SETTINGS
@STATE_DIR
def restore(file: Path, settings: Path | None, state_dir: Path | None) -> None:
    """Restore what `labnode backup` saved.

    The node must not run. FILE is checked before anything is changed, and the old data is kept in a
    directory beside it.
    """
    from labnode.node.state_dir import without_node
    from labnode.store.backup import restore as put_back

    directory = settings_without_credentials(settings, {"state_dir": state_dir}).state_dir
    if not _is_elsewhere(file, directory):
        become_owner(directory)
    with _archive(file) as archive:
        become_owner(directory)
        aside = f"before-restore-{_now()}"
        with without_node(directory):
            content = put_back(archive, directory, aside)
    click.echo(
        said(
            "cli.restored",
            directory=directory,
            file=file,
            sessions=content.sessions,
            files=content.files,
            aside=directory / aside,
        )
    )


def _directory(settings: Path | None, state_dir: Path | None) -> Path:
    """The state directory that the options name, else that of this user's only node."""
    directory = settings_without_credentials(settings, {"state_dir": state_dir}).state_dir
    if state_dir or settings or (directory / "labnode.db").exists():
        return directory
    there = sorted(path.parent for path in directory.glob("*/labnode.db"))
    if len(there) == 1:
        return there[0]
    if not there:
        raise LabnodeError(said("cli.no-data", directory=directory))
    raise LabnodeError(said("cli.which-node", found=", ".join(map(str, there))))


def _is_elsewhere(file: Path | None, directory: Path) -> bool:
    """Whether root is asked for a file that is not in the hands of the directory's owner."""
    return file is not None and os.geteuid() == 0 and owner_of(file) != owner_of(directory)


def _backups(directory: Path) -> Path:
    backups = directory / "backups"
    try:
        backups.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise LabnodeError(said("cli.not-made", path=backups, why=error.strerror)) from None
    return backups


def _archive(file: Path) -> BinaryIO:
    try:
        archive = open(file, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    except OSError as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError):
            raise LabnodeError(said("cli.no-file", file=file)) from None
        raise LabnodeError(said("cli.not-read", file=file, why=error.strerror)) from None
    if not stat.S_ISREG(os.fstat(archive.fileno()).st_mode):
        archive.close()
        raise LabnodeError(said("cli.no-file", file=file))
    return archive


def _without_waiting(path: str, flags: int) -> int:
    """An `opener` that does not wait for somebody to write into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _now() -> str:
    from labnode.clock import Clock, utc

    return utc(Clock().wall()).strftime("%Y%m%d-%H%M%S")
