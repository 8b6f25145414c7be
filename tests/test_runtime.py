"""A node that changes its board: all of it is new, or all of it as before."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from labnode.board.config.python_files import set_aside
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.registry import registry
from labnode.drivers.gpio.digital_output import Relay
from labnode.errors import ConfigError, DeviceError, LabnodeError
from labnode.testing import LabClient

SHIPPED = sorted((Path(__file__).parents[1] / "boards").glob("*.yaml"))

BOARD = """
schema: 1
title: {title}
lab: {{name: bench}}
devices:
  {name}: {{driver: relay, pin: GPIO17}}
module: own.py
"""

MODULE = """
from labnode import Lab

lab = Lab()
VERSION = {version}


@lab.app.get("/version", access="public")
def version():
    return {{"version": VERSION}}


@lab.app.get("/mine")
def mine():
    return {{"user": lab.user.username}}


@lab.task(label="Which version")
def which():
    return VERSION
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "lab").mkdir()
    before = list(sys.path)
    yield tmp_path / "lab"
    set_aside(tmp_path / "lab")
    sys.path[:] = before


@pytest.fixture
def write(directory: Path) -> Callable[[int], Path]:
    """A board file of version N, with its Python."""

    def write(version: int) -> Path:
        board = directory / "board.yaml"
        board.write_text(BOARD.format(title=f"Version {version}", name=f"relay{version}"))
        (directory / "own.py").write_text(MODULE.format(version=version))
        return board

    return write


@pytest.fixture
def lab(directory: Path, write: Callable[[int], Path]) -> Iterator[LabClient]:
    admin = {"username": "boss", "password": "a long password"}
    with LabClient(write(1), state_dir=directory.parent / "state", admin=admin) as lab:
        yield lab


def apply(lab: LabClient, board: Path) -> str | None:
    """Change the board and wait for that; the error, if it had one."""
    board_change = lab.agent.board_change
    board_change.begin(board)
    board_change.wait_until_checked()
    assert board_change._thread is not None
    board_change._thread.join(20)
    error: str | None = board_change.progress()["error"]
    return error


def version(lab: LabClient) -> Any:
    return lab.browser().get("/version").json["version"]


def fail_to_open(self: Any) -> None:
    raise OSError("no such pin")


def test_devices_pages_tasks_and_python_are_those_of_the_new_board(
    lab: LabClient, write: Callable[[int], Path]
) -> None:
    assert version(lab) == 1
    assert apply(lab, write(2)) is None
    assert version(lab) == 2
    student = lab.student()
    assert student.get("/api/board").json["title"] == "Version 2"
    assert student.post("/api/devices/relay2/on").status == 200
    assert student.post("/api/devices/relay1/on").status == 404
    task = student.post("/api/tasks/which").json
    assert lab.agent.tasks.get(task["task_id"]).join(10).result == 2
    lab.finish(student)


def test_the_history_and_a_quarantine_stay(lab: LabClient, write: Callable[[int], Path]) -> None:
    student = lab.student(full_name="Ada")
    lab.finish(student)
    lab.agent.sessions.quarantine.impose("smoke")
    assert apply(lab, write(2)) is None
    assert lab.agent.sessions.quarantine.why == "smoke"
    (row,) = lab.agent.store.select("sessions", "1")
    assert row["full_name"] == "Ada"


def test_an_emergency_stop_stays(lab: LabClient, write: Callable[[int], Path]) -> None:
    lab.agent.estop.press("smoke")
    assert apply(lab, write(2)) is None
    assert lab.agent.estop.why == "smoke"
    with pytest.raises(LabnodeError, match="stopped"):
        lab.agent.worker.call(lambda: lab.agent.board.command("relay2", "on"))


def test_the_old_board_is_safe_before_the_new_one_opens(
    lab: LabClient, write: Callable[[int], Path]
) -> None:
    old = lab.agent.board
    lab.agent.worker.call(lambda: old.command("relay1", "on"))
    assert apply(lab, write(2)) is None
    assert old.snapshot["relay1"]["value"] is None
    assert lab.value("relay2") is False


