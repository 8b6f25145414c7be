"""weblablib's examples, ported (tests/porting/examples), in a real browser below a base path."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import Student
from .real_node import running

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent / "porting/examples"


def copy_of(name: str, directory: Path) -> Path:
    return shutil.copytree(EXAMPLES / name, directory / name) / f"{name}.yaml"


def test_quickstart_switches_its_lights(student: Student, tmp_path: Path) -> None:
    board = copy_of("quickstart", tmp_path)
    with running(board, tmp_path / "state", BASE_URL="/labs/quickstart") as node:
        session_id, url = node.server.new(assigned_time=300)
        student.open(url)
        student.until(lambda: student.text("#timer"), "the page shows the time that is left")
        student.click("[data-light='3']")
        lit = "[...document.querySelectorAll('[aria-pressed=true]')].map((b) => b.dataset.light)"
        student.until(lambda: student.run(f"return {lit}") == ["3"], "light 3 is on")
        student.click("[data-light='3']")
        student.until(lambda: student.run(f"return {lit}") == [], "light 3 is off")
        student.go_away()
        assert node.server.delete(session_id).clean


def test_complete_programs_over_its_websocket_until_the_end(
    student: Student, tmp_path: Path
) -> None:
    board = copy_of("complete", tmp_path)
    module = board.with_suffix(".py")
    module.write_text(module.read_text().replace("STEP = 1.0", "STEP = 100.0"))
    with running(board, tmp_path / "state", BASE_URL="/labs/complete") as node:
        session_id, url = node.server.new(assigned_time=300, locale="es")
        student.open(url)
        student.sees("h1", "¡Bienvenido a mi laboratorio!")
        student.sees("#microcontroller", "Memoria vacía")
        student.click("[data-light='10']")
        student.until(
            lambda: student.find("[data-light='10']").get_attribute("aria-pressed") == "true"
        )
        student.click("[data-code=good]")
        student.sees("#microcontroller", "Programando: 0")
        student.click("[data-code=good]")
        student.sees("#error", "There is another task")
        student.expects_failures = True
        assert node.server.delete(session_id).clean
        student.sees("#timer", "¡Se acabó el tiempo!")
        student.open(f"{node.url}")
        student.sees("h2", "Tu sesión ha terminado")
        student.go_away()
