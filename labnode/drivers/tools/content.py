"""What is in a student's file: its bytes prove its kind, not its name."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from labnode.errors import BadFile
from labnode.locale import Message
from labnode.schema import Text

_HEAD = 64
_MOST_PIECES = 10_000  # of a HEX file; a program has a few

Ranges = tuple[tuple[int, int], ...]  # of addresses: first, and one after the last


@dataclass(frozen=True)
class Content:
    """What a file contains; None or empty where its kind does not say."""

    size: int  # of the file
    ranges: Ranges = ()
    machine: int | None = None  # ELF's e_machine
    families: frozenset[int] = frozenset()  # of UF2
    part: str = ""  # in the header of a Xilinx bitstream
    idcode: int | None = None  # of the chip that a Xilinx bitstream is for
    usb: tuple[int, int] | None = None  # vendor and product in a DFU suffix
    entry: int = 0  # of ELF: where the program starts
    head: bytes = b""  # the first bytes of a file of no particular kind


def bad(en: str, es: str) -> BadFile:
    """Why a file is refused, for a lab's own tools; more languages: `BadFile(Text({...}))`."""
    return BadFile(Text({"en": en, "es": es}))


def read(path: Path, suffix: str) -> Content:
    """The content of a file of the kind `suffix` (".hex"); BadFile when it is not of that kind.

    Kinds without a reader (".bin") may be anything.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise BadFile(Message("file.empty"))
        # mapped, because bitstreams are large and read only in part
        with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return READERS.get(suffix, read_any)(data)


def read_any(data: mmap) -> Content:
    return Content(len(data), head=data[:_HEAD])


# --- Intel HEX: lines of ":LLAAAATT<data>CC" ---

_RECORD = re.compile(rb":([0-9A-Fa-f]{2}){5,260}")


def read_hex(data: mmap) -> Content:
    ranges: list[tuple[int, int]] = []
    base, ended = 0, False
    for number, line in enumerate(map(bytes.strip, iter(data.readline, b"")), 1):
        if not line:
            continue
        address, kind, payload = _record(line, number)
        if ended:
            raise _bad_hex(number, Message("file.hex-after-end"))
        match kind:
            case 0x00:
                start = base + address
                if ranges and ranges[-1][1] == start:
                    start = ranges.pop()[0]
                if len(ranges) >= _MOST_PIECES:
                    raise _bad_hex(number, Message("file.hex-pieces"))
                ranges.append((start, base + address + len(payload)))
            case 0x01:
                ended = True
            case 0x02 | 0x04 if len(payload) == 2:
                base = int.from_bytes(payload, "big") << (4 if kind == 0x02 else 16)
            case 0x03 | 0x05 if len(payload) == 4:
                pass  # where the program starts, which the chip ignores
            case _:
                raise _bad_hex(number, Message("file.hex-kind"))
    if not ended:
        raise BadFile(Message("file.hex-cut"))
    if not any(start < end for start, end in ranges):
        raise BadFile(Message("file.hex-no-data"))
    return Content(len(data), ranges=merged(ranges))


def _record(line: bytes, number: int) -> tuple[int, int, bytes]:
    if number == 1 and not line.startswith(b":"):
        raise BadFile(Message("file.hex-not"))
    if not _RECORD.fullmatch(line):
        raise _bad_hex(number, Message("file.hex-record"))
    raw = bytes.fromhex(line[1:].decode("ascii"))
    if raw[0] != len(raw) - 5:
        raise _bad_hex(number, Message("file.hex-length"))
    if sum(raw) & 0xFF:
        raise _bad_hex(number, Message("file.hex-checksum"))
    return int.from_bytes(raw[1:3], "big"), raw[3], raw[4:-1]


def _bad_hex(line: int, what: Message) -> BadFile:
    return BadFile(Message("file.hex-damaged", what=what, line=line))


def merged(ranges: list[tuple[int, int]]) -> Ranges:
    """The same addresses in as few ranges as possible, in order."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        elif start < end:
            result.append((start, end))
    return tuple(result)


# --- ELF ---


def read_elf(data: mmap) -> Content:
    if data[:4] != b"\x7fELF" or len(data) < 52 or data[4] not in (1, 2) or data[5] not in (1, 2):
        raise BadFile(Message("file.elf-not"))
    order = "<" if data[5] == 1 else ">"
    wide = data[4] == 2
    (machine,) = _numbers(f"{order}H", data, 18)
    (entry,) = _numbers(f"{order}{'Q' if wide else 'I'}", data, 24)
    ranges = merged(list(_segments(data, order, wide)))
    return Content(len(data), ranges=ranges, machine=machine, entry=entry)


def _segments(data: mmap, order: str, wide: bool) -> Iterator[tuple[int, int]]:
    """The addresses that non-empty PT_LOAD segments are loaded to."""
    (start,) = _numbers(f"{order}{'Q' if wide else 'I'}", data, 32 if wide else 28)
    size, count = _numbers(f"{order}HH", data, 54 if wide else 42)
    # Other programs would see other segments: 0xffff stands for a number that is elsewhere.
    if count == 0xFFFF or (count and size < (56 if wide else 32)):
        raise _cut_elf()
    for number in range(count):
        at = start + number * size
        if wide:
            kind, _, offset, _, address, length = _numbers(f"{order}IIQQQQ", data, at)
        else:
            kind, offset, _, address, length = _numbers(f"{order}IIIII", data, at)
        if kind == 1 and length:
            if offset + length > len(data):
                raise _cut_elf()
            yield address, address + length