def test_a_device_that_does_not_open_leaves_all_as_it_was(
    lab: LabClient, write: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = write(2)
    opens = Relay.open

    def open(self: Any) -> None:
        if self.name == "relay2":
            raise OSError("no such pin")
        opens(self)

    monkeypatch.setattr(Relay, "open", open)
    assert apply(lab, board) == "'relay2' did not open: no such pin"
    assert version(lab) == 1
    student = lab.student()
    assert student.get("/api/board").json["title"] == "Version 1"
    assert student.get("/mine").json == {"user": "student"}  # known to the sessions of now
    assert lab.browser().get("/mine").status == 403
    assert student.post("/api/devices/relay1/on").status == 200
    task = student.post("/api/tasks/which").json
    assert lab.agent.tasks.get(task["task_id"]).join(10).result == 1
    lab.finish(student)
    monkeypatch.undo()
    assert apply(lab, board) is None  # and when it is mended, it can be applied
    assert version(lab) == 2


def test_a_board_with_mistakes_does_not_disturb_a_student(lab: LabClient, directory: Path) -> None:
    student = lab.student()
    (directory / "board.yaml").write_text("schema: 1\ndevices: {a: {driver: realy}}\n")
    board_change = lab.agent.board_change
    board_change.begin(directory / "board.yaml")
    with pytest.raises(ConfigError, match="realy"):
        board_change.wait_until_checked()
    assert student.post("/api/devices/relay1/on").status == 200
    assert lab.agent.sessions.draining is False


def test_a_student_is_waited_for(lab: LabClient, write: Callable[[int], Path]) -> None:
    student = lab.student()
    board_change = lab.agent.board_change
    board_change.begin(write(2))
    board_change.wait_until_checked()
    assert board_change.progress()["state"] == "waiting"
    assert student.post("/api/devices/relay1/on").status == 200
    assert lab.start().status == 503
    lab.finish(student)
    assert board_change._thread is not None
    board_change._thread.join(20)
    assert version(lab) == 2
    assert lab.start().status == 200


def test_a_node_without_any_board_gives_up(
    lab: LabClient, write: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[str] = []

    def give_up(why: str) -> None:
        given_up.append(why)
        raise DeviceError("the process is gone")

    monkeypatch.setattr(lab.agent, "give_up", give_up)
    monkeypatch.setattr(Relay, "open", fail_to_open)
    apply(lab, write(2))
    assert given_up == ["it has no board left"]


@pytest.mark.parametrize("board", SHIPPED, ids=lambda board: board.stem)
def test_every_board_can_be_left_and_taken_up_again(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(kw_only=True)
    class Broken(Driver):
        kind: ClassVar[str] = "broken"
        simulates: ClassVar[bool] = True

        def open(self) -> None:
            raise OSError("no such port")

    monkeypatch.setitem(registry, "broken", Broken)
    (tmp_path / "broken.yaml").write_text("schema: 1\ndevices: {console: {driver: broken}}\n")
    with LabClient(board, state_dir=tmp_path / "state") as lab:
        safe = lab.agent.board.snapshot
        assert apply(lab, board) is None
        assert apply(lab, tmp_path / "broken.yaml") == "'console' did not open: no such port"
        assert lab.agent.board.file.path == board
        assert lab.agent.board.snapshot.keys() == safe.keys()
        student = lab.student()
        assert student.get("/api/board").status == 200
        lab.finish(student)
        assert lab.agent.sessions.quarantine.why is None


def test_no_thread_of_the_old_board_is_left(lab: LabClient, write: Callable[[int], Path]) -> None:
    def names() -> list[str]:
        return sorted(thread.name for thread in threading.enumerate())

    before = names()
    for number in (2, 3, 4):
        assert apply(lab, write(number)) is None
    assert names() == before
