"""The controller of the thermal board: on a box of numbers, and on the simulated board."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.testing import LabClient

BOARD = Path(__file__).parent.parent.parent / "boards" / "thermal.yaml"


@pytest.fixture
def thermal(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("thermal_of_test", BOARD.with_suffix(".py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lab(own_modules: None) -> Iterator[LabClient]:
    with LabClient(BOARD) as lab:
        yield lab


class Box:
    """The box of boards/thermal.yaml: 60 °C above the room when heated, in 40 s for the most."""

    def __init__(self, temperature: float = 22.0) -> None:
        self.temperature = temperature

    def live(self, seconds: float, heated: float) -> None:
        while seconds > 0:
            step = min(0.1, seconds)
            target = 22 + (60 if heated > 0 else 0)
            self.temperature += (target - self.temperature) * step / 40
            heated, seconds = heated - step, seconds - step


@pytest.mark.parametrize("setpoint", [30, 45, 60])
def test_the_controller_holds_its_setpoint_and_does_not_shoot_far_over_it(
    thermal: Any, setpoint: float
) -> None:
    pid, box = thermal.Pid(), Box()
    seen = []
    for _ in range(60):  # 15 minutes
        heated = thermal.on_time(pid.power(setpoint, box.temperature, thermal.WINDOW))
        box.live(thermal.WINDOW, heated)
        seen.append(box.temperature)
    assert max(seen) < setpoint + 6
    assert sum(seen[-20:]) / 20 == pytest.approx(setpoint, abs=2)


def test_the_integral_does_not_grow_while_the_heater_cannot_do_more(thermal: Any) -> None:
    pid = thermal.Pid()
    for _ in range(100):
        assert pid.power(65, 20, 15) == 1.0
    assert pid.integral == 0


@pytest.mark.parametrize(("power", "seconds"), [(0, 0), (0.05, 0), (0.5, 7.5), (0.7, 15), (1, 15)])
def test_the_relay_gets_its_rest_in_every_window(
    thermal: Any, power: float, seconds: float
) -> None:
    assert thermal.on_time(power) == seconds


def task(student: Any, task_id: str, over: bool) -> Any:
    """The task, once it tells something or, with `over`, has ended."""
    for _ in range(2000):
        told = student.get(f"/api/tasks/{task_id}").json
        ended = told["status"] in ("done", "failed")
        if ended or (not over and told["data"]):
            return told
    raise AssertionError(told)


def test_the_task_heats_tells_how_far_it_is_and_stops_when_it_is_told(lab: LabClient) -> None:
    student = lab.student(seconds=600)
    assert student.post("/api/devices/setpoint/set", {"value": 60}).status == 200
    started = student.post("/api/tasks/hold", {})
    assert started.status in (200, 202), started
    task_id = started.json["task_id"]
    told = task(student, task_id, over=False)
    assert told["data"]["power"] > 0.5
    assert "60.0 °C wanted" in told["data"]["log"][0]
    student.post(f"/api/tasks/{task_id}/stop")
    told = task(student, task_id, over=True)
    assert (told["status"], told["result"]["windows"]) == ("done", 1)
    assert lab.value("heater") is False
    lab.finish(student)


def test_with_the_lid_open_the_controller_goes_on_without_heat(lab: LabClient) -> None:
    student = lab.student(seconds=600)
    lab.agent.worker.call(lambda: lab.agent.board.simulation.drive("door", False))
    started = student.post("/api/tasks/hold", {"minutes": 1})
    told = task(student, started.json["task_id"], over=False)
    assert told["status"] == "running"
    assert lab.value("heater") is False
    student.post(f"/api/tasks/{started.json['task_id']}/stop")
    assert task(student, started.json["task_id"], over=True)["status"] == "done"
    lab.finish(student)
