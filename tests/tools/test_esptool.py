"""The real esptool writes a simulated ESP32 by the protocol of its ROM."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.tools.esptool import EspTool
from labnode.errors import ToolFailed

from .conftest import Stage
from .esp_rom import Esp32

IMAGE = b"\xe9\x01\x02\x20".ljust(24, b"\0") + b"hello" * 400
ESP32_S2 = 0x000007C6


@pytest.fixture(autouse=True)
def on_the_path(stand_in: Callable[[str, str], Path]) -> None:
    """esptool is a package of the Python that runs the tests, or a program of this machine.

    The first is started as a module: pip's esptool.py does not start where its path has a space.
    """
    if find_spec("esptool"):
        stand_in("esptool", "").write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m esptool "$@"\n'
        )
    elif not any(map(shutil.which, ("esptool", "esptool.py"))):
        pytest.skip("no esptool here (it is one of the extras, where everything has a wheel)")


@pytest.fixture
def esp(stage: Stage) -> Iterator[Callable[..., tuple[EspTool, Esp32]]]:
    """The driver on a simulated chip of a kind."""
    chips: list[Esp32] = []

    def make(*chip: int, **options: Any) -> tuple[EspTool, Esp32]:
        chips.append(Esp32(*chip))
        driver = EspTool(chip="esp32", port=chips[-1].port, stub=False, retries=0, **options)
        return stage.open(driver, "esp"), chips[-1]

    yield make
    for chip in chips:
        chip.close()


Make = Callable[..., tuple[EspTool, Esp32]]


@pytest.fixture
def student_s(stage: Stage) -> Path:
    path = stage.folder / "student.bin"
    path.write_bytes(IMAGE)
    return path


def test_an_image_is_written_and_its_hash_compared(
    esp: Make, stage: Stage, student_s: Path
) -> None:
    driver, chip = esp()
    driver.program(student_s)
    assert chip.flash[0x10000 : 0x10000 + len(IMAGE)] == IMAGE
    assert any("Hash of data verified" in line for line in stage.lines)
    assert stage.percents[-1] == 100


def test_a_flash_that_does_not_take_it_is_seen(esp: Make, student_s: Path) -> None:
    driver, chip = esp()
    chip.fault = "flash"
    with pytest.raises(ToolFailed, match="does not read back"):
        driver.program(student_s)


def test_another_chip_is_not_written(esp: Make, student_s: Path) -> None:
    driver, chip = esp(ESP32_S2)
    with pytest.raises(ToolFailed, match="not the one that this lab expects"):
        driver.program(student_s)
    assert chip.flash.count(0xFF) == len(chip.flash)


def test_a_chip_that_does_not_answer_is_given_up(esp: Make, student_s: Path) -> None:
    driver, chip = esp(timeout=3)
    chip.fault = "silent"
    with pytest.raises(ToolFailed, match=r"does not answer|within 3 s"):
        driver.program(student_s)
