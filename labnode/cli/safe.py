"""`labnode safe`: drives a board's outputs to their safe values, without a node."""

# ruff: noqa: PLC0415
from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labnode.cli.language import said
from labnode.cli.options import FILE, SETTINGS, settings_without_credentials
from labnode.cli.owner import load_board_as_owner
from labnode.errors import ConfigError, DeviceError, LabnodeError

if TYPE_CHECKING:
    from labnode.board import BoardFile
    from labnode.clock import Clock

_COME_WITHIN = 10.0  # seconds until the kernel and udev have the pins and buses for this user
_LOOK_EVERY = 0.1


@click.command()
@click.argument("board", type=FILE, required=False)
@SETTINGS
@click.option("--state-dir", type=FILE, metavar="DIR", help="The state directory of its node.")
@click.option(
    "--pins",
    is_flag=True,
    help="Only outputs on this machine's pins and buses, which may come up to 10 s later: early in "
    "boot, before the network.",
)
def safe(board: Path | None, settings: Path | None, state_dir: Path | None, pins: bool) -> None:
    """Make all outputs of BOARD safe.

    BOARD is a YAML file; without it, `board` of the settings. This is for a node that is not
    running, above all one that was killed: after SIGKILL a Raspberry Pi keeps its pins as they
    were. Only outputs are touched, and they stay as this command leaves them. It refuses while a
    node runs with the board; use `labnode estop` then.

    The exit code is 0 when all outputs are safe, 1 when one is not or a node runs, 2 when the board
    file or the settings cannot be used.
    """
    from labnode.board.safe import outputs
    from labnode.clock import Clock
    from labnode.node.state_dir import without_node

    given = {"board": board, "state_dir": state_dir}
    chosen = settings_without_credentials(settings, given)
    if chosen.board is None:
        raise ConfigError(said("cli.safe-no-board"))
    file = load_board_as_owner(chosen.board, settings=settings, state_dir=chosen.state_dir)
    driven = outputs(file, pins_only=pins)
    with without_node(chosen.state_dir), contextlib.ExitStack() as undo:
        if driven:
            work_dir = chosen.state_dir
            if not os.access(work_dir, os.W_OK):
                work_dir = Path(undo.enter_context(tempfile.TemporaryDirectory()))
            clock = Clock()
            deadline, pause = clock.now() + (_COME_WITHIN if pins else 0), clock.event()
            while failures := _failures(file, work_dir, clock, pins_only=pins):
                if clock.now() >= deadline:
                    raise LabnodeError("\n".join(failures))
                pause.wait(_LOOK_EVERY)
    names = ", ".join(f"{name} {_shown(driver.safe)}" for name, driver in driven.items())  # type: ignore[attr-defined]
    if driven:
        click.echo(said("cli.safe", board=chosen.board, outputs=names))
    else:
        click.echo(said("cli.safe-none", board=chosen.board))


def _failures(file: BoardFile, work_dir: Path, clock: Clock, *, pins_only: bool) -> list[str]:
    """What is not safe after all outputs were driven to it; a sentence for each."""
    from labnode.board.board import needs_pins
    from labnode.board.safe import drive_safe, outputs
    from labnode.drivers.gpio.factories import real_factory

    if not needs_pins(outputs(file, pins_only=pins_only).values()):
        return drive_safe(file, None, clock, pins_only=pins_only)
    try:
        factory = real_factory(work_dir)
    except DeviceError as error:
        return [error.message]
    with contextlib.closing(factory):
        return drive_safe(file, factory, clock, pins_only=pins_only)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return said("admin.true") if value else said("admin.false")
    return str(value)
