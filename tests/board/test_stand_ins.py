"""What a lab's own drivers do on a simulated board: nothing that could reach hardware."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.framework.registry import load_drivers
from labnode.errors import BadInput

# Its hardware is a file, which has a line for everything that was done to it.
DRIVERS = """
from dataclasses import dataclass
from pathlib import Path

from labnode.drivers import (
    Driver, Led, NumberOutput, Output, Sensor, SlowSensor, SlowSwitch, command, register,
)

WIRE = Path(__file__).with_name("wire")

def wire(text):
    with WIRE.open("a") as file:
        file.write(text + "\\n")

@register("supply")
@dataclass(kw_only=True)
class Supply(NumberOutput):
    highest = 30.0

    def attach(self, name, services):
        super().attach(name, services)
        wire("attach")

    def open(self):
        wire("OUTP ON")
        self.drive(self.safe)
        self.opened()

    def drive(self, value):
        wire(f"VOLT {value}")
        self._volts = value

    @property
    def value(self):
        wire("VOLT?")
        return self._volts

    def make_safe(self):
        wire("OUTP OFF")

    def close(self):
        wire("SYST:LOC")

    @command
    def set(self, value: float) -> None:
        wire("set")
        self.put(value)

    @command
    def beep(self) -> str:
        wire("BEEP")
        return "beep"

@register("meter")
@dataclass(kw_only=True)
class Meter(SlowSensor):
    def open(self):
        wire("open")
        super().open()

    def poll(self):
        wire("poll")

    def read(self):
        wire("MEAS?")
        return 1.0

@register("plug")
@dataclass(kw_only=True)
class Plug(SlowSwitch):
    def open(self):
        wire("login")
        super().open()

    def switch(self, value):
        wire(f"switch {value}")

@register("turntable")
@dataclass(kw_only=True)
class Turntable(Driver):
    angle: float = 0.0

    def open(self):
        wire("home")

    @property
    def value(self):
        wire("POS?")
        return 5

    @command
    def set(self, value: float) -> None:
        wire("turn")

@register("bright")
@dataclass(kw_only=True)
class Bright(Led):
    def drive(self, value):
        wire("bright")
        super().drive(value)

@register("careful")
@dataclass(kw_only=True)
class Careful(Output):
    simulates = True
    safe: bool = False

    def open(self):
        self.on = wire if not self.services.simulated else lambda _: None
        self.drive(self.safe)
        self.opened()

    def drive(self, value):
        self.on(f"{value}")
        self.shown = "on" if value else "off"

    @property
    def value(self):
        return self.shown

    @command
    def set(self, value: bool) -> None:
        self.put(value)
"""
BOARD = """
drivers: [own.py]
devices:
  supply: {driver: supply, max: 12}
  meter: {driver: meter}
  plug: {driver: plug}
  table: {driver: turntable}
  lamp: {driver: bright, pin: 17}
  careful: {driver: careful}
simulate: {meter: supply / 2}
"""


@pytest.fixture
def lab(rig: Callable[..., Any], tmp_path: Path) -> Iterator[Any]:
    load_drivers()
    source = DRIVERS.replace(" Led,", "").replace(
        "WIRE =", "from labnode.drivers.gpio.digital_output import Led\nWIRE =", 1
    )
    (tmp_path / "own.py").write_text(source)
    lab = rig(BOARD)
    lab.board.open()
    yield lab
    lab.board.close()
    assert not (tmp_path / "wire").exists(), (tmp_path / "wire").read_text()


def test_a_number_is_held_within_its_limits(lab: Any) -> None:
    lab.board.command("supply", "set", [6])
    assert lab.values()["supply"] == 6.0
    with pytest.raises(BadInput, match="a number from 0 to 12"):
        lab.board.command("supply", "set", [13])
    lab.board.reset()
    assert lab.values()["supply"] == 0.0


def test_everything_is_made_safe_without_the_drivers_code(lab: Any) -> None:
    lab.board.command("supply", "set", [6])
    assert lab.board.halt("stop") == []
    lab.serve()
    assert lab.values()["supply"] == 0.0


def test_a_sensor_shows_what_the_simulation_says(lab: Any) -> None:
    lab.board.command("supply", "set", [6])
    lab.clock.advance(2)
    lab.board.poll()
    assert lab.values()["meter"] == 3.0


def test_a_switch_and_a_lamp_hold_their_states(lab: Any) -> None:
    for name in ("plug", "lamp"):
        lab.board.command(name, "on")
        assert lab.values()[name] is True, name


def test_a_driver_of_no_family_shows_what_it_was_set_to(lab: Any) -> None:
    assert lab.values()["table"] is None
    lab.board.command("table", "set", [45])
    assert lab.values()["table"] == 45.0
    lab.board.reset()
    assert lab.values()["table"] is None


def test_other_commands_are_checked_and_not_run(lab: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert lab.board.command("supply", "beep") is None
    assert "Simulated, so not run: supply.beep" in caplog.text


def test_it_is_told_which_devices_are_stand_ins(
    rig: Callable[..., Any], lab: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shown = {name for name, state in lab.board.snapshot.items() if state.get("stand_in")}
    assert shown == {"supply", "meter", "plug", "table", "lamp"}
    rig(BOARD)
    assert "supply: its driver has no simulation, so a stand-in holds its values" in caplog.text


def test_a_driver_that_says_that_it_simulates_runs_itself(lab: Any) -> None:
    lab.board.command("careful", "set", [True])
    assert lab.values()["careful"] == "on"
