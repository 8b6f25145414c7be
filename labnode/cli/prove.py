"""`labnode prove`: measures on this machine what the documents promise."""

# ruff: noqa: PLC0415
from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labnode.cli.language import confirmed, counted, said, told
from labnode.cli.options import FILE, SETTINGS, STATE_DIR, settings_without_credentials
from labnode.cli.owner import as_owner, secrets_for
from labnode.errors import BadInput, LabnodeError

if TYPE_CHECKING:
    from labnode.clock import Clock
    from labnode.drivers.gpio.pin import Pin
    from labnode.prove.boot import How
    from labnode.prove.node import Keeper
    from labnode.prove.report import Measurement, Report

_NODE = [sys.executable, "-m", "labnode"]
_WATCHDOG = 30.0  # seconds, as in labnode@.service
_QUICK_WATCHDOG = 6.0


@click.command()
@click.argument("board", type=FILE)
@click.option("--out", required=True, metavar="PIN", help="A free pin, which is driven: GPIO17.")
@click.option("--in", "end", required=True, metavar="PIN", help="The pin that it is joined to.")
@SETTINGS
@STATE_DIR
@click.option("--quick", is_flag=True, help="A minute instead of five; the figures are rougher.")
@click.option(
    "--boot",
    type=click.Choice(["power", "panic"]),
    help="Leave the output on, for you to cut the power; or let the kernel panic.",
)
@click.option("--yes", is_flag=True, help="Do not ask; the wire is there.")
@click.option(
    "--report",
    type=FILE,
    metavar="FILE",
    default="labnode-prove.md",
    show_default=True,
    help="Where the report goes, in Markdown; beside it as JSON.",
)
def prove(
    *,
    board: Path,
    out: str,
    end: str,
    settings: Path | None,
    state_dir: Path | None,
    quick: bool,
    boot: How | None,
    yes: bool,
    report: Path,
) -> None:
    """Measure on this machine what labnode promises.

    Connect two pins that BOARD leaves free with a jumper wire. A node of its own drives one of
    them; it is killed, stopped and made to hang while its output is on, and the other pin shows
    how long the output stays on. The reaction time of an interlock and the speed of the disk are
    measured, too. Nothing that BOARD uses is touched, and its node may go on. As root, where
    labnode is installed as a service, the node runs under systemd with the same unit as yours.

    With --boot, the output is left on and the next boot is recorded. Run the command again without
    --boot afterwards; the report then has both.

    The exit code is 1 when a promise did not hold or something cannot be measured.
    """
    from labnode.clock import Clock
    from labnode.prove.unit import STATES, Unit

    wire = _pin("--out", out), _pin("--in", end)
    chosen = settings_without_credentials(settings, {"board": board, "state_dir": state_dir})
    clock = Clock()
    beside = _existing(STATES if Unit.is_installed() else chosen.state_dir)
    _draw(board, settings, chosen.state_dir, *wire)
    if boot:
        _check_reboot(boot)
    if not yes and not confirmed(said("cli.prove-ready"), enter=False):
        raise LabnodeError(said("cli.prove-nothing"))
    logging.disable(logging.WARNING)  # the interlock tells of itself at each edge
    if boot:
        _reboot(boot, *wire, clock, yes=yes)
    else:
        _keep(_measured(wire, clock, beside, board=board, quick=quick), report)


def _draw(board: Path, settings: Path | None, state_dir: Path, out: Pin, end: Pin) -> None:
    """Show where the wire goes; a LabnodeError where the board leaves no room for it."""
    from labnode.board import load_board
    from labnode.prove.prove import wired_pins
    from labnode.wizard.pinout import as_text

    secrets = secrets_for(board, settings)

    def draw() -> dict[str, int]:
        pins = wired_pins(load_board(board, secrets=secrets), out, end)
        click.echo(as_text(said("cli.prove-join"), pins, told))
        return {}

    as_owner(draw, state_dir, board)


def _measured(
    wire: tuple[Pin, Pin], clock: Clock, beside: Path, *, board: Path, quick: bool
) -> Report:
    from labnode.locale import Message
    from labnode.prove.child import ChildNode
    from labnode.prove.prove import QUICK, Counts, measure
    from labnode.prove.report import Report, facts_of
    from labnode.prove.unit import Unit
    from labnode.system.pi import Machine

    out, end = wire
    of_the_boot = _recorded(clock)
    keeper: Keeper
    with tempfile.TemporaryDirectory(prefix="labnode-prove-", dir=beside) as directory:
        if Unit.is_installed():
            keeper = Unit(clock)
        else:
            watchdog = _QUICK_WATCHDOG if quick else _WATCHDOG
            keeper = ChildNode(_NODE, Path(directory), clock, watchdog)
        measurements = measure(
            keeper,
            out,
            end,
            directory=Path(directory),
            beside=beside,
            clock=clock,
            counts=QUICK if quick else Counts(),
            say=lambda words: click.echo(told(words)),
        )
    facts = facts_of(
        clock,
        Machine(),
        board=str(board),
        wire=Message("cli.from-to", out=out.name, end=end.name),
        keeper=keeper.sentence,
        disk=str(beside),
    )
    return Report(facts, (*of_the_boot, *measurements))


def _recorded(clock: Clock) -> list[Measurement]:
    """What --boot has recorded, whose traces are removed."""
    from labnode.prove import boot
    from labnode.prove.unit import Unit

    if not Unit.is_installed():
        return []
    try:
        return boot.recorded(clock.boot_id)
    finally:
        boot.disarm()


def _check_reboot(how: How) -> None:
    from labnode.prove import boot
    from labnode.prove.unit import Unit

    if not Unit.is_installed():
        raise LabnodeError(said("cli.prove-boot-needs"))
    if how == "panic" and not boot.watchdog_is_armed():
        raise LabnodeError(said("cli.prove-no-watchdog"))


def _reboot(how: How, out: Pin, end: Pin, clock: Clock, *, yes: bool) -> None:
    from labnode.prove import boot
    from labnode.prove.prove import leave_on

    boot.arm(how, out, end, clock.boot_id)
    try:
        leave_on(out, end, clock)
    except BaseException:
        boot.disarm()
        raise
    click.echo(said("cli.prove-left-on", pin=out.name))
    if how == "power":
        click.echo(said("cli.prove-cut"))
    elif yes or confirmed(said("cli.prove-panic"), enter=False):
        boot.panic()


def _keep(report: Report, path: Path) -> None:
    """Write and show the report; LabnodeError when a promise did not hold."""
    beside, text = path.with_suffix(".json"), report.as_markdown(told)
    try:
        path.write_text(text, encoding="utf-8")
        beside.write_text(report.as_json(), encoding="utf-8")
    except OSError as error:
        words = said("cli.not-written", path=error.filename, why=error.strerror)
        raise LabnodeError(words) from error
    click.echo(f"\n{text}\n{said('cli.prove-kept', path=path, json=beside)}")
    if broken := report.broken:
        raise LabnodeError(counted("cli.prove-broken", len(broken)))


def _pin(option: str, text: str) -> Pin:
    from labnode.drivers.gpio.pin import Pin
    from labnode.locale import Joined
    from labnode.schema import sentence_of

    try:
        return Pin.from_yaml(int(text) if text.isdecimal() else text)
    except ValueError as error:
        raise BadInput(Joined(f"{option}: ", sentence_of(error), ".")) from error


def _existing(path: Path) -> Path:
    """The directory itself or, where it is not there yet, the nearest above it."""
    return next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
