"""AVR chips, such as those of Arduinos, by avrdude."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.registry import register
from labnode.drivers.tools.base import Job, Tool
from labnode.drivers.tools.content import Content, bad
from labnode.drivers.tools.known import Known
from labnode.drivers.tools.options import Suffixes, Word
from labnode.schema import Between, Doc, Duration, Size

KIB = 1024

# Of the chips that labs have; any other one needs `flash`.
_FLASH = {
    "attiny13": KIB,
    "attiny25": 2 * KIB,
    "attiny45": 4 * KIB,
    "attiny85": 8 * KIB,
    "attiny84": 8 * KIB,
    "attiny2313": 2 * KIB,
    "atmega8": 8 * KIB,
    "atmega48p": 4 * KIB,
    "atmega88p": 8 * KIB,
    "atmega16": 16 * KIB,
    "atmega168": 16 * KIB,
    "atmega168p": 16 * KIB,
    "atmega32": 32 * KIB,
    "atmega328": 32 * KIB,
    "atmega328p": 32 * KIB,
    "atmega328pb": 32 * KIB,
    "atmega32u4": 32 * KIB,
    "atmega4809": 48 * KIB,
    "atmega644p": 64 * KIB,
    "atmega1280": 128 * KIB,
    "atmega1284p": 128 * KIB,
    "atmega2560": 256 * KIB,
}
_BOOTLOADERS = {"arduino", "wiring", "stk500v1", "avr109", "urclock"}  # that are in the chip itself
_AVR = 83  # e_machine
_FORMATS = {".hex": "i", ".ihex": "i", ".elf": "e"}
_DATA = 0x800000  # where ELF files of avr-gcc keep what is no flash: RAM, EEPROM, fuses


@register("avrdude")
@dataclass(kw_only=True)
class Avrdude(Tool):
    """An AVR chip, written by avrdude: by its bootloader over a serial port, or by an ISP.

    Where the address of a file is outside the chip's flash, or inside the `bootloader` at its end,
    it is refused before anything is written.

    Example::

        mcu: {driver: avrdude, part: atmega328p, programmer: arduino, port: /dev/ttyACM0,
              bootloader: 512, estimated_time: 8, timeout: 30}
    """

    programs: ClassVar[Mapping[str, str]] = {"avrdude": "avrdude"}
    known: ClassVar[Sequence[Known]] = (
        Known(
            r"verification mismatch|verification error",
            "What was written into the chip does not read back as it should: the chip or its "
            "connection is faulty.",
            "Lo que se escribió en el chip no se lee como debería: el chip o su conexión falla.",
        ),
        Known(
            r"expected signature for (?P<part>\S+) is|signature doesn't match|invalid device sig",
            "The chip on the board is not the one that this lab expects.",
            "El chip de la placa no es el que este laboratorio espera.",
            final=True,
        ),
        Known(
            r"cannot open port|can't open device|cannot find USB device|could not find USB|"
            r"ser_open\(\)",
            "The board cannot be found: it is unplugged, or has no power.",
            "No se encuentra la placa: está desconectada o no tiene alimentación.",
        ),
        Known(
            r"attempt [3-9] of \d+: not in sync: resp=0x00",
            "The board does not answer: it has no power, or no bootloader.",
            "La placa no responde: no tiene alimentación o no tiene bootloader.",
            hopeless=True,
        ),
        Known(
            r"attempt [3-9] of \d+: not in sync",
            "The board answers with something that makes no sense: is something else using its "
            "serial port, or is the speed wrong?",
            "La placa responde algo sin sentido: ¿otro programa usa su puerto serie, o no es esa "
            "su velocidad?",
            hopeless=True,
        ),
        Known(
            r"not in sync|not responding|initialization failed|protocol error|timeout",
            "The board stopped answering while it was programmed.",
            "La placa dejó de responder mientras se programaba.",
        ),
        Known(
            r"input/output error|no such device|unable to (read|write)|ser_(send|recv)",
            "The board was unplugged while it was programmed.",
            "La placa se desconectó mientras se programaba.",
        ),
        Known(
            r"out of range|exceeds|not enough space|address 0x\w+ is out",
            "The file does not fit into the chip.",
            "El fichero no cabe en el chip.",
            final=True,
        ),
    )

    part: Annotated[Word, Doc("The chip, as avrdude calls it, such as atmega328p.")]
    programmer: Annotated[
        Word, Doc("How the chip is reached, such as arduino (its bootloader) or usbasp.")
    ]
    baudrate: Annotated[
        int | None, Between(300), Doc("The speed of the port; else avrdude's own for it.")
    ] = None
    flash: Annotated[
        Size | None, Doc("The size of the flash, for chips whose size labnode does not know.")
    ] = None
    bootloader: Annotated[
        Size, Doc("The size of the bootloader at the end of the flash, which files must leave out.")
    ] = 0
    accept: Suffixes = field(default_factory=lambda: [".hex"])
    max_size: Size = 1 << 20
    timeout: Duration = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.accept) - set(_FORMATS):
            raise ValueError(
                f"avrdude takes {', '.join(_FORMATS)} files, not {', '.join(sorted(unknown))}"
            )
        if self.flash is None and self._name not in _FLASH:
            raise ValueError(
                f"the flash of {self.part!r} is not known: add its size, such as flash: 32KiB"
            )
        if self.bootloader >= self._size:
            raise ValueError(f"the bootloader ({self.bootloader} bytes) leaves no flash")

    def steps(self, job: Job) -> list[list[str]]:
        self._written = False
        argv = ["avrdude", "-p", self.part, "-c", self.programmer]
        if job.port:
            argv += ["-P", job.port]
        if self.baudrate is not None:
            argv += ["-b", str(self.baudrate)]
        if self.programmer in _BOOTLOADERS:
            argv += ["-D"]  # a bootloader erases what it writes; erasing all is no option there
        if not job.verify:
            argv += ["-V"]
        return [[*argv, "-U", f"flash:w:{job.image}:{_FORMATS[job.suffix]}"]]

    def examine(self, content: Content, suffix: str) -> None:
        if content.machine not in (None, _AVR):
            raise bad("The file is not for AVR chips.", "El fichero no es para chips AVR.")
        limit = self._size - self.bootloader
        for start, end in content.ranges:
            if end > limit and not (suffix == ".elf" and start >= _DATA):
                part = self.part
                raise bad(
                    f"The file does not fit into the {part}: it goes up to address 0x{end - 1:X}, "
                    f"and the last one is 0x{limit - 1:X}.",
                    f"El fichero no cabe en el {part}: llega hasta la dirección 0x{end - 1:X}, y "
                    f"la última es 0x{limit - 1:X}.",
                )

    def percent(self, line: str) -> float | None:
        """Half of it is writing, half reading back: "Writing | #####", 50 of them in all."""
        match = re.match(r"(Writing|Reading) \| (#*)", line)
        if match is None:
            return None
        done = float(len(match[2]))
        if match[1] == "Writing":
            self._written = True
            return done
        return 50 + done if self._written else None  # before, it is the signature that it reads

    @property
    def _name(self) -> str:
        return re.sub(r"^m(?=\d)", "atmega", re.sub(r"^t(?=\d)", "attiny", self.part.lower()))

    @property
    def _size(self) -> int:
        return _FLASH[self._name] if self.flash is None else self.flash

    def state(self) -> dict[str, Any]:
        return {**super().state(), "part": self.part}
