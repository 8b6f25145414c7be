"""The picture of the board on the stage: what glows, slides and is pressed there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Keys

from labnode.board import load_board
from labnode.control import ask
from tests.kit.waiting import eventually

from . import accessibility
from .conftest import Student
from .real_node import Node, running
from .standin import StandIn

pytestmark = pytest.mark.browser

BOARD = """
schema: 1
title: Bench
lab: {name: bench}
session: {timeout: 300}
devices:
  relay: {driver: relay, pin: 17}
  lamp: {driver: digital_input, pin: 27, label: Lamp}
  bell: {driver: digital_output, pin: 22, hold: true}
  switches: {driver: digital_output_bank, pins: [5, 6, 7, 8, 9, 10, 11, 12]}
  digit: {driver: digital_input_bank, pins: [13, 16, 18, 19, 20, 21, 23]}
  light: {driver: rgb_led, red: 24, green: 25, blue: 26}
  level: {driver: virtual, safe: 20.5, unit: °C}
simulate: {lamp: relay, digit: switches}
picture:
  file: board.svg
  devices:
    switches.7: {at: [0.2, 0.8]}
    lamp: {at: [0.4, 0.11], color: red}
    relay: {at: [0.2, 0.1]}
    switches.0: {at: [0.1, 0.8], rotate: -90}
    bell: {at: [0.6, 0.1]}
    digit: {at: [0.7, 0.5], shape: digits}
    light: {at: [0.8, 0.1]}
    level: {at: [0.4, 0.5]}
page:
  - [{relay: 2}, lamp, bell]
  - [switches, digit, light, level]
"""
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 400">
<style>path { fill: #ccc } @media (prefers-color-scheme: dark) { path { fill: #222 } }</style>
<path d="M0 0h600v400H0z"/></svg>"""


@dataclass
class Lab:
    node: Node
    state_dir: Path

    def value(self, device: str) -> Any:
        """What the node has really done."""
        return ask(self.state_dir, "simulate", device=device)["devices"][device]["value"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "bench.yaml").write_text(BOARD)
    (folder / "board.svg").write_text(SVG)
    with running(folder / "bench.yaml", folder / "state") as node:
        yield Lab(node, folder / "state")


@pytest.fixture
def visit(student: Student, bench: Lab) -> Lab:
    """A new session with its page open, in a window of 1440 pixels."""
    student.emulate(
        "setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1, mobile=False
    )
    student.open(bench.node.server.new(assigned_time=300)[1])
    student.until(lambda: student.run(STYLED), "the picture has its style")
    return bench


STYLED = "return document.querySelector('#picture-style')?.sheet?.cssRules.length > 0"
ON_PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
GLOW = """const bulb = document.querySelector(arguments[0] + " .bulb");
    return [getComputedStyle(bulb, "::after").opacity > 0,
        getComputedStyle(bulb).getPropertyValue("--glow")]"""
TARGETS = """const boxes = [...document.querySelectorAll(".spot button")]
        .map((each) => each.getBoundingClientRect());
    const small = boxes.filter(({ width, height }) => width < 23.9 || height < 23.9);
    const over = boxes.filter((a, i) => boxes.some((b, j) => i < j &&
        a.left < b.right - 1 && b.left < a.right - 1 &&
        a.top < b.bottom - 1 && b.top < a.bottom - 1));
    return [boxes.length, small.length, over.length]"""
TOPS = """return ["#stage", "#controls"].map((id) => {
    const { top, left, right, bottom } = document.querySelector(id).getBoundingClientRect();
    return { top, left, right, bottom }; })"""


def spot(name: str) -> str:
    return f'[data-spot="{name}"]'


def press(student: Student, *keys: str) -> None:
    ActionChains(student.driver, duration=0).send_keys(*keys).perform()


def settled(student: Student) -> None:
    """Wait until the page has drawn twice: style and sizes are there."""
    student.driver.execute_async_script(
        """const [done] = arguments;
        requestAnimationFrame(() => requestAnimationFrame(() => done()));"""
    )


