"""The student's page in a real browser: the board, its tasks and its words."""

from __future__ import annotations

import pytest
from selenium.webdriver import Keys

from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser

SWITCH = "#device-switch [role=switch]"
MOTOR = "#device-motor [role=switch]"
DIMMER = "#device-dimmer input"


def test_a_switch_lights_the_lamp_that_is_wired_to_it(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    assert student.text("#device-lamp .state") == "Off"
    student.click(SWITCH)
    student.sees("#device-lamp .state", "On")
    assert student.find(SWITCH).get_attribute("aria-checked") == "true"
    assert student.find("#device-lamp .led").get_attribute("data-lit") == "true"
    assert lab.commands == [("switch", "set", [True])]


def test_controls_wait_for_nothing_but_the_page_itself(student: Student, lab: StandIn) -> None:
    student.expects_failures = True
    student.driver.execute_cdp_cmd("Network.enable", {})
    try:
        student.driver.execute_cdp_cmd(
            "Network.setBlockedURLs", {"urls": ["*/static/*", "*/api/*"]}
        )
        lab.show_all_widgets()
        student.open(lab.url)
        drawn = student.run("return document.querySelectorAll('[data-device]').length")
        assert drawn == len(lab.devices)
        assert student.find("[data-device] [role=switch]").is_enabled()
    finally:
        student.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        student.driver.execute_cdp_cmd("Network.disable", {})


def test_what_the_hardware_does_by_itself_is_seen(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    lab.values["lamp"] = True
    lab.values["temp"] = 22.25
    student.sees("#device-lamp .state", "On")
    student.sees("#device-temp .state", "22.25 °C")


def test_a_value_that_nobody_knows_is_not_shown_as_zero(student: Student, lab: StandIn) -> None:
    lab.values |= {"temp": None, "lamp": None}
    student.open(lab.url)
    assert student.text("#device-temp .state") == "No reading"
    assert student.find("#device-lamp .led").get_attribute("data-lit") == "unknown"


def test_a_slider_moves_the_device_step_by_step(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    assert student.text("#device-dimmer output") == "25%"
    student.find(DIMMER).send_keys(Keys.ARROW_RIGHT)
    student.until(lambda: lab.values["dimmer"] == 0.26, "the dimmer is at 0.26")
    student.find(DIMMER).send_keys(Keys.END)
    student.until(lambda: lab.values["dimmer"] == 1, "the dimmer is at 1")
    assert student.text("#device-dimmer output") == "100%"


def test_a_slider_in_motion_sends_its_newest_position_and_skips_those_between(
    student: Student, lab: StandIn
) -> None:
    student.open(lab.url)
    lab.gate.clear()
    move = """
        const slider = document.querySelector(arguments[0]);
        for (const value of arguments[1]) {
            slider.value = value;
            slider.dispatchEvent(new Event("input"));
        }
        slider.dispatchEvent(new Event("change"));
    """
    student.run(move, DIMMER, [0.3])
    student.until(lambda: lab.commands, "the first position arrives")
    student.run(move, DIMMER, [0.4, 0.5, 0.6])
    lab.gate.set()
    student.until(lambda: len(lab.commands) == 2, "the last position arrives")
    assert [arguments for _, _, arguments in lab.commands] == [[0.3], [0.6]]
    student.sees("#device-dimmer output", "60%")


def test_a_slider_follows_what_others_do_with_the_device(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    lab.values["dimmer"] = 0.8
    student.sees("#device-dimmer output", "80%")
    assert student.find(DIMMER).get_property("value") == "0.8"


def test_a_slider_that_starts_above_zero_can_still_be_switched_off(
    student: Student, lab: StandIn
) -> None:
    off = {"name": "off", "parameters": []}
    lab.devices[2] |= {"min": 0.2, "commands": [*lab.devices[2]["commands"], off]}
    student.open(lab.url)
    student.click("#device-dimmer button")
    student.until(lambda: lab.commands == [("dimmer", "off", [])], "the dimmer is told to be off")


def test_a_dangerous_device_asks_first(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    student.click(MOTOR)
    student.sees("dialog", "Is the lid closed?")
    student.click("dialog [value=no]")
    student.click(MOTOR)
    student.find("dialog").send_keys(Keys.ESCAPE)
    student.until(lambda: not student.find("dialog").is_displayed(), "the question is gone")
    assert lab.commands == []
    student.click(MOTOR)
    student.click("dialog [value=yes]")
    student.until(lambda: lab.commands == [("motor", "set", [True])], "the motor is told")
    student.sees("#device-motor .state", "On")


def test_a_command_without_arguments_has_its_button(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    student.click("#device-motor .buttons button")
    student.click("dialog [value=yes]")
    student.until(lambda: lab.commands == [("motor", "brake", [])], "the motor brakes")


def test_a_refused_command_says_why_and_the_next_one_clears_it(
    student: Student, lab: StandIn
) -> None:
    student.expects_failures = True
    student.open(lab.url)
    lab.refusal = (503, "busy", "The board is busy with 'blink'.")
    student.click(SWITCH)
    student.sees("#device-switch .error", "The board is busy with 'blink'.")
    assert student.find(SWITCH).get_attribute("aria-checked") == "false"
    student.click(SWITCH)
    student.sees("#device-switch .state", "On")
    assert student.text("#device-switch .error") == ""


def test_an_answer_that_was_overtaken_does_not_undo_a_newer_one(
    student: Student, lab: StandIn
) -> None:
    student.open(lab.url)
    script = """
        const [root, done] = arguments;
        const answers = [];
        const state = (version, value) =>
            ({run: "r", version, now: 0, devices: {lamp: {value}}});
        const answer = () => new Promise((resolve) =>
            answers.push((value) => resolve(Response.json(state(value, value)))));
        const silent = class { start() {} stop() {} hurry() {} };
        import(root + "static/labnode.js").then(async ({Board}) => {
            const description = {devices: [{name: "lamp", commands: [{name: "set"}]}]};
            const session = {time_left: 60};
            const board = new Board({root, token: "", board: description,
                state: {...state(0, 0), tasks: [], session}}, silent);
            const seen = [];
            board.on("change", (name, state) => seen.push(state.value));
            window.fetch = answer;  // not before: the page itself asks, too
            const look = board.look();
            const first = board.devices.lamp.set(1);
            const second = board.devices.lamp.set(2);
            answers[2](2); await second;
            answers[1](1); await first;
            answers[0](0); await look;
            done([seen, board.devices.lamp.value]);
        });
    """
    assert student.driver.execute_async_script(script, lab.url) == [[2], 2]


def test_a_task_shows_its_progress_and_its_result(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    student.click("#start-blink")
    student.sees("#task-blink .state", "Waiting for its turn…")
    lab.change_task(status="running")
    student.sees("#task-blink .state", "Running…")
    assert student.find("progress").get_property("position") == -1
    lab.change_task(data={"percent": 40})
    student.sees("#task-blink .state", "40%")
    assert student.find("progress").get_property("value") == 40
    lab.change_task(status="done", result="blinked 5 times")
    student.sees("#task-blink .result", "blinked 5 times")
    assert student.text("#task-blink .state") == "Done"
    assert student.find("#start-blink").get_attribute("aria-disabled") == "false"


def test_a_task_can_be_stopped(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    student.click("#start-blink")
    student.sees("#task-blink .state", "Waiting")
    student.click("#stop-blink")
    student.sees("#task-blink .state", "Stopping…")
    assert lab.task is not None
    assert lab.task["stopping"]
    lab.change_task(status="done", result={"times": 2})
    student.sees("#task-blink .result", "times: 2")


def test_a_task_that_fails_says_why(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    student.click("#start-blink")
    student.sees("#task-blink .state", "Waiting")
    error = {"code": "device", "class": "DeviceError", "message": "The lamp has burnt out."}
    lab.change_task(status="failed", error=error)
    student.sees("#task-blink .error", "The lamp has burnt out.")
    assert student.text("#task-blink .state") == "Failed"


def test_a_task_that_runs_already_is_refused_with_a_sentence(
    student: Student, lab: StandIn
) -> None:
    student.expects_failures = True
    student.open(lab.url)
    lab.starts_tasks = False
    student.click("#start-blink")
    student.sees("#task-blink .error", "Blink runs.")


def test_a_task_that_was_running_before_the_page_came_is_followed(
    student: Student, lab: StandIn
) -> None:
    lab.starts("blink")
    lab.change_task(status="running", data={"percent": 70})
    student.open(lab.url)
    assert student.text("#task-blink .state") == "Running… 70%"
    lab.change_task(status="done", result="fine")
    student.sees("#task-blink .result", "fine")


def test_the_rows_of_the_board_file_come_first_and_hide_nothing(
    student: Student, lab: StandIn
) -> None:
    lab.page = [["temp", "lamp"], ["switch"]]
    student.open(lab.url)
    assert student.drawn() == [["temp", "lamp"], ["switch"], ["dimmer", "motor"]]


def test_a_row_of_one_group_has_its_heading(student: Student, lab: StandIn) -> None:
    lab.devices[0]["group"] = lab.devices[1]["group"] = lab.devices[2]["group"] = "Light"
    lab.page = [["switch", "lamp"], ["dimmer"], ["motor", "temp"]]
    student.open(lab.url)
    headings = "return [...document.querySelectorAll('#devices h2')].map((each) => each.innerText)"
    assert student.run(headings) == ["Light", "Devices"]
    assert student.drawn() == lab.page


def test_a_page_is_loaded_although_its_camera_sends_nothing(student: Student, lab: StandIn) -> None:
    student.expects_failures = True
    lab.devices.append({"name": "eye", "label": "Eye", "widget": "camera", "commands": []})
    lab.values["eye"] = None
    lab.pictures.clear()
    try:
        student.open(lab.url)  # waits for the event that the page is loaded
        assert student.run("return document.readyState") == "complete"
        student.until(lambda: lab.viewers == 1, "the camera is asked for its pictures")
    finally:
        lab.pictures.set()


def test_without_rows_devices_stand_in_their_groups(student: Student, lab: StandIn) -> None:
    lab.devices[3]["group"] = lab.devices[4]["group"] = "Engine"
    student.open(lab.url)
    assert student.drawn() == [["switch", "lamp", "dimmer"], ["motor", "temp"]]
    assert student.text("#devices section:last-child h2") == "Engine"


def test_the_page_speaks_spanish(student: Student, lab: StandIn) -> None:
    student.expects_failures = True
    lab.locales = ["es_ES", "en"]
    lab.refusal = (503, "busy", "La placa está ocupada.")
    student.open(lab.url)
    assert student.find("html").get_attribute("lang") == "es"
    assert student.text("#leave") == "Salir"
    assert student.text("#device-temp .state") == "21,5 °C"
    student.click(SWITCH)
    student.sees("#device-switch .error", "La placa está ocupada")
    student.click(SWITCH)
    student.sees("#device-lamp .state", "Encendido")


def test_names_from_the_board_file_are_never_html(student: Student, lab: StandIn) -> None:
    nasty = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    lab.title = nasty
    lab.devices[0]["label"] = nasty
    lab.values["temp"] = nasty
    student.open(lab.url)
    assert student.text("h1") == nasty
    assert student.text("#device-switch .label") == nasty
    assert student.text("#device-temp .state") == nasty
    assert student.driver.title == nasty
