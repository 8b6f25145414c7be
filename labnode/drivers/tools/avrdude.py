"""AVR chips, such as those of Arduinos, by avrdude."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.registry import register
from labnode.drivers.tools import known
from labnode.drivers.tools.base import Job, Tool
from labnode.drivers.tools.content import Content
from labnode.drivers.tools.known import Known
from labnode.drivers.tools.options import Suffixes, Word
from labnode.errors import BadFile
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration, Size

# Chips by the KiB of their flash; any other chip needs `flash`.
_CHIPS = {
    1: "attiny13",
    2: "attiny25 attiny2313",
    4: "attiny45 atmega48p",
    8: "attiny85 attiny84 atmega8 atmega88p",
    16: "atmega16 atmega168 atmega168p",
    32: "atmega32 atmega328 atmega328p atmega328pb atmega32u4",
    48: "atmega4809",
    64: "atmega644p",
    128: "atmega1280 atmega1284p",
    256: "atmega2560",
}
_FLASH = {chip: kib << 10 for kib, chips in _CHIPS.items() for chip in chips.split()}
_BOOTLOADERS = {"arduino", "wiring", "stk500v1", "avr109", "urclock"}  # that are in the chip itself
_AVR = 83  # e_machine
_FORMATS = {".hex": "i", ".ihex": "i", ".elf": "e"}
_DATA = 0x800000  # from here on ELF files of avr-gcc have what is not flash: RAM, EEPROM, fuses


@register("avrdude")
@dataclass(kw_only=True)
class Avrdude(Tool):
    """An AVR chip, written by avrdude through its bootloader on a serial port, or by an ISP.

    A file with addresses outside the chip's flash, or in the `bootloader` at its end, is refused.

    Example::

        mcu: {driver: avrdude, part: atmega328p, programmer: arduino, port: /dev/ttyACM0,
              bootloader: 512, estimated_time: 8, timeout: 30}
    """

    programs: ClassVar[Mapping[str, str]] = {"avrdude": "avrdude"}
    known: ClassVar[Sequence[Known]] = (
        known.not_verified(r"verification mismatch|verification error", despite=False),
        known.wrong_chip(
            r"expected signature for (?P<part>\S+) is|signature doesn't match|invalid device sig",
            despite=False,
        ),
        known.not_there(
            r"cannot open port|can't open device|cannot find USB device|could not find USB|"
            r"ser_open\(\)"
        ),
        Known(
            r"attempt [3-9] of \d+: not in sync: resp=0x00",
            words=Message("tool.no-bootloader"),
            hopeless=True,
        ),
        Known(
            r"attempt [3-9] of \d+: not in sync",
            words=Message("tool.nonsense"),
            hopeless=True,
        ),
        known.interrupted(
            r"not in sync|not responding|initialization failed|protocol error|timeout"
        ),
        known.unplugged(
            r"input/output error|no such device|unable to (read|write)|ser_(send|recv)"
        ),
        known.too_large(r"out of range|exceeds|not enough space|address 0x\w+ is out"),
    )

    part: Annotated[Word, Doc("The chip, by avrdude's name, such as atmega328p.")]
    programmer: Annotated[
        Word, Doc("How the chip is reached, such as arduino (its bootloader) or usbasp.")
    ]
    baudrate: Annotated[
        int | None, Between(300), Doc("The port's baud rate; by default avrdude's own.")
    ] = None
    flash: Annotated[
        Size | None, Doc("The size of the flash, for chips whose size labnode does not know.")
    ] = None
    bootloader: Annotated[
        Size, Doc("The size of the bootloader at the end of the flash, which files must not use.")
    ] = 0
    accept: Suffixes = field(default_factory=lambda: [".hex"])
    max_size: Size = 1 << 20
    timeout: Duration = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.accept) - set(_FORMATS):
            kinds, others = ", ".join(_FORMATS), ", ".join(sorted(unknown))
            raise ValueError(Message("driver.avrdude-takes", kinds=kinds, others=others))
        if self.flash is None and self._name not in _FLASH:
            raise ValueError(Message("driver.unknown-flash", chip=repr(self.part)))
        if self.bootloader >= self._size:
            raise ValueError(Message("driver.bootloader", n=self.bootloader))

    def steps(self, job: Job) -> list[list[str]]:
        self._written = False
        argv = ["avrdude", "-p", self.part, "-c", self.programmer]
        if job.port:
            argv += ["-P", job.port]
        if self.baudrate is not None:
            argv += ["-b", str(self.baudrate)]
        if self.programmer in _BOOTLOADERS:
            argv += ["-D"]  # a bootloader erases what it writes and cannot erase everything
        if not job.verify:
            argv += ["-V"]
        return [[*argv, "-U", f"flash:w:{job.image}:{_FORMATS[job.suffix]}"]]

    def examine(self, content: Content, suffix: str) -> None:
        if content.machine not in (None, _AVR):
            raise BadFile(Message("file.not-avr"))
        limit = self._size - self.bootloader
        for start, end in content.ranges:
            if end > limit and not (suffix == ".elf" and start >= _DATA):
                upto, last = f"0x{end - 1:X}", f"0x{limit - 1:X}"
                raise BadFile(Message("file.beyond", chip=self.part, end=upto, last=last))

    def percent(self, line: str) -> float | None:
        """Half is writing, half reading back: "Writing | #####", 50 of # in all."""
        match = re.match(r"(Writing|Reading) \| (#*)", line)
        if match is None:
            return None
        done = float(len(match[2]))
        if match[1] == "Writing":
            self._written = True
            return done
        return 50 + done if self._written else None  # before, it reads the signature

    @property
    def _name(self) -> str:
        return re.sub(r"^m(?=\d)", "atmega", re.sub(r"^t(?=\d)", "attiny", self.part.lower()))

    @property
    def _size(self) -> int:
        return _FLASH[self._name] if self.flash is None else self.flash

    def state(self) -> dict[str, Any]:
        return {**super().state(), "part": self.part}
