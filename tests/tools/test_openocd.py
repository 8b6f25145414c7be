"""The real openocd configures a simulated FPGA over a simulated JTAG cable."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.tools.openocd import OpenOcd
from labnode.errors import BadFile, ToolFailed
from tests.kit.waiting import eventually

from .conftest import Stage
from .tap import Cable, Tap, bitstream

ARTIX = 0x0362D093

pytestmark = pytest.mark.skipif(
    shutil.which("openocd") is None, reason="no openocd here (Debian: apt-get install openocd)"
)


@pytest.fixture
def tap() -> Tap:
    return Tap(ARTIX)


@pytest.fixture
def cable(tap: Tap) -> Iterator[Cable]:
    cable = Cable(tap)
    yield cable
    cable.close()


Fpga = Callable[..., OpenOcd]


@pytest.fixture
def fpga(stage: Stage, cable: Cable) -> Fpga:
    """The driver on the simulated cable; config files lie beside the board file."""

    def make(path: Path = cable.path, **options: Any) -> OpenOcd:
        (stage.folder / "cable.cfg").write_text(
            f"adapter driver remote_bitbang\nremote_bitbang host {path}\nremote_bitbang port 0\n"
        )
        (stage.folder / "chip.cfg").write_text(
            f"transport select jtag\njtag newtap xc7 tap -irlen 6 -expected-id 0x{ARTIX:08x}\n"
            "pld device virtex2 xc7.tap\n"
        )
        given = {"config": ["cable.cfg", "chip.cfg"], "accept": [".bit"], "target": "sram"}
        given |= {"pld": "0", "idcode": ARTIX, "part": "xc7a35tcpg236", "retries": 0}
        driver: OpenOcd = stage.open(OpenOcd(**{**given, **options}), "fpga")
        return driver

    return make


def write(folder: Path, data: bytes) -> Path:
    path = folder / "student.bit"
    path.write_bytes(data)
    return path


def test_a_bitstream_arrives_in_the_chip(fpga: Fpga, tap: Tap, stage: Stage) -> None:
    driver = fpga()
    data = bitstream()
    result = driver.program(write(stage.folder, data))
    eventually(lambda: data[-2048:] in bytes(tap.configuration))  # what openocd has left to it
    assert result["writes"] == 0, "memory does not wear"
    assert driver.value == "programmed"


def test_another_chip_on_the_board_is_seen(fpga: Fpga, tap: Tap, stage: Stage) -> None:
    tap.idcode = 0x0372C093
    with pytest.raises(ToolFailed, match="not the one that this lab expects"):
        fpga().program(write(stage.folder, bitstream()))


def test_a_chip_that_is_dead_is_seen(fpga: Fpga, tap: Tap, stage: Stage) -> None:
    tap.dead = True
    with pytest.raises(ToolFailed, match="does not answer"):
        fpga().program(write(stage.folder, bitstream()))


def test_a_cable_that_is_not_there_is_seen(fpga: Fpga, stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="cannot be found"):
        fpga(tmp_path / "none").program(write(stage.folder, bitstream()))


def test_a_config_file_that_does_not_exist_is_the_lab_s_mistake(fpga: Fpga, stage: Stage) -> None:
    with pytest.raises(ToolFailed, match="set up its programmer wrongly"):
        fpga(config=["interface/nothing-like-that.cfg"]).program(write(stage.folder, bitstream()))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (bitstream(part="7a100tcsg324"), "for the 7a100tcsg324, and the board has a xc7a35tcpg236"),
        (bitstream(idcode=0x0362C093), "a chip with the IDCODE 0x0362c093"),
        (bitstream()[:-1], "cut off"),
        (b"\x00\x09\x0f\xf0", "not a bitstream"),
        (b"MZ" + bytes(3000), "not a bitstream"),
    ],
)
def test_a_bitstream_for_something_else_reaches_no_chip(
    fpga: Fpga, tap: Tap, stage: Stage, data: bytes, sentence: str
) -> None:
    with pytest.raises(BadFile, match=sentence):
        fpga().program(write(stage.folder, data))
    assert tap.configuration == b""


def test_it_opens_no_ports_of_its_own(fpga: Fpga, stage: Stage) -> None:
    from labnode.drivers.tools.base import Job
    from labnode.drivers.tools.content import Content

    (argv,) = fpga().steps(Job("image.bit", "", verify=True, content=Content(1)))
    for port in ("gdb_port", "tcl_port", "telnet_port"):
        assert f"{port} disabled" in argv
