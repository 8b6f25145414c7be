"""Boards with a UF2 bootloader, which is a disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from labnode.drivers.framework.registry import register
from labnode.drivers.tools import known
from labnode.drivers.tools.base import Job, Tool, stopped
from labnode.drivers.tools.content import Content
from labnode.drivers.tools.known import Known
from labnode.drivers.tools.options import Suffixes
from labnode.errors import BadFile, ToolFailed
from labnode.locale import Message
from labnode.schema import Doc, Duration, Size

_LOOK = 0.25  # seconds


class _FamilyReader:
    expected = Message("driver.a-uf2-family")

    def from_yaml(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
            return value
        raise ValueError(Message("driver.expected", expected=self.expected))


@register("uf2")
@dataclass(kw_only=True)
class Uf2(Tool):
    """A board whose bootloader is a disk: the file is copied onto it.

    The system has to mount the disk at `folder` when it appears (see docs/programming.md). With a
    `port`, labnode brings the disk up by opening it at 1200 baud, as for Arduinos; without one the
    board has to be in its bootloader already. What was written cannot be verified.

    Example::

        pico: {driver: uf2, folder: /media/RPI-RP2, family: 0xe48bff56, estimated_time: 10}
    """

    known: ClassVar[Sequence[Known]] = (
        known.too_large(r"no space left|file too large"),
        known.not_there(r"no such file|cannot (stat|create)|not a directory"),
        known.interrupted(r"input/output error|error writing"),
    )

    folder: Annotated[Path, Doc("Where the board's disk is mounted.")]
    family: Annotated[
        int, _FamilyReader(), Doc("The chip's family ID; files for another are refused.")
    ]
    disk_wait: Annotated[Duration, Doc("How long to wait for the disk.")] = 10.0
    accept: Suffixes = field(default_factory=lambda: [".uf2"])
    max_size: Size = 32 << 20
    timeout: Duration = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.folder.is_absolute():
            raise ValueError(Message("driver.uf2-folder"))
        if self.accept != [".uf2"]:
            raise ValueError(Message("driver.uf2-only"))

    def steps(self, job: Job) -> list[list[str]]:
        touch = [["stty", "-F", job.port, "1200", "hupcl"]] if job.port else []
        return [*touch, ["cp", "--", job.image, str(self.folder)]]

    def writable(self) -> list[Path]:
        return [self.folder]

    def before(self, argv: Sequence[str]) -> None:
        """Wait for the disk before the file is copied."""
        if argv[0] != "cp" or self.services.simulated:
            return
        until = self.services.clock.now() + self.disk_wait
        while not (self.folder / "INFO_UF2.TXT").is_file():
            if self.services.clock.now() >= until:
                raise ToolFailed(Message("tool.no-disk"))
            if not self.services.wait(_LOOK):
                raise stopped()

    def examine(self, content: Content, suffix: str) -> None:  # noqa: ARG002
        if content.families and self.family not in content.families:
            raise BadFile(Message("file.other-chip"))
