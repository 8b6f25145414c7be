"""The console of a serial port and the picture of a camera, in a real browser."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from .conftest import Student
from .real_node import Node

pytestmark = pytest.mark.browser

BOARD = """
schema: 1
title: Bench
lab: {name: bench}
devices:
  uno: {driver: serial, port: /dev/ttyUSB0, label: Uno, baudrates: [9600], line_ending: lf}
  loop: {driver: serial, port: /dev/ttyUSB1}
  sensor: {driver: serial, port: /dev/ttyUSB2, read_only: true}
  camera: {driver: mjpeg, device: /dev/video0}
simulate:
  uno:
    greeting: "ready\\r\\n"
    answers:
      "led (on|off)": "led is \\\\1\\n"
      "evil": "<b id=evil>\\x1b[31mred\\x01\\n"
      "shine": "\\x1b[1;31mhot\\x1b[0m \\x1b[38;5;46mok\\x1b[K\\x1b[m done\\a\\n"
      "say (.*)": "\\\\1\\n"
  sensor: {periodic: [{every: 50ms, text: ["t=20 h=40\\n", "t=21 h=42\\n"]}]}
"""

SCREEN = "#device-uno .screen"
TEXT = "#device-uno textarea"


@pytest.fixture
def visit(visit: Student) -> Student:
    """The page, with its console connected."""
    visit.sees("#device-uno .head .state", "115200")
    return visit


def press(student: Student, text: str, device: str = "uno") -> None:
    """The button with this text."""
    student.run(
        """const buttons = [...document.querySelectorAll(`#device-${arguments[1]} button`)];
        buttons.find((button) => button.textContent === arguments[0]).click();""",
        text,
        device,
    )


def test_a_student_talks_with_the_device(visit: Student) -> None:
    visit.find(TEXT).send_keys("led on", Keys.ENTER)
    visit.sees(SCREEN, "led is on")
    assert "led on" not in visit.text(SCREEN)  # no local echo
    press(visit, "Echo")
    visit.sees(SCREEN, "led on")
    press(visit, "Times")
    visit.until(lambda: visit.text(f"{SCREEN} .rx time").count(":") == 2)
    visit.find(TEXT).send_keys(Keys.ARROW_UP)
    assert visit.find(TEXT).get_property("value") == "led on"
    visit.find("#device-uno input[type=search]").send_keys("LED IS")
    visit.sees("#device-uno .hits", "1 of 1")
    press(visit, "Hex")
    visit.sees(SCREEN, "6c 65 64 20 69 73")
    press(visit, "Clear")
    visit.until(lambda: visit.text(SCREEN) == "")


def test_what_a_device_says_is_text_and_nothing_else(visit: Student) -> None:
    visit.find(TEXT).send_keys("evil", Keys.ENTER)
    visit.sees(SCREEN, "<b id=evil>red␁")
    assert visit.driver.find_elements("css selector", "#evil") == []


def test_colours_of_a_terminal_are_seen_and_other_control_codes_too(visit: Student) -> None:
    visit.find(TEXT).send_keys("shine", Keys.ENTER)
    visit.sees(SCREEN, "hot ok done␇")
    seen = visit.run("""return [...document.querySelectorAll("#device-uno .screen span span")].map(
        (each) => [each.textContent, each.style.color, each.style.fontWeight])""")
    assert seen == [["hot", "rgb(255, 123, 114)", "bold"], ["ok", "rgb(0, 255, 0)", ""]]


def test_lines_that_are_pasted_are_sent_one_after_the_other(visit: Student) -> None:
    paste = """const field = document.querySelector("#device-uno textarea");
        field.focus();
        document.execCommand("insertText", false, "say one\\nsay two\\nsay three\\n");"""
    visit.run(paste)
    delay = visit.find("#device-uno .delay input")
    visit.until(delay.is_displayed, "the delay can be set")
    delay.clear()
    delay.send_keys("150")
    began = visit.run("return performance.now()")
    visit.find(TEXT).send_keys(Keys.ENTER)
    visit.sees(SCREEN, "three")
    assert visit.run("return performance.now()") - began >= 300
    assert visit.text(SCREEN).splitlines()[-3:] == ["one", "two", "three"]
    visit.until(lambda: visit.find(TEXT).get_property("value") == "", "all has been sent")
    assert not delay.is_displayed()


def test_a_search_counts_and_jumps_from_hit_to_hit_while_lines_come(visit: Student) -> None:
    for word in ("find 1", "nothing", "find 2", "find 3"):
        visit.find(TEXT).send_keys(f"say {word}", Keys.ENTER)
        visit.sees(SCREEN, word)
    press(visit, "Clear", "sensor")
    search = visit.find("#device-uno input[type=search]")
    current = f"{SCREEN} .current"
    search.send_keys("find")
    visit.sees("#device-uno .hits", "3 of 3")
    visit.sees(current, "find 3")
    search.send_keys(Keys.SHIFT, Keys.ENTER)
    visit.sees(current, "find 2")
    visit.sees("#device-uno .hits", "2 of 3")
    visit.find(TEXT).send_keys("say find 4", Keys.ENTER)
    visit.sees("#device-uno .hits", "2 of 4")
    search.send_keys(Keys.NULL, Keys.ENTER)
    visit.sees(current, "find 3")
    search.send_keys(Keys.ENTER)
    search.send_keys(Keys.ENTER)
    visit.sees(current, "find 1")


def test_ten_thousand_lines_are_kept(visit: Student, tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("".join(f"line {n}\n" for n in range(10_500)))
    visit.find("#send-file-loop").send_keys(str(tmp_path / "many.txt"))
    number = "return document.querySelectorAll('#device-loop .screen > div').length"
    visit.until(lambda: visit.run(number) == 10_000, "as many lines as there may be")
    visit.sees("#device-loop .note", "many.txt was sent.")
    visit.until(
        lambda: (
            "line 10499"
            in visit.run("return document.querySelector('#device-loop .screen').textContent")
        )
    )


def test_a_page_that_is_loaded_again_shows_the_history(visit: Student) -> None:
    visit.find(TEXT).send_keys("led off", Keys.ENTER)
    visit.sees(SCREEN, "led is off")
    visit.driver.refresh()
    visit.sees(SCREEN, "led is off")


def test_a_file_is_sent_whole(visit: Student, tmp_path: Path) -> None:
    data = random.Random(5).randbytes(300_000)
    (tmp_path / "data.bin").write_bytes(data)
    visit.run(
        """window.heard = [];
        import(new URL("static/panel.js", document.baseURI)).then(async ({ board }) => {
            const port = await board.serial("loop");
            port.on("data", (bytes) => heard.push(...bytes));
            window.listening = true;
        });"""
    )
    visit.until(lambda: visit.run("return window.listening === true"))
    visit.find("#send-file-loop").send_keys(str(tmp_path / "data.bin"))
    visit.sees("#device-loop .note", "data.bin was sent.")
    visit.until(lambda: visit.run("return heard.length") == len(data))
    digest = visit.run(
        """return crypto.subtle.digest("SHA-256", new Uint8Array(heard)).then((hash) =>
            [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join(""))"""
    )
    assert digest == hashlib.sha256(data).hexdigest()


def test_the_log_is_downloaded_byte_by_byte(visit: Student, tmp_path: Path) -> None:
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    visit.driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    visit.find(TEXT).send_keys("led on", Keys.ENTER)
    visit.sees(SCREEN, "led is on")
    press(visit, "Download")
    file = tmp_path / "uno.log"
    visit.until(lambda: file.exists() and file.read_bytes().endswith(b"led is on\n"))
    visit.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "default"})


def test_the_baud_rate_is_chosen_and_a_break_is_sent(visit: Student) -> None:
    visit.find("#device-uno select[aria-label='Baud rate']").send_keys("9600")
    visit.sees("#device-uno .head .state", "9600")
    press(visit, "Break")
    visit.until(lambda: visit.find("#device-uno").get_attribute("aria-busy") is None)
    assert visit.text("#device-uno .error") == ""


REMEMBER_SOCKETS = """
    const Real = WebSocket;
    window.sockets = [];
    window.WebSocket = class extends Real {
      constructor(...given) {
        super(...given);
        window.sockets.push(this);
      }
    };
"""


def test_a_console_that_was_cut_off_says_that_it_is_connected_again(
    student: Student, node: Node
) -> None:
    command = "Page.addScriptToEvaluateOnNewDocument"
    script = student.driver.execute_cdp_cmd(command, {"source": REMEMBER_SOCKETS})
    session_id, url = node.server.new(name="Ada", assigned_time=300)
    try:
        student.open(url)
        student.sees("#device-uno .head .state", "115200")
        student.run("sockets.find(({ url }) => url.includes('uno/console')).close()")
        student.sees(SCREEN, "Connected again, 115200 baud")
        student.find(TEXT).send_keys("led on", Keys.ENTER)
        student.sees(SCREEN, "led is on")
    finally:
        student.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
        student.go_away()
        node.server.delete(session_id)


TIME_AXIS = """
    const done = arguments[arguments.length - 1];
    const canvas = document.createElement("canvas");
    canvas.style = "width: 600px; height: 200px";
    document.body.append(canvas);
    const texts = [];
    canvas.getContext("2d").fillText = (text) => texts.push(String(text));
    const points = Array.from({ length: 61 }, (_, at) => ({ at, numbers: { t: at } }));
    import("./static/numbers.js").then(({ drawNumbers }) => {
      drawNumbers(canvas, document.createElement("ul"), "Uno", points);
      canvas.remove();
      done(texts);
    });
"""


def test_a_plot_of_numbers_has_a_time_axis(visit: Student) -> None:
    texts = visit.driver.execute_async_script(TIME_AXIS)
    assert texts[:3] == ["0", "30", "60"]
    assert texts[3:] == ["0s", "−10s", "−20s", "−30s", "−40s", "−50s", "−60s"]


def test_numbers_are_plotted_and_a_pause_holds_the_screen(visit: Student) -> None:
    visit.sees("#device-sensor .screen", "t=21 h=42")
    assert visit.find("#device-sensor form").is_displayed() is False  # for looking only
    press(visit, "Plot", "sensor")
    visit.until(
        lambda: "t: 2" in (visit.find("#device-sensor canvas").get_attribute("aria-label") or "")
    )
    visit.sees("#device-sensor .legend", "t: 2")  # below the curves
    press(visit, "Pause", "sensor")
    lines = "return document.querySelectorAll('#device-sensor .screen .rx').length"
    visit.until(
        lambda: visit.run("return document.querySelector('#device-sensor .paused') !== null")
    )
    before = visit.run(lines)
    visit.run("return new Promise((resolve) => setTimeout(resolve, 200))")
    assert visit.run(lines) == before
    canvas = "return document.querySelector('#device-sensor canvas').toDataURL()"
    held = visit.run(canvas)
    visit.run("return new Promise((resolve) => setTimeout(resolve, 200))")
    assert visit.run(canvas) == held
    press(visit, "Pause", "sensor")
    visit.until(lambda: visit.run(lines) > before)


def test_the_camera_shows_a_picture(visit: Student) -> None:
    visit.run("document.querySelector('#device-camera').scrollIntoView()")
    wide = "return document.querySelector('#device-camera canvas').width"
    visit.until(lambda: visit.run(wide) == 320)
    visit.sees("#device-camera .age", "Live")


def test_the_console_is_used_by_keyboard_and_named_for_a_screen_reader(visit: Student) -> None:
    unnamed = """return [...document.querySelectorAll(
        ".console :is(button, input, textarea, select, [role])")].filter((each) =>
        !each.hidden && each.offsetParent && !(each.textContent.trim() || each.labels?.length ||
        each.getAttribute("aria-label") || each.getAttribute("aria-labelledby"))
        ).map((each) => each.outerHTML)"""
    assert visit.run(unnamed) == []
    assert visit.find(SCREEN).get_attribute("role") == "log"
    visit.find(SCREEN).click()
    visit.find(SCREEN).send_keys(Keys.TAB)
    assert visit.run("return document.activeElement.matches('#device-uno textarea')")


def test_the_console_speaks_spanish(student: Student, node: Node) -> None:
    session_id, url = node.server.new(name="Ada", assigned_time=300, locale="es")
    student.open(url)
    student.sees("#device-uno .head .state", "115200 baudios")
    press(student, "Limpiar")
    student.go_away()
    assert node.server.delete(session_id).clean
