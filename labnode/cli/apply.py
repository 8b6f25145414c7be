"""`labnode apply`: another board file for a node that is running."""

# ruff: noqa: PLC0415
from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from labnode.cli.language import counted, said, told
from labnode.cli.node import Ask, which_node
from labnode.cli.options import FILE
from labnode.errors import LabnodeError

_LOOK_EVERY = 0.5  # seconds


@click.command()
@click.argument("board", type=FILE, required=False)
@click.option("--now", is_flag=True, help="Refuse while a student is there, instead of waiting.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400),
    metavar="SECONDS",
    default=3600,
    show_default=True,
    help="How long sessions may take to end.",
)
@which_node
def apply(ask: Ask, board: Path | None, now: bool, timeout: float) -> None:
    """Change the board of a running node.

    BOARD is a YAML file; without it, the node's current file is read again. It is checked first.
    Then no more students are let in; when the last one has left, the old board is closed and the
    new one opened. If one of its devices does not open, the node goes back to the old board. While
    it waits for students, `labnode undrain` cancels the change.

    After a restart, the node serves the board that its settings or its command line name.
    """
    options: dict[str, Any] = {"now": now, "timeout": timeout}
    if board is not None:
        options["board"] = str(board.absolute())
    ask("apply", **options)
    _wait(ask)
    click.echo(said("cli.applied"))


def _wait(ask: Ask) -> None:
    """Return when the board is changed; LabnodeError when that fails."""
    from labnode.clock import Clock
    from labnode.control import NotRunning
    from labnode.locale import Retold

    pause = Clock().event()
    printed = ""
    while True:
        try:
            progress = ask("applied")
        except NotRunning:
            raise LabnodeError(said("cli.apply-ended")) from None
        if progress["state"] == "finished":
            break
        count = progress["sessions"]
        waiting = counted("cli.waiting", count)
        if progress["state"] == "waiting" and count and waiting != printed:
            printed = waiting
            click.echo(waiting)
        pause.wait(_LOOK_EVERY)
    if progress["error"] is not None:
        why = told(Retold(progress.get("words", progress["error"])))
        raise LabnodeError(said("cli.apply-failed", why=why))
