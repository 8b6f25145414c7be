"""A real browser that is stopped, and the dead man that notices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome

from labnode.clock import Clock
from labnode.control import ask
from tests.kit.figures import FigureReporter
from tests.kit.proxy import proxied
from tests.kit.waiting import eventually

from .conftest import Student
from .real_node import Node

pytestmark = pytest.mark.browser

BOARD = """
schema: 1
title: Bench
lab: {name: bench}
session: {timeout: 300}
devices:
  pump: {driver: relay, pin: GPIO17, deadman: 2s}
  fan: {driver: relay, pin: GPIO23, deadman: 10s}
  lamp: {driver: led, pin: GPIO22}
"""

SWITCH = "#device-pump [role=switch]"
GUARDED = "Goes off when the lab has not heard this page for 2 s."
GONE_SAFE = "Pump has gone to its safe value since this was asked for. Set it again."
MISSED = "Switched off, because the lab no longer heard the page that had switched it on."


@contextmanager
def stopped(browser: Chrome) -> Iterator[None]:
    """Inside the block no process of the browser runs, and its sockets stay open."""
    driver = browser.service.process
    assert driver is not None
    processes = [pid for child in children(driver.pid) for pid in (child, *descendants(child))]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def children(pid: int) -> list[int]:
    """The processes that a process has started, from all of its threads."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


def descendants(pid: int) -> list[int]:
    return [found for child in children(pid) for found in (child, *descendants(child))]


def shown(state_dir: Path, device: str) -> dict[str, Any]:
    """What the node shows of a device, whether a browser lives or not."""
    state: dict[str, Any] = ask(state_dir, "simulate", device=device)["devices"][device]
    return state


def test_a_browser_that_no_longer_runs_is_missed_and_its_page_says_why_when_it_does(
    student: Student, node: Node, long_run: bool, figure: FigureReporter
) -> None:
    student.expects_failures = True  # the page may find that its WebSocket was too late
    _, url = node.server.new(assigned_time=120)
    student.open(url)
    student.sees("#device-pump .deadman", GUARDED)
    assert student.text("#device-lamp .deadman") == ""
    student.click(SWITCH)
    student.sees("#device-pump .state", "On")
    with stopped(student.driver):
        began = Clock().now()
        eventually(lambda: shown(node.state, "pump") == {"value": False, "unheard": True})
        took = Clock().now() - began
    figure("time to safe when Chromium is stopped", "deadman (2 s) + 1 s", f"{took:.2f} s")
    assert took <= 3 or not long_run
    student.sees("#device-pump .deadman", MISSED)
    student.sees("#device-pump .state", "Off")
    student.click(SWITCH)
    student.sees("#device-pump .state", "On")
    student.sees("#device-pump .deadman", GUARDED)


def test_what_was_clicked_before_the_dead_man_acted_does_not_switch_it_on_again(
    student: Student, node: Node
) -> None:
    student.expects_failures = True
    _, url = node.server.new(assigned_time=120)
    port = urlsplit(url).port
    assert port is not None
    with proxied(port, 0.0) as network:
        student.open(url.replace(f":{port}/", f":{network.port}/"))
        student.click(SWITCH)
        student.sees("#device-pump .state", "On")
        safe = {"value": False, "unheard": True}
        with network.silent():
            student.click(SWITCH)
            student.sees("#device-pump .state", "Off")
            student.click(SWITCH)
            student.sees("#device-pump .state", "On")
            eventually(lambda: shown(node.state, "pump") == safe)
        student.sees("#device-pump [role=alert]", GONE_SAFE)
        assert shown(node.state, "pump")["value"] is False
        student.sees("#device-pump .state", "Off")
        student.click(SWITCH)
        student.sees("#device-pump .state", "On")
        student.go_away()


def test_a_page_in_the_background_is_heard(student: Student, node: Node) -> None:
    _, url = node.server.new(assigned_time=120)
    student.open(url)
    student.click("#device-fan [role=switch]")
    student.sees("#device-fan .state", "On")
    page = student.driver.current_window_handle
    student.driver.switch_to.new_window("tab")
    until = Clock().now() + 12  # longer than its dead man waits
    while Clock().now() < until:
        Clock().event().wait(0.5)
        assert shown(node.state, "fan") == {"value": True}
    student.driver.close()
    student.driver.switch_to.window(page)
