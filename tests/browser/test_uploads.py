"""Files that a student sends to a device, again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser

SEND = "#send-mcu"


@pytest.fixture
def bench(student: Student, lab: StandIn) -> StandIn:
    """The stand-in with a programmer, and its page open."""
    lab.show_all_widgets()
    student.open(lab.url)
    return lab


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """What the student's compiler has written."""
    build = tmp_path / "blink.hex"
    build.write_bytes(b"first")
    return build


def choose(student: Student, file: Path) -> None:
    student.find("#file-mcu").send_keys(str(file))
    student.sees("#device-mcu .chosen", file.name)


def send(student: Student, bench: StandIn) -> None:
    """Send the file, and have it written."""
    student.until(lambda: student.find(SEND).get_attribute("aria-disabled") == "false")
    before = len(bench.uploads)
    student.click(SEND)
    student.until(lambda: len(bench.uploads) > before, "the file arrives")
    bench.change_task(status="done", result="written")
    student.sees("#device-mcu .state", "Done")


def test_a_file_that_was_built_again_is_sent_as_it_is_now(
    student: Student, bench: StandIn, build: Path
) -> None:
    choose(student, build)
    for content in (b"first", b"second one", b"third \r\n\0\xff", b""):
        build.write_bytes(content)
        send(student, bench)
        assert bench.uploads[-1] == ("mcu", "blink.hex", content)
    assert student.text("#device-mcu .error") == ""


def test_a_file_that_has_become_too_large_is_not_sent(
    student: Student, bench: StandIn, build: Path
) -> None:
    choose(student, build)
    build.write_bytes(bytes(1001))
    student.click(SEND)
    student.sees("#device-mcu .error", "The file is too large: at most 1000 B.")
    assert bench.uploads == []


def test_a_file_that_cannot_be_read_any_more_has_to_be_chosen_again(
    student: Student, bench: StandIn, build: Path
) -> None:
    student.expects_failures = True
    choose(student, build)
    build.unlink()
    student.click(SEND)
    student.sees("#device-mcu .error", "Choose the file again.")
    assert student.text("#device-mcu .state") == ""
    build.write_bytes(b"back")
    choose(student, build)
    assert student.text("#device-mcu .error") == ""
    send(student, bench)
    assert bench.uploads == [("mcu", "blink.hex", b"back")]
