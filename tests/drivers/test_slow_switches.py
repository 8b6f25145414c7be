"""Plugs in the network and ports of hubs, on stand-ins that behave, are slow, or fail."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from labnode.clock import Clock
from labnode.drivers.framework.slow import SlowSwitch
from labnode.drivers.gpio.factories import mock_factory
from labnode.drivers.network.http_switch import HttpSwitch, WebAddress
from labnode.drivers.programs.command import CommandSwitch, HubLocation, UsbPower
from labnode.errors import DeviceError
from labnode.node.agent import Agent
from labnode.testing import LabClient
from tests.kit.waiting import PATIENCE


class Plug(ThreadingHTTPServer):
    """A plug in the network: Tasmota and both generations of Shelly in one, with two relays."""

    daemon_threads = False

    def __init__(self) -> None:
        self.relays = [False, False]
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.trouble = ""
        self.password = ""
        self.go_on = threading.Event()
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def address(self) -> WebAddress:
        return WebAddress(f"http://127.0.0.1:{self.server_port}")

    def answer(self, target: str) -> tuple[int, Any]:
        self.asked.append(target)
        if self.trouble == "busy":
            return 503, {}
        if self.trouble == "stuck":
            return 200, self.told(target)
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/cm":
            word, _, value = query["cmnd"].partition(" ")
            if self.password and query.get("password") != self.password:
                return 401, {"WARNING": "Need user=<username>&password=<password>"}
            self.switch(int(word.removeprefix("Power") or 1) - 1, value.lower() or None)
        elif parts.path == "/rpc/Switch.Set":
            self.switch(int(query["id"]), {"true": "on", "false": "off"}[query["on"]])
        elif parts.path.startswith("/relay/"):
            self.switch(int(parts.path[7:]), query.get("turn"))
        elif parts.path in ("/on", "/off"):
            self.switch(0, parts.path[1:])
        elif parts.path not in ("/rpc/Switch.GetStatus", "/state"):
            return 404, {}
        return 200, self.told(target)

    def switch(self, relay: int, value: str | None) -> None:
        if value is not None:
            self.relays[relay] = value == "on"

    def told(self, target: str) -> Any:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/cm":
            number = query["cmnd"].partition(" ")[0].removeprefix("Power")
            return {f"POWER{number}": "ON" if self.relays[int(number or 1) - 1] else "OFF"}
        if parts.path == "/rpc/Switch.Set":
            return {"was_on": False}
        if parts.path.startswith("/rpc"):
            return {"id": 0, "source": "HTTP_in", "output": self.relays[int(query["id"])]}
        if parts.path.startswith("/relay/"):
            return {"ison": self.relays[int(parts.path[7:])], "has_timer": False}
        return f"The lamp is {'ON' if self.relays[0] else 'OFF'}"


class _Answer(BaseHTTPRequestHandler):
    server: Plug

    def do_GET(self) -> None:
        plug = self.server
        plug.headers.append(dict(self.headers))
        if plug.trouble in ("silent", "drips"):
            if plug.trouble == "drips":
                self.send_response(200)
                self.end_headers()
            while not plug.go_on.wait(0.05 if plug.trouble == "drips" else 10):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    break
            return
        if plug.trouble == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/secret")
            self.end_headers()
            return
        status, body = plug.answer(self.path)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def plug(bench: Any) -> Iterator[Plug]:
    bench.simulated = False
    plug = Plug()
    thread = threading.Thread(target=plug.serve_forever, args=(0.01,), name="plug")
    thread.start()
    yield plug
    plug.go_on.set()
    for driver in bench._drivers:
        with suppress(DeviceError):  # a test left it in trouble
            driver.close()
    plug.shutdown()
    plug.server_close()
    thread.join()


def tasmota(bench: Any, plug: Plug, **options: Any) -> HttpSwitch:
    switch = bench.open(HttpSwitch(family="tasmota", address=plug.address, **options), "mains")
    assert bench.until(lambda: switch.value is not None or "error" in switch.state())
    return switch  # type: ignore[no-any-return]


def wait_for(bench: Any, switch: SlowSwitch, value: Any) -> None:
    assert bench.until(lambda: switch.value is value and not switch._pending)


# --- plugs ---


@pytest.mark.parametrize(
    ("family", "relay", "asked"),
    [
        ("tasmota", None, ["/cm?cmnd=Power1%20On", "/cm?cmnd=Power1"]),
        ("tasmota", 2, ["/cm?cmnd=Power2%20On", "/cm?cmnd=Power2"]),
        ("shelly", None, ["/rpc/Switch.Set?id=0&on=true", "/rpc/Switch.GetStatus?id=0"]),
        ("shelly_gen1", 1, ["/relay/1?turn=on", "/relay/1"]),
    ],
)
def test_a_plug_is_switched_and_says_that_it_was(
    bench: Any, plug: Plug, family: Any, relay: int | None, asked: list[str]
) -> None:
    switch = bench.open(HttpSwitch(family=family, address=plug.address, relay=relay), "mains")
    wait_for(bench, switch, False)
    plug.asked.clear()
    switch.on()
    assert switch.value is False, "nobody has confirmed it yet"
    wait_for(bench, switch, True)
    assert (plug.relays, plug.asked) == ([relay is None, relay is not None], asked)
    switch.close()
    assert plug.relays == [False, False]


def test_any_plug_is_switched_by_its_addresses(bench: Any, plug: Plug) -> None:
    urls = {f"{word}_url": WebAddress(f"{plug.address}/{word}") for word in ("on", "off", "state")}
    lamp = bench.open(HttpSwitch(**urls, on_pattern="lamp is on"))
    wait_for(bench, lamp, False)
    lamp.on()
    wait_for(bench, lamp, True)
    assert plug.asked[-2:] == ["/on", "/state"]


def test_without_a_state_a_good_answer_is_all_that_there_is(bench: Any, plug: Plug) -> None:
    urls = {f"{word}_url": WebAddress(f"{plug.address}/{word}") for word in ("on", "off")}
    lamp = bench.open(HttpSwitch(**urls))
    wait_for(bench, lamp, False)
    lamp.on()
    wait_for(bench, lamp, True)


def test_a_password_goes_along_and_into_no_message(bench: Any, plug: Plug) -> None:
    plug.password = "s3cret"
    switch = tasmota(bench, plug, password="s3cret")
    assert switch.value is False
    assert "user=admin&password=s3cret" in plug.asked[0]
    assert "s3cret" not in repr(switch)
    switch.close()
    switch.password = "wrong"
    plug.password = "other"
    switch.open()
    assert bench.until(lambda: "error" in switch.state())
    assert switch.state()["error"] == "127.0.0.1 answers 401 Unauthorized"
    plug.password = ""
    urls = {f"{word}_url": WebAddress(f"{plug.address}/{word}") for word in ("on", "off")}
    wait_for(bench, bench.open(HttpSwitch(**urls, user="me", password="s3cret")), False)
    assert plug.headers[-1]["Authorization"] == "Basic bWU6czNjcmV0"


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("busy", "127.0.0.1 answers 503 Service Unavailable"),
        ("silent", "127.0.0.1 does not answer in time"),
        ("elsewhere", "127.0.0.1 answers 302 Found"),
        ("stuck", "it was switched on but is off"),
    ],
)
def test_what_did_not_work_is_told_and_made_safe(
    bench: Any, plug: Plug, trouble: str, sentence: str
) -> None:
    switch = tasmota(bench, plug, time_limit=0.4 if trouble == "silent" else 10.0)
    plug.trouble = trouble
    switch.on()
    assert bench.until(lambda: "error" in switch.state())
    assert switch.state() == {"value": None, "error": sentence}
    plug.trouble = ""
    plug.go_on.set()
    bench.until(lambda: not switch._pending)
    bench.clock.advance(2)
    switch.poll()
    wait_for(bench, switch, False)
    assert (plug.relays[0], "error" in switch.state()) == (False, False)


def test_an_answer_that_never_ends_is_not_waited_for(bench: Any, plug: Plug) -> None:
    bench.clock = Clock()
    switch = tasmota(bench, plug, time_limit=0.4)
    plug.trouble = "drips"
    switch.on()
    assert bench.until(lambda: "error" in switch.state())
    assert switch.state()["error"] == "127.0.0.1 does not answer in time"
    plug.trouble = ""
    plug.go_on.set()


def test_a_plug_that_is_not_there_says_so(bench: Any, plug: Plug) -> None:
    gone = bench.open(HttpSwitch(family="shelly", address=WebAddress("http://127.0.0.1:1")))
    assert bench.until(lambda: "error" in gone.state())
    assert gone.state()["error"].startswith("127.0.0.1 does not answer: ")
    with pytest.raises(
        DeviceError, match=r"has not confirmed that it is off: 127\.0\.0\.1 does not"
    ):
        gone.close()


def test_what_somebody_did_at_the_plug_is_seen(bench: Any, plug: Plug) -> None:
    switch = tasmota(bench, plug, check_every=10.0)
    plug.relays[0] = True
    bench.clock.advance(10)
    assert switch.due() == bench.clock.now()
    switch.poll()
    assert bench.until(lambda: switch.value is True)


# --- what every slow switch does ---


def test_the_newest_command_is_what_counts(bench: Any, plug: Plug) -> None:
    switch = tasmota(bench, plug)
    for value in (True, False) * 5:
        switch.set(value)
    switch.on()
    wait_for(bench, switch, True)
    assert plug.relays[0] is True
    assert len(plug.asked) < 20, "those in between were left out"


def test_a_reset_waits_until_it_is_confirmed_or_fails(bench: Any, plug: Plug) -> None:
    switch = tasmota(bench, plug, time_limit=10.0)
    switch.on()
    wait_for(bench, switch, True)
    switch.reset()
    assert (plug.relays[0], switch.value) == (False, False)
    plug.trouble = "busy"
    with pytest.raises(
        DeviceError, match=r"has not confirmed that it is off: 127\.0\.0\.1 answers"
    ):
        switch.reset()


def test_in_an_emergency_it_is_safe_although_nobody_serves_the_hardware_thread(
    bench: Any, plug: Plug
) -> None:
    switch = tasmota(bench, plug)
    switch.on()
    wait_for(bench, switch, True)
    thread = threading.Thread(target=switch.make_safe, name="emergency")
    thread.start()
    thread.join()
    switch.await_safe(PATIENCE)
    assert plug.relays[0] is False


def test_an_emergency_does_not_wait_for_what_failed_before(bench: Any, plug: Plug) -> None:
    switch = tasmota(bench, plug)
    plug.trouble = "busy"
    switch.on()
    assert bench.until(lambda: "error" in switch.state())
    plug.trouble = "silent"
    switch.make_safe()
    switch.await_safe(PATIENCE)  # returns at once: the plug is silent until `go_on`
    plug.trouble = ""
    plug.go_on.set()


def test_what_was_on_for_too_long_is_switched_off_without_holding_up_the_thread(
    bench: Any, plug: Plug
) -> None:
    switch = tasmota(bench, plug, max_on_time=5.0)
    switch.on()
    wait_for(bench, switch, True)
    bench.clock.advance(5)
    plug.trouble = "silent"
    switch.poll()  # returns at once
    plug.trouble = ""
    plug.go_on.set()
    bench.clock.advance(2)
    assert bench.until(lambda: switch.value is not True)


def test_an_interlock_that_insists_asks_once(bench: Any, plug: Plug) -> None:
    switch = tasmota(bench, plug)
    plug.asked.clear()
    for _ in range(20):
        switch.force(True)
    wait_for(bench, switch, True)
    assert len(plug.asked) == 2


def test_a_command_counts_although_one_look_is_under_way_and_another_waits(
    bench: Any, plug: Plug
) -> None:
    switch = tasmota(bench, plug, check_every=1.0, time_limit=10.0)
    plug.trouble = "silent"
    for count in (1, 2):
        bench.clock.advance(1)
        switch.poll()
        if count == 1:
            while len(plug.headers) < 3:  # it is under way
                assert switch.value is False
    switch.on()
    plug.trouble = ""
    plug.go_on.set()
    assert bench.until(lambda: switch.value is True)
    assert plug.relays[0] is True


# --- hubs ---

# As uhubctl 2.5 prints it, for a hub for USB 3, which the computer sees as two.
UHUBCTL = """#!/bin/sh
# A stand-in for uhubctl: keeps the power of port 2 in a file.
echo "$@" >> {folder}/asked
while [ $# -gt 0 ]; do
  case "$1" in
    -l) hub="$2" ;;
    -p) port="$2" ;;
    -a) action="$2" ;;
  esac
  shift
