"""Files prove their kind by their bytes, and say where they want to go."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labnode.drivers.tools.content import READERS, Content, merged, read
from labnode.errors import BadFile

from .bootloader import intel_hex
from .files import dfu, elf, uf2
from .tap import bitstream


def content(folder: Path, name: str, data: bytes) -> Content:
    path = folder / name
    path.write_bytes(data)
    return read(path, path.suffix)


def test_an_intel_hex_file_says_which_addresses_it_has(tmp_path: Path) -> None:
    data = intel_hex(b"x" * 40, 0x1FFF0).encode()
    assert content(tmp_path, "x.hex", data).ranges == ((0x1FFF0, 0x20018),)


def test_its_segments_count_16_bytes_each(tmp_path: Path) -> None:
    data = b":020000021000EC\r\n:0400100001020304E2\r\n:00000001FF\r\n"
    assert content(tmp_path, "x.hex", data).ranges == ((0x10010, 0x10014),)


def test_an_elf_file_says_its_machine_its_addresses_and_its_entry(tmp_path: Path) -> None:
    found = content(tmp_path, "x.elf", elf(40, 0x20000000, entry=0x20000101))
    assert (found.machine, found.entry) == (40, 0x20000101)
    assert found.ranges == ((0x20000000, 0x20000040),)


def test_a_uf2_file_says_its_families_and_addresses(tmp_path: Path) -> None:
    found = content(tmp_path, "x.uf2", uf2(0xE48BFF56, 0x10000000))
    assert found.families == {0xE48BFF56}
    assert found.ranges == ((0x10000000, 0x10000200),)


def test_a_bitstream_says_its_part_and_idcode(tmp_path: Path) -> None:
    found = content(tmp_path, "x.bit", bitstream("7a35tcpg236", 0x0362D093))
    assert (found.part, found.idcode) == ("7a35tcpg236", 0x0362D093)


def test_a_dfu_file_says_its_usb_device(tmp_path: Path) -> None:
    assert content(tmp_path, "x.dfu", dfu(0x0483, 0xDF11)).usb == (0x0483, 0xDF11)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.fs", b"// Gowin\n//Part\n1111000011\n"),
        ("x.svf", b"! a comment\nTRST OFF;\nENDIR IDLE;\n"),
        ("x.bit", b"\xff\x00Lattice\x00"),
        ("x.bin", b"anything"),
    ],
)  # fmt: skip
def test_other_kinds_are_known_as_well(tmp_path: Path, name: str, data: bytes) -> None:
    assert content(tmp_path, name, data).size == len(data)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("x.elf", elf(40, 0)[:100], "cut off"),
        ("x.elf", b"\x7fELF" + b"\xff" * 100, "not an ELF"),
        ("x.elf", b"#!/bin/sh\nrm -rf /\n", "not an ELF"),
        ("x.uf2", uf2(1, 0)[:-1], "not a UF2"),
        ("x.uf2", uf2(1, 0)[:512] + bytes(512), "damaged in block 2 of 2"),
        ("x.bit", bitstream()[:40], "cut off"),
        ("x.bit", b"PK\x03\x04", "not a bitstream"),
        ("x.dfu", b"short", "not a DFU"),
        ("x.dfu", dfu(1, 2)[:-1] + b"\0", "checksum"),
        ("x.fs", b"\x7fELF", "not a Gowin"),
        ("x.svf", b"rm -rf /", "not an SVF"),
        ("x.hex", b":", "no record in line 1"),
        ("x.hex", b":00000001FF\n:", "no record in line 2"),
        ("x.hex", b":020000040000FB\n:00000001FF\n", "wrong in line 1|no data"),
        ("x.hex", b":00000009F7\n", "no known kind in line 1"),
    ],
)  # fmt: skip
def test_what_it_is_not_is_refused(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    with pytest.raises(BadFile, match=sentence):
        content(tmp_path, name, data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    suffix=st.sampled_from(sorted(READERS)),
    start=st.sampled_from([b"", b":10", b"\x7fELF\x01\x01", b"UF2\n\x57\x51\x5d\x9e", b"UFD\x10"]),
    data=st.binary(max_size=600),
)
def test_no_bytes_break_a_reader(tmp_path: Path, suffix: str, start: bytes, data: bytes) -> None:
    with suppress(BadFile):
        content(tmp_path, f"x{suffix}", start + data)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=10))
def test_merged_ranges_cover_the_same_addresses(pairs: list[tuple[int, int]]) -> None:
    ranges = [(min(pair), max(pair)) for pair in pairs]
    covered = {address for start, end in ranges for address in range(start, end)}
    result = merged(ranges)
    assert {address for start, end in result for address in range(start, end)} == covered
    assert all(one[1] < other[0] for one, other in pairwise(result))
