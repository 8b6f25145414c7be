"""The machine's GPIO chips: which one has the header's pins, who uses a line, and its edges."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from labnode.errors import DeviceError

# By label, because the numbers change from kernel to kernel: Pi 5, Pi 4, all before.
LABELS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")

_GET_CHIPINFO = 0x8044B401  # GPIO_GET_CHIPINFO_IOCTL of linux/gpio.h
_CHIPINFO = struct.Struct("32s32sI")  # name, label, lines
_GET_LINEINFO = 0xC100B405  # GPIO_V2_GET_LINEINFO_IOCTL
_LINEINFO = struct.Struct("=32s32sIIQ176x")  # name, consumer, offset, attributes, flags
_LINE_USED = 1
_LINE_OUTPUT = 8

# Version 2 of the kernel's GPIO interface (linux/gpio.h, since Linux 5.10). 32- and 64-bit programs
# have the same structures: each 64-bit field is an __aligned_u64, and arrays and padding keep every
# size a multiple of 8 bytes, "to ensure 32/64-bit alignment of structs".
_GET_LINE = 0xC250B407  # GPIO_V2_GET_LINE_IOCTL
_REQUEST = struct.Struct("=64I32sQI20x240sII20xi")  # gpio_v2_line_request, 592 bytes
_DEBOUNCE = struct.Struct("=IIIIQ")  # gpio_v2_line_config_attribute: id, -, microseconds, -, lines
EVENT = struct.Struct("=QIIII24x")  # gpio_v2_line_event, 48 bytes

_INPUT = 1 << 2  # GPIO_V2_LINE_FLAG_INPUT and so on
_EDGES = {"rising": 1 << 4, "falling": 1 << 5, "both": 1 << 4 | 1 << 5}
_BIAS = {True: 1 << 8, False: 1 << 9, None: 1 << 10}  # pulled up, pulled down, floating
_DEBOUNCE_ID = 3  # GPIO_V2_LINE_ATTR_ID_DEBOUNCE
MOST_EVENTS = 1024  # events that the kernel keeps until they are read: it grants no more
_RISING = 1  # GPIO_V2_LINE_EVENT_RISING_EDGE


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
    found = ", ".join(f"gpiochip{chip.number} is {chip.label}" for chip in chips)
    raise DeviceError(
        f"no GPIO chip of this machine is a Raspberry Pi's ({', '.join(LABELS)}): {found}; "
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


class LineEvent(NamedTuple):
    """One edge; `time` is in nanoseconds (CLOCK_MONOTONIC), `number` counts all of a request's."""

    time: int
    rising: bool
    line: int
    number: int


def events_in(data: bytes) -> Iterator[LineEvent]:
    """The edges in what was read from a request."""
    for time, kind, line, number, _ in EVENT.iter_unpack(data):
        yield LineEvent(time, kind == _RISING, line, number)


@dataclass(frozen=True)
class LineRequest:
    """Which edges of which lines to stamp; both `edge` and `pull_up` are those of all lines."""

    lines: Sequence[int]
    edge: str  # "rising", "falling" or "both"
    pull_up: bool | None
    debounce: float | None = None  # seconds

    def open(self, chip: int, directory: Path = Path("/dev")) -> int:
        """A descriptor from which events can be read; DeviceError when a line cannot be had."""
        attributes = b""
        if self.debounce:
            micros = max(1, round(self.debounce * 1e6))
            attributes = _DEBOUNCE.pack(_DEBOUNCE_ID, 0, micros, 0, (1 << len(self.lines)) - 1)
        request = bytearray(
            _REQUEST.pack(
                *self.lines,
                *[0] * (64 - len(self.lines)),
                b"labnode",
                _INPUT | _EDGES[self.edge] | _BIAS[self.pull_up],
                bool(attributes),
                attributes,
                len(self.lines),
                MOST_EVENTS,
                -1,
            )
        )
        try:
            descriptor = os.open(directory / f"gpiochip{chip}", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(descriptor, _GET_LINE, request)
            finally:
                os.close(descriptor)
        except OSError as error:
            pins = " and ".join(f"GPIO{line}" for line in self.lines)
            raise DeviceError(
                f"{pins} cannot be had ({error.strerror}): another program has it, or the kernel "
                "does, for a bus or an overlay"
            ) from error
        return int(_REQUEST.unpack(request)[-1])


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
