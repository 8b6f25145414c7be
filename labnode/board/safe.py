"""Every output of a board at its safe value, without a node: when it is dead, or not started."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

from labnode.board.board import Board
from labnode.board.config.board_file import BoardFile
from labnode.board.config.devices import in_opening_order
from labnode.board.snapshot import reason
from labnode.clock import Clock
from labnode.drivers.framework.driver import Claim, Driver
from labnode.events import Bus

log = logging.getLogger(__name__)


def outputs(file: BoardFile, *, pins_only: bool = False) -> dict[str, Driver]:
    """The devices that have a safe value; pins first, because network plugs may be slow.

    With `pins_only` those alone that are on this machine's pins and buses.
    """
    found = {name: driver for name, driver in file.devices.items() if hasattr(driver, "safe")}
    has_pin = {n: any(claim.kind == "pin" for claim in _claims(file, d)) for n, d in found.items()}
    if pins_only:
        return {name: driver for name, driver in found.items() if has_pin[name]}
    return dict(sorted(found.items(), key=lambda item: not has_pin[item[0]]))


def _claims(file: BoardFile, driver: Driver) -> list[Claim]:
    """What a device claims, with the devices whose pins it uses."""
    others = (file.devices[pin.device] for pin in driver.remote_pins())
    return [claim for one in (driver, *others) for claim in one.claims()]


def drive_safe(file: BoardFile, pins: Any, clock: Clock, *, pins_only: bool = False) -> list[str]:
    """Drive every output to its safe value, whatever fails; a sentence for each failure.

    Only outputs are opened, and what they use: opening another serial port would reset an Arduino.
    Closing them leaves their level driven. `pins` is a gpiozero factory that the caller closes.
    """
    Board(file, clock=clock, bus=Bus(), simulate=False, pins=pins)  # gives drivers their services
    failures = []
    driven = outputs(file, pins_only=pins_only)
    with ExitStack() as open_ones:
        for used in _used_by(driven, file):
            open_ones.callback(used.close)
            with suppress(Exception):  # what needs it fails then, and says why
                used.open()
        for name, driver in driven.items():
            try:
                try:
                    driver.open()
                finally:
                    driver.close()
            except BaseException as error:
                log.debug("%s is not safe", name, exc_info=True)
                failures.append(f"'{name}' is not safe: {reason(error)}")
    return failures


def _used_by(driven: Mapping[str, Driver], file: BoardFile) -> list[Driver]:
    """The other devices that outputs use, such as the connection of an instrument."""
    order = in_opening_order(file.devices)
    needed = set(driven)
    for name in reversed(order):
        if name in needed:
            needed.update(file.devices[name].uses())
    return [file.devices[name] for name in order if name in needed - driven.keys()]
