"""The administration's page in a real browser, on a real node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .accessibility import problems
from .conftest import Student
from .real_node import Node, running

pytestmark = pytest.mark.browser

DEMO = Path(__file__).parents[2] / "boards" / "demo.yaml"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    settings = {"ADMIN_USERNAME": "boss", "ADMIN_PASSWORD": "a-long-password"}
    with running(DEMO, tmp_path, **settings) as node:
        yield node


def test_an_administrator_looks_tries_stops_and_clears(student: Student, node: Node) -> None:
    admin = student  # the same person at the same browser
    admin.open(node.url.replace("://", "://boss:a-long-password@") + "admin")
    assert "Demo board" in admin.text("h1")
    assert admin.text("#state") == "Ready for a student"

    admin.click("#commands-switch form[action$='/on'] button")
    admin.sees("#value-switch", "on")  # without loading the page again
    admin.click("#reset")
    admin.sees("#value-switch", "off")

    session_id, _ = node.server.new(name="Ada Lovelace", assigned_time=120)
    admin.sees("#on-board", "Ada Lovelace")
    admin.sees("#trial", "A student is on the board")
    assert admin.text("#commands-switch") == ""

    assert problems(admin) == []

    admin.click(".estop")
    admin.sees("#state", "Stopped")
    admin.sees("#sessions", "estop")
    admin.sees("#alerts", "Emergency stop")
    assert node.server.delete(session_id).clean

    admin.run("window.confirm = () => true")
    admin.click("#clear")
    admin.sees("#state", "Ready for a student")
    assert admin.text("#alerts") == ""

    unnamed = admin.run(
        """return [...document.querySelectorAll("button, input, select, [role=region]")]
            .filter((each) => !(each.textContent.trim() || each.ariaLabel
                || each.getAttribute("aria-labelledby"))).length"""
    )
    assert unnamed == 0
