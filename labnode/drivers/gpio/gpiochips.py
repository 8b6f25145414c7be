"""The machine's GPIO chips: which one has the header's pins, and who uses a line."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labnode.errors import DeviceError

# By label, because the numbers change from kernel to kernel: Pi 5, Pi 4, all before.
LABELS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")

_GET_CHIPINFO = 0x8044B401  # GPIO_GET_CHIPINFO_IOCTL of linux/gpio.h
_CHIPINFO = struct.Struct("32s32sI")  # name, label, lines
_GET_LINEINFO = 0xC100B405  # GPIO_V2_GET_LINEINFO_IOCTL
_LINEINFO = struct.Struct("=32s32sIIQ176x")  # name, consumer, offset, attributes, flags
_LINE_USED = 1
_LINE_OUTPUT = 8


@dataclass(frozen=True)
class Chip:
    """A GPIO chip of this machine, /dev/gpiochipNUMBER."""

    number: int
    label: str


def list_chips(directory: Path = Path("/dev")) -> list[Chip]:
    """All chips by number; DeviceError when one may not be opened."""
    names = [(path.name.removeprefix("gpiochip"), path) for path in directory.glob("gpiochip*")]
    numbers = {int(name): path for name, path in names if name.isdigit()}
    return [Chip(number, _label(numbers[number])) for number in sorted(numbers)]


def find_chip(chips: Iterable[Chip]) -> Chip:
    """The chip with the header's pins; DeviceError names the chips if there is none."""
    chips = list(chips)
    for label in LABELS:
        for chip in chips:  # a Pi 5 may show the same chip twice: gpiochip4 is a link to gpiochip0
            if chip.label == label:
                return chip
    if not chips:
        raise DeviceError(
            "this machine has no GPIO pins (there is no /dev/gpiochip0); "
            "--simulate runs the board without hardware"
        )
    there = ", ".join(f"gpiochip{chip.number} is {chip.label}" for chip in chips)
    raise DeviceError(
        f"no GPIO chip of this machine is a Raspberry Pi's ({', '.join(LABELS)}): {there}; "
        "--simulate runs the board without hardware"
    )


def user_of(chip: Chip, line: int, directory: Path = Path("/dev")) -> str | None:
    """The consumer of a line, a program or a kernel driver ("" if it has no name); None: free.

    DeviceError when there is no such line.
    """
    consumer, flags = _line_info(chip, line, directory)
    return consumer if flags & _LINE_USED else None


def is_output(chip: Chip, line: int, directory: Path = Path("/dev")) -> bool:
    """Whether a line is driven, by a program or, on a Pi, as it was left; DeviceError as above."""
    return bool(_line_info(chip, line, directory)[1] & _LINE_OUTPUT)


def _line_info(chip: Chip, line: int, directory: Path) -> tuple[str, int]:
    """A line's consumer and flags."""
    try:
        descriptor = os.open(directory / f"gpiochip{chip.number}", os.O_RDWR | os.O_CLOEXEC)
        try:
            request = _LINEINFO.pack(b"", b"", line, 0, 0)
            information = fcntl.ioctl(descriptor, _GET_LINEINFO, request)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DeviceError(f"line {line} of gpiochip{chip.number}: {error.strerror}") from error
    _, consumer, _, _, flags = _LINEINFO.unpack(information)
    return _text(consumer), flags


def _label(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        raise DeviceError(
            f"this user may not open {path}: add it to the group 'gpio', then log in again"
        ) from None
    except OSError as error:
        raise DeviceError(f"cannot open {path}: {error.strerror}") from error
    try:
        information = fcntl.ioctl(descriptor, _GET_CHIPINFO, bytes(_CHIPINFO.size))
    except OSError:
        return "not a GPIO chip"
    finally:
        os.close(descriptor)
    _, label, _ = _CHIPINFO.unpack(information)
    return _text(label)


def _text(field: bytes) -> str:
    return bytes(field).split(b"\0", 1)[0].decode("ascii", "replace")
