"""The student's page for everybody: by keyboard, by ear, on a phone, in the dark."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver import ActionChains, Keys

from . import accessibility
from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser


def test_everything_can_be_reached_and_done_by_keyboard(student: Student, lab: StandIn) -> None:
    lab.back = lab.after
    student.open(lab.url)

    def press(*keys: str) -> None:
        ActionChains(student.driver, duration=0).send_keys(*keys).perform()

    order = []
    for _ in range(8):
        press(Keys.TAB)
        order.append(student.driver.switch_to.active_element.accessible_name)
    assert order == [
        "Ask for help",
        "Leave",
        "Switch",
        "Dimmer",
        "Motor",
        "brake",
        "Start Blink the lamp",
        "Stop Blink the lamp",
    ]
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert student.run(outline) == "solid"
    student.run("document.querySelector('#device-switch [role=switch]').focus()")
    press(Keys.SPACE)
    student.sees("#device-lamp .state", "On")
    press(Keys.ENTER)
    student.sees("#device-lamp .state", "Off")
    student.run("document.querySelector('#leave').focus()")
    press(Keys.ENTER)
    press(Keys.TAB, Keys.ENTER)  # "Continue"
    student.until(lambda: student.driver.title == "Campus", "the student has left")


def test_a_screen_reader_hears_names_roles_and_states(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    tree = student.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    heard: dict[tuple[str, str], dict[str, Any]] = {}
    for node in tree:
        if not node["ignored"]:
            about = {each["name"]: each["value"].get("value") for each in node["properties"]}
            value = node.get("value", {}).get("value")
            heard[node["role"]["value"], node["name"]["value"]] = {**about, "is": value}
    assert heard["switch", "Switch"]["checked"] == "false"
    assert heard["switch", "Motor"]["checked"] == "false"
    assert ("slider", "Dimmer") in heard
    assert student.find("input").get_attribute("aria-valuetext") == "25%"
    assert "disabled" not in heard["button", "Start Blink the lamp"]
    assert heard["button", "Stop Blink the lamp"]["disabled"]
    assert ("timer", "Time left") in heard
    assert ("heading", "Demo board") in heard
    assert ("StaticText", "21.5 °C") in heard


def test_a_lamp_that_changes_is_said_but_not_one_that_blinks(
    student: Student, lab: StandIn
) -> None:
    def flip(state: str) -> None:
        student.click("#device-switch [role=switch]")
        student.sees("#device-lamp .state", state)

    student.open(lab.url)
    flip("On")
    student.sees_in_source("#said", "Lamp: On")
    flip("Off")
    student.sees_in_source("#said", "Lamp: Off")
    flip("On")
    student.sees_in_source("#said", "Lamp: On")
    student.run("document.querySelector('#said').textContent = ''")
    flip("Off")
    later = "setTimeout(() => arguments[0](document.querySelector('#said').textContent), 400)"
    assert student.driver.execute_async_script(later) == ""


def test_on_a_phone_everything_fits_and_fingers_find_it(student: Student, lab: StandIn) -> None:
    student.become_phone()
    lab.title = "A board with a rather long name, and aVeryLongWordWithoutAnySpaceToBreakItAt"
    lab.devices[0]["label"] = "A switch with a name that needs more than one line on a phone"
    student.open(lab.url)
    width = "return [document.documentElement.scrollWidth, innerWidth]"
    assert student.run(width) == [360, 360]
    left = "return [...new Set([...document.querySelectorAll('#devices .card')]\
        .map((card) => card.getBoundingClientRect().left))].length"
    assert student.run(left) == 1
    height = "return [...document.querySelectorAll('button:not(dialog *), input')]\
        .filter((each) => each.checkVisibility())\
        .map((each) => each.getBoundingClientRect().height)"
    assert min(student.run(height)) >= 32
    student.click("#device-switch [role=switch]")
    student.sees("#device-lamp .state", "On")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_the_light_and_in_the_dark(
    student: Student, lab: StandIn, scheme: str
) -> None:
    student.expects_failures = True
    colours = [{"name": "prefers-color-scheme", "value": scheme}]
    student.emulate("setEmulatedMedia", media="", features=colours)
    lab.time_left = 50
    lab.restarted = True
    lab.refusal = (503, "busy", "Busy.")
    student.open(lab.url)
    student.click("#device-switch [role=switch]")
    student.sees("#device-switch .error", "Busy.")
    assert accessibility.faint_texts(student) == []


def test_nothing_moves_for_those_who_asked_for_less_motion(student: Student, lab: StandIn) -> None:
    less = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    student.emulate("setEmulatedMedia", media="", features=less)
    lab.starts("blink")
    student.open(lab.url)
    moving = """return [...document.querySelectorAll("*")].map((each) => getComputedStyle(each))
        .filter((style) => style.animationName !== "none" || style.transitionProperty !== "none")
        .length"""
    assert student.run(moving) == 0
