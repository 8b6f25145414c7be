"""Bench: a lab whose hooks and tasks a test writes, and whose views are functions of the test."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from labnode.testing import Browser, LabClient, Reply

T = TypeVar("T")

BOARD = """\
schema: 1
lab: {{name: manual, category: Tests}}
session: {{{session}}}
devices: {{lamp: {{driver: led, pin: GPIO17}}}}
module: manual.py
"""
MODULE = """\
from labnode import Lab

lab = Lab()
views = []

@lab.app.get("/active", name="seen")
@lab.app.get("/login", access="login")
@lab.app.get("/public", access="public")
def view():
    return views.pop()()
"""


class Bench(LabClient):
    """LabClient for the lab above."""

    def __init__(self, directory: Path, session: str = "", **settings: Any) -> None:
        (directory / "manual.py").write_text(MODULE)
        board = directory / "manual.yaml"
        board.write_text(BOARD.format(session=session))
        super().__init__(board, **settings)
        self._views = sys.modules["labnode_board_manual"].views

    def view(self, visitor: Browser, function: Callable[[], T], access: str = "active") -> T:
        """What `function` returns or raises when it is a view that the visitor asks for."""
        returned: list[T] = []
        raised: list[Exception] = []

        def view() -> str:
            try:
                returned.append(function())
            except Exception as error:  # noqa: BLE001 - raised again by the test
                raised.append(error)
            return "seen"

        reply = self.ask(visitor, view, access)
        assert reply.text == "seen", reply
        if raised:
            raise raised[0]
        return returned[0]

    def ask(
        self, visitor: Browser, view: Callable[[], Any], access: str = "active", base: str = ""
    ) -> Reply:
        """The answer to a visitor who asks for a view at `{base}/{access}`."""
        self._views[:] = [view]
        return visitor.get(f"{base}/{access}")


class Gate:
    """Lets a task wait, however long it takes, until the test has looked at it."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def wait_here(self) -> None:
        """In the task: go on when the test says so."""
        self._reached.set()
        assert self._open.wait(5), "the gate was never opened"

    def reached(self) -> None:
        """In the test: go on when the task has come here."""
        assert self._reached.wait(5), "nobody has come to the gate"

    def open(self) -> None:
        self._open.set()
