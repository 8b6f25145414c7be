"""The Raspberry Pi Pico and its relatives, by picotool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from labnode.drivers.framework.registry import register
from labnode.drivers.tools import rp2, sentences
from labnode.drivers.tools.base import Job, Tool
from labnode.drivers.tools.content import Content
from labnode.drivers.tools.known import Known
from labnode.drivers.tools.options import Suffixes, Word
from labnode.schema import Doc, Duration, Size


@register("picotool")
@dataclass(kw_only=True)
class Picotool(Tool):
    """A Raspberry Pi Pico, or another board with an RP2040 or RP2350, written by picotool over USB.

    A program with the USB console of Pico's SDK is asked to give way to the bootloader; for others
    the board has to be in BOOTSEL mode. With `target: sram` only files that run from memory
    (no_flash) are taken, and the flash is never written.

    Example::

        pico: {driver: picotool, chip: rp2040, estimated_time: 8}
    """

    programs: ClassVar[Mapping[str, str]] = {"picotool": "picotool"}
    known: ClassVar[Sequence[Known]] = (
        sentences.not_there(r"no accessible RP\S* .*device|no .*device.* (were|was) found"),
        sentences.not_verified(r"verify failed|does not match|mismatch|differs"),
        sentences.not_for_it(r"family id|not a valid|invalid (UF2|ELF)|incompatible"),
        sentences.too_large(r"exceeds|out of range|beyond the end|does not fit"),
        sentences.interrupted(r"failed to (write|erase|read|reboot)|communication|disconnected"),
    )

    chip: Annotated[rp2.Chip, Doc("The chip on the board; files for another are refused.")] = (
        "rp2040"
    )
    serial: Annotated[Word | None, Doc("The serial number of the board, if there are several.")] = (
        None
    )
    target: Annotated[
        Literal["flash", "sram"], Doc("Where files go: sram is empty again without power.")
    ] = "flash"
    accept: Suffixes = field(default_factory=lambda: [".uf2"])
    max_size: Size = 32 << 20
    timeout: Duration = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.accept) - {".uf2", ".elf"}:
            raise ValueError("picotool takes .uf2 and .elf files")

    def steps(self, job: Job) -> list[list[str]]:
        argv = ["picotool", "load"]
        argv += ["-v"] if job.verify else []
        argv += ["--ser", self.serial] if self.serial is not None else []
        return [[*argv, "-x", "-f", job.image]]

    def examine(self, content: Content, suffix: str) -> None:  # noqa: ARG002
        rp2.examine(self.chip, content, self.target)

    def wears(self) -> bool:
        return self.target == "flash"
