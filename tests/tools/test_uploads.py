"""A student's file: taken in, looked at, written by a task, thrown away; and every bad one."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import shutil
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from labnode.lab.spool import Spooled
from labnode.tasks import Task
from labnode.testing import LabClient, Reply, Student
from tests.kit.labs import lab_of
from tests.kit.waiting import eventually

from .bootloader import image, intel_hex

BOARD = """
schema: 1
lab: {name: uno}
devices:
  power: {driver: relay, pin: GPIO17}
  mcu: {driver: avrdude, part: atmega328p, programmer: arduino, port: /dev/ttyACM0, retries: 0,
        max_size: 8KiB, blank: blank.hex, power: power, power_wait: 0, estimated_time: 30}
  hidden: {driver: avrdude, part: attiny85, programmer: usbasp, access: system}
simulate:
  mcu: {takes: 20ms}
module: lab.py
"""

MODULE = """
from labnode import Lab

lab = Lab()


@lab.task(unique="global", label="Flash")
def flash(name):
    return lab.devices.mcu.program(name)["writes"]


@lab.task(label="Flash behind")
def flash_behind(name):
    return lab.devices.mcu.program(name)["writes"]
"""

HELLO = intel_hex(image("hello\n", 512)).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blank.hex").write_text(intel_hex(image("blank\n", 64)))
    (tmp_path / "hello.hex").write_bytes(HELLO)
    (tmp_path / "board.yaml").write_text(BOARD)
    return tmp_path


@pytest.fixture
def lab(folder: Path) -> Iterator[LabClient]:
    with lab_of(folder, BOARD, MODULE) as lab:
        yield lab


@pytest.fixture
def student(lab: LabClient) -> Student:
    return lab.student(username="ada")


def upload(student: Student, data: bytes = HELLO, name: str = "hello.hex", **headers: str) -> Reply:
    query = f"?name={name}" if name else ""
    return student.request("POST", f"/api/devices/mcu/program{query}", data, **headers)


def finished(lab: LabClient, reply: Reply) -> dict[str, Any]:
    """The task of a 202, when it has come to its end."""
    assert reply.status == 202, reply
    task: dict[str, Any] = lab.agent.tasks.get(reply.json["task_id"]).join(10).to_json()
    return task


def spool(folder: Path) -> list[str]:
    return [path.name for path in (folder / "state" / "spool").iterdir()]


def test_a_file_is_written_by_a_task_and_thrown_away(
    lab: LabClient, student: Student, folder: Path
) -> None:
    task = finished(lab, upload(student))
    assert (task["name"], task["status"], task["data"]["percent"]) == ("mcu.program", "done", 100)
    assert task["data"]["file"] == "hello.hex"
    assert lab.value("mcu") == "programmed"
    assert spool(folder) == []


def test_it_is_in_the_history_with_its_hash(lab: LabClient, student: Student) -> None:
    finished(lab, upload(student, name="My%20%C3%A9tude.HEX"))
    (action,) = lab.agent.sessions.actions.find(student.session_id)
    assert action["action"] == "upload"
    assert action["data"] == {
        "device": "mcu",
        "file": "My étude.HEX",
        "size": len(HELLO),
        "sha256": hashlib.sha256(HELLO).hexdigest(),
    }


def test_the_session_keeps_the_names_of_what_was_sent(lab: LabClient, student: Student) -> None:
    finished(lab, upload(student))
    finished(lab, upload(student, name="second.hex"))
    files = student.get("/api/state").json["files"]
    assert [(each["device"], each["name"], each["size"]) for each in files] == [
        ("mcu", "hello.hex", len(HELLO)),
        ("mcu", "second.hex", len(HELLO)),
    ]
    assert files[0]["at"] <= files[1]["at"] <= student.get("/api/state").json["now"]
    lab.finish(student)
    assert lab.student().get("/api/state").json["files"] == []


def test_a_file_for_which_the_page_no_longer_waits_is_not_written(
    lab: LabClient, student: Student, folder: Path
) -> None:
    late = student.get("/api/state").json["now"] - 1
    reply = upload(student, HTTP_LABNODE_DEADLINE=str(late))
    assert (reply.status, reply.json["code"]) == (504, "timeout")
    assert student.get("/api/state").json["tasks"] == []
    assert spool(folder) == []


def test_the_address_of_the_contract_is_the_same(lab: LabClient, student: Student) -> None:
    reply = student.request("POST", "/api/uploads/mcu?name=x.hex", HELLO)
    assert finished(lab, reply)["status"] == "done"


def test_the_blank_image_follows_every_student(lab: LabClient, student: Student) -> None:
    finished(lab, upload(student))
    assert lab.finish(student)["finished"]
    assert lab.value("mcu") == "blank"
    assert lab.value("power") is False


def test_a_student_may_have_the_blank_image_back(lab: LabClient, student: Student) -> None:
    finished(lab, upload(student))
    assert finished(lab, student.post("/api/devices/mcu/blank"))["status"] == "done"
    assert lab.value("mcu") == "blank"


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("x.exe", HELLO, "Only .hex files"),
        ("hex", HELLO, "Only .hex files"),
        ("x.hex", b"", "empty"),
        ("x.hex", b"\x7fELF" + b"\0" * 100, "not an Intel HEX file"),
        ("x.hex", HELLO.replace(b":10", b":11", 1), "the length is wrong in line 1"),
        ("x.hex", HELLO[:-13], "cut off"),
        ("x.hex", HELLO + b":00000001FF", "follows the end in line 34"),
        ("x.hex", b":00000001FF\n", "no data"),
        ("x.hex", intel_hex(b"x" * 32, 0x7FF0).encode(), "up to address 0x800F"),
        ("x.hex", intel_hex(b"x" * 16, 0x10000).encode(), "does not fit"),
        ("x.hex", HELLO.ljust(8193, b"\n"), "more than 8192 bytes"),
    ],
)
def test_a_file_that_is_not_for_the_chip_is_refused_with_a_sentence(
    student: Student, folder: Path, name: str, data: bytes, sentence: str
) -> None:
    reply = upload(student, data, name)
    assert (reply.status, reply.json["code"]) == (400, "bad-file")
    assert sentence in reply.json["message"]
    assert spool(folder) == []


def test_a_refusal_speaks_the_student_s_language(student: Student) -> None:
    reply = upload(student, b"", HTTP_ACCEPT_LANGUAGE="es")
    assert reply.json["message"] == "El archivo está vacío."


@pytest.mark.parametrize(
    "name",
    [
        "..%2F..%2Fetc%2Fpasswd.hex",
        "%3Brm%20-rf%20~.hex",
        "%24%28touch%20x%29.hex",
        "-flag.hex",
        "a%00b.hex",
        "x" * 300 + ".hex",
        "%2Fetc%2Fcron.d%2Fx.hex",
        "con.hex%0D%0ASet-Cookie:x.hex",
        "..\\..\\x.hex",
        "%FF%FE.hex",
    ],
)
def test_a_name_is_never_a_path_nor_an_argument(
    lab: LabClient, student: Student, folder: Path, name: str
) -> None:
    before = sorted(path for path in folder.rglob("*") if "state" not in path.parts)
    task = finished(lab, upload(student, name=name))
    assert task["status"] == "done"
    kept = task["data"]["file"]
    assert "/" not in kept
    assert "\\" not in kept
    assert kept.isprintable()
    assert len(kept) <= 100
    assert sorted(path for path in folder.rglob("*") if "state" not in path.parts) == before
    assert spool(folder) == []


def test_a_form_is_told_from_a_file(student: Student, folder: Path) -> None:
    reply = upload(student, CONTENT_TYPE="multipart/form-data; boundary=x")
    assert (reply.status, reply.json["code"]) == (400, "bad-file")
    assert "not a form" in reply.json["message"]
    assert spool(folder) == []


def test_nobody_uploads_without_a_session(lab: LabClient, folder: Path) -> None:
    reply = lab.browser().request("POST", "/api/devices/mcu/program?name=x.hex", HELLO)
    assert reply.status == 403
    assert spool(folder) == []


def test_a_programmer_that_is_not_for_students_is_not_there(student: Student) -> None:
    reply = student.request("POST", "/api/devices/hidden/program?name=x.hex", HELLO)
    assert reply.status == 404
    assert student.request("POST", "/api/uploads/hidden?name=x.hex", HELLO).status == 404


def test_a_path_from_outside_programs_nothing(student: Student) -> None:
    reply = student.post("/api/devices/mcu/program?name=x.hex", {"image": "/etc/passwd"})
    assert reply.json["message"] == "This is not an Intel HEX file."


@pytest.fixture
def slow(folder: Path) -> Iterator[LabClient]:
    board = BOARD.replace("takes: 20ms", "takes: 30s").replace("blank: blank.hex, ", "")
    with lab_of(folder, board, MODULE) as lab:
        yield lab


def test_while_one_file_is_written_another_is_refused_and_calls_are_served(
    slow: LabClient, folder: Path
) -> None:
    student = slow.student()
    first = upload(student)
    second = upload(student)
    assert (first.status, second.status) == (202, 409)
    assert second.json["error"]["code"] == "already-running"
    assert len(spool(folder)) == 1
    assert student.post("/api/devices/power/on").status == 200


def test_a_student_s_stop_ends_it(slow: LabClient, folder: Path) -> None:
    student = slow.student()
    task_id = upload(student).json["task_id"]
    eventually(lambda: slow.value("mcu") == "programming")
    student.post(f"/api/tasks/{task_id}/stop")
    task = slow.agent.tasks.get(task_id).join(10).to_json()
    assert task["error"]["code"] == "stopped"
    assert spool(folder) == []


def test_at_most_the_last_file_waits_for_the_end_of_the_session(
    slow: LabClient, folder: Path
) -> None:
    student = slow.student()
    for _ in range(3):  # some are stopped before they have begun
        task_id = upload(student).json["task_id"]
        student.post(f"/api/tasks/{task_id}/stop")
        slow.agent.tasks.get(task_id).join(10)
    assert len(spool(folder)) <= 1


def test_the_end_of_the_session_ends_it_and_empties_the_spool(
    slow: LabClient, folder: Path
) -> None:
    student = slow.student()
    upload(student)
    assert slow.finish(student)["finished"]
    assert spool(folder) == []


def test_who_has_too_little_time_left_is_refused(lab: LabClient, folder: Path) -> None:
    student = lab.student(seconds=29)
    reply = upload(student)
    assert (reply.status, reply.json["error"]["code"]) == (409, "no-time")
    assert spool(folder) == []


def test_a_failure_is_told_in_the_student_s_language(folder: Path) -> None:
    board = BOARD.replace("takes: 20ms", "takes: 20ms, fails: -1, says: verification mismatch")
    with lab_of(folder, board.replace("blank: blank.hex, ", ""), MODULE) as lab:
        student = lab.student(locale="es")
        task = finished(lab, upload(student))
        told = student.get(f"/api/tasks/{task['task_id']}").json["error"]
    assert told["code"] == "tool-failed"
    assert told["message"].startswith("Lo que se escribió en el chip")


def test_a_board_that_does_not_become_blank_is_quarantined(folder: Path) -> None:
    board = BOARD.replace("takes: 20ms", "takes: 20ms, fails: 1, says: not in sync")
    with lab_of(folder, board, MODULE) as lab:
        assert lab.start().status == 503
        assert lab.agent.sessions.quarantine.why is None, "the second attempt went well"
    with lab_of(folder, board.replace("fails: 1", "fails: -1"), MODULE) as lab:
        assert lab.start().status == 503
        assert "stopped answering" in (lab.agent.sessions.quarantine.why or "")


def test_a_lab_s_own_task_programs_too(lab: LabClient, student: Student) -> None:
    reply = student.post("/api/tasks/flash", {"name": "hello.hex"})
    task = lab.agent.tasks.get(reply.json["task_id"]).join(10)
    assert (task.status, task.result) == ("done", 2), "the first was the blank image's"
    assert task.data["percent"] == 100


def test_a_lab_s_task_in_the_background_waits_for_the_node_s_own(
    lab: LabClient, student: Student
) -> None:
    def flash(name: str) -> Task:
        reply = student.post("/api/tasks/flash_behind", {"name": name})
        return lab.agent.tasks.get(reply.json["task_id"]).join(10)

    written, missing = flash("hello.hex"), flash("nothing.hex")
    assert (written.status, written.result) == ("done", 2)
    assert "nothing.hex" in missing.error["message"]


def test_how_often_the_chip_was_written_survives_the_node(folder: Path) -> None:
    for expected in (2, 5):  # blank, student's; blank again at the end of the first
        with lab_of(folder, BOARD, MODULE) as lab:
            student = lab.student()
            finished(lab, upload(student))
            assert lab.agent.board.snapshot["mcu"]["writes"] == expected
            lab.finish(student)


def over_http(lab: LabClient, student: Student) -> tuple[int, Any]:
    """The answer of the node's own web server, which spools the file before a view is called."""
    lab.agent.web.start()
    connection = http.client.HTTPConnection("127.0.0.1", lab.agent.web.address[1], timeout=20)
    cookies = "; ".join(f"{name}={one.value}" for name, one in student._cookies.items())
    with closing(connection):
        address = "/api/devices/mcu/program?name=hello.hex"
        connection.request("POST", address, HELLO, {"Cookie": cookies})
        response = connection.getresponse()
        answer = response.status, json.loads(response.read())
    lab.agent.web.stop()
    return answer


