"""A whole node with a real program on its hardware thread: everything else lives on meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.gpio.factories import mock_factory
from labnode.node.agent import Agent
from labnode.testing import LabClient
from tests.kit.labs import lab_of
from tests.kit.waiting import eventually

from .files import dfu

BOARD = """
schema: 1
lab: {name: stm}
devices:
  heater: {driver: relay, pin: GPIO17}
  lid: {driver: digital_input, pin: GPIO27, pull_up: false}
  stm: {driver: dfu_util, device: '0483:df11', retries: 0}
interlocks:
  - {name: lid, when: lid, force: {heater: false}, message: The lid is open.}
"""

SLOW = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("10%", os.getpid(), flush=True)
signal.pause()
"""


@pytest.fixture
def with_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes whose pins alone are simulated."""
    monkeypatch.setattr("labnode.board.board.real_factory", lambda _work_dir: mock_factory())
    monkeypatch.setattr(
        "labnode.testing.Agent", lambda *args, **given: Agent(*args, **{**given, "simulate": False})
    )


@pytest.fixture
def lab(
    tmp_path: Path, with_pins: None, stand_in: Callable[[str, str], Path]
) -> Iterator[LabClient]:
    """A node whose dfu-util never ends by itself."""
    stand_in("dfu-util", SLOW)
    with lab_of(tmp_path, BOARD) as lab:
        yield lab


@pytest.fixture
def student(lab: LabClient) -> Any:
    return lab.student()


def programming(lab: LabClient, student: Any) -> tuple[str, int]:
    """The id of a task that programs, and of the process that it waits for."""
    reply = student.request("POST", "/api/devices/stm/program?name=x.dfu", dfu(0x0483, 0xDF11))
    assert reply.status == 202
    task_id = reply.json["task_id"]
    log = eventually(lambda: lab.agent.tasks.get(task_id).data.get("log"))
    return task_id, int(log[0].split()[1])


def gone(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def test_calls_and_interlocks_act_while_it_runs(lab: LabClient, student: Any) -> None:
    programming(lab, student)
    assert student.post("/api/devices/heater/on").status == 200
    lab.agent.board.pins.pin(27).drive_high()  # as an edge would come from the pin library
    eventually(lambda: lab.value("heater") is False)
    assert student.post("/api/devices/heater/on").json["code"] == "interlocked"


def test_its_progress_is_seen_meanwhile(lab: LabClient, student: Any) -> None:
    task_id, _ = programming(lab, student)
    reply = student.get(f"/api/tasks/{task_id}").json
    assert (reply["status"], reply["data"]["percent"]) == ("running", 10)
    assert lab.value("stm") == "programming"


def test_a_stop_is_heard_although_the_program_is_deaf(lab: LabClient, student: Any) -> None:
    task_id, pid = programming(lab, student)
    student.post(f"/api/tasks/{task_id}/stop")
    task = lab.agent.tasks.get(task_id).join(10)
    assert task.error["code"] == "stopped"
    assert gone(pid)


def test_the_end_of_the_session_ends_it(lab: LabClient, student: Any) -> None:
    _, pid = programming(lab, student)
    assert lab.finish(student)["finished"]
    assert gone(pid)


def test_the_end_of_the_node_ends_it(lab: LabClient, student: Any) -> None:
    _, pid = programming(lab, student)
    assert lab.agent.stop()
    assert gone(pid)


def test_a_program_that_is_not_there_keeps_the_node_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: LabClient
) -> None:
    from labnode.errors import DeviceError

    monkeypatch.setenv("PATH", "/nowhere")
    other = lab_of(tmp_path, BOARD, state_dir=tmp_path / "other")
    with pytest.raises(DeviceError, match="apt-get install dfu-util"), other:
        pass


def test_a_program_of_a_sequence_runs_beside_the_board_with_the_rights_of_the_node(
    tmp_path: Path, with_pins: None
) -> None:
    run = "{run: [sh, -c, 'echo $1 $PWD >ran; cat board.yaml >>ran', sh, started]}"
    board = f"schema: 1\ndevices: {{}}\nsequences: {{on_start: {{steps: [{run}]}}}}\n"
    with lab_of(tmp_path, board) as lab:
        lab.student()
        (written,) = tmp_path.rglob("ran")
        assert written.read_text() == f"started {written.parent}\n{board}"
