"""A lab's Python talks with a serial device, and its students may too, but not wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode.testing import LabClient
from tests.kit.labs import lab_of
from tests.kit.waiting import PATIENCE

BOARD = r"""
schema: 1
devices:
  console: {driver: serial, port: /dev/ttyUSB0}
  led: {driver: led, pin: GPIO17}
simulate:
  console: {answers: {"led (on|off)": "led is \\1\n", "reset": "ready\n"}}
sequences:
  on_start:
    steps: [{serial: {console: {send: reset, expect: ready, timeout: 5}}}]
module: lab.py
"""

MODULE = """
from labnode import Lab

lab = Lab()


@lab.task(unique="global")
def switch(how: str):
    answer = lab.devices.console.ask(f"led {how}")
    lab.devices.led.set(answer == f"led is {how}")
    return answer


@lab.app.get("/ask")
def ask():
    return {"answer": lab.devices.console.ask("led on")}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabClient]:
    with lab_of(tmp_path, BOARD, MODULE) as lab:
        yield lab


def test_a_task_and_a_view_ask_the_device(lab: LabClient) -> None:
    task = lab.lab.functions["switch"].run_sync("on", timeout=PATIENCE)
    assert task.result == "led is on"
    assert lab.value("led") is True
    student = lab.student()
    assert student.get("/ask").json == {"answer": "led is on"}


def test_students_may_send_and_not_wait(lab: LabClient) -> None:
    student = lab.student()
    assert student.post("/api/devices/console/send", ["led on"]).status == 200
    for command in ("expect", "ask", "read_line"):
        reply = student.post(f"/api/devices/console/{command}", ["x"])
        assert (reply.status, reply.json["code"]) == (404, "not-found")
    (console,) = [d for d in student.get("/api/board").json["devices"] if d["name"] == "console"]
    assert "expect" not in [command["name"] for command in console["commands"]]
