"""Chips with a USB bootloader (DFU), by dfu-util."""

from __future__ import annotations

import re
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
from labnode.schema import Between, Doc, Duration, Size


@register("dfu_util")
@dataclass(kw_only=True)
class DfuUtil(Tool):
    """A chip with a DFU bootloader on USB, such as an STM32, written by dfu-util.

    A DFU file names its USB device; one for another device is refused.

    Example::

        stm: {driver: dfu_util, device: "0483:df11", accept: [.dfu], estimated_time: 15}
    """

    programs: ClassVar[Mapping[str, str]] = {"dfu-util": "dfu-util"}
    known: ClassVar[Sequence[Known]] = (
        known.not_for_it(r"file id .* does not match|no match|invalid dfu suffix"),
        known.not_there(r"no dfu capable usb device|cannot open dfu device|no such device"),
        known.too_large(r"out of range|not (writeable|erasable)|exceeds|too large"),
        known.interrupted(
            r"lost device|error during (download|get_status|abort)|unable to|dfu_error|"
            r"LIBUSB_ERROR|state\(10\)"
        ),
    )

    device: Annotated[Word, Doc("The USB device as vendor:product, such as '0483:df11'.")]
    serial: Annotated[
        Word | None, Doc("The serial number of the device, if there are several.")
    ] = None
    alt: Annotated[
        int, Between(0, 255), Doc("The alternate setting, which selects the memory.")
    ] = 0
    address: Annotated[
        Word | None, Doc("Where BIN files go, such as '0x08000000' (DfuSe devices).")
    ] = None
    accept: Suffixes = field(default_factory=lambda: [".dfu"])
    max_size: Size = 4 << 20
    timeout: Duration = 120.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[0-9a-fA-F]{1,4}:[0-9a-fA-F]{1,4}", self.device):
            raise ValueError(Message("driver.usb-device", value=repr(self.device)))
        if set(self.accept) - {".dfu", ".bin"}:
            raise ValueError(takes("dfu-util", ".dfu", ".bin"))

    def steps(self, job: Job) -> list[list[str]]:
        argv = ["dfu-util", "-d", self.device, "-a", str(self.alt)]
        if self.serial is not None:
            argv += ["-S", self.serial]
        if self.address is not None:
            # DfuSe devices leave the bootloader when asked to; others are reset.
            argv += ["-s", f"{self.address}:leave" if job.suffix == ".bin" else ":leave"]
        else:
            argv += ["-R"]
        return [[*argv, "-D", job.image]]

    def examine(self, content: Content, suffix: str) -> None:  # noqa: ARG002
        if content.usb is None:
            return
        own = (int(part, 16) for part in self.device.split(":"))
        if any(
            wanted not in (given, 0xFFFF) for given, wanted in zip(own, content.usb, strict=True)
        ):
            vendor, product = content.usb
            raise BadFile(Message("file.other-usb", device=f"{vendor:04x}:{product:04x}"))
