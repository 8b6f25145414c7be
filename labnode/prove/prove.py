"""One run of `labnode prove`: all measurements, one after the other."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from labnode.board import BoardFile
from labnode.clock import Clock
from labnode.drivers.gpio import factories
from labnode.drivers.gpio.pin import Pin
from labnode.errors import BadInput, Busy
from labnode.locale import Message
from labnode.prove import speed
from labnode.prove.faults import Faults
from labnode.prove.node import OUTPUT, Keeper, NodeFiles, free_port
from labnode.prove.report import Measurement
from labnode.prove.unit import Unit
from labnode.prove.visit import Visit
from labnode.prove.wire import Wire, check_wire
from labnode.wizard.wiring import HeaderPin, wiring


@dataclass(frozen=True)
class Counts:
    """How often each is measured."""

    kills: int = 10
    edges: int = 200
    commits: int = 500


QUICK = Counts(kills=2, edges=20, commits=50)


def wired_pins(board: BoardFile, out: Pin, end: Pin) -> list[HeaderPin]:
    """The header with the wire on it; Busy or BadInput when the board leaves no room for it."""
    if out == end:
        raise BadInput(Message("cli.prove-same-pin", pin=out.name))
    pins = {out.name: Message("cli.wire:driven"), end.name: Message("cli.wire:read")}
    drawn = []
    for pin in wiring(board):
        if pin.name in pins:
            if pin.users:
                file, users = board.path.name, ", ".join(map(str, pin.users))
                words = Message("cli.prove-pin-used", pin=pin.name, board=file, users=users)
                raise Busy(words)
            if pin.is_reserved or pin.name in _PULLED_UP:
                raise BadInput(Message("cli.prove-bus-pin", pin=pin.name))
            drawn.append(replace(pin, users=(pins[pin.name],)))
        else:
            drawn.append(pin)
    return drawn


_PULLED_UP = [f"GPIO{number}" for number in range(4) if Pin(number).fixed_pull_up]


def measure(
    keeper: Keeper,
    out: Pin,
    end: Pin,
    *,
    directory: Path,
    beside: Path,
    clock: Clock,
    counts: Counts,
    say: Callable[[Message], None],
) -> list[Measurement]:
    """Everything that can be measured without a reboot.

    `directory` is a place for files, `beside` is on the disk whose commits are measured.
    DeviceError when the pins cannot be had or the wire is missing.
    """
    with contextlib.closing(keeper):
        with contextlib.closing(factories.real_factory(directory)) as pins:
            check_wire(pins, out, end, clock)
            say(Message("cli.prove-edges"))
            edges = speed.interlock(pins, out, end, directory, clock, times=counts.edges)
        say(Message("cli.prove-disk"))
        found = [edges, speed.commits(beside, clock, counts.commits)]
        with (
            contextlib.closing(factories.real_factory(directory)) as pins,
            Wire(pins, end, clock) as wire,
        ):
            files = NodeFiles(out, free_port(), secrets.token_urlsafe(24))
            keeper.start(files)
            faults = Faults(keeper, files, wire, clock)
            say(Message("cli.prove-kills", n=counts.kills))
            found += faults.killed(counts.kills)
            say(Message("cli.prove-stops", seconds=f"{keeper.watchdog:g}"))
            found += faults.stopped()
            say(Message("cli.prove-hangs"))
            found.append(faults.hung())
    return found


def leave_on(out: Pin, end: Pin, clock: Clock) -> None:
    """Start the installed unit's node, now and at every boot, and leave its output on.

    The next `Unit` ends it. DeviceError when the pins cannot be had or the wire is missing.
    """
    unit = Unit(clock)
    with (
        tempfile.TemporaryDirectory(prefix="labnode-prove-") as directory,
        contextlib.closing(factories.real_factory(Path(directory))) as pins,
    ):
        check_wire(pins, out, end, clock)
    files = NodeFiles(out, free_port(), secrets.token_urlsafe(24))
    try:
        unit.start(files)
        unit.enable()
        Visit(files.server()).switch_on(OUTPUT)
    except BaseException:
        unit.close()
        raise
