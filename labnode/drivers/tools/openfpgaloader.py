"""FPGAs by openFPGALoader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from labnode.drivers.framework.registry import register
from labnode.drivers.tools import known
from labnode.drivers.tools.base import Job
from labnode.drivers.tools.fpga import FpgaTool
from labnode.drivers.tools.known import Known
from labnode.drivers.tools.options import Suffixes, Target, Word
from labnode.locale import Message
from labnode.schema import Doc, Duration, Size


@register("openfpgaloader")
@dataclass(kw_only=True)
class OpenFpgaLoader(FpgaTool):
    """An FPGA, configured by openFPGALoader.

    Designs are loaded into volatile memory: they vanish at power-off and cause no wear, unless
    `target: flash`.

    Example::

        fpga: {driver: openfpgaloader, board: basys3, part: xc7a35tcpg236, max_size: 4MiB,
               estimated_time: 6}
    """

    programs: ClassVar[Mapping[str, str]] = {"openFPGALoader": "openfpgaloader"}
    known: ClassVar[Sequence[Known]] = (
        known.not_there(
            r"device not found|unable to open|can't open|no cable|usb_open|found 0 devices"
        ),
        known.wrong_chip(
            r"idcode (mismatch|does not match)|unknown device with idcode|mismatch between"
        ),
        known.silent(r"JTAG init failed|no FPGA|empty chain|all (ones|zeroes)"),
        known.not_verified(r"verify.*fail|fails? to verify|crc error"),
        known.not_for_it(r"parse failed|failed to parse|not a bitstream|error.*bitstream"),
        known.misconfigured(r"unknown (board|cable)|cannot find (board|cable)|invalid board"),
        known.interrupted(r"done is low|fail to configure|write.*fail|load.*fail"),
    )

    board: Annotated[Word | None, Doc("The board, by its name for openFPGALoader -b.")] = None
    cable: Annotated[Word | None, Doc("The cable, by its name for openFPGALoader -c.")] = None
    serial: Annotated[Word | None, Doc("The serial number of the cable, if there are several.")] = (
        None
    )
    target: Target = "sram"
    accept: Suffixes = field(default_factory=lambda: [".bit"])
    max_size: Size = 32 << 20
    timeout: Duration = 120.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.board is None and self.cable is None:
            raise ValueError(Message("driver.fpga-way"))

    def steps(self, job: Job) -> list[list[str]]:
        argv = ["openFPGALoader"]
        options = {"-b": self.board, "-c": self.cable, "--ftdi-serial": self.serial}
        for option, value in options.items():
            argv += [option, value] if value is not None else []
        if self.board is None and self.part is not None:
            argv += ["--fpga-part", self.part]
        argv += ["-m"] if self.target == "sram" else ["-f"]
        if job.verify and self.target == "flash":
            argv += ["--verify"]
        return [[*argv, job.image]]

    def wears(self) -> bool:
        return self.target == "flash"
