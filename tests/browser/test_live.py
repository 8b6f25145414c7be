"""Open pages of a real node: what the hardware does is seen at once, in all of them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from labnode.clock import Clock
from tests.kit.figures import FigureReporter

from .conftest import Student
from .real_node import Node, running

pytestmark = pytest.mark.browser

BOARD = """
schema: 1
title: Bench
lab: {name: bench}
session: {timeout: 3}
devices:
  switch: {driver: digital_output, pin: GPIO17}
  lamp: {driver: digital_input, pin: GPIO27}
  heater: {driver: relay, pin: GPIO22}
  lid: {driver: digital_input, pin: GPIO23}
interlocks:
  - {name: lid, require: lid, for: [heater], message: The lid is open.}
  - {name: hot, when: lamp, force: {}, latch: true, message: {en: Too hot., es: Demasiado calor.}}
simulate: {lamp: switch}
page:
  - [{text: {en: Look., es: Mira.}}, switch, lamp]
  - [{plot: [lamp, switch]}, {task: work}]
module: bench.py
"""

MODULE = """
from labnode import Lab

lab = Lab()


@lab.task(unique="global", label="Work")
def work():
    task = lab.current_task
    task.data["log"] = ["begun"]
    while task.wait(60):
        pass
    return "stopped"


@lab.app.post("/drive/<value:int>")
def drive(value):
    lab.devices.lamp  # an input: only its link drives it
    lab.devices.switch.set(bool(value))
    lab.push("driven", value)
