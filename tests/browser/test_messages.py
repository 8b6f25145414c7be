"""What the page says to its student: once, where it belongs, and no longer than its cause lasts."""

from __future__ import annotations

import pytest

from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser

BOARD = """
schema: 1
title: Bench
lab: {name: bench}
devices:
  alarm: {driver: led, pin: GPIO17}
  heater: {driver: relay, pin: GPIO22}
  fan: {driver: relay, pin: GPIO23}
  lid: {driver: digital_input, pin: GPIO24}
  drill: {driver: relay, pin: GPIO25}
interlocks:
  - {name: hot, when: alarm, force: {heater: false, fan: true}, message: It is too hot.}
  - {name: lid, require: lid, for: [drill], message: The lid is open.}
simulate: {lid: alarm}
"""

ALARM = "#device-alarm [role=switch]"
FAN = "#device-fan [role=switch]"
HEATER = "#device-heater [role=switch]"
DRILL = "#device-drill [role=switch]"


def test_why_a_control_cannot_be_used_is_said_once_however_often_it_is_clicked(
    student: Student, bench: StandIn
) -> None:
    student.click("#device-motor [role=switch]")
    student.click("#device-motor [role=switch]")
    assert student.text("#device-motor .slot") == "The lid is open."
    bench.states = {}
    student.until(lambda: student.text("#device-motor .slot") == "", "the lid is closed")


def test_a_refusal_that_becomes_the_reason_is_said_once_and_goes_with_it(
    student: Student, bench: StandIn
) -> None:
    student.expects_failures = True
    bench.states = {}
    student.until(lambda: student.text("#device-motor .slot") == "", "the lid is closed")
    bench.refusal = (409, "interlocked", "Motor is interlocked. The lid is open.")
    student.click("#device-motor [role=switch]")
    student.sees("#device-motor .slot", "Motor is interlocked. The lid is open.")
    bench.states = {"motor": {"locked": "The lid is open."}}
    student.until(
        lambda: student.text("#device-motor .slot") == "The lid is open.", "it is said once"
    )
    bench.states = {}
    student.until(lambda: student.text("#device-motor .slot") == "", "the lid is closed")


def test_a_board_that_was_busy_with_a_task_is_not_when_that_has_finished(
    student: Student, bench: StandIn
) -> None:
    student.expects_failures = True
    bench.starts("blink")
    bench.refusal = (503, "busy", "The board is busy with 'blink'.")
    student.click("#device-heater [role=switch]")
    student.sees("#device-heater .error", "The board is busy with 'blink'.")
    bench.change_task(status="done")
    student.until(lambda: student.text("#device-heater .slot") == "", "the board is free")


def test_a_refusal_without_a_cause_that_the_page_sees_is_gone_after_a_while(
    student: Student, bench: StandIn
) -> None:
    student.expects_failures = True
    student.run("""
        const real = setTimeout;
        window.later = [];
        window.setTimeout = (call, wait, ...details) =>
            wait < 10000 ? real(call, wait, ...details) : later.push(() => call(...details));
    """)
    bench.refusal = (409, "interlocked", "Not so often.")
    student.click("#device-heater [role=switch]")
    student.sees("#device-heater .error", "Not so often.")
    student.run("later.forEach((call) => call())")
    assert student.text("#device-heater .slot") == ""


def test_what_a_card_says_moves_nothing(student: Student, bench: StandIn) -> None:
    student.expects_failures = True
    top = "return scrollY + document.querySelector('#device-mode').getBoundingClientRect().top"
    before = student.run(top)
    bench.refusal = (503, "busy", "The board is busy.")
    student.click("#device-heater [role=switch]")
    student.sees("#device-heater .error", "The board is busy.")
    assert student.run(top) == before


def test_what_an_interlock_forces_looks_so_and_cannot_be_pressed(
    student: Student, visit: Student
) -> None:
    look = "return getComputedStyle(document.querySelector(arguments[0])).backgroundImage"
    assert student.run(look, FAN) == "none"
    student.click(ALARM)
    student.sees("#device-fan .state", "On")
    for control in (FAN, HEATER):
        student.until(lambda c=control: student.find(c).get_attribute("aria-disabled") == "true")
        assert "gradient" in student.run(look, control)
    assert student.find("#device-fan .why .icon").is_displayed()
    asked = "return performance.getEntriesByType('resource').map((each) => each.name)"
    student.click(FAN)
    student.click(HEATER)
    assert student.text("#device-fan .slot") == "It is too hot."
    assert student.find(FAN).get_attribute("aria-checked") == "true"
    assert not [url for url in student.run(asked) if "/fan/" in url or "/heater/" in url]
    student.click(ALARM)
    student.until(lambda: student.text("#device-fan .slot") == "", "it is cool")
    student.click(FAN)
    student.sees("#device-fan .state", "Off")


def test_what_an_open_lid_has_forbidden_is_forgotten_when_it_is_closed(
    student: Student, visit: Student
) -> None:
    student.sees("#device-drill .slot", "The lid is open.")
    student.click(DRILL)
    student.click(ALARM)  # its light is seen by the lid's sensor
    student.until(lambda: student.text("#device-drill .slot") == "", "the lid is closed")
    student.click(DRILL)
    student.sees("#device-drill .state", "On")
