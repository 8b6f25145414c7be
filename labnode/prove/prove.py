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
        raise BadInput(f"--out and --in are both {out.name}; the wire joins two pins.")
    pins = {out.name: "wire: driven", end.name: "wire: read"}
    drawn = []
    for pin in wiring(board):
        if pin.name in pins:
            if pin.users:
                raise Busy(
                    f"{pin.name} is used by the board {board.path.name} ({', '.join(pin.users)}); "
                    "name two pins that are free (labnode pinout shows them)."
                )
            if pin.is_reserved or pin.name in _PULLED_UP:
                raise BadInput(f"{pin.name} is not free for a wire: it belongs to a bus.")
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
    say: Callable[[str], None],
) -> list[Measurement]:
    """Everything that can be measured without a reboot.

    `directory` is a place for files, `beside` is on the disk whose commits are measured.
    DeviceError when the pins cannot be had or the wire is missing.
    """
    with contextlib.closing(keeper):
        with contextlib.closing(factories.real_factory(directory)) as pins:
            check_wire(pins, out, end, clock)
            say("The wire is there. Measuring edges and interlock...")
            edges = speed.interlock(pins, out, end, directory, clock, times=counts.edges)
        say("Measuring the disk...")
        found = [edges, speed.commits(beside, clock, counts.commits)]
        with (
            contextlib.closing(factories.real_factory(directory)) as pins,
            Wire(pins, end, clock) as wire,
        ):
            files = NodeFiles(out, free_port(), secrets.token_urlsafe(24))
            keeper.start(files)
            faults = Faults(keeper, files, wire, clock)
            say(f"Killing the node, {counts.kills} times...")
            found += faults.killed(counts.kills)
            say(f"Stopping the node; its watchdog takes {keeper.watchdog:g} s...")
            found += faults.stopped()
            say("Letting the lab's Python hang...")
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
