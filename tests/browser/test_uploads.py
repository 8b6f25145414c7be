"""Files that a student sends to a device, again and again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser

SEND = "#send-mcu"


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


DROP = """
    const transfer = new DataTransfer();
    transfer.items.add(new File([arguments[1]], arguments[0]));
    const label = document.querySelector("#device-mcu .label");
    for (const type of ["dragover", "drop"])
        label.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true}));
"""


def test_a_file_is_dropped_anywhere_on_the_card(student: Student, bench: StandIn) -> None:
    student.run(DROP, "dropped.hex", "dropped")
    student.sees("#device-mcu .chosen", "dropped.hex · 7 B")
    send(student, bench)
    assert bench.uploads == [("mcu", "dropped.hex", b"dropped")]


def test_files_of_the_session_are_listed_and_sent_again_as_they_were(
    student: Student, bench: StandIn, build: Path
) -> None:
    choose(student, build)
    send(student, bench)
    build.write_bytes(b"second one")
    send(student, bench)
    student.click("#device-mcu .sent summary")
    assert student.text("#device-mcu .sent summary") == "Files sent: 2"
    lines = student.driver.find_elements("css selector", "#device-mcu .sent li span")
    assert [line.text.rpartition(" · ")[0] for line in lines] == [
        "blink.hex · 10 B",
        "blink.hex · 5 B",
    ]
    student.click("#device-mcu .sent li:last-child button")
    student.until(lambda: len(bench.uploads) == 3, "the first one is sent again")
    assert bench.uploads[-1] == ("mcu", "blink.hex", b"first")
    assert student.text("#device-mcu .sent summary") == "Files sent: 2"


def test_a_page_that_is_opened_again_still_lists_what_was_sent(
    student: Student, bench: StandIn
) -> None:
    at = time.monotonic() - 60
    bench.files = [
        {"at": at, "device": "mcu", "name": "blink.hex", "size": 5},
        {"at": at, "device": "other", "name": "else.hex", "size": 5},
    ]
    student.open(bench.url)
    student.click("#device-mcu .sent summary")
    assert student.text("#device-mcu .sent summary") == "Files sent: 1"
    assert student.text("#device-mcu .sent li").startswith("blink.hex · 5 B · ")
    assert "Send again" not in student.text("#device-mcu .sent li")  # the page has not got it


def test_an_upload_says_how_long_the_page_waits_for_it(
    student: Student, bench: StandIn, build: Path
) -> None:
    choose(student, build)
    send(student, bench)
    (deadline,) = bench.deadlines
    assert 3 < float(deadline or "nan") - time.monotonic() < 8


def test_a_refused_file_is_not_said_to_be_on_its_way(
    student: Student, bench: StandIn, build: Path
) -> None:
    student.expects_failures = True
    choose(student, build)
    bench.refusal = (409, "already-running", "The controller is being programmed already.")
    student.click(SEND)
    student.sees("#device-mcu .error", "The controller is being programmed already.")
    assert student.text("#device-mcu .state") == ""
    assert student.text("#notices") == ""
    assert not student.find("#device-mcu progress").is_displayed()
    assert student.text("#device-mcu .sent summary") == "Files sent: 0"


def test_what_the_student_has_stopped_is_stopped_and_has_not_failed(
    student: Student, bench: StandIn, build: Path
) -> None:
    choose(student, build)
    student.click(SEND)
    student.sees("#device-mcu .state", "Waiting")
    stopped = {"code": "stopped", "message": "It was stopped before the board was programmed."}
    bench.change_task(status="failed", error=stopped)
    student.sees("#device-mcu .state", "Stopped")
    assert student.text("#device-mcu .slot") == ""


def test_a_result_is_a_sentence(student: Student, bench: StandIn, build: Path) -> None:
    choose(student, build)
    student.click(SEND)
    student.sees("#device-mcu .state", "Waiting")
    bench.change_task(status="done", result={"seconds": 2.345, "writes": 17})
    student.sees("#device-mcu .result", "Written in 2.3 s.")


def test_an_upload_is_followed_in_the_bar_and_moves_nothing(
    student: Student, bench: StandIn, build: Path
) -> None:
    top = "return scrollY + document.querySelector('#device-mode').getBoundingClientRect().top"
    before = student.run(top)
    choose(student, build)
    student.click(SEND)
    student.sees("#notices", "Controller: Waiting for its turn…")
    bench.change_task(
        status="running", data={"percent": 50, "log": ["Writing", "more", "and more"]}
    )
    student.sees("#notices", "Controller: Running… 50%")
    assert student.run(top) == before
    bench.change_task(status="done", result={"seconds": 1})
    student.sees("#notices", "Controller: Done")
    assert student.run(top) == before