def test_a_switch_slides_and_a_light_glows_in_its_colour(student: Student, visit: Lab) -> None:
    assert student.run(GLOW, spot("lamp")) == [False, "#ff4136"]
    knob = "return document.querySelector('[data-spot=relay] .knob').getBoundingClientRect().left"
    before = student.run(knob)
    student.click(f"{spot('relay')} [role=switch]")
    student.until(lambda: student.run(GLOW, spot("lamp"))[0], "the lamp glows")
    student.until(lambda: student.run(knob) > before + 5, "the switch has slid to the right")
    assert student.find(f"{spot('lamp')} [role=img]").get_attribute("aria-label") == "Lamp: On"
    student.sees("#device-relay .state", "On")
    student.sees(".says .named", "Relay: On")
    student.click(f"{spot('relay')} [role=switch]")
    student.until(lambda: not student.run(GLOW, spot("lamp"))[0], "the lamp is dark")


def test_bits_digits_colours_and_readings_are_shown_where_they_are(
    student: Student, visit: Lab
) -> None:
    lit = f"return document.querySelectorAll('{spot('digit')} .lit').length"
    assert student.run(lit) == 0
    student.click(f"{spot('switches.0')} [role=switch]")
    student.until(lambda: student.run(lit) == 1, "the segment of the first bit is lit")
    assert visit.value("switches") == 1
    student.run("""const done = import("./static/panel.js").then(({ board }) => {
        board.put("switches", 109); board.put("light", "#00c8ff"); board.put("level", 31.25); })""")
    digit = student.find(f"{spot('digit')} [role=img]")
    student.until(lambda: digit.get_attribute("aria-label") == "Digit: 5", "it shows a 5")
    student.until(lambda: student.run(GLOW, spot("light")) == [True, "#00c8ff"], "a blue light")
    student.sees(spot("level"), "31.25 °C")


def test_a_push_button_is_on_while_it_is_held_by_hand_or_by_key(
    student: Student, visit: Lab
) -> None:
    button = student.find(f"{spot('bell')} button")
    ActionChains(student.driver, duration=0).click_and_hold(button).perform()
    eventually(lambda: visit.value("bell") is True)
    student.until(lambda: "pressed" in student.find(spot("bell")).get_attribute("class"), "down")
    ActionChains(student.driver, duration=0).move_by_offset(0, 120).perform()
    eventually(lambda: visit.value("bell") is False)
    ActionChains(student.driver, duration=0).release().perform()
    student.run("arguments[0].focus()", button)
    ActionChains(student.driver, duration=0).key_down(Keys.SPACE).perform()
    eventually(lambda: visit.value("bell") is True)
    ActionChains(student.driver, duration=0).key_up(Keys.SPACE).perform()
    eventually(lambda: visit.value("bell") is False)


def test_the_keys_go_over_the_picture_row_by_row_and_are_seen(student: Student, visit: Lab) -> None:
    student.run("document.querySelector('#leave').focus()")
    order = []
    for _ in range(4):
        press(student, Keys.TAB)
        order.append(student.driver.switch_to.active_element.accessible_name)
    assert order == ["Relay", "Bell", "Switches: Bit 0", "Switches: Bit 7"]
    outline = "return getComputedStyle(document.activeElement).outlineWidth"
    assert student.run(outline) == "3px"
    press(student, Keys.SPACE)
    eventually(lambda: visit.value("switches") == 128)
    press(student, Keys.SPACE)
    eventually(lambda: visit.value("switches") == 0)


def test_the_stage_stays_beside_the_controls_that_scroll(student: Student, visit: Lab) -> None:
    stage, controls = student.run(TOPS)
    assert stage["right"] <= controls["left"]
    assert abs(stage["top"] - controls["top"]) < 2
    student.emulate(
        "setDeviceMetricsOverride", width=1110, height=500, deviceScaleFactor=1, mobile=False
    )
    student.run("scrollTo(0, 250)")
    settled(student)
    after, scrolled = student.run(TOPS)
    assert after["top"] == pytest.approx(stage["top"], abs=2)
    assert scrolled["top"] < after["top"] - 100
    assert after["bottom"] <= 500
    wide = "return document.querySelector('#device-relay').offsetWidth"
    lamp = "return document.querySelector('#device-lamp').offsetWidth"
    student.emulate(
        "setDeviceMetricsOverride", width=2560, height=1440, deviceScaleFactor=1, mobile=False
    )
    settled(student)
    assert student.run(wide) > 1.9 * student.run(lamp)


