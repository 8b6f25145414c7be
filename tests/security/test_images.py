"""Hostile images: a student's file is refused in a sentence, and costs neither time nor memory."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from labnode.drivers.tools.content import READERS, Content, read
from labnode.errors import BadFile
from tests.tools.bootloader import intel_hex
from tests.tools.files import dfu, elf, uf2

BITSTREAM = bytes.fromhex("00090ff00ff00ff00ff0000001")


def elf64(
    *, start: int = 64, size: int = 56, count: int = 1, offset: int = 120, length: int = 16
) -> bytes:
    """A 64-bit file with one segment that is loaded, unless its numbers say something else."""
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, 40, 1, 0, start, 0, 0, 64, size, count, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, offset, 0, 0x1000, length, length, 4) + bytes(16)


def found(folder: Path, name: str, data: bytes) -> Content:
    path = folder / name
    path.write_bytes(data)
    return read(path, path.suffix)


def test_a_64_bit_file_says_where_it_goes(tmp_path: Path) -> None:
    assert found(tmp_path, "x.elf", elf64()).ranges == ((0x1000, 0x1010),)


@pytest.mark.parametrize(
    "data",
    [
        elf64(start=2**64 - 1),
        elf64(start=2**63),
        elf64(start=2**62, count=3),
        elf64(offset=2**64 - 1, length=2),
        elf64(length=2**64 - 1),
        elf64(count=0xFFFF) + bytes(56 * 0xFFFF),  # the real number of segments is elsewhere
        elf64(size=1),  # headers that overlap: other programs would read others
        elf64(size=55),
        elf64()[:63],
        elf(40, 0)[:28] + struct.pack("<I", 2**32 - 1) + elf(40, 0)[32:],
    ],
)
def test_numbers_that_lead_out_of_an_elf_file_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadFile, match="ELF file is cut off"):
        found(tmp_path, "x.elf", data)


def test_fields_of_a_bitstream_that_come_again_and_again_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="bitstream"):
        found(tmp_path, "x.bit", BITSTREAM + b"a\0\0" * 1000 + b"e\0\0\0\1x")


def most_memory(work: Callable[[], object]) -> int:
    """The bytes of Python's objects at the worst moment."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def record(address: int) -> bytes:
    raw = bytes([1, address >> 8, address & 0xFF, 0, 0])
    return b":%s%02X\n" % (raw.hex().upper().encode(), -sum(raw) & 0xFF)


@pytest.mark.parametrize(
    "data",
    [
        b":00000001FF\n" + b"  \n" * 300_000,
        b"".join(record(2 * n) for n in range(30_000)) * 2 + b":00000001FF\n",
    ],
)
def test_a_hex_file_of_many_lines_takes_little_memory(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.hex"
    path.write_bytes(data)

    def refused() -> None:
        with pytest.raises(BadFile):
            read(path, ".hex")

    assert most_memory(refused) < 4 << 20


def test_no_mutation_breaks_a_reader(tmp_path: Path, long_run: bool) -> None:
    """Bytes are changed, cut, repeated and made the largest there are, always the same ones."""
    seeds = [
        ("x.hex", intel_hex(bytes(40), 0x1FFF0).encode()),
        ("x.elf", elf(40, 0x20000000)),
        ("x.elf", elf64()),
        ("x.uf2", uf2(0xE48BFF56, 0x10000000)),
        ("x.dfu", dfu(0x0483, 0xDF11)),
        ("x.bit", BITSTREAM + b"a\0\2x\0b\0\2y\0e\0\0\0\2zz"),
        ("x.svf", b"TRST OFF;\n"),
        ("x.fs", b"//comment\n1010\n"),
    ]
    assert {Path(name).suffix for name, _ in seeds} | {".ihex", ".axf"} == set(READERS)
    chance = random.Random(13)
    for number in range(50_000 if long_run else 1_500):
        name, seed = seeds[number % len(seeds)]
        with suppress(BadFile):
            found(tmp_path, name, mutated(seed, chance))


def mutated(data: bytes, chance: random.Random) -> bytes:
    bytes_ = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(bytes_) + 1)
        match chance.randrange(4):
            case 0:
                bytes_[at : at + 1] = chance.randbytes(1)
            case 1:
                bytes_[at : at + 8] = b"\xff" * 8
            case 2:
                del bytes_[at : at + chance.randint(1, 40)]
            case _:
                bytes_[at:at] = bytes_[at : at + 40] * chance.randint(1, 3)
    return bytes(bytes_) or b"\0"
