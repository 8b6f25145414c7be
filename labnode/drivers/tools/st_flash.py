"""STM32 chips with an ST-Link, by st-flash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from labnode.drivers.framework.registry import register
from labnode.drivers.tools import known
from labnode.drivers.tools.base import Job, Tool
from labnode.drivers.tools.content import Content
from labnode.drivers.tools.known import Known
from labnode.drivers.tools.options import Suffixes, Word, takes
from labnode.errors import BadFile
from labnode.locale import Message
from labnode.schema import Doc, Duration, Size

_START = 0x08000000  # of the flash of every STM32


@register("st_flash")
@dataclass(kw_only=True)
class StFlash(Tool):
    """An STM32 with an ST-Link (every Nucleo and Discovery board has one), written by st-flash.

    st-flash always verifies what it has written.

    Example::

        nucleo: {driver: st_flash, flash: 512KiB, estimated_time: 12}
    """

    programs: ClassVar[Mapping[str, str]] = {"st-flash": "stlink-tools"}
    known: ClassVar[Sequence[Known]] = (
        known.not_there(r"couldn't find any ST-?Link|no st-?link|unable to open|could not open"),
        known.wrong_chip(r"unknown chip id|chip id .* unknown"),
        known.silent(r"failed to connect to target|failed to enter|can not connect|NRST"),
        known.not_verified(r"verification of flash failed|verify.*fail|mismatch"),
        known.too_large(r"addr too (high|low)|size too large|unaligned|exceeds"),
        known.interrupted(r"write(_flash)?\S* ?(error|fail)|failed to erase|flash loader"),
    )

    flash: Annotated[Size, Doc("The size of the flash; larger files are refused.")]
    serial: Annotated[
        Word | None, Doc("The serial number of the ST-Link, if there are several.")
    ] = None
    accept: Suffixes = field(default_factory=lambda: [".hex"])
    max_size: Size = 8 << 20
    timeout: Duration = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.accept) - {".hex", ".bin"}:
            raise ValueError(takes("st-flash", ".hex", ".bin"))

    def steps(self, job: Job) -> list[list[str]]:
        argv = ["st-flash", "--reset"]
        argv += ["--serial", self.serial] if self.serial is not None else []
        if job.suffix == ".hex":
            return [[*argv, "--format", "ihex", "write", job.image]]
        return [[*argv, "write", job.image, f"0x{_START:08x}"]]

    def examine(self, content: Content, suffix: str) -> None:
        ranges = content.ranges if suffix == ".hex" else ((_START, _START + content.size),)
        for start, end in ranges:
            if not _START <= start < end <= _START + self.flash:
                first, last = f"0x{start:08X}", f"0x{end - 1:08X}"
                raise BadFile(Message("file.flash-addresses", start=first, end=last))
