"""Which UF2 and ELF files are for which of the Raspberry Pi's microcontrollers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from labnode.drivers.tools.content import Content, Ranges, bad

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


def examine(chip: Chip, content: Content, target: str) -> None:
    """BadFile when a file is for another chip, or not for where it shall go (flash or sram)."""
    other = content.families and not content.families & _FAMILIES[chip]
    if other or content.machine not in (None, *_MACHINES[chip]):
        raise bad(
            f"The file is for another chip than the {chip.upper()}.",
            f"El fichero es para otro chip que el {chip.upper()}.",
        )
    sram = _SRAM[chip]
    if target == "sram" and not _inside(content.ranges, sram):
        raise bad(
            "The file is not made to run from memory (binary type no_flash).",
            "El fichero no está hecho para ejecutarse en memoria (tipo no_flash).",
        )
    if not all(_inside((one,), _FLASH) or _inside((one,), sram) for one in content.ranges):
        raise bad(
            "The file has addresses outside the chip.",
            "El fichero tiene direcciones fuera del chip.",
        )


def _inside(ranges: Ranges, area: tuple[int, int]) -> bool:
    return all(area[0] <= start and end <= area[1] for start, end in ranges)