def test_on_a_phone_the_stage_stays_above_and_every_control_is_large_enough(
    student: Student, visit: Lab
) -> None:
    student.emulate("setDeviceMetricsOverride", **ON_PHONE)
    student.until(lambda: student.run("return innerWidth") == 390, "it is a phone")
    student.run("scrollTo(0, 700)")
    settled(student)
    stage, controls = student.run(TOPS)
    header = student.run("return document.querySelector('header').offsetHeight")
    assert stage["top"] == pytest.approx(header, abs=2)
    assert stage["bottom"] < 844 * 0.6
    assert controls["top"] < stage["top"]
    assert student.run("return document.documentElement.scrollWidth") == 390
    assert student.run(TARGETS) == [4, 0, 0]
    student.run("document.querySelector('#device-level input').focus()")
    top = "return document.activeElement.getBoundingClientRect().top"
    assert student.run(top) >= stage["bottom"]


def test_the_picture_is_enlarged_in_its_frame(student: Student, visit: Lab) -> None:
    width = "return document.querySelector('.ground').offsetWidth"
    before = student.run(width)
    frame = student.run("return document.querySelector('.view').offsetHeight")
    student.click(".zoom [aria-label='Zoom in']")
    assert student.run(width) > 1.4 * before  # half as large again, but for the scroll bars
    assert student.run("return document.querySelector('.view').offsetHeight") <= frame * 1.6
    assert student.run("return document.querySelector('.view').scrollLeft") > 0
    student.click(".zoom [aria-label='Zoom out']")
    assert student.run(width) == before


@pytest.fixture
def drawn(student: Student, lab: StandIn) -> StandIn:
    lab.stage = {"items": [{"picture": True}, {"plot": ["temp"]}], "layout": "tabs"}
    lab.picture = {
        "width": 600,
        "height": 400,
        "alt": None,
        "devices": [
            {"device": "switch", "shape": "slide", "at": [0.2, 0.2]},
            {"device": "motor", "shape": "slide", "at": [0.4, 0.2]},
            {"device": "lamp", "shape": "led", "at": [0.6, 0.2]},
            {"device": "temp", "shape": "reading"},
        ],
    }
    student.open(lab.url)
    student.until(lambda: student.run(STYLED), "the picture has its style")
    return lab


def test_a_click_shows_at_once_and_goes_back_when_it_is_refused(
    student: Student, drawn: StandIn
) -> None:
    student.expects_failures = True
    switch = student.find(f"{spot('switch')} [role=switch]")
    drawn.gate.clear()
    drawn.refusal = (409, "interlocked", "The lid is open.")
    switch.click()
    assert switch.get_attribute("aria-checked") == "true"
    assert "wanted" in str(student.find(spot("switch")).get_attribute("class"))
    drawn.gate.set()
    student.until(lambda: switch.get_attribute("aria-checked") == "false", "it is back")
    student.sees(".says .error", "The lid is open.")


def test_what_cannot_be_used_says_why_when_it_is_touched(student: Student, drawn: StandIn) -> None:
    drawn.states = {"motor": {"locked": "It has to rest.", "held": True}}
    student.until(lambda: "held" in student.find(spot("motor")).get_attribute("class"), "held")
    assert student.text(".says") == ""
    student.click(f"{spot('motor')} [role=switch]")
    student.sees(".says .current", "It has to rest.")
    assert drawn.commands == []


def test_the_picture_is_for_everybody(student: Student, drawn: StandIn) -> None:
    assert accessibility.problems(student) == []
    group = student.find(".picture[role=group]")
    assert group.accessible_name == "Picture of the board: Demo board"
    assert student.text(f".loose {spot('temp')} .control") == "21.5 °C"


