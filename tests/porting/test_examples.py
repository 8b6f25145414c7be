"""weblablib's examples, ported: the labs in examples/ work as theirs do."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labnode import context
from labnode.tasks import Task
from labnode.testing import LabClient
from tests.kit.waiting import PATIENCE

EXAMPLES = Path(__file__).parent / "examples"
BACK = "http://moodle.example.org/course"

Start = Callable[..., LabClient]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with ExitStack() as started:

        def start(name: str, **settings: Any) -> LabClient:
            shutil.copytree(EXAMPLES / name, tmp_path / name)
            board = tmp_path / name / f"{name}.yaml"
            return started.enter_context(LabClient(board, **settings))

        yield start


@pytest.mark.parametrize("base", ["", "/labs/simple"])
def test_simple(start: Start, base: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    client = start("simple", base_url=base, cookie_name="advanced_lab")
    student = client.student(300, username="ada")
    assert student.entered.headers["location"] == f"{base}/lab/"
    assert student.entered.cookies[0].startswith("advanced_lab=")
    text = student.get(f"{base}/lab/").text
    hello = r"Hello ada. You didn't poll in \d+\.\d\d seconds. Total time left: \d+"
    assert re.fullmatch(hello, text)
    assert client.browser().get(f"{base}/lab/").status == 403
    assert client.browser().get(f"{base}/").text == "<!doctype html><title>Nothing here</title>"
    client.finish(student)
    assert "New user: {}, ada, ada (starting)" in caplog.text
    assert "The user has gone: ada (disposing)" in caplog.text


def test_quickstart(start: Start) -> None:
    client = start("quickstart")
    student = client.student(300, back=BACK)
    assert student.entered.headers["location"] == "/"
    page = student.get("/")
    assert 'var LIGHT_URL = "/lights/LIGHT/"' in page.text
    assert page.text.count("data-light=") == 10
    assert "script-src 'self' 'unsafe-inline';" in page.headers["content-security-policy"]

    lights = student.post("/lights/3/?state=true").json["lights"]
    assert [name for name, on in lights.items() if on] == ["light-3"]
    assert client.value("light3") is True
    assert student.post("/lights/11/?state=true").status == 404
    status = student.get("/status").json
    assert (status["error"], status["lights"]) == (False, lights)
    assert 290 < status["time_left"] <= 300

    client.finish(student)
    assert client.value("light3") is False
    assert student.get("/").status == 200
    assert student.get("/status").headers["location"] == BACK


def as_student(client: LabClient, function: Callable[[], Task]) -> Task:
    (session,) = client.agent.sessions.live()
    with context.acting(user=client.agent.sessions.user(session)):
        return function()


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        ("good", "done", "¡Programado!"),
        ("division-by-zero", "failed", "La programación ha fallado"),
    ],
)
def test_complete(
    start: Start, code: str, status: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start("complete")
    monkeypatch.setattr(sys.modules["labnode_board_complete"], "STEP", 0.001)
    program_device = client.lab.functions["program_device"]
    student = client.student(300, back=BACK, locale="es")
    page = student.get("/").text
    assert "<title>¡Bienvenido a mi laboratorio!</title>" in page
    assert 'data-ended="clean"' in page
    assert student.get("/status").json["microcontroller"] == "Memoria vacía"

    task = as_student(client, lambda: program_device.delay(code)).join(PATIENCE)
    assert task.status == status
    assert student.get("/status").json["microcontroller"] == shown

    assert student.post("/logout").json == {"error": False}
    client.finish(student)
    page = student.get("/").text
    assert "Tu sesión ha terminado" in page
    assert f'href="{BACK}"' in page
    assert "poll.js" not in page


def test_complete_stops_programming_with_the_session_and_begins_none_without_time(
    start: Start,
) -> None:
    client = start("complete")
    program_device = client.lab.functions["program_device"]
    late = client.student(9)
    refused = as_student(client, lambda: program_device.delay("good"))
    assert (refused.failed, refused.error and refused.error["code"]) == (True, "no-time")
    client.finish(late)

    student = client.student(300)
    task = as_student(client, lambda: program_device.delay("good"))
    assert client.finish(student)["finished"] is True
    assert task.retrieve().finished
