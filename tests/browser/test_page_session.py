"""The student's page in a real browser: the time, the end, and a lab that does not answer."""

from __future__ import annotations

import re

import pytest

from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser

SWITCH = "#device-switch [role=switch]"


def seconds(clock: str) -> int:
    hours, minutes, seconds = re.fullmatch(r"(?:(\d+):)?(\d+):(\d\d)", clock).groups()  # type: ignore[union-attr]
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)


def test_the_page_says_where_one_is_and_how_long(student: Student, lab: StandIn) -> None:
    lab.time_left = 3725
    student.open(lab.url)
    assert student.driver.title == "Demo board"
    assert student.text("h1") == "Demo board"
    assert student.text("#student") == "Ada Lovelace"
    assert 3720 <= seconds(student.text("#clock")) <= 3725


def test_the_clock_runs_by_itself(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    before = seconds(student.text("#clock"))
    student.until(lambda: seconds(student.text("#clock")) < before, "a second has gone")
    assert student.text("#notices") == ""


def test_the_clock_agrees_with_the_lab_after_each_look(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    lab.time_left = 300
    student.until(
        lambda: abs(seconds(student.text("#clock")) - lab.time_left) < 2,
        "the next look corrects it",
    )


def test_the_last_minute_is_announced(student: Student, lab: StandIn) -> None:
    lab.time_left = 60.4
    student.open(lab.url)
    student.sees("#notices", "Less than a minute left.")
    assert seconds(student.text("#clock")) < 60


def test_when_time_is_up_the_student_is_back_where_they_came_from(
    student: Student, lab: StandIn
) -> None:
    student.expects_failures = True
    lab.back = lab.after
    student.open(lab.url)
    lab.over = "time"
    student.sees("#over", "Your time is up.")
    assert student.find("#back").get_property("href") == lab.after
    student.sees("#over-soon", "You go back in")
    student.run("performance.now = () => 1e9")  # long after that
    student.until(lambda: student.driver.title == "Campus", "the student is back")


def test_a_student_may_stay_to_read_the_farewell(student: Student, lab: StandIn) -> None:
    student.expects_failures = True
    lab.back = lab.after
    student.open(lab.url)
    lab.over = "time"
    student.sees("#over-soon", "You go back in")
    student.click("#stay")
    assert student.text("#over-soon") == ""
    student.run("performance.now = () => 1e9")
    student.click("#back")
    student.until(lambda: student.driver.title == "Campus", "the student is back")


def test_an_end_without_a_way_back_is_a_farewell_that_says_why(
    student: Student, lab: StandIn
) -> None:
    student.expects_failures = True
    student.open(lab.url)
    lab.over = "inactivity"
    student.sees("#over", "Your session is over")
    assert "had not heard from this page" in student.text("#over")
    assert student.run("return document.activeElement.textContent") == "Your session is over"
    assert student.text("#lab") == ""
    assert student.driver.title == "Your session is over"


def test_what_was_said_last_is_seen_until_it_is_dismissed(student: Student, lab: StandIn) -> None:
    lab.notices = [{"number": 7, "text": {"en": "Cooling down", "es": "Enfriando"}}]
    student.open(lab.url)
    assert student.text("#notices .told span") == "Cooling down"
    lab.notices = [*lab.notices, {"number": 8, "text": "Ready"}]
    student.sees("#notices", "Ready")
    student.click("#notices .told button")
    lab.values["temp"] = 30
    student.sees("#device-temp .state", "30 °C")
    assert student.text("#notices") == ""


def test_a_way_back_that_is_a_script_is_not_taken(student: Student, lab: StandIn) -> None:
    student.expects_failures = True
    lab.back = "javascript:document.title='owned'"
    student.open(lab.url)
    lab.over = "time"
    student.sees("#over", "You can close this page.")
    assert student.driver.title == "Your session is over"


def test_leaving_goes_back(student: Student, lab: StandIn) -> None:
    lab.back = lab.after
    student.open(lab.url)
    student.leave()
    student.until(lambda: student.driver.title == "Campus", "the student is back")
    assert lab.over == "exited"
    assert lab.left == []


def test_leaving_without_a_way_back_is_a_farewell(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    student.leave()
    student.sees("#over", "You have left the lab.")


def test_leaving_asks_once_and_may_be_thought_over(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    student.click("#leave")
    student.sees("dialog", "Leave the lab? Your session ends.")
    student.click("dialog [value=no]")
    assert lab.over is None
    student.leave()
    student.sees("#over", "You have left the lab.")


TOP = "return document.querySelector('#device-switch').getBoundingClientRect().top"


def test_nothing_that_the_bar_says_moves_or_covers_a_control(
    student: Student, lab: StandIn
) -> None:
    student.expects_failures = True
    student.open(lab.url)
    top = student.run(TOP)
    lab.faults = [{"name": "hot", "message": "Too hot.", "latched": True, "active": True}]
    student.sees("#notice-fault-hot", "Too hot.")
    lab.notices = [{"number": 1, "text": "Cooling down"}]
    lab.time_left = 50
    student.sees("#notices-more", "2 more")
    lab.fall_silent()
    student.sees("#notice-offline", "The lab does not answer.")
    assert student.text("#notices-more") == "3 more"
    assert student.run(TOP) == top
    bottom = "return document.querySelector('#notices').getBoundingClientRect().bottom"
    assert student.run(bottom) <= top
    student.click("#notices-more")
    lines = [line.text for line in student.driver.find_elements("css selector", ".notice span")]
    assert lines[1:] == [
        "Too hot. The lab’s staff have to clear this.",
        "Less than a minute left.",
        "Cooling down",
    ]
    assert student.run(TOP) == top
    lab.answer()


def test_the_bar_stays_in_view_when_one_scrolls(student: Student, lab: StandIn) -> None:
    lab.show_all_widgets()
    lab.time_left = 50
    student.open(lab.url)
    student.run("scrollTo(0, 400)")
    place = """const bar = document.querySelector("#notices").getBoundingClientRect();
        const { bottom } = document.querySelector("header").getBoundingClientRect();
        return scrollY > 300 && bottom > 0 && Math.abs(bar.top - bottom) <= 1 && bar.height > 30"""
    assert student.run(place)


def test_the_last_minute_is_in_the_title_and_heard_where_the_browser_allows_it(
    student: Student, lab: StandIn
) -> None:
    lab.time_left = 600
    student.open(lab.url)
    student.click(SWITCH)  # a browser lets nobody be loud who has not been touched
    student.run("""
        window.heard = 0;
        window.AudioContext = class {
            currentTime = 0;
            createGain() { return { gain: {}, connect() {} }; }
            createOscillator() {
                return { frequency: {}, connect: (next) => next, start: () => heard++, stop() {} };
            }
        };
    """)
    lab.time_left = 50
    student.until(
        lambda: re.fullmatch(r"0:\d\d · Demo board", student.driver.title), "it is in the title"
    )
    assert student.run("return heard") == 1
    lab.time_left = 600
    student.until(lambda: student.driver.title == "Demo board", "the time was extended")


def test_an_open_page_asks_and_a_closed_one_says_so(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    student.until(lambda: lab.looks, "the page asks at once")
    student.open("about:blank")
    student.until(lambda: lab.left, "the page says that it is left")
    assert lab.left == [lab.url.removesuffix("/lab1/")]


def test_a_browser_that_slows_a_hidden_page_down_does_not_silence_it(
    student: Student, lab: StandIn
) -> None:
    student.open(lab.url)
    student.run("window.setTimeout = () => {}")
    for value in (1, 2, 3):
        lab.values["temp"] = value
        student.sees("#device-temp .state", f"{value} °C")


def test_the_page_goes_on_when_the_lab_answers_again(student: Student, lab: StandIn) -> None:
    student.expects_failures = True
    student.open(lab.url)
    lab.fall_silent()
    student.sees("#notices", "The lab does not answer. Trying again…")
    student.click(SWITCH)
    student.sees("#device-switch .error", "The lab does not answer.")
    lab.restarted = True
    lab.time_left = 200
    lab.values["temp"] = 30
    lab.answer()
    student.sees_in_source("#notices", "The lab was restarted.")
    assert "does not answer" not in student.text("body")
    student.sees("#device-temp .state", "30 °C")
    assert 190 <= seconds(student.text("#clock")) <= 200
    student.click(SWITCH)
    student.sees("#device-lamp .state", "On")
    student.click("#notices button")
    assert student.text("#notices") == ""


def test_a_lab_that_never_answers_again_ends_with_the_time(student: Student, lab: StandIn) -> None:
    student.expects_failures = True
    lab.time_left = 1.5
    student.open(lab.url)
    lab.fall_silent()
    student.sees("#over", "Your time is up.")
    lab.answer()


def test_a_browser_that_lost_its_right_is_told(student: Student, lab: StandIn) -> None:
    student.expects_failures = True
    student.open(lab.url)
    lab.knows_browser = False
    student.sees("#over", "This page no longer belongs to an open session.")
