"""A teacher at the observer's link: who works, what they do, and whether they ask for help."""

from __future__ import annotations

import time

import pytest

from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser


def test_a_student_asks_for_help_and_takes_it_back(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    hand = student.find("#hand")
    assert hand.accessible_name == "Ask for help"
    student.click("#hand")
    student.sees("#notice-hand", "can see that you ask for help")
    assert (lab.hand_raised, hand.get_attribute("aria-pressed")) == (True, "true")
    student.click("#hand")
    student.until(lambda: student.text("#notice-hand") == "", "it is taken back")
    assert (lab.hand_raised, hand.get_attribute("aria-pressed")) == (False, "false")


def test_a_teacher_sees_who_works_what_they_do_and_that_they_ask_for_help(
    student: Student, lab: StandIn
) -> None:
    lab.read_only = True
    lab.devices[0]["words"] = {"on": "Open", "off": "Closed"}
    student.open(lab.url)
    assert student.text("#student") == "Ada Lovelace"
    assert student.text("#deeds") == ""
    assert not student.driver.find_elements("css selector", "#hand")
    at = time.monotonic() - 3
    lab.deeds = [
        {"at": at, "device": "switch", "command": "set", "arguments": [True]},
        {"at": at, "device": "dimmer", "command": "set", "arguments": [0.5]},
        {"at": at, "device": "motor", "command": "brake", "arguments": []},
        {"at": at, "task": "blink"},
        {"at": at, "device": "temp", "file": "a.hex"},
    ]
    lab.hand_raised = True
    student.sees("#notice-hand", "Ada Lovelace asks for help.")
    student.sees("#deeds h2", "What Ada Lovelace does")
    said = " ".join(student.text("#deeds ol").split())
    deeds = (
        "Temperature a.hex",
        "Blink the lamp Start",
        "Motor brake",
        "Dimmer 50%",
        "Switch Open",
    )
    assert [deed for deed in deeds if deed not in said] == []
