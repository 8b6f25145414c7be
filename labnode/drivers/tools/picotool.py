"""The Raspberry Pi Pico and its relatives, by picotool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from labnode.drivers.framework.registry import register
from labnode.drivers.tools import known
from labnode.drivers.tools.base import Job, Tool
from labnode.drivers.tools.content import Content
from labnode.drivers.tools.known import Known
from labnode.drivers.tools.options import Suffixes, Target, Word, takes
from labnode.errors import BadFile
from labnode.locale import Message
from labnode.schema import Doc, Duration, Size

Chip = Literal["rp2040", "rp2350"]

# https://github.com/microsoft/uf2/blob/master/utils/uf2families.json
_FAMILIES: Mapping[str, frozenset[int]] = {
    "rp2040": frozenset({0xE48BFF56}),
    "rp2350": frozenset({0xE48BFF59, 0xE48BFF5A, 0xE48BFF5B, 0xE48BFF57}),
}
_MACHINES: Mapping[str, tuple[int, ...]] = {"rp2040": (40,), "rp2350": (40, 243)}
_FLASH = (0x10000000, 0x11000000)
_SRAM: Mapping[str, tuple[int, int]] = {
    "rp2040": (0x20000000, 0x20042000),
    "rp2350": (0x20000000, 0x20082000),
}


@register("picotool")
@dataclass(kw_only=True)
class Picotool(Tool):
    """A Raspberry Pi Pico, or another board with an RP2040 or RP2350, written by picotool over USB.

    picotool can restart a program that has the USB console of the Pico SDK into the bootloader;
    with any other the board has to be in BOOTSEL mode. With `target: sram` only files that run from
    memory (no_flash) are accepted, and the flash is never written.

    Example::

        pico: {driver: picotool, chip: rp2040, estimated_time: 8}
    """

    programs: ClassVar[Mapping[str, str]] = {"picotool": "picotool"}
    known: ClassVar[Sequence[Known]] = (
        known.not_there(r"no accessible RP\S* .*device|no .*device.* (were|was) found"),
        known.not_verified(r"verify failed|does not match|mismatch|differs"),
        known.not_for_it(r"family id|not a valid|invalid (UF2|ELF)|incompatible"),
        known.too_large(r"exceeds|out of range|beyond the end|does not fit"),
        known.interrupted(r"failed to (write|erase|read|reboot)|communication|disconnected"),
    )

    chip: Annotated[Chip, Doc("The chip on the board; files for another are refused.")] = "rp2040"
    serial: Annotated[Word | None, Doc("The serial number of the board, if there are several.")] = (
        None
    )
    target: Target = "flash"
    accept: Suffixes = field(default_factory=lambda: [".uf2"])
    max_size: Size = 32 << 20
    timeout: Duration = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.accept) - {".uf2", ".elf"}:
            raise ValueError(takes("picotool", ".uf2", ".elf"))

    def steps(self, job: Job) -> list[list[str]]:
        argv = ["picotool", "load"]
        argv += ["-v"] if job.verify else []
        argv += ["--ser", self.serial] if self.serial is not None else []
        return [[*argv, "-x", "-f", job.image]]

    def examine(self, content: Content, suffix: str) -> None:  # noqa: ARG002
        chip, sram = self.chip, _SRAM[self.chip]
        other = content.families and not content.families & _FAMILIES[chip]
        if other or content.machine not in (None, *_MACHINES[chip]):
            raise BadFile(Message("file.other-chip-than", chip=chip.upper()))
        if self.target == "sram" and not all(_inside(one, sram) for one in content.ranges):
            raise BadFile(Message("file.not-for-memory"))
        if not all(_inside(one, _FLASH) or _inside(one, sram) for one in content.ranges):
            raise BadFile(Message("file.addresses"))

    def wears(self) -> bool:
        return self.target == "flash"


def _inside(addresses: tuple[int, int], area: tuple[int, int]) -> bool:
    return area[0] <= addresses[0] and addresses[1] <= area[1]
