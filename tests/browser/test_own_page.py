"""Pages of labs' own: one with nothing but the poll script, and one with cards where it likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Student
from .real_node import Node, running

pytestmark = pytest.mark.browser

SETTINGS = {"BASE_URL": "/own"}

BOARD = """
schema: 1
lab: {name: own}
session: {timeout: 5}
devices:
  switch: {driver: digital_output, pin: GPIO17}
module: bench.py
"""

MODULE = """
from labnode import Lab

lab = Lab()
lab.content_security_policy(script_src="'unsafe-inline'")


@lab.app.get("/")
def page():
    hello = lab.text({"en": "Hello", "es": "Hola"})
    return f"<!doctype html><title>Own</title><h1>{hello}</h1>{lab.poll_script()}"


@lab.app.get("/inline")
def inline():
    return (
        "<!doctype html><title>Inline</title>"
        "<script>var bench = { ended: () => (document.title = 'Ended') };</script>"
        f"{lab.poll_script(logout_on_close=True, callback='bench.ended')}"
    )


@lab.app.get("/after", access="login")
def after():
    return f"<!doctype html><title>After</title><h1>{lab.user.exited}</h1>"


@lab.app.get("/about", access="public")
def about():
    return "<!doctype html><title>About</title><h1>About</h1>"
"""


def test_the_session_goes_on_while_the_page_is_open_and_leads_back_at_its_end(
    student: Student, node: Node
) -> None:
    back = f"{node.url}about"
    session_id, url = node.server.new(assigned_time=9, back=back, locale="es")
    student.open(url)
    student.sees("h1", "Hola")
    polls = (
        "return performance.getEntriesByType('resource').filter((r) => r.name.endsWith('/poll'))"
    )
    student.until(lambda: len(student.run(polls)) >= 4, "the page goes on polling")
    student.expects_failures = True
    student.until(lambda: student.driver.current_url == back, "the student is back")
    assert node.server.delete(session_id).clean


def test_closing_the_page_ends_the_session(student: Student, node: Node) -> None:
    session_id, url = node.server.new(assigned_time=60)
    student.open(url)
    student.sees("h1", "Hello")
    student.go_away()
    student.until(lambda: node.server.status(session_id) == -1, "nobody is there any more")


def test_a_page_may_log_out_when_it_is_closed(student: Student, node: Node) -> None:
    session_id, url = node.server.new(assigned_time=60)
    student.open(url)
    student.open(f"{node.url}inline")
    student.open(f"{node.url}after")
    student.until(lambda: node.server.status(session_id) == -1, "the session is over")
    student.open(f"{node.url}after")
    student.sees("h1", "True")


def test_a_page_may_say_itself_what_happens_at_the_end(student: Student, node: Node) -> None:
    session_id, url = node.server.new(assigned_time=60)
    student.open(url)
    student.open(f"{node.url}inline")
    assert node.server.delete(session_id).clean
    student.until(lambda: student.driver.title == "Ended", "the page has heard of the end")
    assert student.driver.current_url == f"{node.url}inline"


TEMPLATE = """
% rebase("layout.html", scripts=["static/lab/mine.js"])
<main>
<h1>{{title}} of {{student}}</h1>
<div data-card="lamp"></div>
<p>and</p>
<div data-card="switch"></div>
</main>
<script type="application/json" id="boot">{{!boot}}</script>
"""

MINE = """
import { board } from "../panel.js";
import { register } from "../widgets.js";

register("lamp", (device, card) => ({ value }) => (card.head.title = `${device.label} ${value}`));
board.on("change", (name) => (document.title = name));
"""


def test_a_lab_s_own_template_places_cards_and_draws_widgets(
    student: Student, tmp_path: Path
) -> None:
    for name, content in {
        "own.yaml": BOARD.replace("module: bench.py", "").replace(
            "devices:", "simulate: {lamp: switch}\ndevices:\n  lamp: {driver: button, pin: GPIO4}"
        ),
        "templates/page.html": TEMPLATE,
        "static/mine.js": MINE,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with running(tmp_path / "own.yaml", tmp_path / "state") as node:
        session_id, url = node.server.new(name="Ada", assigned_time=300)
        student.open(url)
        assert student.text("h1") == "own of Ada"
        student.click("[data-card=switch] [role=switch]")
        lamp = "return document.querySelector('#device-lamp .head').title"
        student.until(lambda: student.run(lamp) == "Lamp true", "the lab's own lamp is lit")
        assert student.driver.title in ("lamp", "switch")
        student.expects_failures = True
        assert node.server.delete(session_id).clean
        student.sees("h1", "Your session is over")
        student.go_away()