def test_what_is_on_the_stage_beside_the_picture_has_a_tab(
    student: Student, drawn: StandIn
) -> None:
    plot = student.find("#stage [data-widget=plot]")
    assert not plot.is_displayed()
    board, over_time = student.driver.find_elements("css selector", "[role=tab]")
    assert (board.text, over_time.text) == ("Board", "Over time")
    student.run("arguments[0].focus()", board)
    press(student, Keys.ARROW_RIGHT)
    assert plot.is_displayed()
    assert not student.find(".picture").is_displayed()
    assert student.driver.switch_to.active_element == over_time
    assert accessibility.problems(student) == []
    board.click()
    assert student.find(".picture").is_displayed()


def test_a_page_of_the_lab_s_own_says_where_the_picture_is(
    student: Student, drawn: StandIn
) -> None:
    student.driver.execute_async_script("""const done = arguments[0];
        document.querySelectorAll("#stage, .picture").forEach((each) => each.remove());
        const place = document.createElement("div");
        place.dataset.picture = "";
        document.querySelector("#devices").replaceChildren(place);
        import("./static/layout.js").then(({ drawBoard }) => { drawBoard(); done(); });""")
    student.click(f"[data-picture] {spot('switch')} [role=switch]")
    student.until(lambda: drawn.values["switch"] is True, "the switch is on")


@pytest.fixture
def placing(student: Student, tmp_path: Path) -> Iterator[Path]:
    """The page of `labnode picture` is open; the board file."""
    board = tmp_path / "bench.yaml"
    board.write_text(BOARD)
    (tmp_path / "board.svg").write_text(SVG)
    command = [sys.executable, "-m", "labnode", "picture", str(board), "--no-browser", "--port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(found[0] for line in lines if (found := re.search(r"http://127\S+", line)))
        student.open(url)
        student.until(lambda: student.driver.find_elements("css selector", ".handle"), "it is open")
        yield board
        student.go_away()
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_devices_are_placed_by_hand_and_by_key_and_the_yaml_can_be_pasted(
    student: Student, placing: Path
) -> None:
    yaml = "return document.querySelector('#yaml').value"
    assert "    relay: {at: [0.2, 0.1], shape: slide}\n" in student.run(yaml)
    student.click(".handle[title=relay]")
    press(student, Keys.ARROW_RIGHT)
    ActionChains(student.driver, duration=0).key_down(Keys.SHIFT).send_keys(Keys.ARROW_DOWN).key_up(
        Keys.SHIFT
    ).perform()
    assert "    relay: {at: [0.202, 0.12], shape: slide}\n" in student.run(yaml)
    student.driver.find_element("xpath", "//*[@id='rest']//button[text()='switches.3']").click()
    handle = student.find(".handle[title='switches.3']")
    width = student.run("return document.querySelector('.ground').offsetWidth")
    ActionChains(student.driver, duration=0).drag_and_drop_by_offset(
        handle, width // 4, 0
    ).perform()
    assert re.search(r"switches.3: {at: \[0.7[45]\d*, 0.(49|5)\d*\]", student.run(yaml))
    student.find("#chosen [name=shape]").send_keys("led")
    student.find("#chosen [name=color]").send_keys("#ff8800")
    student.click(".handle[title=bell]")
    student.click("#remove")
    text = student.run(yaml)
    assert 'shape: led, color: "#ff8800"}' in text
    assert "bell" not in text
    before, _, after = BOARD.partition("  devices:\n    switches.7")
    placing.write_text(f"{before}{text}{after[after.index('page:') :]}")
    picture = load_board(placing).picture
    assert picture is not None
    assert {(s.device, s.bit) for s in picture.spots} >= {("switches", 3), ("relay", None)}


def test_labnode_picture_needs_a_picture(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("schema: 1\ndevices: {led: {driver: led, pin: 4}}\n")
    command = [sys.executable, "-m", "labnode", "picture", str(tmp_path / "x.yaml"), "--no-browser"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "x.yaml has no picture yet" in ended.stderr
