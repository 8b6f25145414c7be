"""Files of all kinds that programmers take, as small as they may be."""

from __future__ import annotations

import struct
import zlib


def elf(machine: int, address: int, data: bytes = b"\xaa" * 64, entry: int = 0) -> bytes:
    """A 32-bit little-endian ELF file with one segment that is loaded."""
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, entry, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 84, address, address, len(data), len(data), 5, 4)
    return head + segment + data


def uf2(family: int, address: int, blocks: int = 2) -> bytes:
    """UF2 blocks one after the other, 256 bytes each."""

    def block(number: int) -> bytes:
        head = struct.pack(
            "<8I",
            0x0A324655,
            0x9E5D5157,
            0x2000,
            address + 256 * number,
            256,
            number,
            blocks,
            family,
        )
        return head + bytes(476) + struct.pack("<I", 0x0AB16F30)

    return b"".join(map(block, range(blocks)))


def dfu(vendor: int, product: int, data: bytes = b"firmware" * 16) -> bytes:
    """`data` with a DFU suffix."""
    file = data + struct.pack("<HHHH3sB", 0xFFFF, product, vendor, 0x0100, b"UFD", 16)
    return file + struct.pack("<I", zlib.crc32(file) ^ 0xFFFFFFFF)
