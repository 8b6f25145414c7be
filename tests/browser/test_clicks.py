"""Every click counts, however slow and unreliable the way to the lab is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from labnode.control import ask
from tests.kit.proxy import Proxy, proxied
from tests.kit.waiting import eventually

from .conftest import Student
from .real_node import Node
from .standin import StandIn

pytestmark = pytest.mark.browser

BOARD = """
schema: 1
title: Bench
lab: {name: bench}
devices:
  leds:
    driver: digital_output_bank
    pins: [GPIO2, GPIO3, GPIO4, GPIO17, GPIO27, GPIO22, GPIO10, GPIO9]
  lamp: {driver: led, pin: GPIO23}
  fan: {driver: relay, pin: GPIO24}
  lid: {driver: digital_input, pin: GPIO25}
interlocks:
  - {name: lid, require: lid, for: [fan], message: The lid is open.}
"""

BIT = "#device-leds [aria-label='Bit {}']"
LAMP = "#device-lamp [role=switch]"
SWITCH = "#device-switch [role=switch]"

CLICK_ALL = """
    const bits = [...document.querySelectorAll("#device-leds .bit")];
    const clicked = (bit, i) => new Promise((done) => {
        setTimeout(() => done(bit.click()), i * arguments[0]);
    });
    return Promise.all([...bits].map(clicked));
"""
CLICK_OFTEN = (
    """for (let i = 0; i < arguments[1]; i++) document.querySelector(arguments[0]).click();"""
)


@pytest.fixture
def network(student: Student, node: Node) -> Iterator[Proxy]:
    """The page of the node, open through a proxy."""
    student.expects_failures = True  # requests are lost
    session_id, url = node.server.new(assigned_time=300)
    port = urlsplit(url).port
    assert port is not None
    with proxied(port, 0.0) as proxy:
        student.open(url.replace(f":{port}/", f":{proxy.port}/"))
        student.sees("#device-lamp .state", "Off")
        yield proxy
        student.go_away()
    assert node.server.delete(session_id).clean


def value(node: Node, device: str) -> Any:
    """What the node has really done."""
    return ask(node.state, "simulate", device=device)["devices"][device]["value"]


def checked(student: Student, selector: str) -> bool:
    return student.find(selector).get_attribute("aria-checked") == "true"


def test_eight_switches_in_a_row_are_all_on_whatever_the_network_takes(
    student: Student, network: Proxy, node: Node
) -> None:
    network.latency = 0.125
    student.run(CLICK_ALL, 200)
    eventually(lambda: value(node, "leds") == 0xFF, "all eight are on")
    student.until(lambda: student.text("#device-leds.wanted") == "", "all is confirmed")
    assert student.text("#device-leds .state") == "255 · 0xFF"


def test_nothing_is_lost_with_two_seconds_of_latency_and_requests_that_stall_or_break(
    student: Student, network: Proxy, node: Node
) -> None:
    network.latency = 1.0
    network.faults.extend(["break", "stall", "lose", "break", "lose"])
    student.run(CLICK_ALL, 20)
    student.click(LAMP)
    assert checked(student, LAMP)
    assert student.text("#device-leds .state") == "255 · 0xFF"
    eventually(lambda: value(node, "leds") == 0xFF, "all eight are on")
    eventually(lambda: value(node, "lamp") is True, "the lamp is on")
    assert not network.faults


def test_of_many_clicks_on_one_switch_the_last_counts(
    student: Student, network: Proxy, node: Node
) -> None:
    network.latency = 0.2
    student.run(CLICK_OFTEN, LAMP, 7)
    assert checked(student, LAMP)
    eventually(lambda: value(node, "lamp") is True, "the lamp is on")
    student.until(lambda: student.text("#device-lamp.wanted") == "", "it is confirmed")
    student.run(CLICK_OFTEN, LAMP, 3)
    eventually(lambda: value(node, "lamp") is False, "the lamp is off")
    student.until(lambda: student.text("#device-lamp.wanted") == "", "it is confirmed")
    assert not checked(student, LAMP)


def test_a_number_for_a_whole_bank_comes_after_its_bits_and_before_later_ones(
    student: Student, network: Proxy, node: Node
) -> None:
    network.latency = 0.2
    student.click(BIT.format(0))
    student.find("#device-leds input").send_keys("0x30\n")
    student.click(BIT.format(7))
    assert student.text("#device-leds .state") == "176 · 0xB0"
    student.until(lambda: student.text("#device-leds.wanted") == "", "all is confirmed")
    assert value(node, "leds") == 0xB0


def test_a_switch_answers_at_once_and_shows_that_it_waits(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    lab.gate.clear()
    student.click(SWITCH)
    assert checked(student, SWITCH)
    assert student.text("#device-switch.wanted .state") == "On"
    assert student.text("#device-lamp .state") == "Off"
    lab.gate.set()
    student.sees("#device-lamp .state", "On")
    student.until(lambda: student.text("#device-switch.wanted") == "", "it is confirmed")


def test_a_switch_that_is_refused_goes_back_and_says_why(student: Student, lab: StandIn) -> None:
    student.expects_failures = True
    student.open(lab.url)
    lab.gate.clear()
    lab.refusal = (409, "interlocked", "The lid is open.")
    student.click(SWITCH)
    assert checked(student, SWITCH)
    lab.gate.set()
    student.sees("#device-switch.refused .error", "The lid is open.")
    assert not checked(student, SWITCH)
    assert student.text("#device-switch .state") == "Off"


def test_each_press_of_a_button_with_a_pulse_counts(student: Student, lab: StandIn) -> None:
    lab.show_all_widgets()
    student.open(lab.url)
    lab.gate.clear()
    student.run(CLICK_OFTEN, "#device-shot button", 3)
    lab.gate.set()
    student.until(lambda: len(lab.commands) == 3, "three presses arrive")
    assert lab.commands == [("shot", "set", [True])] * 3


def test_another_command_of_a_device_is_not_undone_by_what_was_wanted_before(
    student: Student, lab: StandIn
) -> None:
    lab.show_all_widgets()
    student.open(lab.url)
    turn = """const angle = document.querySelector("#device-servo input");
        angle.value = arguments[0];
        angle.dispatchEvent(new Event("input"));"""
    lab.gate.clear()
    student.run(turn, 10)
    student.until(lambda: lab.commands, "the first angle arrives")
    student.run(turn, 20)
    student.click("#device-servo .buttons button")
    student.until(lambda: len(lab.commands) == 2, "the other command arrives")
    lab.gate.set()
    student.until(lambda: student.text("#device-servo.wanted") == "", "nothing is wanted any more")
    assert lab.commands == [("servo", "set", [10]), ("servo", "mid", [])]
