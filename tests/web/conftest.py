"""A lab with routes of every level on a small simulated board."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labnode.testing import LabClient

from .sockets import Node, running

BOARD = """
schema: 1
title: {en: Bench, es: Banco}
lab: {name: bench}
devices:
  switch: {driver: digital_output, pin: GPIO17}
  lamp: {driver: digital_input, pin: GPIO27}
  dimmer: {driver: pwm_output, pin: GPIO18}
  hidden: {driver: led, pin: GPIO22, access: system}
simulate: {lamp: switch}
module: bench.py
"""

MODULE = """
import threading
import bottle
from labnode import Lab

lab = Lab()
release = threading.Event()


@lab.task(unique="global", label={"en": "Wait", "es": "Esperar"})
def wait(seconds: float = 60):
    lab.current_task.data["percent"] = 10
    lab.wait(seconds)
    return "waited"


@lab.task()
def inside():
    return lab.user.username


@lab.app.get("/mine")
def mine():
    return {"user": lab.user.username, "active": lab.user.active}


@lab.app.get("/after", access="login")
def after():
    return {"user": lab.user.username, "active": lab.user.active}


@lab.app.get("/about", access="public")
def about():
    return {"anonymous": lab.user.is_anonymous}


@lab.app.post("/json")
def its_json():
    return {"got": bottle.request.json}


@lab.app.post("/form")
def form():
    return {"fields": sorted(bottle.request.forms), "files": sorted(bottle.request.files)}


@lab.app.post("/do")
def do():
    return {"done": True}


@lab.app.get("/broken")
def broken():
    raise RuntimeError("the view's own secret")


@lab.app.get("/link")
def link():
    return lab.observer_link()


WORDS = {"en": "Hello", "es": "Hola"}


@lab.task()
def greet():
    return lab.text(WORDS)


@lab.app.get("/words", access="public")
def words():
    return {"text": lab.text(WORDS), "from_a_task": greet.run_sync(timeout=5).result}


@lab.app.get("/script", access="public")
def script():
    return lab.poll_script()


@lab.app.get("/wait")
def waiting():
    return {"whole": lab.wait(30)}
"""

MakeLab = Callable[..., LabClient]


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[MakeLab]:
    """Start a lab with settings of the test's choice."""
    (tmp_path / "bench.yaml").write_text(BOARD)
    (tmp_path / "bench.py").write_text(MODULE)
    with ExitStack() as labs:

        def make(**settings: Any) -> LabClient:
            lab = LabClient(tmp_path / "bench.yaml", state_dir=tmp_path / "state", **settings)
            return labs.enter_context(lab)

        yield make


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """One that listens, on a small board of its own."""
    with running(tmp_path) as node:
        yield node


@pytest.fixture
def lab(make_lab: MakeLab) -> LabClient:
    return make_lab()
