"""The picture of a camera: how old it is, a closer look, and who receives it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import ActionChains

from .bench import device
from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser

FRAMES = """return new Promise((done) => {
    let left = 10;
    const frame = () => (left-- ? requestAnimationFrame(frame) : done());
    frame();
})"""
TRANSFORM = "return document.querySelector('#device-eye canvas').style.transform"


@pytest.fixture
def camera(student: Student, lab: StandIn) -> Iterator[StandIn]:
    """A page with a camera whose first picture has just been taken; no other comes."""
    student.expects_failures = True
    lab.devices = [device("eye", "Eye", "camera", rate=10)]
    lab.values = {"eye": None}
    lab.taken = [0.0]
    lab.pictures.clear()
    student.open(lab.url)
    yield lab
    student.go_away()
    lab.pictures.set()


def fingers(student: Student, kind: str, *places: tuple[int, int]) -> None:
    points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
    parameters = {"type": kind, "touchPoints": points}
    student.driver.execute_cdp_cmd("Input.dispatchTouchEvent", parameters)


def test_a_picture_that_no_other_follows_grows_old(student: Student, camera: StandIn) -> None:
    student.sees("#device-eye .age", "Live")
    assert student.run("return document.querySelector('#device-eye canvas').width") == 320
    student.sees("#device-eye .broken .age", "2s old")


def test_a_picture_is_looked_at_closer_by_wheel_buttons_and_keys(
    student: Student, camera: StandIn
) -> None:
    student.click("#device-eye [aria-label='Zoom in']")
    assert "scale(1.25)" in student.run(TRANSFORM)
    student.find("#device-eye .camera").send_keys("+")
    assert "scale(1.5625)" in student.run(TRANSFORM)
    frame = student.find("#device-eye .camera")
    ActionChains(student.driver, duration=0).double_click(frame).perform()
    assert student.run(TRANSFORM) == ""


def test_two_fingers_zoom_and_one_moves_what_is_zoomed(student: Student, camera: StandIn) -> None:
    student.become_phone()
    student.open(camera.url)
    box = student.find("#device-eye .camera").rect
    x, y = round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)
    fingers(student, "touchStart", (x - 20, y), (x + 20, y))
    fingers(student, "touchMove", (x - 40, y), (x + 40, y))
    fingers(student, "touchEnd")
    student.until(lambda: "scale(2" in student.run(TRANSFORM), "it is twice as large")
    before = student.run(TRANSFORM)
    fingers(student, "touchStart", (x, y))
    fingers(student, "touchMove", (x + 30, y))
    fingers(student, "touchEnd")
    student.until(lambda: student.run(TRANSFORM) != before, "another part is seen")


def test_a_camera_that_is_out_of_sight_is_not_received(student: Student, camera: StandIn) -> None:
    student.until(lambda: camera.viewers == 1, "it is received")
    camera.taken = [0.0, 0.0]
    student.run("document.querySelector('#device-eye').style.marginTop = '300vh'")
    camera.pictures.set()
    student.run("scrollTo(0, document.body.scrollHeight)")
    student.until(lambda: camera.viewers == 2, "it is received again")
    camera.pictures.clear()


def test_a_camera_under_a_tab_that_is_not_chosen_is_not_received(
    student: Student, camera: StandIn
) -> None:
    student.until(lambda: camera.viewers == 1, "it is received")
    camera.devices.insert(0, device("lamp", "Lamp", "lamp"))
    camera.stage = {"items": ["lamp", "eye"], "layout": "tabs"}
    student.open(camera.url)
    student.run(FRAMES)  # in which the page learns what is in sight
    assert camera.viewers == 1
    student.click("#tab-1")
    student.until(lambda: camera.viewers == 2, "it is received once its tab is chosen")
    student.sees("#device-eye .age", "Live")
    student.click("#tab-0")
    student.run(FRAMES)
    student.click("#tab-1")
    student.until(lambda: camera.viewers == 3, "it was not received in between")


def test_a_camera_fills_the_screen(student: Student, camera: StandIn) -> None:
    student.click("#device-eye [aria-label='Full screen']")
    full = "return document.fullscreenElement?.className"
    student.until(lambda: student.run(full), "it fills the screen")
    student.run("document.exitFullscreen()")
    student.until(lambda: not student.run(full), "the page is back")