def _numbers(form: str, data: mmap, at: int) -> tuple[int, ...]:
    """What is at an offset that the file itself may have named; BadFile where it is outside."""
    if at + struct.calcsize(form) > len(data):
        raise _cut_elf()
    return struct.unpack_from(form, data, at)


def _cut_elf() -> BadFile:
    return BadFile(Message("file.elf-cut"))


# --- UF2: blocks of 512 bytes, https://github.com/microsoft/uf2 ---


def read_uf2(data: mmap) -> Content:
    if len(data) % 512 or data[:8] != b"UF2\n\x57\x51\x5d\x9e":
        raise BadFile(Message("file.uf2-not"))
    families, ranges = set(), []
    total = len(data) // 512
    for number in range(total):
        block = data[512 * number : 512 * (number + 1)]
        first, second, flags, address, size, _, _, family = struct.unpack_from("<8I", block)
        (last,) = struct.unpack_from("<I", block, 508)
        if (first, second, last) != (0x0A324655, 0x9E5D5157, 0x0AB16F30) or size > 476:
            raise BadFile(Message("file.uf2-damaged", block=number + 1, total=total))
        if flags & 0x2000:
            families.add(family)
        if not flags & 0x1001:  # neither a file container nor "not main flash"
            ranges.append((address, address + size))
    return Content(len(data), ranges=merged(ranges), families=frozenset(families))


# --- Xilinx bitstreams: a header of tagged fields, then the configuration ---

_XILINX = bytes.fromhex("00090ff00ff00ff00ff0000001")
_SYNC = bytes.fromhex("aa995566")
_WRITE_IDCODE = bytes.fromhex("30018001")


def read_bit(data: mmap) -> Content:
    """A Xilinx bitstream, or one of Lattice, whose first bytes are all that is checked."""
    if data[:2] == b"\xff\x00" or data[:8] == b"LSCC\xff\x00\xff\xff":
        return Content(len(data))
    cut = BadFile(Message("file.bitstream-cut"))
    if data[: len(_XILINX)] != _XILINX:
        raise BadFile(Message("file.bitstream-not"))
    fields: dict[bytes, bytes] = {}
    at = len(_XILINX)
    while (tag := data[at : at + 1]) in (b"a", b"b", b"c", b"d") and tag not in fields:
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        fields[tag] = data[at + 3 : at + 3 + size].rstrip(b"\0")
        at += 3 + size
    size = int.from_bytes(data[at + 1 : at + 5], "big")
    if tag != b"e" or not size or len(data) < at + 5 + size:
        raise cut
    body = data[at + 5 : at + 5 + 8192]  # the IDCODE is at its beginning
    start = body.find(_SYNC)
    found = body.find(_WRITE_IDCODE, start) if start >= 0 else -1
    idcode = int.from_bytes(body[found + 4 : found + 8], "big") if found >= 0 else None
    part = fields.get(b"b", b"").decode("ascii", "replace")
    return Content(len(data), part=part, idcode=idcode)


# --- DFU: a suffix of 16 bytes, USB Device Firmware Upgrade 1.1, appendix B ---


def read_dfu(data: mmap) -> Content:
    product, vendor, _, mark, length, crc = struct.unpack("<HHH3sBI", data[-14:].rjust(14, b"\0"))
    if mark != b"UFD" or length < 16:
        raise BadFile(Message("file.dfu-not"))
    with memoryview(data) as view, view[:-4] as covered:
        found = zlib.crc32(covered) ^ 0xFFFFFFFF
    if found != crc:
        raise BadFile(Message("file.dfu-damaged"))
    return Content(len(data), usb=(vendor, product))


def read_fs(data: mmap) -> Content:
    """A Gowin bitstream: comments, then lines of zeros and ones."""
    lines = (line.strip() for line in data[:65536].splitlines())
    first = next((line for line in lines if line and not line.startswith(b"//")), b"")
    if not first or first.strip(b"01"):
        raise BadFile(Message("file.gowin-not"))
    return Content(len(data))


def read_svf(data: mmap) -> Content:
    words = re.sub(rb"(?m)(!|//).*$", b"", data[:65536]).split()
    if not words or words[0].upper() not in _SVF:
        raise BadFile(Message("file.svf-not"))
    return Content(len(data))


_SVF = {b"TRST", b"ENDIR", b"ENDDR", b"STATE", b"FREQUENCY", b"HIR", b"HDR", b"TIR", b"TDR"}
_SVF |= {b"SIR", b"SDR", b"RUNTEST"}

READERS: Mapping[str, Callable[[mmap], Content]] = {
    ".hex": read_hex,
    ".ihex": read_hex,
    ".elf": read_elf,
    ".axf": read_elf,
    ".uf2": read_uf2,
    ".bit": read_bit,
    ".dfu": read_dfu,
    ".fs": read_fs,
    ".svf": read_svf,
}