"""

SWITCH = "#device-switch [role=switch]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "bench.yaml").write_text(BOARD)
    (folder / "bench.py").write_text(MODULE)
    return folder


@pytest.fixture
def node(student: Student, folder: Path, tmp_path: Path) -> Iterator[Node]:
    with running(folder / "bench.yaml", tmp_path / "state") as node:
        yield node
        student.go_away()


@pytest.fixture
def patient_node(student: Student, folder: Path, tmp_path: Path) -> Iterator[Node]:
    """A node whose sessions outlive its being frozen."""
    (folder / "patient.yaml").write_text(BOARD.replace("timeout: 3", "timeout: 60"))
    with running(folder / "patient.yaml", tmp_path / "state") as node:
        yield node
        student.go_away()


def asked(student: Student) -> list[str]:
    """What the page has asked for since it was opened, without its files."""
    script = """return performance.getEntriesByType("resource").map((each) => each.name)
        .filter((name) => !name.includes("/static/"))"""
    return [urlsplit(url).path for url in student.run(script)]


def test_a_page_hears_everything_on_its_websocket_and_asks_for_nothing(
    student: Student, node: Node
) -> None:
    _, url = node.server.new(name="Ada Lovelace", assigned_time=120)
    student.open(url)
    assert student.text("#device-heater .why") == "The lid is open."
    student.run("fetch('drive/1', {method: 'POST'})")
    student.sees("#device-lamp .state", "On")
    student.sees("#notices", "Too hot.")
    student.click("#start-work")
    student.sees("#task-work .log", "begun")
    student.click("#stop-work")
    student.sees("#task-work .result", "stopped")
    # Commands and tasks are requests; nothing was asked just to look.
    assert {path.rpartition("/")[2] for path in asked(student)} <= {"1", "work", "stop"}


SEEN = """Object.defineProperty(document, "hidden", { value: HIDDEN, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));"""
LISTEN_TO_IT = """window.said = [];
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (what) {
      window.said.push(what);
      send.call(this, what);
    };"""


def test_a_page_says_that_it_is_hidden_and_shows_all_that_is_new_when_it_is_seen_again(
    student: Student, node: Node
) -> None:
    _, url = node.server.new(assigned_time=120)
    student.open(url)
    student.sees("#device-lamp .state", "Off")
    student.run(LISTEN_TO_IT)
    student.run(SEEN.replace("HIDDEN", "true"))
    assert student.run("return window.said") == ["hidden"]
    student.run("return fetch('drive/1', {method: 'POST'}).then(() => true)")
    student.run(SEEN.replace("HIDDEN", "false"))
    student.sees("#device-lamp .state", "On")
    assert student.run("return window.said")[1:] in (["here"], ["hidden", "here"])


def test_two_pages_show_the_same_and_the_end_reaches_both(student: Student, node: Node) -> None:
    student.expects_failures = True
    session_id, url = node.server.new(assigned_time=120)
    student.open(url)
    first = student.driver.current_window_handle
    student.driver.switch_to.new_window("tab")
    student.open(node.url)
    student.click(SWITCH)
    student.sees("#device-lamp .state", "On")
    student.driver.switch_to.window(first)
    student.sees("#device-lamp .state", "On")
    assert node.server.delete(session_id).clean
    student.sees("#over", "The session was ended by the server")
    student.driver.switch_to.window(next(w for w in student.driver.window_handles if w != first))
    student.sees("#over", "The session was ended by the server")
    student.driver.close()
    student.driver.switch_to.window(first)


def test_a_page_goes_on_with_a_node_that_was_restarted(
    student: Student, folder: Path, tmp_path: Path
) -> None:
    student.expects_failures = True
    with running(folder / "bench.yaml", tmp_path / "state") as node:
        port = urlsplit(node.url).port
        _, url = node.server.new(assigned_time=120)
        student.open(url)
        student.click(SWITCH)
        student.sees("#device-lamp .state", "On")
        student.click("#start-work")
        student.sees("#task-work .state", "Running")
    student.sees("#notices", "The lab does not answer.")
    assert port is not None
    with running(folder / "bench.yaml", tmp_path / "state", port=port):
        student.sees("#notices", "The lab was restarted.")
        student.sees("#device-lamp .state", "Off")
        student.sees("#task-work .result", "stopped")
        student.click(SWITCH)
        student.sees("#device-lamp .state", "On")
        student.go_away()


def test_a_node_that_is_frozen_is_missed_soon_and_does_nothing_late(
    student: Student, patient_node: Node, long_run: bool, figure: FigureReporter
) -> None:
    node = patient_node
    student.expects_failures = True
    _, url = node.server.new(assigned_time=120)
    student.open(url)
    student.sees("#device-lamp .state", "Off")
    os.kill(node.pid, signal.SIGSTOP)
    try:
        began = Clock().now()
        student.click(SWITCH)  # the request waits in the socket, unread
        student.sees("#notice-offline", "The lab does not answer")
        took = Clock().now() - began
        student.sees("#device-switch .error", "The lab does not answer.")
    finally:
        os.kill(node.pid, signal.SIGCONT)
    figure("time until a page misses a frozen node", "6 s", f"{took:.2f} s")
    assert took <= 6 or not long_run
    student.until(lambda: not student.text("#notice-offline"), "the lab answers again")
    look = "return fetch('api/board').then((a) => a.json()).then((b) => b.snapshot.switch.value)"
    assert student.run(look) is False
    student.click(SWITCH)
    student.sees("#device-lamp .state", "On")


def test_a_lab_s_own_page_uses_the_same_module(student: Student, node: Node) -> None:
    _, url = node.server.new(assigned_time=120, locale="es")
    student.open(url)
    script = """
        const done = arguments[arguments.length - 1];
        import("./static/labnode.js").then(async ({ open }) => {
            const board = await open();
            const seen = [];
            board.on("change", (name, { value }) => seen.push([name, value]));
            board.on("push", (event, data) => seen.push([event, data]));
            await board.devices.switch.set(true);
            const runs = new Promise((resolve) =>
                board.on("task", ({ status }) => status === "running" && resolve()));
            const task = await board.task("work");
            await runs;
            await board.stopTask(task);
            const { status, result } = await board.finished(task);
            await fetch("drive/0", { method: "POST" });
            const error = await board.devices.heater.set(true).catch(({ code }) => code);
            setTimeout(() => done(JSON.stringify({
                seen, status, result, error,
                lid: board.faults.map(({ name }) => name), left: board.timeLeft > 100,
            })), 200);
        });
    """
    student.expects_failures = True
    outcome = json.loads(student.driver.execute_async_script(script))
    assert ["switch", True] in outcome["seen"]
    assert ["lamp", True] in outcome["seen"]
    assert ["driven", 0] in outcome["seen"]
    assert (outcome["status"], outcome["result"]) == ("done", "stopped")
    assert (outcome["error"], outcome["lid"], outcome["left"]) == ("interlocked", ["hot"], True)


def test_the_session_lives_as_long_as_the_page_is_open(student: Student, node: Node) -> None:
    session_id, url = node.server.new(assigned_time=120)
    student.open(url)
    student.driver.execute_async_script("setTimeout(arguments[0], 4500)")
    assert node.server.status(session_id) > 0
    student.go_away()
    student.until(lambda: node.server.status(session_id) == -1, "nobody is there any more")
