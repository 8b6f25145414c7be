"""The administration's page in a real browser, on a real node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode.clock import Clock
from labnode.web.admin.totp import code_at

from .accessibility import problems
from .conftest import Student
from .real_node import Node, running

pytestmark = pytest.mark.browser

DEMO = Path(__file__).parents[2] / "boards" / "demo.yaml"


SETTINGS = {"ADMIN_USERNAME": "boss", "ADMIN_PASSWORD": "a-long-password"}
KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(DEMO, tmp_path, **SETTINGS) as node:
        yield node


@pytest.fixture
def node_with_codes(tmp_path: Path) -> Iterator[Node]:
    with running(DEMO, tmp_path, ADMIN_TOTP=KEY, **SETTINGS) as node:
        yield node


def log_in(admin: Student, password: str, code: str = "") -> None:
    """Fill in the form, as a person does who moves on with the keyboard."""
    for field, text in (("username", "boss"), ("password", password), ("code", code)):
        if text:
            admin.find(f"#{field}").send_keys(text)
    admin.find("#password").submit()


def test_an_administrator_logs_in_and_out(student: Student, node: Node) -> None:
    admin = student
    admin.expects_failures = True  # a wrong password is an answer of 403
    admin.open(f"{node.url}admin")
    assert admin.driver.current_url == f"{node.url}admin/login"
    assert admin.text("h1") == "Administration"
    assert admin.run("return document.activeElement.id") == "username"
    assert problems(admin, texts=4) == []

    log_in(admin, "a wrong one")
    admin.sees("#message", "Wrong user name or password.")
    assert problems(admin, texts=4) == []
    log_in(admin, "a-long-password")
    admin.sees("#state", "Ready for a student")
    (cookie,) = admin.driver.get_cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/admin")

    admin.click("#logout")
    admin.sees("#login", "Log in")  # the script sees that the session is over
    admin.open(f"{node.url}admin")
    assert admin.driver.current_url == f"{node.url}admin/login"


def test_a_page_whose_session_is_over_leads_to_the_form(student: Student, node: Node) -> None:
    admin = student
    admin.open(f"{node.url}admin")
    log_in(admin, "a-long-password")
    admin.sees("#state", "Ready for a student")
    admin.driver.delete_all_cookies()
    admin.sees("#login", "Log in")
    assert node.server.new(name="Ada", assigned_time=60)[0]  # and nothing else has happened


def test_a_code_of_the_app_is_asked_for(student: Student, node_with_codes: Node) -> None:
    admin, node = student, node_with_codes
    admin.open(f"{node.url}admin")
    assert problems(admin, texts=4) == []
    log_in(admin, "a-long-password", code_at(KEY, Clock().wall()))
    admin.sees("#state", "Ready for a student")
    admin.open("about:blank")  # before the node stops


def test_an_administrator_looks_tries_stops_and_clears(student: Student, node: Node) -> None:
    admin = student  # the same person at the same browser
    admin.open(f"{node.url}admin")
    log_in(admin, "a-long-password")
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
    admin.sees("#sessions", "emergency stop")
    admin.sees("#alerts", "Emergency stop")
    assert node.server.delete(session_id).clean

    admin.run("window.confirm = () => true")
    admin.click("#clear")
    admin.sees("#said", "Cleared: Emergency stop")
    admin.sees("#state", "Ready for a student")
    assert admin.text("#alerts") == ""

    unnamed = admin.run(
        """return [...document.querySelectorAll("button, input, select, [role=group]")]
            .filter((each) => !(each.textContent.trim() || each.ariaLabel
                || each.getAttribute("aria-labelledby"))).length"""
    )
    assert unnamed == 0
    admin.open("about:blank")  # before the node stops
