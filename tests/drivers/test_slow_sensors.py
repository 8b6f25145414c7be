"""Sensors that an io thread reads: echoes, light, 1-Wire, programs."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.pi import PiPin

from labnode.drivers.buses.ds18b20 import Ds18b20, SensorId
from labnode.drivers.cpu_temperature import CpuTemperature
from labnode.drivers.gpio.distance_sensor import DistanceSensor
from labnode.drivers.gpio.factories import MockPin, pins_in_use
from labnode.drivers.gpio.light_sensor import LightSensor
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.programs.command import ProgramSensor

ID = SensorId("28-0316a4a1f2ff")
READ_21 = "50 01 4b 46 7f ff 0c 10 7a : crc=7a YES\n50 01 4b 46 7f ff 0c 10 7a t=21000\n"
POWER_ON = "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n"
HOT = "50 05 4b 46 7f ff 10 10 d7 : crc=d7 YES\n50 05 4b 46 7f ff 10 10 d7 t=85000\n"
COLD = "5e ff 4b 46 7f ff 02 10 3e : crc=3e YES\n5e ff 4b 46 7f ff 02 10 3e t=-10125\n"
DAMAGED = "50 01 4b 46 7f ff 0c 10 7b : crc=7a NO\n50 01 4b 46 7f ff 0c 10 7b t=21000\n"
SHORTED = "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n"


# --- DS18B20 ---


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Ds18b20, "root", tmp_path)
    (tmp_path / ID).mkdir()
    return tmp_path / ID / "w1_slave"


@pytest.mark.parametrize(("text", "value"), [(READ_21, 21.0), (HOT, 85.0), (COLD, -10.125)])
def test_a_temperature_is_read_by_its_io_thread(
    real: Any, wire: Path, text: str, value: float
) -> None:
    wire.write_text(text)
    temp = real.open(Ds18b20(id=ID), "temp")
    assert "io-temp" in {thread.name for thread in threading.enumerate()}
    assert real.until(lambda: temp.value is not None)
    assert (temp.value, temp.stale, real.published) == (value, False, [value])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (POWER_ON, "has just got power and not measured yet"),
        (DAMAGED, "is damaged on its way"),
        (SHORTED, "is damaged on its way"),
        ("", "does not answer"),
        (READ_21[:60], "does not answer"),
        (None, r"does not answer \(No such file or directory\)"),
    ],
)
def test_what_is_no_reading_is_an_error_and_the_value_gets_stale(
    real: Any, wire: Path, text: str | None, sentence: str
) -> None:
    wire.write_text(READ_21)
    temp = real.open(Ds18b20(id=ID, sample_every=1.0, stale_after=3.0), "temp")
    assert real.until(lambda: temp.value == 21)
    if text is None:
        wire.unlink()
    else:
        wire.write_text(text)
    real.clock.advance(1)
    assert real.until(lambda: "error" in temp.state())
    assert temp.state()["error"].startswith(f"sensor {ID}") or text in (DAMAGED, SHORTED)
    assert re.search(sentence, temp.state()["error"])
    assert (temp.value, temp.due()) == (21, temp._sampled + 3)
    real.clock.advance(2)
    assert temp.stale
    wire.write_text(READ_21)
    real.clock.advance(1)
    assert real.until(lambda: "error" not in temp.state())
    assert not temp.stale


def test_a_calibration_makes_the_reading_right(real: Any, wire: Path) -> None:
    wire.write_text(READ_21)
    temp = real.open(Ds18b20(id=ID, calibration=[(0, 1), (42, 41)]), "temp")
    assert real.until(lambda: temp.value is not None)
    assert temp.value == 21


# --- the processor's temperature ---


def test_the_temperature_of_the_processor_is_in_thousandths(
    real: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CpuTemperature, "file", tmp_path / "temp")
    (tmp_path / "temp").write_text("48312\n")
    pi = real.open(CpuTemperature())
    pi.poll()
    assert pi.value == 48.3


# --- distance ---


class Timed(MockPin):
    """Its edges come at the time of the factory's own clock."""

    def _call_when_changed(self) -> None:
        PiPin._call_when_changed(self, self.factory.now, self._state)


class Air(Timed):
    """The trigger of an HC-SR04: when it falls the echo is high for `flight` s (a mock clock)."""

    flight: float | None = None
    echo: Any = None

    def _set_state(self, value: Any) -> None:
        fell = self._state and not value
        super()._set_state(value)
        if fell and self.flight is not None:
            self.echo.drive_high()
            self.factory.now += self.flight
            self.echo.drive_low()


