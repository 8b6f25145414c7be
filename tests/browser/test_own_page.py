"""A lab's own page, which has nothing of the generated one but the poll script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import Student
from .real_node import Node, running

pytestmark = pytest.mark.browser

BOARD = """
schema: 1
lab: {name: own}
session: {timeout: 6}
devices:
  switch: {driver: digital_output, pin: GPIO17}
module: own.py
"""

MODULE = """
from labnode import Lab

lab = Lab()


@lab.app.get("/")
def page():
    hello = lab.text({"en": "Hello", "es": "Hola"})
    return f"<!doctype html><title>Own</title><h1>{hello}</h1>{lab.poll_script()}"


@lab.app.get("/about", access="public")
def about():
    return "<!doctype html><title>About</title><h1>About</h1>"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("own")
    (directory / "own.yaml").write_text(BOARD)
    (directory / "own.py").write_text(MODULE)
    with running(directory / "own.yaml", directory / "state", BASE_URL="/own") as node:
        yield node


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
    student.until(lambda: len(student.run(polls)) >= 2, "the page polls again after 5 s")
    student.expects_failures = True
    student.until(lambda: student.driver.current_url == back, "the student is back")
    assert node.server.delete(session_id).clean


def test_closing_the_page_ends_the_session(student: Student, node: Node) -> None:
    session_id, url = node.server.new(assigned_time=60)
    student.open(url)
    student.sees("h1", "Hello")
    student.go_away()
    student.until(lambda: node.server.status(session_id) == -1, "nobody is there any more")
