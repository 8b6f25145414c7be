"""The boards with programmers that labnode comes with, simulated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode.testing import LabClient
from tests.kit.labs import lab_of

from .bootloader import image, intel_hex

BOARDS = Path(__file__).parents[2] / "boards"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabClient]:
    """The Arduino Uno; only the time that programming takes is not as it is shipped."""
    text = (BOARDS / "arduino-uno.yaml").read_text()
    assert "takes: 3s" in text
    for folder in ("firmware", "pictures"):
        shutil.copytree(BOARDS / folder, tmp_path / folder)
    text = text.replace("takes: 3s", "takes: 20ms").replace("power_wait: 3s", "power_wait: 0")
    with lab_of(tmp_path, text) as lab:
        yield lab


def test_the_arduino_uno_goes_through_a_visit_without_hardware(lab: LabClient) -> None:
    student = lab.student()
    assert lab.value("mcu") == "blank"
    student.post("/api/devices/power/off")
    data = intel_hex(image("hello\n", 64)).encode()
    task = student.request("POST", "/api/devices/mcu/program?name=x.hex", data).json
    assert lab.agent.tasks.get(task["task_id"]).join(10).done
    assert lab.value("power") is False, "as the student had left it"
    student.post("/api/devices/switch_2/on")
    student.post("/api/devices/switch_3/on")
    assert [lab.value(f"light_{pin}") for pin in (11, 12, 13)] == [True, True, True]
    assert lab.finish(student)["finished"]
    assert (lab.value("mcu"), lab.value("power"), lab.value("switch_2")) == ("blank", True, False)


def test_its_blank_image_is_an_endless_loop(lab: LabClient) -> None:
    """RJMP with an offset of -1 words: 1100 kkkk kkkk kkkk (AVR instruction set manual)."""
    (data, end) = (BOARDS / "firmware/uno-blank.hex").read_text().split()
    assert bytes.fromhex(data[1:])[4:6] == 0b1100_1111_1111_1111.to_bytes(2, "little")
    assert end == ":00000001FF"
