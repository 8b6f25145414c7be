"""A channel of the analog converter MCP3008 on an SPI bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labnode.drivers.base import register
from labnode.drivers.mcp3xxx import Mcp3xxx


@register("mcp3008")
@dataclass(kw_only=True)
class Mcp3008(Mcp3xxx):
    """A channel, 0 to 7, of the analog converter MCP3008 on an SPI bus, in volts; see mcp3xxx.

    Example::

        supply: {driver: mcp3008, channel: 0, max_voltage: 3.3, scale: 2}
    """

    chip: Literal["MCP3008"] = "MCP3008"
