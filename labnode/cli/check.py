"""`labnode check`: mistakes in board files and settings, before anything is started."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labnode.cli.language import counted, said, told
from labnode.cli.options import FILE
from labnode.cli.owner import load_board_as_owner, owner_of
from labnode.errors import ConfigError, Problem

if TYPE_CHECKING:
    from labnode.drivers.framework.driver import Driver


@click.command()
@click.argument("boards", type=FILE, nargs=-1, required=True, metavar="BOARD...")
@click.option(
    "--settings",
    type=FILE,
    metavar="FILE",
    help="The node's settings, which are checked too; secrets.yaml is beside them.",
)
@click.option("--files", is_flag=True, help="Print the files that belong to the board, as JSON.")
@click.option("--needs", is_flag=True, help="Print what the board needs of a machine, as JSON.")
@click.option("--explain", is_flag=True, help="Tell what the sequences do, in sentences.")
def check(
    boards: tuple[Path, ...], settings: Path | None, files: bool, needs: bool, explain: bool
) -> None:
    """Find mistakes in board files, and in settings.

    Each BOARD is a YAML file. It is loaded with the Python beside it, and nothing is started. Every
    mistake is reported with its file and line; the exit code is 2 if there are any. It also warns
    about likely mistakes and missing programs.
    """
    from labnode.board import files_named
    from labnode.lab.loader import load_lab, misspelt_devices

    if files:  # nothing of the board is run for that
        for board in boards:
            click.echo(json.dumps([str(file) for file in files_named(board)]))
        return
    if len({owner_of(board) for board in boards} - {None}) > 1 and os.geteuid() == 0:
        raise ConfigError(said("cli.several-owners"))
    problems = [] if settings is None else _mistakes_in(settings)
    for board in boards:
        try:
            file = load_board_as_owner(board, settings=settings)
            load_lab(file)
        except ConfigError as error:
            problems += error.problems
        else:
            if needs:
                click.echo(json.dumps(_needs(file.devices.values())))
                continue
            click.echo(counted("cli.check", len(file.devices), board=board))
            for sequence in file.sequences.values() if explain else ():
                click.echo("\n".join(map(told, sequence.explain())))
            sentences = [
                f"{board}: {told(words)}" for words in [*file.warnings(), *_missing(file.devices)]
            ]
            for sentence in [*misspelt_devices(file), *sentences]:
                click.echo(told(sentence), err=True)
    if problems:
        raise ConfigError(*problems)


def _missing(devices: Mapping[str, Driver]) -> Iterator[str]:
    """A sentence for each program and library of a device that this machine does not have."""
    from labnode.drivers.framework.driver import adding_extra, extra_is_installed

    for name, driver in devices.items():
        for program, package in driver.runs().items():
            if shutil.which(program) is None:
                install = said("doctor.program-missing:advice")
                how = f"sudo apt-get install {package}" if package else install
                yield said("cli.needs", name=name, program=program, how=how)
        for extra in driver.extras():
            if not extra_is_installed(extra):
                yield said("cli.needs-extra", name=name, extra=extra, how=adding_extra(extra))


def _needs(drivers: Iterable[Driver]) -> dict[str, dict[str, str] | list[str]]:
    """What install.sh provides for these drivers."""
    programs: dict[str, str] = {}
    packages, groups, extras = set[str](), set[str](), set[str]()
    for driver in drivers:
        programs |= driver.programs
        packages |= set(driver.requires.packages)
        groups |= set(driver.requires.groups)
        extras |= set(driver.extras())
    return {
        "programs": programs,
        "packages": sorted(packages),
        "groups": sorted(groups),
        "extras": sorted(extras),
    }


def _mistakes_in(settings: Path) -> list[Problem]:
    from labnode.settings import load_settings

    try:
        clients = load_settings(settings, os.environ, {}).all_clients
    except ConfigError as error:
        return list(error.problems)
    return [Problem(str(settings), c.unsendable) for c in clients if c.unsendable is not None]
