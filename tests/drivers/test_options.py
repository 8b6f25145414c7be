"""What the options of drivers cannot be, and the sentence that says so."""

from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.buses.ds18b20 import SensorId
from labnode.drivers.buses.mcp3xxx import Mcp3xxx
from labnode.drivers.buses.mcp23017 import ExpanderPin
from labnode.drivers.gpio.digital_input import DigitalInput, DigitalInputBank
from labnode.drivers.gpio.digital_output import DigitalOutput
from labnode.drivers.gpio.motor import Motor
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_output import PwmOutput
from labnode.drivers.gpio.servo import AngularServo, Servo
from labnode.drivers.logic.virtual import Virtual
from labnode.drivers.network.http_switch import HttpSwitch, WebAddress
from labnode.drivers.programs.command import CommandSwitch, HubLocation, ProgramSensor
from labnode.drivers.serial import Serial
from labnode.drivers.serial.options import UsbId, UsbMatch

A, B = "http://a", "http://b"
USB = "/dev/ttyUSB0"


@pytest.mark.parametrize(
    ("driver", "options", "sentence"),
    [
        (DigitalInput, {"pin": Pin(27), "pull_up": None}, "needs active_state"),
        (
            DigitalInput,
            {"pin": Pin(27), "pull_up": True, "active_state": True},
            "active_state follows from pull_up",
        ),
        (
            DigitalInput,
            {"pin": Pin(2)},
            "GPIO2 has a resistor that pulls it up: say pull_up: true",
        ),
        (DigitalInputBank, {"pins": [Pin(2)]}, "GPIO2 has a resistor"),
        (DigitalOutput, {"pin": Pin(17), "pulse": 0.0}, "pulse must be longer than 0"),
        (DigitalOutput, {"pin": Pin(17), "max_on_time": 0.0}, "max_on_time must be longer than 0"),
        (
            PwmOutput,
            {"pin": Pin(17), "max": 0.5, "initial": 0.9},
            r"initial \(0.9\) is not among a number from 0 to 0.5",
        ),
        (
            Motor,
            {"forward_pin": Pin(17), "backward_pin": Pin(27), "safe": 0.5},
            "safe must be 0",
        ),
        (
            Servo,
            {"pin": Pin(17), "min_pulse_width": 0.002},
            "min_pulse_width must be less than max_pulse_width",
        ),
        (Servo, {"pin": Pin(17), "frame_width": 0.0015}, "and that less than the time from"),
        (Servo, {"pin": Pin(17), "safe": 2.0}, "safe is a number from -1 to 1"),
        (AngularServo, {"pin": Pin(17), "min_angle": 3, "max_angle": 3}, "must differ"),
        (Virtual, {"safe": 5, "max": 4}, "safe must be a number to 4, not 5"),
        (Virtual, {"safe": "a", "choices": ["b"]}, "safe must be one of b, not 'a'"),
        (Virtual, {"min": 1}, "min, max and step are for a number"),
        (Virtual, {"safe": 1, "choices": ["a"]}, "choices are for a text"),
        (Virtual, {"safe": 1, "initial": True}, "initial must be a number, not True"),
        (Mcp3xxx, {"chip": "MCP3004", "channel": 4}, "a MCP3004 has the channels 0 to 3"),
        (
            Mcp3xxx,
            {"chip": "MCP3008", "channel": 0, "device": 2},
            "SPI bus 0 has the chip selects 0 and 1",
        ),
        (ProgramSensor, {"run": []}, "run needs a program"),
        (ProgramSensor, {"run": ["a"], "pattern": "("}, "pattern is no regu"),
        (CommandSwitch, {"run_on": [], "run_off": ["a"]}, "need a program each"),
        (CommandSwitch, {"run_on": ["a"], "run_off": ["a"], "run_state": ["a"]}, "go together"),
        (HttpSwitch, {}, "needs family and address, or on_url and off_url"),
        (HttpSwitch, {"family": "shelly"}, "a shelly needs its address"),
        (HttpSwitch, {"on_url": A, "off_url": B, "relay": 1}, "are for family: tasmota"),
        (HttpSwitch, {"on_url": A, "off_url": B, "on_pattern": "x"}, "go together"),
        (HttpSwitch, {"family": "tasmota", "address": A, "on_url": A}, "URLs of a tasmota"),
        (
            HttpSwitch,
            {"on_url": A, "off_url": B, "state_url": "http://c", "on_pattern": "("},
            "on_pattern is no regular expression",
        ),
        (Serial, {}, "say either port"),
        (Serial, {"port": USB, "match": UsbMatch(serial="1")}, "say either port"),
        (Serial, {"port": USB, "max_rate": 99}, "max_rate is at least 100"),
        (Serial, {"port": USB, "write_timeout": 0}, "write_timeout must be more than 0"),
        (UsbMatch, {}, "match needs at least one of vid"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    driver: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        driver(**options)


NONE_OF = {
    (Pin, "expected a GPIO pin such as 17, GPIO17 or BOARD11"): (
        *(28, -1, "GPIO28", "GPIO", "", True, None, 1.5, [17], "BOARD41"),
    ),
    (Pin, "BOARD6 is GND, not a GPIO pin"): ("BOARD6",),
    (ExpanderPin, "expected a pin of the chip, A0 to A7 or B0 to B7"): (
        *("A8", "C0", "GP3", 3, True, None),
    ),
    (SensorId, "expected the number of a DS18B20 such as 28-"): (
        *("28-0316", "10-000802a1b2c3", 28, None, "28-0316a4a1f2zz"),
    ),
    (UsbId, "expected four hexadecimal digits"): (True, -1, 0x10000, "uno", 1.5, None),
    (HubLocation, r"expected where a hub is, such as 1-1\.4"): (
        *("-l 1", "1-", "", None, 1.5, True, "usb1"),
    ),
    (WebAddress, r"expected an address such as http://192.168.1.20/on"): (
        *("plug", "ftp://plug/", "http://", "http://a:port/", "http://a/b c", "file:///x", 3),
    ),
}


@pytest.mark.parametrize(
    ("kind", "sentence", "value"),
    [(*what, value) for what, values in NONE_OF.items() for value in values],
)
def test_a_value_that_cannot_be_is_refused(kind: Any, sentence: str, value: object) -> None:
    with pytest.raises(ValueError, match=sentence):
        kind.from_yaml(value)