done
[ -e {folder}/broken ] && echo "No compatible devices detected at location $hub!" && exit 1
[ "$hub" = 1-1 ] || exit 1
[ -e {folder}/stuck ] || [ -z "$action" ] || echo "$action" > {folder}/power
if grep -q on {folder}/power; then low="0503 power highspeed enable connect [2341:0043 power]";
else low="0000 off"; fi
echo "Current status for hub 1-1 [2109:3431 USB2.0 Hub, USB 2.10, 4 ports, ppps]"
echo "  Port $port: $low"
echo "Current status for hub 2-1 [2109:0817 USB3.0 Hub, USB 3.20, 4 ports, ppps]"
if grep -q on {folder}/power; then echo "  Port $port: 02a0 power 5gbps Rx.Detect";
else echo "  Port $port: 0080 off"; fi
"""


@pytest.fixture
def hub(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "uhubctl"
    program.write_text(UHUBCTL.format(folder=tmp_path))
    program.chmod(0o755)
    (tmp_path / "power").write_text("on")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    bench.simulated = False
    return tmp_path


def board_power(bench: Any, **options: Any) -> UsbPower:
    power = UsbPower(**{"hub": HubLocation("1-1"), "hub_port": 2, **options})
    bench.open(power, "power")
    assert bench.until(lambda: power.value is not None or "error" in power.state())
    return power


def repaired(bench: Any, power: UsbPower, trouble: Path) -> None:
    """It is over, and has been noticed: a close would not wait for a hub that has failed."""
    trouble.unlink()
    bench.clock.advance(2)
    power.poll()
    assert bench.until(lambda: power.value is False)


def test_the_power_of_a_port_is_switched_and_read_back(bench: Any, hub: Path) -> None:
    power = board_power(bench)
    assert (power.value, (hub / "power").read_text()) == (False, "off\n")
    power.on()
    wait_for(bench, power, True)
    assert (hub / "asked").read_text().splitlines()[-2:] == ["-l 1-1 -p 2 -a on", "-l 1-1 -p 2"]
    power.close()
    assert (hub / "power").read_text() == "off\n"


def test_a_port_that_stays_on_is_told(bench: Any, hub: Path) -> None:
    (hub / "stuck").touch()
    power = board_power(bench)
    assert power.state()["error"] == "it was switched off but is on"
    repaired(bench, power, hub / "stuck")


def test_a_hub_that_is_not_there_is_told(bench: Any, hub: Path) -> None:
    (hub / "broken").touch()
    power = board_power(bench)
    assert power.state()["error"] == (
        "uhubctl failed with code 1: No compatible devices detected at location 1-1!"
    )
    repaired(bench, power, hub / "broken")


@pytest.mark.parametrize("value", ["1-1.4", "2", 2, "1-1.4.2"])
def test_where_a_hub_is(value: object) -> None:
    assert HubLocation.from_yaml(value) == str(value)


# --- programs ---


def program_switch(bench: Any, folder: Path, **options: Any) -> CommandSwitch:
    state = folder / "state"
    switch = CommandSwitch(
        run_on=["sh", "-c", f"echo on > {state}"],
        run_off=["sh", "-c", f"echo off > {state}"],
        run_state=["cat", str(state)],
        on_pattern="^on$",
        **options,
    )
    bench.simulated = False
    bench.open(switch, "scope")
    return switch


def test_programs_switch_something_and_say_what_it_is(bench: Any, tmp_path: Path) -> None:
    scope = program_switch(bench, tmp_path)
    wait_for(bench, scope, False)
    scope.on()
    wait_for(bench, scope, True)
    scope.close()
    assert (tmp_path / "state").read_text() == "off\n"


def test_a_program_that_does_not_switch_is_told(bench: Any, tmp_path: Path) -> None:
    scope = program_switch(bench, tmp_path)
    wait_for(bench, scope, False)
    scope.run_on = ["sh", "-c", "echo no such device; exit 3"]
    scope.on()
    assert bench.until(lambda: "error" in scope.state())
    assert scope.state()["error"] == "sh failed with code 3: no such device"
    wait_for(bench, scope, False)


# --- in a node ---


@pytest.fixture
def node(plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A node that is not simulated, whose board has no more than the plug and a lid."""
    monkeypatch.setattr("labnode.board.board.real_factory", lambda _: mock_factory())
    board = tmp_path / "board.yaml"
    board.write_text(
        "schema: 1\nlab: {name: mains}\ndevices:\n"
        f"  mains: {{driver: http_switch, family: shelly, address: '{plug.address}',\n"
        "          time_limit: 500ms, check_every: 1s}\n"
        "  lid: {driver: virtual, safe: true}\n"
        "interlocks: [{name: lid, require: lid, for: [mains]}]\n"
    )
    client = LabClient(board, state_dir=tmp_path)
    agent = client.agent
    agent.stop()
    agent = Agent(agent.board.file, client.lab, agent.settings, simulate=False, listen=False)
    client.agent = agent
    agent.start()
    yield client
    agent.stop()


