"""The lines that a board needs in config.txt, which the Raspberry Pi reads at power-on.

The lines are explained at https://www.raspberrypi.com/documentation/computers/config_txt.html and
in the file overlays/README beside config.txt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from labnode.board.config.board_file import BoardFile
from labnode.drivers.buses.bus_pins import BUS_PINS
from labnode.drivers.gpio.pin import Pin
from labnode.wizard.wiring import HeaderPin, wiring

_PULLED_UP = range(9)  # by the chip, from power-on; the others are pulled down (BCM2835, RP1)
_PWM = re.compile(r"dtoverlay=pwm,pin=(\d+),func=(\d+)")
_SPI1 = re.compile(r"dtoverlay=spi1-(\d)cs")


def boot_config(board: BoardFile) -> str:
    """The lines for config.txt, with the reason of each."""
    lines = [
        f"# What {board.path.name} needs in /boot/firmware/config.txt of the Raspberry Pi; to be",
        "# put at its end. It counts from the next boot on.",
        "[all]",
        *_needed(board),
        *_levels(board),
        *_unwanted(wiring(board)),
    ]
    return "\n".join(lines) + "\n"


def _needed(board: BoardFile) -> list[str]:
    asked: dict[str, list[str]] = {}
    for name, driver in board.devices.items():
        for line in driver.boot_config():
            asked.setdefault(line, []).append(name)
    lines = []
    for line, names in _joined(asked).items():
        lines += ["", f"# {', '.join(dict.fromkeys(names))}", line]
        if line == "enable_uart=1":
            lines.append(
                "# Also remove console=serial0,115200 from cmdline.txt: Linux talks there while it "
                "boots."
            )
    return lines


def _joined(asked: dict[str, list[str]]) -> dict[str, list[str]]:
    """Merge overlays of which there can be only one."""
    joined: dict[str, list[str]] = {}
    pwm = [match for match in map(_PWM.fullmatch, asked) if match]
    spi = [match for match in map(_SPI1.fullmatch, asked) if match]
    for single, names in asked.items():
        line = single
        if single.startswith("dtoverlay=pwm,") and len(pwm) == 2:
            (pin, function), (pin2, function2) = (match.groups() for match in pwm)
            line = f"dtoverlay=pwm-2chan,pin={pin},func={function},pin2={pin2},func2={function2}"
        elif single.startswith("dtoverlay=spi1-"):
            line = f"dtoverlay=spi1-{max(match[1] for match in spi)}cs"
        joined[line] = [*joined.get(line, []), *names]
    return joined


def _levels(board: BoardFile) -> list[str]:
    """Lines that set every output to its safe level before Linux starts."""
    lines: list[str] = []
    for name, driver in board.devices.items():
        for number, high in sorted(driver.rest_level().items()):
            level = "high" if high else "low"
            lines.append(f"# {name}: GPIO{number} is {level} while it is safe")
            if high != (number in _PULLED_UP):
                lines.append(
                    f"# (a resistor to {'3V3' if high else 'ground'} holds it there during the "
                    "first seconds, when the chip pulls it the other way)"
                )
            lines.append(f"gpio={number}=op,{'dh' if high else 'dl'}")
    if lines:
        lines = ["", "# Outputs are safe from a few seconds after power-on.", *lines]
    return lines


def _unwanted(pins: Iterable[HeaderPin]) -> list[str]:
    """Buses that must be off because devices use their pins for GPIO."""
    plain = {p.number for p in pins if p.is_gpio and p.users and not p.is_bus}
    lines = []
    for line, numbers in BUS_PINS.items():
        if taken := [Pin(number).name for number in numbers if number in plain]:
            lines.append(f"# no line {line}: {', '.join(taken)} would not be free")
    return ["", "# There must be", *lines] if lines else []
