"""All pages in all languages: no English is left in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labnode.locale import BUILT_IN
from tests.kit.english import english_in

from .conftest import Student
from .real_node import running
from .standin import StandIn
from .test_admin_page import DEMO, SETTINGS, log_in

pytestmark = pytest.mark.browser

OF_THE_BOARDS = {"Reset", "Times"}  # a bit of the bench's bank, an argument of the demo's task
OTHERS = [code for code in BUILT_IN.languages if code != "en"]

# What is there to be read, seen or not: a dialog that is closed is English, too, if it is.
TEXTS = """
const texts = [document.title];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const { parentElement, data } = walker.currentNode;
  if (!parentElement.closest("script, style")) texts.push(data);
}
for (const name of ["aria-label", "title", "placeholder", "alt"])
  for (const each of document.querySelectorAll(`[${name}]`)) texts.push(each.getAttribute(name));
return texts;
"""


def english(student: Student, language: str) -> list[str]:
    assert student.find("html").get_attribute("lang") == language
    return english_in({*student.run(TEXTS)} - OF_THE_BOARDS, language)


def test_all_widgets_speak_every_language(student: Student, lab: StandIn) -> None:
    student.expects_failures = True  # what is refused
    lab.show_all_widgets()
    lab.restarted = True
    lab.states["motor"] = {"locked": {"message": "page.rests"}}
    for language in OTHERS:
        lab.locales = [language]
        lab.over = None
        student.open(lab.url)
        rests = BUILT_IN.texts(language)["page.rests"]
        student.sees("#device-motor .why", rests)
        student.click("#leave")
        assert english(student, language) == []
        student.click("dialog [value=no]")
        lab.over = "inactivity"
        student.sees_in_source("#over-reason", BUILT_IN.texts(language)["page.over:inactivity"])
        assert english(student, language) == []


def test_all_pages_of_a_node_speak_every_language(student: Student, tmp_path: Path) -> None:
    student.expects_failures = True  # pages that are not there
    with running(DEMO, tmp_path, **SETTINGS) as node:
        session_id, url = node.server.new(assigned_time=300, locale="es")
        student.open(url)
        student.open(f"{node.url}admin/login")
        log_in(student, "a-long-password")
        student.sees("#state", "In use")
        for language in OTHERS:
            pages = ("", "nowhere", "callback/of-somebody-else", "admin", "admin/login")
            for page in pages:
                student.open(f"{node.url}{page}?locale={language}")
                assert english(student, language) == [], page
        student.open(f"{node.url}?locale=eu")
        assert student.text("[aria-current]") == "Euskara"
        names = [link.text for link in student.driver.find_elements("css selector", ".languages a")]
        assert names == list(BUILT_IN.names.values())
        answer = student.run(
            "return fetch('api/devices/x/on?locale=eu', {method: 'POST'}).then((r) => r.json())"
        )
        assert re.match("Ez dago", answer["message"])
        assert node.server.delete(session_id)