def seen(node: Any, value: Any) -> bool:
    """Whether the board comes to see the plug so."""
    for _ in range(500):
        if node.value("mains") is value:
            return True
        node.agent.clock.event().wait(0.01)
    return False


def test_a_plug_is_on_in_a_session_and_off_after_it(node: Any, plug: Plug) -> None:
    assert seen(node, False)
    student = node.student()
    assert student.post("/api/devices/mains/on").status == 200
    assert seen(node, True)
    assert node.finish(student)["finished"]
    assert (plug.relays[0], node.value("mains")) == (False, False)


def test_an_interlock_switches_a_plug_off(node: Any, plug: Plug) -> None:
    student = node.student()
    student.post("/api/devices/mains/on")
    assert seen(node, True)
    student.post("/api/devices/lid/set", {"value": False})
    assert seen(node, False)
    assert plug.relays[0] is False
    assert student.post("/api/devices/mains/on").status == 409
    assert node.finish(student)["finished"]


def test_a_plug_that_cannot_be_switched_off_puts_the_board_into_quarantine(
    node: Any, plug: Plug
) -> None:
    student = node.student()
    student.post("/api/devices/mains/on")
    assert seen(node, True)
    plug.trouble = "busy"
    assert node.finish(student)["finished"]
    told = node.server("GET", "/test").json
    assert (told["valid"], plug.relays[0]) == (False, True)
    assert "'mains' did not reset" in told["error_messages"][0]
    plug.trouble = ""
    assert seen(node, False), "it is tried again and again"
    assert plug.relays[0] is False
