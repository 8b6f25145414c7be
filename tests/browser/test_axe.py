"""axe-core finds no violation on any page, however the student has set the browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import Student
from .real_node import Node, running
from .standin import StandIn

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
AXE = ROOT / ".venv/axe/node_modules/axe-core/axe.min.js"  # labnode/install/clone.py puts it there

RUN = """const [done] = [...arguments].slice(-1);
    axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => done(
        violations.flatMap(({ id, help, nodes }) =>
            nodes.map(({ html, any, all, none }) => `${id}: ${help}: ${html.slice(0, 150)} ${
                [...any, ...all, ...none].map((each) => each.message).join("; ")}`))));"""
MODES = ("light", "dark", "Spanish", "phone", "200 %")


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.is_file():
        pytest.skip("axe-core is not here: sudo apt-get install npm, then ./install.sh test")
    return AXE.read_text(encoding="utf-8")


def violations(student: Student, axe: str) -> list[str]:
    """A sentence for each element of the page as it is now that breaks a rule of axe-core's."""
    student.run(axe)
    found: list[str] = student.driver.execute_async_script(RUN)
    return found


@contextmanager
def seen(student: Student, mode: str) -> Iterator[None]:
    """The browser is as the student wants it, inside the block."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if mode == "dark" else "light"}
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    student.emulate("setEmulatedMedia", media="", features=[scheme, still])
    if mode == "phone":
        student.become_phone()
    student.driver.execute_cdp_cmd("Page.enable", {})
    sizes = {"standard": 32 if mode == "200 %" else 16, "fixed": 13}
    student.driver.execute_cdp_cmd("Page.setFontSizes", {"fontSizes": sizes})
    try:
        yield
    finally:
        sizes = {"standard": 16, "fixed": 13}
        student.driver.execute_cdp_cmd("Page.setFontSizes", {"fontSizes": sizes})


PICTURE: dict[str, Any] = {
    "width": 600,
    "height": 400,
    "alt": None,
    "devices": [
        {"device": "heater", "shape": "slide", "at": [0.2, 0.2]},
        {"device": "bell", "shape": "push", "at": [0.4, 0.2]},
        {"device": "lid", "shape": "led", "at": [0.6, 0.2], "color": "red"},
        {"device": "light", "shape": "led", "at": [0.8, 0.2]},
        {"device": "leds", "bit": 3, "shape": "slide", "at": [0.2, 0.6], "rotate": 90},
        {"device": "temp", "shape": "digits", "digits": 4, "at": [0.5, 0.6], "size": 0.2},
        {"device": "humidity", "shape": "reading", "at": [0.8, 0.6]},
    ],
}


@pytest.mark.parametrize("mode", MODES)
def test_the_page_with_every_widget_and_the_picture(
    student: Student, lab: StandIn, axe: str, mode: str
) -> None:
    lab.show_all_widgets()
    lab.picture = PICTURE
    lab.stage = {"items": [{"picture": True}, {"plot": ["temp"]}], "layout": "tabs"}
    lab.locales = ["es" if mode == "Spanish" else "en"]
    lab.faults = [{"name": "hot", "message": "Too hot.", "latched": True, "active": True}]
    with seen(student, mode):
        student.open(lab.url)
        student.until(lambda: student.run(STYLED), "the picture has its style")
        assert violations(student, axe) == []


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    admin = {"ADMIN_USERNAME": "boss", "ADMIN_PASSWORD": "a-long-password"}
    with running(ROOT / "boards/demo.yaml", tmp_path_factory.mktemp("state"), **admin) as node:
        yield node


def test_every_page_of_a_node(student: Student, node: Node, axe: str, long_run: bool) -> None:
    student.expects_failures = True  # pages that are answered with 403 and 404
    for mode in MODES if long_run else ["phone"]:
        visit_all(student, node, axe, mode)


def visit_all(student: Student, node: Node, axe: str, mode: str) -> None:
    """Look at every page in one of MODES."""
    asked = "?locale=es" if mode == "Spanish" else "?locale=en"
    with seen(student, mode):
        for address in ("", "nothing/here", "admin/login"):
            student.open(f"{node.url}{address}{asked}")
            assert (address, violations(student, axe)) == (address, [])
        for field, text in (("username", "boss"), ("password", "a-long-password")):
            student.find(f"#{field}").send_keys(text)
        student.find("#password").submit()
        student.until(lambda: student.text("#state"), "the administration is open")
        student.open(f"{node.url}admin{asked}")
        assert violations(student, axe) == []
        student.open(node.server.new(assigned_time=300, locale=asked[-2:])[1])
        student.until(lambda: student.run(STYLED), "the picture has its style")
        assert violations(student, axe) == []
        student.leave()
        student.until(lambda: student.find("#over").is_displayed(), "the session is over")
        assert violations(student, axe) == []


STYLED = "return document.querySelector('#picture-style')?.sheet?.cssRules.length > 0"
