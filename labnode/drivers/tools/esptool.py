"""ESP chips by esptool."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from labnode.drivers.framework.registry import register
from labnode.drivers.tools import known
from labnode.drivers.tools.base import Job, Tool
from labnode.drivers.tools.content import Content
from labnode.drivers.tools.known import Known
from labnode.drivers.tools.options import Suffixes, Target, takes
from labnode.errors import BadFile
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration, Size

_IMAGE = 0xE9  # the first byte of applications and bootloaders
_CHIP = 12  # the offset of the chip's number in the header; an ESP8266's has none
_CHIPS = {
    "esp32": 0,
    "esp32s2": 2,
    "esp32c3": 5,
    "esp32s3": 9,
    "esp32c2": 12,
    "esp32c6": 13,
    "esp32h2": 16,
}


@register("esptool")
@dataclass(kw_only=True)
class EspTool(Tool):
    """An ESP8266, an ESP32 or a relative, written by esptool over a serial port.

    A file goes to `address`, by default the application's: the chip keeps its bootloader and
    partition table. With `target: sram` it is run from memory, and no flash is written.

    Example::

        esp: {driver: esptool, chip: esp32, port: /dev/ttyUSB0, estimated_time: 30}
    """

    programs: ClassVar[Mapping[str, str]] = {"esptool": "esptool"}
    known: ClassVar[Sequence[Known]] = (
        known.wrong_chip(r"this chip is .* not |wrong --?chip|unexpected chip id"),
        known.not_verified(r"MD5 of file does not match|verification failed|digest mismatch"),
        known.not_there(r"could not open|port doesn't exist|no such file"),
        Known(
            r"wrong boot mode",
            words=Message("tool.boot-mode"),
        ),
        known.silent(r"failed to connect|no serial data received|invalid head of packet"),
        known.too_large(r"will not fit|exceeds|detected overlap|past the end"),
        known.not_for_it(r"invalid image|is not a valid|magic"),
        known.interrupted(r"timed out|serial exception|no longer|write failed|lost"),
    )

    chip: Annotated[
        Literal[
            "esp8266", "esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3", "esp32c6", "esp32h2"
        ],
        Doc("The chip on the board; any other is refused."),
    ]
    baudrate: Annotated[int, Between(300), Doc("The port's baud rate.")] = 115200
    address: Annotated[
        int, Between(0), Doc("Where files go in the flash; 0 for complete images.")
    ] = 0x10000
    flash: Annotated[Size, Doc("The size of the flash.")] = 4 << 20
    target: Target = "flash"
    stub: Annotated[
        bool, Doc("Whether esptool first loads its own faster loader into the chip.")
    ] = True
    accept: Suffixes = field(default_factory=lambda: [".bin"])
    max_size: Size = 4 << 20
    timeout: Duration = 120.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.port is None:
            raise ValueError(Message("driver.esp-port"))
        if self.accept != [".bin"]:
            raise ValueError(takes("esptool", ".bin"))

    def steps(self, job: Job) -> list[list[str]]:
        name = "esptool" if shutil.which("esptool") else "esptool.py"
        argv = [name, "--chip", self.chip, "--port", job.port, "--baud", str(self.baudrate)]
        if not self.stub:
            argv += ["--no-stub"]
        if self.target == "sram":
            return [[*argv, "--no-stub", "load_ram", job.image]]
        return [[*argv, "write_flash", f"0x{self.address:x}", job.image]]

    def examine(self, content: Content, suffix: str) -> None:  # noqa: ARG002
        head = content.head
        if head[0] != _IMAGE and (self.address or self.target == "sram"):
            raise BadFile(Message("file.esp-not"))
        (chip,) = struct.unpack("<H", head[_CHIP : _CHIP + 2].ljust(2, b"\0"))
        if head[0] == _IMAGE and chip != _CHIPS.get(self.chip, chip):
            raise BadFile(Message("file.other-chip-than", chip=self.chip))
        if self.target == "flash" and self.address + content.size > self.flash:
            raise BadFile(Message("file.flash"))

    def installed(self, program: str) -> bool:
        """PyPI's esptool was called esptool.py up to version 4."""
        return super().installed(program) or shutil.which("esptool.py") is not None

    def wears(self) -> bool:
        return self.target == "flash"

    def state(self) -> dict[str, Any]:
        return {**super().state(), "part": self.chip}
