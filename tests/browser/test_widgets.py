"""Every widget of the page in a real browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Keys

from . import accessibility
from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser

SAVE = """
    const done = arguments[arguments.length - 1];
    URL.createObjectURL = (blob) => { blob.text().then(done); return "#"; };
    document.querySelector("#plot-0 [aria-label='Save as CSV']").click();
"""


def press(student: Student, *keys: str) -> None:
    ActionChains(student.driver, duration=0).send_keys(*keys).perform()


def test_a_push_button_is_on_while_it_is_held(student: Student, bench: StandIn) -> None:
    button = student.find("#device-bell button")
    ActionChains(student.driver, duration=0).click_and_hold(button).perform()
    student.sees("#device-bell .state", "On")
    ActionChains(student.driver, duration=0).release().perform()
    student.sees("#device-bell .state", "Off")
    assert bench.commands == [("bell", "set", [True]), ("bell", "set", [False])]


def test_a_push_button_is_let_go_when_the_pointer_slides_off_or_the_tab_hides(
    student: Student, bench: StandIn
) -> None:
    button = student.find("#device-bell button")
    ActionChains(student.driver, duration=0).click_and_hold(button).perform()
    student.sees("#device-bell .state", "On")
    ActionChains(student.driver, duration=0).move_by_offset(0, -80).perform()
    student.sees("#device-bell .state", "Off")
    ActionChains(student.driver, duration=0).release().click_and_hold(button).perform()
    student.sees("#device-bell .state", "On")
    student.run("""Object.defineProperty(document, "hidden", { value: true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));""")
    student.until(lambda: bench.values["bell"] is False, "the bell is off")
    student.run("""delete document.hidden; document.dispatchEvent(new Event("visibilitychange"))""")
    ActionChains(student.driver, duration=0).release().perform()
    assert [value for _, _, (value,) in bench.commands] == [True, False, True, False]


def test_a_task_is_started_with_what_its_fields_say(student: Student, lab: StandIn) -> None:
    lab.parameters = [
        {"name": "times", "type": "int", "min": 1, "max": 9},
        {"name": "light_up", "type": "bool", "default": True},
        {"name": "mode", "type": "choice", "choices": ["slow", "fast"], "default": "fast"},
        {"name": "pause", "type": "float", "default": 0.5},
    ]
    student.open(lab.url)
    labels = student.run("return [...document.querySelectorAll('.field')].map((e) => e.innerText)")
    assert labels[0].strip() == "Times (from 1 to 9)"
    student.click("#start-blink")
    assert lab.task is None  # the number is missing
    student.find("#blink-times").send_keys("12")
    student.click("#start-blink")
    assert lab.task is None
    student.find("#blink-times").clear()
    student.find("#blink-times").send_keys("3")
    student.click("#start-blink")
    student.sees("#task-blink .state", "Waiting")
    assert lab.given == {"times": 3, "light_up": True, "mode": "fast", "pause": 0.5}


def test_a_push_button_with_a_pulse_begins_it_with_a_click(
    student: Student, bench: StandIn
) -> None:
    student.click("#device-shot button")
    student.sees("#device-shot .state", "On")
    assert bench.commands == [("shot", "set", [True])]


def test_a_colour_is_chosen_from_a_few_or_from_all(student: Student, bench: StandIn) -> None:
    assert student.text("#device-light .state") == "#ffb000"
    student.click("#device-light .swatch[aria-label='#0000ff']")
    student.sees("#device-light .state", "#0000ff")
    choose = """const picker = document.querySelector("#device-light input");
        picker.value = "#123456"; picker.dispatchEvent(new Event("input"));"""
    student.run(choose)
    student.until(lambda: bench.values["light"] == "#123456", "the light has the colour")


def test_a_dial_turns_by_keys_and_by_hand(student: Student, bench: StandIn) -> None:
    student.find("#device-servo input").send_keys(Keys.HOME)
    student.until(lambda: bench.values["servo"] == -90, "the servo is at its one end")
    face = student.find("#device-servo .dial-face")
    right = ActionChains(student.driver, duration=0).move_to_element_with_offset(face, 60, -12)
    right.click().perform()
    student.until(lambda: bench.values["servo"] > 45, "the servo has followed the hand")
    student.sees("#device-servo output", f"{bench.values['servo']}°")


def test_a_bank_is_set_bit_by_bit_or_as_a_number(student: Student, bench: StandIn) -> None:
    assert student.text("#device-leds .state") == "178 · 0xB2"
    student.click("#device-leds [aria-label='Bit 0']")
    student.sees("#device-leds .state", "179 · 0xB3")
    field = student.find("#device-leds input")
    field.send_keys("0x0F", Keys.ENTER)
    student.sees("#device-leds .state", "15 · 0x0F")
    student.until(lambda: bench.values["leds"] == 15, "the bank has the number")
    field.clear()
    field.send_keys("256", Keys.ENTER)
    student.sees("#device-leds .error", "A whole number from 0 to 255")
    assert bench.commands[-1] == ("leds", "set", [15])


def test_a_bank_that_is_read_names_its_bits(student: Student, bench: StandIn) -> None:
    lamps = "[...document.querySelectorAll('#device-dip .bit')].map((e) => e.ariaLabel)"
    assert student.run(f"return {lamps}") == ["Boot: On", "Reset: Off"]
    assert student.text("#device-dip .bits").split() == ["Boot", "Reset"]


def test_texts_and_numbers_are_sent_with_enter(student: Student, bench: StandIn) -> None:
    assert student.text("#device-lcd .shown") == "Hello\n  world"
    student.find("#device-lcd input").send_keys("Bye", Keys.ENTER)
    student.sees("#device-lcd .shown", "Bye")
    student.find("#device-goal input").send_keys("41.5", Keys.ENTER)
    student.sees("#device-goal .state", "41.5 °C")
    student.find("#device-mode select").send_keys("f")
    student.until(lambda: bench.values["mode"] == "fast", "the choice is made")


def test_a_file_is_sent_and_what_becomes_of_it_is_seen(
    student: Student, bench: StandIn, tmp_path: Path
) -> None:
    send = "#send-mcu"
    field = student.find("#file-mcu")
    assert student.find(send).get_attribute("aria-disabled") == "true"
    (tmp_path / "notes.txt").write_text("x")
    field.send_keys(str(tmp_path / "notes.txt"))
    student.sees("#device-mcu .error", "A file that ends with .hex is needed.")
    (tmp_path / "large.hex").write_bytes(bytes(1001))
    field.send_keys(str(tmp_path / "large.hex"))
    student.sees("#device-mcu .error", "The file is too large")
    (tmp_path / "blink ñ.hex").write_bytes(b":00000001FF\n")
    field.send_keys(str(tmp_path / "blink ñ.hex"))
    student.sees("#device-mcu .chosen", "blink ñ.hex")
    student.click(send)
    student.sees("#device-mcu .state", "Waiting")
    assert bench.uploads == [("mcu", "blink ñ.hex", b":00000001FF\n")]
    bench.change_task(status="running", data={"percent": 50, "log": ["Writing"]})
    student.sees("#device-mcu .state", "50%")
    blank = "//*[@id='device-mcu']//button[text()='Make blank']"
    offered = student.driver.find_element("xpath", blank)
    assert offered.get_attribute("aria-disabled") == "true"
    student.sees("#device-mcu .log", "Writing")
    bench.change_task(status="done", result="12 bytes written")
    student.sees("#device-mcu .result", "12 bytes written")
    assert student.find(send).get_attribute("aria-disabled") == "false"


def test_what_cannot_be_used_says_why_and_does_nothing(student: Student, bench: StandIn) -> None:
    assert student.text("#device-motor .why") == "The lid is open."
    student.click("#device-motor [role=switch]")
    assert bench.commands == []
    assert student.text("#device-humidity .why").startswith("This value is 1")
    bench.states = {}
    student.until(lambda: student.text("#device-motor .why") == "", "the lid is closed")
    student.click("#device-motor [role=switch]")
    student.until(lambda: bench.values["motor"], "the motor is on")
    assert bench.commands == [("motor", "set", [True])]


def test_a_board_that_takes_its_time_is_called_busy(student: Student, bench: StandIn) -> None:
    bench.gate.clear()
    student.click("#device-heater [role=switch]")
    student.sees("#device-heater .why", "The board is busy")
    bench.gate.set()
    student.until(lambda: student.text("#device-heater .why") == "", "it has answered")
    assert student.text("#device-heater .state") == "Off"


def test_what_is_on_can_be_switched_off_whatever_locks_it(student: Student, bench: StandIn) -> None:
    bench.states = {"heater": {"locked": "It has to rest."}}
    student.sees("#device-heater .why", "It has to rest.")
    student.click("#device-heater [role=switch]")
    student.sees("#device-heater .state", "Off")


def test_a_fault_is_told_above_the_board_until_it_is_over(student: Student, bench: StandIn) -> None:
    fault = {"name": "hot", "message": "Too hot.", "latched": True, "active": True}
    bench.faults = [fault]
    student.sees("#notices", "Too hot. The lab’s staff have to clear this.")
    bench.faults = [{**fault, "latched": False}]
    student.until(lambda: student.text("#notices") == "Too hot.", "it is not latched any more")
    bench.faults = []
    student.until(lambda: student.text("#notices") == "", "it is over")


def test_what_a_sequence_says_is_shown_once_in_the_students_language(
    student: Student, bench: StandIn
) -> None:
    bench.notices = [{"number": 1, "text": {"en": "Cooling down", "es": "Enfriando"}}]
    student.sees("#notice-lab", "Cooling down")
    student.click("#notice-lab button")
    looks = bench.looks
    student.until(lambda: bench.looks > looks + 1, "the page has looked again")
    assert not student.run("return document.querySelector('#notice-lab')")
    bench.notices.append({"number": 2, "text": "Ready."})
    student.sees("#notice-lab", "Ready.")


def test_a_plot_shows_the_past_zooms_and_is_saved(student: Student, bench: StandIn) -> None:
    bench.values["temp"] = 30
    student.sees("#plot-0 .legend", "Temperature 30 °C")
    label = "return document.querySelector('#plot-0 canvas').ariaLabel"
    assert "last 60 s" in student.run(label)
    student.click("#plot-0 [aria-label='Zoom in']")
    student.until(lambda: "last 30 s" in student.run(label), "half of the time is seen")
    painted = """const canvas = document.querySelector("#plot-0 canvas");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return pixels.some((value) => value > 0)"""
    assert student.run(painted)
    head, *rows = student.driver.execute_async_script(SAVE).split("\r\n")
    assert head == "seconds,time,temp,fan,heater,temp_valid,fan_valid,heater_valid"
    seconds, when, *values = rows[0].split(",")
    assert (seconds, when[-6:], values) == ("0.000", "+00:00", ["21.5", "", "", "1", "0", "0"])
    assert [row.split(",")[2] for row in rows if row][-1] == "30"


def test_a_sensor_that_died_grows_older_and_leaves_a_gap(student: Student, bench: StandIn) -> None:
    bench.states["temp"] = {"stale": True, "sampled": time.monotonic() - 1}
    student.sees("#device-temp .why", "This value is 2")
    student.sees("#device-temp .why", "This value is 3")
    student.sees("#plot-0 .legend", "Temperature No reading")
    past = """const done = arguments[arguments.length - 1];
        import("./static/history.js").then(({ history }) => done(history("temp").values));"""
    assert student.driver.execute_async_script(past) == [21.5, None]
    last = student.driver.execute_async_script(SAVE).split("\r\n")[-2].split(",")
    assert (last[2], last[5]) == ("", "0")
    bench.states["temp"] = {"stale": False, "sampled": time.monotonic()}
    student.until(lambda: student.text("#device-temp .why") == "", "the sensor is back")
    assert student.driver.execute_async_script(past) == [21.5, None, 21.5]
    line = student.find("#device-temp .spark path")
    pieces = lambda: str(line.get_dom_attribute("d")).count("M")  # noqa: E731
    student.until(lambda: pieces() == 2, "two lines with a gap between")


def test_a_plot_has_a_gap_while_the_lab_does_not_answer(student: Student, bench: StandIn) -> None:
    student.expects_failures = True
    student.sees("#plot-0 .legend", "Temperature 21.5 °C")
    bench.fall_silent()
    student.sees("#plot-0 .legend", "Temperature No reading")
    bench.answer()
    student.sees("#plot-0 .legend", "Temperature 21.5 °C")
    past = """const done = arguments[arguments.length - 1];
        import("./static/history.js").then(({ history }) => done(history("temp").values));"""
    assert student.driver.execute_async_script(past) == [21.5, None, 21.5]


def test_a_plot_begins_with_what_the_lab_has_recorded(student: Student, lab: StandIn) -> None:
    lab.show_all_widgets()
    rows = [[60 * number, True, 20 + number] for number in range(100)]
    lab.recording = {"devices": ["lid", "temp"], "rows": rows}
    student.open(lab.url)
    past = """const done = arguments[arguments.length - 1];
        import("./static/history.js").then(({ history }) => done(history("temp").values));"""
    whole = [*(20 + number for number in range(100)), 21.5]

    def known() -> bool:
        values = student.driver.execute_async_script(past)
        return bool(values[:99] == whole[:99] and values[-1] == 21.5)

    student.until(known, "the plot knows the past")
    assert student.text(".recording").startswith("What was measured in this session: CSV")


def test_a_page_of_the_lab_s_own_says_where_cards_stand(student: Student, bench: StandIn) -> None:
    place = """const done = arguments[arguments.length - 1];
        document.querySelector("#devices").replaceChildren();
        const place = document.createElement("div");
        place.dataset.card = "heater";
        document.querySelector("main").append(place);
        import("./static/layout.js").then(({ drawBoard }) => { drawBoard(); done(); });"""
    student.driver.execute_async_script(place)
    assert student.text("[data-card] .label") == "Heater"
    assert len(student.run("return document.querySelectorAll('#device-heater')")) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_widget_is_for_everybody(student: Student, bench: StandIn, scheme: str) -> None:
    colours = [{"name": "prefers-color-scheme", "value": scheme}]
    student.emulate("setEmulatedMedia", media="", features=colours)
    bench.starts("blink")
    bench.change_task(status="running", data={"percent": 40, "log": ["one", "two"]})
    bench.faults = [{"name": "hot", "message": "Too hot.", "latched": True, "active": True}]
    student.sees("#task-blink .state", "40%")
    student.sees("#notices", "Too hot.")
    assert accessibility.problems(student) == []


def test_a_curve_has_a_name_before_it_is_drawn(student: Student, lab: StandIn) -> None:
    never = {"source": "window.requestAnimationFrame = () => 0"}
    command = "Page.addScriptToEvaluateOnNewDocument"
    script = student.driver.execute_cdp_cmd(command, never)
    try:
        lab.show_all_widgets()
        student.open(lab.url)
        assert accessibility.problems(student) == []
    finally:
        student.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_the_judge_of_pages_finds_what_is_wrong(student: Student, bench: StandIn) -> None:
    spoil = """
        document.querySelector("#device-heater [role=switch]").removeAttribute("aria-labelledby");
        document.querySelector("#device-fan .label").id = "device-temp-label";
        document.querySelector("#device-temp .state").style.color = "#eee";
        document.querySelector("#send-mcu").style.height = "10px";
        document.querySelector("#send-mcu").style.minHeight = "0";
    """
    student.run(spoil)
    found = "\n".join(accessibility.problems(student))
    for problem in (
        "a switch has no name",
        "two elements have the id device-temp-label",
        "aria-labelledby names device-fan-label",
        "'21.5 °C' has a contrast of 1",
        "is too small",
    ):
        assert problem in found


def test_all_widgets_fit_a_phone(student: Student, bench: StandIn) -> None:
    student.become_phone()
    student.until(lambda: student.run("return innerWidth") == 360, "it is a phone")
    wide = """return [...document.querySelectorAll("body *")].filter((element) =>
        element.checkVisibility() && element.getBoundingClientRect().right > 361)
        .map((element) => element.outerHTML.slice(0, 80))"""
    assert student.run(wide) == []
    assert student.run("return document.documentElement.scrollWidth") == 360


def test_with_text_twice_as_large_a_phone_shows_the_board(student: Student, bench: StandIn) -> None:
    student.become_phone()
    student.driver.execute_cdp_cmd("Page.enable", {})
    student.driver.execute_cdp_cmd(
        "Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}}
    )
    try:
        student.open(bench.url)
        student.sees("#plot-0 .legend", "Temperature")
        assert student.run("return getComputedStyle(document.documentElement).fontSize") == "32px"
        for bench.locales in ["en"], ["de"]:  # the longest "Leave"
            bench.time_left = 5000  # the longest time
            student.open(bench.url)
            student.sees("#plot-0 .legend", "")
            assert student.run(BAR_ROWS) == 2
            assert student.run("return document.querySelector('header').offsetHeight") <= 740 / 5
        assert student.run("return document.documentElement.scrollWidth") <= 360
        assert student.run(OVERLAPS) == []
        plot = "return parseFloat(document.querySelector('#plot-0 canvas').style.height) * 32"
        assert student.run(plot) > 600  # three lanes, twice as high as usual
    finally:
        sizes = {"standard": 16, "fixed": 13}
        student.driver.execute_cdp_cmd("Page.setFontSizes", {"fontSizes": sizes})


BAR_ROWS = """
    const tops = [...document.querySelectorAll("header > :not(#notices)")].map((part) => {
      const { top, height } = part.getBoundingClientRect();
      return top + height / 2;
    });
    return tops.sort((a, b) => a - b).filter((top, i) => !i || top - tops[i - 1] > 20).length;"""
OVERLAPS = """return [...document.querySelectorAll(".card .head")].filter((head) => {
    const range = document.createRange();
    const of = (element) => {
      range.selectNodeContents(element);
      return [...range.getClientRects()];
    };
    const [labels, states] = [".label", ".state"].map((each) =>
      [...head.querySelectorAll(each)].flatMap(of));
    return labels.some((a) => states.some((b) =>
      a.left < b.right - 1 && b.left < a.right - 1 &&
      a.top < b.bottom - 1 && b.top < a.bottom - 1));
  }).map((head) => head.innerText)"""


def test_with_forced_colours_what_is_on_still_looks_so(student: Student, bench: StandIn) -> None:
    student.emulate("setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
    colour = "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor"
    bit = (
        "return getComputedStyle(document.querySelector(arguments[0]), '::before').backgroundColor"
    )
    on, off = (f'#device-leds .bit[data-lit="{lit}"]' for lit in ("true", "false"))
    assert student.run(bit, on) != student.run(bit, off)
    switches = (f"#device-{name} .toggle" for name in ("heater", "motor"))
    assert len({student.run(colour, switch) for switch in switches}) == 2


def test_everything_is_done_by_keyboard(student: Student, bench: StandIn) -> None:
    order = []
    student.run("document.querySelector('#device-leds [role=switch]').focus()")
    for _ in range(10):
        order.append(student.driver.switch_to.active_element.accessible_name)
        press(student, Keys.TAB)
    assert order[:2] == ["Bit 7", "Bit 6"]
    assert order[8:] == ["LEDs: as a number", "Set"]
    student.run("document.querySelector('#device-bell button').focus()")
    ActionChains(student.driver, duration=0).key_down(Keys.SPACE).perform()
    student.sees("#device-bell .state", "On")
    ActionChains(student.driver, duration=0).key_up(Keys.SPACE).perform()
    student.sees("#device-bell .state", "Off")
    student.run("document.querySelector('#plot-0 canvas').focus()")
    press(student, "+")
    label = "return document.querySelector('#plot-0 canvas').ariaLabel"
    student.until(lambda: "last 30 s" in student.run(label), "the plot zooms by a key")


def test_whoever_observes_sees_all_and_can_do_nothing(student: Student, lab: StandIn) -> None:
    lab.show_all_widgets()
    lab.read_only = True
    student.open(lab.url)
    student.sees("#notices", "You are watching this session")
    usable = """return [...document.querySelectorAll("main button, main input, main select")]
        .filter((each) => !each.disabled && each.ariaDisabled !== "true")
        .filter((each) => !each.closest(".notice, [data-widget=plot], [data-widget=samples]"))
        .map((each) => each.ariaLabel ?? each.outerHTML)"""
    assert student.run(usable) == []
    assert student.text("#leave") == ""
    student.click("#device-heater [role=switch]")
    lab.values["temp"] = 33
    student.sees("#device-temp .state", "33 °C")
    assert lab.commands == []


def test_all_widgets_speak_spanish(student: Student, lab: StandIn) -> None:
    lab.show_all_widgets()
    lab.locales = ["es"]
    student.open(lab.url)
    assert student.text("#device-bell button") == "Pulsar"
    assert student.text("#device-motor .why") == "La tapa está abierta."
    assert student.text("#plot-0 .label") == "En el tiempo"
    assert student.text("#device-temp .state") == "21,5 °C"


def test_an_array_is_a_curve_that_can_be_looked_at_closely_and_saved(
    student: Student, bench: StandIn
) -> None:
    canvas = "#device-trace canvas"
    student.until(lambda: student.find(canvas).get_attribute("aria-label"), "it is drawn")
    assert student.find(canvas).get_attribute("aria-label") == "Oscilloscope: 400 × -2 V – 2 V"
    for _ in range(4):
        student.click("#device-trace [aria-label='Zoom in']")
    seen = str(student.find(canvas).get_attribute("aria-label"))
    assert "-2 V – 2 V" not in seen, "a 16th of it, in which it does not go as far"
    ActionChains(student.driver).double_click(student.find(canvas)).perform()
    student.until(
        lambda: "-2 V – 2 V" in str(student.find(canvas).get_attribute("aria-label")), "all of it"
    )
    link = str(student.find("#device-trace a").get_attribute("href"))
    assert link.endswith("/api/devices/trace/samples.csv")
    student.click("#device-trace .buttons button")
    student.until(lambda: ("trace", "acquire", []) in bench.commands, "it is acquired")
