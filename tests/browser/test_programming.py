"""A student's visit to boards/arduino-uno.yaml: the real avrdude, and an Arduino behind a pty."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..tools.bootloader import Arduino, image, intel_hex
from .conftest import Student
from .real_node import Node, running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        shutil.which("avrdude") is None, reason="no avrdude here (Debian: apt-get install avrdude)"
    ),
]

BOARDS = Path(__file__).parents[2] / "boards"
BLANK = b"\xff\xcf"  # an endless loop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board as it is shipped, but for the name of its port."""
    folder = tmp_path_factory.mktemp("uno")
    shutil.copytree(BOARDS / "firmware", folder / "firmware")
    shutil.copytree(BOARDS / "pictures", folder / "pictures")
    lines = (BOARDS / "arduino-uno.yaml").read_text().splitlines()
    port = [f"    port: {folder / 'ttyUno'}" if "by-id/" in line else line for line in lines]
    text = "\n".join("" if "#     labnode run" in line else line for line in port)
    text = text.replace("power_wait: 3s", "power_wait: 0")
    (folder / "uno.yaml").write_text(text)
    for name in ("first", "second"):
        (folder / f"{name}.hex").write_text(intel_hex(image(f"This is the {name}.\r\n", 4096)))
    return folder


@pytest.fixture(scope="module")
def arduino(folder: Path) -> Iterator[Arduino]:
    arduino = Arduino(folder / "ttyUno", every=0.3)
    yield arduino
    arduino.close()


@pytest.fixture(scope="module")
def node(folder: Path, arduino: Arduino) -> Iterator[Node]:
    with running(folder / "uno.yaml", folder / "state", only_pins=True) as node:
        yield node


@pytest.fixture
def visitor(student: Student, node: Node) -> Iterator[Student]:
    session_id, url = node.server.new(name="Ada", back=f"{node.url}about", assigned_time=300)
    student.open(url)
    yield student
    student.go_away()
    assert node.server.delete(session_id).clean


def upload(student: Student, path: Path) -> None:
    student.find("#file-mcu").send_keys(str(path))
    student.until(lambda: student.find("#send-mcu").get_attribute("aria-disabled") == "false")
    student.click("#send-mcu")


def test_an_upload_is_written_and_talks_and_is_gone_afterwards(
    student: Student, node: Node, arduino: Arduino, folder: Path
) -> None:
    session_id, url = node.server.new(name="Ada", back=f"{node.url}about", assigned_time=300)
    student.open(url)
    assert arduino.image == BLANK
    upload(student, folder / "first.hex")
    student.sees("#device-mcu", "4096 bytes of flash verified")
    student.sees("#device-console", "This is the first.")
    upload(student, folder / "second.hex")
    student.sees("#device-console", "This is the second.")
    assert b"This is the second." in arduino.image
    student.go_away()
    assert node.server.delete(session_id).clean
    assert arduino.flash[:2] == BLANK
    assert list((folder / "state" / "spool").iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("verify", "does not read back as it should"),
        ("signature", "is not the one that this lab expects"),
        ("garbage", "makes no sense"),
    ],
)
def test_a_failure_is_a_sentence_on_the_page_and_the_board_is_clean_afterwards(
    visitor: Student, arduino: Arduino, folder: Path, fault: str, sentence: str
) -> None:
    arduino.fault = fault
    upload(visitor, folder / "first.hex")
    visitor.sees("#device-mcu", sentence)
    arduino.fault = ""
    upload(visitor, folder / "second.hex")
    visitor.sees("#device-console", "This is the second.")


def test_an_unplugged_board_is_missed_and_comes_back(
    visitor: Student, arduino: Arduino, folder: Path
) -> None:
    arduino.unplug_after = arduino.pages + 5
    upload(visitor, folder / "first.hex")
    visitor.sees("#device-mcu", "unplugged")
    arduino.unplug_after = None
    arduino.plug_in()
    upload(visitor, folder / "second.hex")
    visitor.sees("#device-console", "This is the second.")


def test_a_file_that_does_not_fit_is_refused_on_the_page(
    visitor: Student, folder: Path, arduino: Arduino
) -> None:
    visitor.expects_failures = True
    (folder / "large.hex").write_text(intel_hex(bytes(32 * 1024 - 511)))
    pages = arduino.pages
    upload(visitor, folder / "large.hex")
    visitor.sees("#device-mcu", "goes up to address 0x7E00")
    assert arduino.pages == pages
