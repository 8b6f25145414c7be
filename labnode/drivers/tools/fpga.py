"""What FPGA programmers share: a bitstream has to be for the chip on the board."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.tools.base import Tool
from labnode.drivers.tools.content import Content
from labnode.drivers.tools.options import Word
from labnode.errors import BadFile
from labnode.locale import Message
from labnode.schema import Doc


class _IdcodeReader:
    expected = Message("driver.an-idcode")

    def from_yaml(self, value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,8}", value):
            return int(value, 16)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
            return value
        raise ValueError(Message("driver.expected", expected=self.expected))


Idcode = Annotated[int, _IdcodeReader()]

_ALL_BUT_VERSION = (
    0x0FFFFFFF  # the first 4 bits are the version of the chip, which bitstreams leave out
)


@dataclass(kw_only=True)
class FpgaTool(Tool):
    """A programmer that accepts bitstreams; those of Xilinx name their chip."""

    part: Annotated[
        Word | None, Doc("The FPGA, such as xc7a35tcpg236; bitstreams for another are refused.")
    ] = None
    idcode: Annotated[
        Idcode | None, Doc("The IDCODE of the FPGA; bitstreams that want another are refused.")
    ] = None

    def examine(self, content: Content, suffix: str) -> None:  # noqa: ARG002
        if self.part and content.part and not _same(self.part, content.part):
            raise BadFile(Message("file.bitstream-part", part=content.part, ours=self.part))
        if None not in (self.idcode, content.idcode):
            assert self.idcode is not None
            assert content.idcode is not None
            if (self.idcode ^ content.idcode) & _ALL_BUT_VERSION:
                idcode, ours = f"0x{content.idcode:08x}", f"0x{self.idcode:08x}"
                raise BadFile(Message("file.bitstream-idcode", idcode=idcode, ours=ours))


def _same(one: str, other: str) -> bool:
    """Whether two names mean the same chip; one may leave out the package or the speed."""
    first, second = (re.sub(r"^xc|[^a-z0-9]", "", name.lower()) for name in (one, other))
    return first.startswith(second) or second.startswith(first)
