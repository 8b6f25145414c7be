"""Microcontrollers and FPGAs on JTAG or SWD, by openocd."""

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

_PROGRAMMED = (".hex", ".elf", ".bin")


@register("openocd")
@dataclass(kw_only=True)
class OpenOcd(FpgaTool):
    """A chip on JTAG or SWD, written by openocd.

    HEX, ELF and BIN files go into the flash of a microcontroller; with `target: sram` an ELF file
    goes into its memory and runs until power-off. Bitstreams go into the memory of an FPGA
    (`target: sram` and `pld`); SVF files are played.

    Example::

        stm: {driver: openocd, config: [interface/cmsis-dap.cfg, target/stm32f1x.cfg],
              accept: [.hex, .elf], estimated_time: 15}
    """

    programs: ClassVar[Mapping[str, str]] = {"openocd": "openocd"}
    known: ClassVar[Sequence[Known]] = (
        known.wrong_chip(r"UNEXPECTED idcode|unexpected idcode|expected \d+ of \d+: 0x"),
        known.not_verified(r"verify failed|checksum mismatch|contents differ"),
        known.misconfigured(r"can't find \S+\.cfg|invalid command name|adapter driver"),
        known.not_there(
            r"unable to open|on socket 'connect'|no device found|unable to find|open failed|"
            r"failed to connect|libusb_open|couldn't open the|not found"
        ),
        known.silent(r"scan chain interrogation failed|all (ones|zeroes)", despite=True),
        known.silent(
            r"init mode failed|cannot read IDR|"
            r"could not halt|timed out while waiting for target|unable to connect to the target|"
            r"examination failed|socket (was )?closed|remote_bitbang.*fail"
        ),
        known.too_large(r"no flash bank found for address|outside|doesn't fit|too large"),
        known.interrupted(r"programming failed|error writing|flash write failed"),
    )

    config: Annotated[
        list[Word],
        Doc("Its -f files in this order: openocd's own, or next to the board file."),
    ]
    commands_before: Annotated[
        list[str],
        Doc("openocd commands to run after these files, such as 'adapter speed 1000'."),
    ] = field(default_factory=list)
    target: Target = "flash"
    address: Annotated[
        Word | None, Doc("Where BIN files go in the flash, such as '0x08000000'.")
    ] = None
    pld: Annotated[
        Word | None, Doc("The FPGA's number or name in openocd, to load bitstreams.")
    ] = None
    accept: Suffixes = field(default_factory=lambda: [".hex", ".elf"])
    max_size: Size = 4 << 20
    timeout: Duration = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.config:
            raise ValueError(Message("driver.openocd-config"))
        for suffix in self.accept:
            if suffix == ".bin" and self.address is None:
                raise ValueError(Message("driver.openocd-address"))
            if suffix == ".bit" and (self.pld is None or self.target != "sram"):
                raise ValueError(Message("driver.openocd-bit"))
            if suffix in (".hex", ".bin") and self.target == "sram":
                raise ValueError(Message("driver.openocd-sram", kind=suffix))
            if suffix not in (*_PROGRAMMED, ".bit", ".svf"):
                raise ValueError(Message("driver.openocd-takes-no", kind=suffix))

    def steps(self, job: Job) -> list[list[str]]:
        argv = ["openocd", "-d2"]
        for name in self.config:
            own = (self.services.folder / name).absolute()
            argv += ["-f", str(own) if own.is_file() else name]
        quiet = [f"{port}_port disabled" for port in ("gdb", "tcl", "telnet")]
        for line in (*quiet, *self.commands_before, *self._work(job), "shutdown"):
            argv += ["-c", line]
        return [argv]

    def wears(self) -> bool:
        return self.target == "flash"

    def _work(self, job: Job) -> list[str]:
        if job.suffix == ".svf":
            return ["init", f"svf {job.image} -quiet"]
        if job.suffix == ".bit":
            return ["init", f"pld load {self.pld} {job.image}"]
        if self.target == "sram":
            verify = [f"verify_image {job.image}"] if job.verify else []
            start = f"resume 0x{job.content.entry:x}"
            return ["init", "reset halt", f"load_image {job.image}", *verify, start]
        verify_word = " verify" if job.verify else ""
        address = f" {self.address}" if job.suffix == ".bin" else ""
        return [f"program {job.image}{verify_word} reset{address}"]
