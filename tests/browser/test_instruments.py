"""Numbers as an instrument shows them, and the board's own words for on and off."""

from __future__ import annotations

import pytest
from selenium.webdriver import ActionChains, Keys

from .bench import SET, device
from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser

OPEN = {"on": "Abierta", "off": "Cerrada"}
ROW = "#plot-0 .legend tbody tr:nth-child({})"


@pytest.fixture
def bench(student: Student, lab: StandIn) -> StandIn:
    """A page whose devices have what these tests are about."""
    lab.devices = [
        device("valve", "Valve", "switch", SET, words=OPEN),
        device("lid", "Lid", "lamp", words=OPEN),
        device("gates", "Gates", "bank", width=2, words=OPEN),
        device("temp", "Temperature", "value", unit="°C", digits=2, size="large"),
        device("motor", "Motor", "slider", SET, min=-1, max=1, step=0.02, share=True),
        device("arm", "Arm", "dial", SET, min=-90, max=90, step=1, unit="°"),
    ]
    lab.values = {"valve": True, "lid": False, "gates": 2, "temp": 21.5, "motor": 0, "arm": 30}
    lab.page = [
        ["valve", "lid", "gates", "temp", "motor", "arm"],
        [{"plot": ["temp", "motor", "valve"], "span": 60, "label": None}],
    ]
    student.open(lab.url)
    return lab


def figures(student: Student, row: int) -> list[str]:
    """The value, and the lowest, highest and mean of what is seen."""
    cells = (
        "return [...document.querySelector(arguments[0]).cells].slice(1).map((c) => c.innerText)"
    )
    texts: list[str] = student.run(cells, ROW.format(row))
    return texts


def test_a_device_says_its_own_words_for_on_and_off(student: Student, bench: StandIn) -> None:
    assert student.text("#device-valve .state") == "Abierta"
    assert student.text("#device-lid .state") == "Cerrada"
    assert student.find("#device-valve [role=switch]").accessible_name == "Valve Abierta"
    bits = [
        bit.accessible_name
        for bit in student.find("#device-gates").find_elements("css selector", ".bit")
    ]
    assert bits == ["Bit 1: Abierta", "Bit 0: Cerrada"]
    student.until(lambda: figures(student, 3)[0] == "Abierta", "the plot says so, too")
    bench.values["lid"] = True
    student.sees_in_source("#said", "Lid: Abierta")


def test_a_reading_has_the_decimals_of_its_sensor_and_the_size_asked_for(
    student: Student, bench: StandIn
) -> None:
    assert student.text("#device-temp .state") == "21.50 °C"
    size = "return parseFloat(getComputedStyle(document.querySelector(arguments[0])).fontSize)"
    assert student.run(size, "#device-temp .state") > 2 * student.run(size, "#device-arm .state")
    bench.values["temp"] = 23.456
    student.until(
        lambda: student.text("#device-temp .spark") == "23.46\n21.50", "its past has a scale"
    )
    assert student.text("#device-arm .dial-face").split() == ["-90", "-45", "0", "45", "90"]


def test_a_motor_that_stands_still_looks_so(student: Student, bench: StandIn) -> None:
    filled = """const { style } = document.querySelector("#device-motor input");
        return [style.getPropertyValue("--from"), style.getPropertyValue("--to")].map(Number)"""
    assert student.text("#device-motor .state") == "0%"
    assert student.run(filled) == [0.5, 0.5]
    bench.values["motor"] = -0.5
    student.sees("#device-motor .state", "-50%")
    assert student.run(filled) == [0.25, 0.5]


def test_a_plot_has_figures_of_what_is_seen_and_series_to_switch_off(
    student: Student, bench: StandIn
) -> None:
    bench.values["temp"] = 30
    student.until(lambda: figures(student, 1)[:3] == ["30.00 °C", "21.50", "30.00"], "the extremes")
    assert 21.5 <= float(figures(student, 1)[3]) <= 30
    assert figures(student, 3) == ["Abierta", "", "", "100%"]
    height = "return document.querySelector('#plot-0 canvas').clientHeight"
    before = student.run(height)
    student.click(f"{ROW.format(1)} button")
    student.until(lambda: student.run(height) < before, "its lane is gone")
    assert student.find(f"{ROW.format(1)} button").get_attribute("aria-pressed") == "false"
    assert figures(student, 1) == ["30.00 °C", "", "", ""]


def test_a_crosshair_shows_what_all_devices_had_shown_at_a_time(
    student: Student, bench: StandIn
) -> None:
    glass = "return document.querySelector('#plot-0 .glass').hidden"
    bench.values["temp"] = 30
    student.until(lambda: figures(student, 1)[0] == "30.00 °C", "the value now")
    canvas = student.find("#plot-0 canvas")
    ActionChains(student.driver, duration=0).move_to_element_with_offset(canvas, -200, 0).perform()
    student.until(lambda: figures(student, 1)[0] == "No reading", "nobody knows what was before")
    assert not student.run(glass)
    student.run("document.querySelector('#plot-0 canvas').focus()")
    ActionChains(student.driver, duration=0).send_keys(Keys.ESCAPE).perform()
    student.until(lambda: student.run(glass), "it is away")
    left = ActionChains(student.driver, duration=0).key_down(Keys.SHIFT).send_keys(Keys.END)
    left.key_up(Keys.SHIFT).perform()
    step = ActionChains(student.driver, duration=0).key_down(Keys.SHIFT)
    step.send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    student.sees_in_source(
        "#plot-0 [role=status].unseen", "Temperature: 30.00 °C, Motor: 0%, Valve: Abierta"
    )


def test_a_plot_is_saved_as_a_picture_with_its_names(student: Student, bench: StandIn) -> None:
    saved = """const done = arguments[arguments.length - 1];
        URL.createObjectURL = (blob) => {
          createImageBitmap(blob).then(({ height }) => done([blob.type, height]));
          return "#";
        };
        document.querySelector("#plot-0 [aria-label='Save as PNG']").click();"""
    student.sees("#plot-0 .legend", "Temperature 21.50 °C")
    kind, height = student.driver.execute_async_script(saved)
    assert kind == "image/png"
    assert height > student.run("return document.querySelector('#plot-0 canvas').height")