@pytest.fixture
def air(real: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    real.pins.now = 0.0
    monkeypatch.setattr(real.pins, "ticks", lambda: real.pins.now, raising=False)
    monkeypatch.setattr(real.pins, "ticks_diff", lambda a, b: a - b, raising=False)
    trigger = real.pins.pin("GPIO23", pin_class=Air)
    trigger.echo = real.pins.pin("GPIO24", pin_class=Timed)
    return trigger


def sonar(bench: Any, **options: Any) -> Any:
    return bench.open(
        DistanceSensor(trigger=Pin(23), echo=Pin(24), sample_every=0.1, **options), "level"
    )


def test_a_distance_is_half_the_way_of_the_sound(real: Any, air: Any) -> None:
    air.flight = 2 * 1.5 / 343.26
    level = sonar(real)
    assert real.until(lambda: level.value is not None)
    assert level.value == 1.5


def test_one_echo_that_is_far_off_is_not_believed(real: Any, air: Any) -> None:
    air.flight = 2 * 1.5 / 343.26
    level = sonar(real)
    for flight in (1.5, 0.2, 1.52):
        count = len(real.published)
        air.flight = 2 * flight / 343.26
        real.clock.advance(0.1)
        assert real.until(lambda count=count: len(real.published) > count)  # type: ignore[misc]
    assert level.value in (1.5, 1.52)


def test_what_is_too_far_away_is_no_reading(real: Any, air: Any) -> None:
    air.flight = 2 * 3.0 / 343.26
    level = sonar(real, max_distance=2.0)
    assert real.until(lambda: real.published != [])
    assert (level.value, level.stale) == (None, True)


def test_no_echo_is_an_error(real: Any, air: Any) -> None:
    level = sonar(real)
    assert real.until(lambda: "error" in level.state())
    assert level.state()["error"] == "there was no echo"


def test_an_echo_that_does_not_end_is_an_error_and_a_closed_sensor_rests(
    real: Any, air: Any
) -> None:
    level = sonar(real)
    air.echo.drive_high()
    real.clock.advance(0.1)
    assert real.until(lambda: level.state().get("error", "").startswith("the echo does not end"))
    level.close()
    assert (air.function, air.state, pins_in_use(real.pins)) == ("output", False, [])


# --- light ---


class Capacitor(Timed):
    """Charges from the moment that the pin is an input; `takes` s later (a mock clock) it is high.

    An output ends what looks for edges, as with lgpio.
    """

    takes: float | None = 0.0

    def _set_function(self, value: str) -> None:
        if value == "output":
            self.when_changed = None
        super()._set_function(value)
        self._change_state(False)

    def _set_when_changed(self, value: Any) -> None:
        PiPin._set_when_changed(self, value)
        if value is not None and self._function == "input" and self.takes is not None:
            self.factory.now += self.takes
            self.drive_high()


@pytest.mark.parametrize(("takes", "value"), [(0.0, 1.0), (0.0025, 0.75), (0.02, 0.0)])
def test_light_is_how_fast_a_capacitor_charges(
    real: Any, monkeypatch: pytest.MonkeyPatch, takes: float, value: float
) -> None:
    real.pins.now = 0.0
    monkeypatch.setattr(real.pins, "ticks", lambda: real.pins.now, raising=False)
    monkeypatch.setattr(real.pins, "ticks_diff", lambda a, b: a - b, raising=False)
    real.pins.pin("GPIO18", pin_class=Capacitor).takes = takes
    daylight = real.open(LightSensor(pin=Pin(18)))
    assert real.until(lambda: daylight.value is not None)
    assert daylight.value == value
    daylight.close()
    assert real.pins.pin("GPIO18").function == "input"


# --- programs ---


def program(bench: Any, code: str, **options: Any) -> Any:
    return bench.open(ProgramSensor(run=[sys.executable, "-c", code], **options), "volts")


def outcome(bench: Any, sensor: Any) -> Any:
    assert bench.until(lambda: sensor.value is not None or "error" in sensor.state())
    return sensor.state().get("error", sensor.value)


@pytest.mark.parametrize(
    ("code", "options", "value"),
    [
        ("print('volt=0.8563V')", {}, 0.856),
        ("print('a: 1\\nb: -2.5e1')", {"pattern": r"^b: (\S+)"}, -25),
        ("print('up 3 days')", {"text": True}, "up 3 days"),
        ("print('link: up')", {"text": True, "pattern": r"link: (\w+)"}, "up"),
        ("import sys; sys.stderr.write('7')", {"scale": 2.0}, 14),
    ],
)
def test_the_value_is_what_a_program_says(
    real: Any, code: str, options: dict[str, Any], value: Any
) -> None:
    assert outcome(real, program(real, code, **options)) == value


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("raise SystemExit('no sensor')", "failed with code 1: no sensor"),
        ("print('none')", "said 'none', where there is no value"),
        ("print('x' * 100_000)", "says more than 65536 bytes"),
        ("import os; os.kill(os.getpid(), 9)", "failed with code -9"),
    ],
)
def test_a_program_that_fails_gives_no_value(real: Any, code: str, sentence: str) -> None:
    told = outcome(real, program(real, code))
    assert told == f"{sys.executable} {sentence}"


def test_a_program_that_hangs_is_ended_with_what_it_has_started(real: Any, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "time.sleep(60)"
    )
    told = outcome(real, program(real, code, time_limit=0.5))
    assert told.endswith("took too long and was ended")


def test_closing_ends_a_program_that_runs(real: Any, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    code = f"open({str(begun)!r}, 'w').close(); import time; time.sleep(60)"
    volts = program(real, code, time_limit=60.0)
    while not begun.exists():
        assert volts._io._thread.is_alive()
    volts.close()  # the detectors see whether its thread has ended


def test_a_program_that_is_not_there_says_so(real: Any) -> None:
    volts = real.open(ProgramSensor(run=["/nowhere/program"]))
    assert outcome(real, volts) == "/nowhere/program cannot be started: No such file or directory"


def test_no_shell_sees_the_arguments(real: Any) -> None:
    volts = real.open(ProgramSensor(run=["echo", "$HOME; echo 5"], text=True))
    assert outcome(real, volts) == "$HOME; echo 5"
