"""A student's whole visit: a real agent process, a central server and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Keys

from .conftest import Student
from .real_node import Node, running

pytestmark = pytest.mark.browser

BOARDS = Path(__file__).parents[2] / "boards"
DEMO = BOARDS / "demo.yaml"
SWITCH = "#device-switch [role=switch]"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running(DEMO, tmp_path_factory.mktemp("state")) as node:
        yield node


def back_of(node: Node) -> str:
    """Where students come from: a page that everybody may see."""
    return f"{node.url}about"


def test_a_student_uses_the_board_and_leaves(student: Student, node: Node) -> None:
    session_id, url = node.server.new(name="Ada Lovelace", back=back_of(node), assigned_time=120)
    student.open(url)
    assert student.driver.current_url == node.url
    assert student.text("h1") == "Demo board"
    assert student.text("#student") == "Ada Lovelace"
    student.sees("#clock", "1:5")
    assert student.text("#device-lamp .state") == "Off"
    student.click(SWITCH)
    student.sees("#device-lamp .state", "On")
    student.click(SWITCH)
    student.sees("#device-lamp .state", "Off")
    student.leave()
    student.until(lambda: student.driver.current_url == back_of(node), "the student is back")
    assert node.server.delete(session_id).clean
    assert node.server.status(session_id) == -1


def test_a_task_shows_its_progress_and_can_be_stopped(student: Student, node: Node) -> None:
    session_id, url = node.server.new(name="Ada Lovelace", back=back_of(node), assigned_time=120)
    student.open(url)
    student.click("#start-blink")
    student.sees("#task-blink .state", "10%")
    student.click("#stop-blink")
    student.sees("#task-blink .result", "so far")
    student.leave()
    student.until(lambda: student.driver.current_url == back_of(node), "the student is back")
    assert node.server.delete(session_id).clean


def test_the_end_of_the_slot_leads_back(student: Student, node: Node) -> None:
    student.expects_failures = True  # the page finds out by being refused
    session_id, url = node.server.new(name="Ada Lovelace", back=back_of(node), assigned_time=3)
    student.open(url)
    student.sees("#over", "Your time is up.")
    student.click("#back")
    student.until(lambda: student.driver.current_url == back_of(node), "the student is back")
    assert node.server.delete(session_id).clean


def test_the_next_student_finds_a_board_as_new(student: Student, node: Node) -> None:
    for _ in range(2):
        session_id, url = node.server.new(
            name="Ada Lovelace", back=back_of(node), assigned_time=120
        )
        student.open(url)
        student.sees("#device-lamp .state", "Off")
        student.click(SWITCH)
        student.sees("#device-lamp .state", "On")
        student.go_away()
        assert node.server.delete(session_id).clean


def test_a_student_heats_a_box_and_lets_a_controller_do_it(
    student: Student, tmp_path: Path
) -> None:
    with running(BOARDS / "thermal.yaml", tmp_path / "state") as node:
        session_id, url = node.server.new(name="Ada Lovelace", assigned_time=120, locale="es")
        student.open(url)
        assert student.text("h1") == "Control de temperatura"
        student.sees("#device-temp .state", "°C")
        student.expects_failures = True  # its relay rests for 5 s first, and says so
        student.until(lambda: heats(student), "the heater is on")
        student.until(lambda: celsius(student) > 22.5, "it gets warmer")
        student.find("#device-setpoint input").send_keys(Keys.END)
        student.sees("#device-setpoint output", "65,0 °C")
        student.click("#device-heater [role=switch]")
        student.sees("#device-heater .why", "descansa")
        student.click("#device-hold [role=switch]")
        student.sees("#device-hold .state", "Encendido")
        student.sees("#device-heater .state", "Encendido")  # by the controller, once it has rested
        student.click("#device-hold [role=switch]")
        student.sees("#device-heater .state", "Apagado")
        student.leave()
        student.sees("#over", "Ha salido del laboratorio.")
        assert node.server.delete(session_id).clean


def heats(student: Student) -> bool:
    if student.text("#device-heater .state") != "Encendido":
        student.click("#device-heater [role=switch]")
    student.until(lambda: student.text("#device-heater.wanted") == "", "the lab has answered")
    return student.text("#device-heater .state") == "Encendido"


def celsius(student: Student) -> float:
    return float(student.text("#device-temp .state").replace(",", ".").partition(" ")[0])