def test_a_file_comes_over_http(lab: LabClient, student: Student, folder: Path) -> None:
    status, task = over_http(lab, student)
    assert status == 202
    assert lab.agent.tasks.get(task["task_id"]).join(10).status == "done"
    assert spool(folder) == []


def test_while_another_file_of_the_session_comes_in_one_is_refused(
    lab: LabClient, student: Student
) -> None:
    other = lab.agent.runtime.node.programming.spool.begin(student.session_id, 10)
    status, answer = over_http(lab, student)
    assert (status, answer["code"]) == (503, "busy")
    other.discard()
    assert over_http(lab, student)[0] == 202


def test_a_disk_without_room_is_told_and_nothing_is_left(
    lab: LabClient, student: Student, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2 << 20, 1 << 20, 1 << 20))
    status, answer = over_http(lab, student)
    assert (status, answer["code"]) == (503, "storage")
    assert answer["message"] == "The lab's computer has no room for the file."
    assert spool(folder) == []


def test_a_disk_that_is_full_half_way_is_told_and_nothing_is_left(
    lab: LabClient, student: Student, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_spooled: Spooled, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Spooled, "write", write)
        status, answer = over_http(lab, student)
    assert status == 507
    assert answer["message"] == "The lab's computer has no room for the file."
    assert spool(folder) == []
    assert over_http(lab, student)[0] == 202


def test_the_spool_is_emptied_at_boot(folder: Path) -> None:
    (folder / "state" / "spool").mkdir(parents=True)
    (folder / "state" / "spool" / "left.hex").write_bytes(HELLO)
    with lab_of(folder, BOARD, MODULE):
        assert spool(folder) == []


def test_the_blank_image_of_a_board_file_is_checked_when_it_is_read(folder: Path) -> None:
    from labnode.board import load_board
    from labnode.errors import ConfigError

    (folder / "blank.hex").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"blank.hex: This is not an Intel HEX file"):
        load_board(folder / "board.yaml")
    (folder / "blank.hex").unlink()
    with pytest.raises(ConfigError, match="there is no file"):
        load_board(folder / "board.yaml")
