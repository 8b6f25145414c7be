"""A board with a device for each widget, for the stand-in."""

from __future__ import annotations

import math
from typing import Any


def command(name: str, *parameters: str) -> dict[str, Any]:
    return {"name": name, "parameters": [{"name": parameter} for parameter in parameters]}


def device(name: str, label: str, widget: str, *commands: dict[str, Any], **more: Any) -> Any:
    return {"name": name, "label": label, "widget": widget, "commands": list(commands), **more}


SET = command("set", "value")

DEVICES: list[dict[str, Any]] = [
    device("heater", "Heater", "switch", SET, icon="flame"),
    device("fan", "Fan", "slider", SET, min=0, max=1, step=0.01, icon="☀"),
    device("temp", "Temperature", "value", unit="°C", icon="thermometer"),
    device("bell", "Bell", "button", SET),
    device("shot", "Shot", "button", SET, pulse=0.5),
    device("lid", "Lid", "lamp"),
    device("light", "Light", "rgb", SET, command("on"), command("off")),
    device("servo", "Servo", "dial", SET, command("mid"), min=-90, max=90, step=1, unit="°"),
    device("leds", "LEDs", "bank", SET, command("set_bit", "bit", "value"), width=8),
    device("dip", "DIP switches", "bank", width=2, bits=["Reset", "Boot"]),
    device("mcu", "Controller", "upload", accept=[".hex"], max_size=1000, blank=True),
    device("lcd", "Display", "text", SET),
    device("mode", "Mode", "text", SET, choices=["slow", "fast"]),
    device("goal", "Goal", "value", SET, unit="°C"),
    device("humidity", "Humidity", "value", unit="%"),
    device("motor", "Motor", "switch", SET),
    device("trace", "Oscilloscope", "samples", command("acquire"), unit="V", x_unit="s"),
]

VALUES: dict[str, Any] = {
    "switch": False,
    "heater": True,
    "fan": 0.4,
    "temp": 21.5,
    "bell": False,
    "shot": False,
    "lid": True,
    "light": "#ffb000",
    "servo": 30,
    "leds": 0b10110010,
    "dip": 2,
    "mcu": None,
    "lcd": "Hello\n  world",
    "mode": "slow",
    "goal": 40,
    "humidity": 55,
    "motor": False,
    "trace": {
        "y": [round(2 * math.sin(i / 8), 3) for i in range(400)],
        "begin": 0,
        "step": 1e-5,
        "count": 400,
        "rate": 100_000,
    },
}

PAGE: list[list[Any]] = [
    [{"text": "Heat the plate.\n\nThe lid has to be closed.", "label": "What to do"}],
    ["heater", "fan", "temp"],
    [{"plot": ["temp", "fan", "heater"], "span": 60, "label": None}],
    ["bell", "shot", "lid", "light"],
    ["servo", "leds", "dip"],
    ["mcu", {"task": "blink"}, "lcd"],
    ["mode", "goal", "humidity", "motor"],
    ["trace"],
]
