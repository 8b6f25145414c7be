"""All drivers, by their names in board files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from importlib import import_module
from typing import TypeVar

from labnode.drivers.framework.commands import commands_of
from labnode.drivers.framework.driver import Driver
from labnode.locale import Message

D = TypeVar("D", bound=type[Driver])

# Where each of labnode's drivers is.
MODULES: Mapping[str, str] = {
    "ads1115": "labnode.drivers.buses.ads1115",
    "angular_servo": "labnode.drivers.gpio.servo",
    "avrdude": "labnode.drivers.tools.avrdude",
    "bme280": "labnode.drivers.buses.bme280",
    "burst": "labnode.drivers.burst",
    "button": "labnode.drivers.gpio.digital_input",
    "buzzer": "labnode.drivers.gpio.digital_output",
    "choice": "labnode.drivers.logic.choice",
    "command": "labnode.drivers.programs.command",
    "command_switch": "labnode.drivers.programs.command",
    "cpu_temperature": "labnode.drivers.cpu_temperature",
    "dfu_util": "labnode.drivers.tools.dfu_util",
    "digital_input": "labnode.drivers.gpio.digital_input",
    "digital_input_bank": "labnode.drivers.gpio.digital_input",
    "digital_output": "labnode.drivers.gpio.digital_output",
    "digital_output_bank": "labnode.drivers.gpio.digital_output",
    "distance_sensor": "labnode.drivers.gpio.distance_sensor",
    "ds18b20": "labnode.drivers.buses.ds18b20",
    "esptool": "labnode.drivers.tools.esptool",
    "formula": "labnode.drivers.logic.formula",
    "gate_timer": "labnode.drivers.gpio.gate_timer",
    "hardware_pwm": "labnode.drivers.gpio.hardware_pwm",
    "http_switch": "labnode.drivers.network.http_switch",
    "iio": "labnode.drivers.buses.iio",
    "iio_output": "labnode.drivers.buses.iio",
    "instrument": "labnode.drivers.instruments.driver",
    "instrument_switch": "labnode.drivers.instruments.devices",
    "led": "labnode.drivers.gpio.digital_output",
    "light_sensor": "labnode.drivers.gpio.light_sensor",
    "line_sensor": "labnode.drivers.gpio.digital_input",
    "mcp23017": "labnode.drivers.buses.mcp23017",
    "mcp23017_input_bank": "labnode.drivers.buses.mcp23017",
    "mcp23017_output_bank": "labnode.drivers.buses.mcp23017",
    "mcp3001": "labnode.drivers.buses.mcp3xxx",
    "mcp3002": "labnode.drivers.buses.mcp3xxx",
    "mcp3004": "labnode.drivers.buses.mcp3xxx",
    "mcp3008": "labnode.drivers.buses.mcp3xxx",
    "mcp3201": "labnode.drivers.buses.mcp3xxx",
    "mcp3202": "labnode.drivers.buses.mcp3xxx",
    "mcp3204": "labnode.drivers.buses.mcp3xxx",
    "mcp3208": "labnode.drivers.buses.mcp3xxx",
    "mcp3301": "labnode.drivers.buses.mcp3xxx",
    "mcp3302": "labnode.drivers.buses.mcp3xxx",
    "mcp3304": "labnode.drivers.buses.mcp3xxx",
    "mcp3xxx": "labnode.drivers.buses.mcp3xxx",
    "mjpeg": "labnode.drivers.camera.driver",
    "motion_sensor": "labnode.drivers.gpio.digital_input",
    "motor": "labnode.drivers.gpio.motor",
    "openfpgaloader": "labnode.drivers.tools.openfpgaloader",
    "openocd": "labnode.drivers.tools.openocd",
    "pca9685": "labnode.drivers.buses.pca9685",
    "pca9685_servo": "labnode.drivers.buses.pca9685",
    "pcf8574": "labnode.drivers.buses.pcf8574",
    "phase_enable_motor": "labnode.drivers.gpio.motor",
    "pid": "labnode.drivers.logic.pid",
    "picotool": "labnode.drivers.tools.picotool",
    "pulse_counter": "labnode.drivers.gpio.pulse_counter",
    "pwm_led": "labnode.drivers.gpio.pwm_output",
    "pwm_output": "labnode.drivers.gpio.pwm_output",
    "reading": "labnode.drivers.instruments.devices",
    "relay": "labnode.drivers.gpio.digital_output",
    "rgb_led": "labnode.drivers.gpio.pwm_output",
    "rotary_encoder": "labnode.drivers.gpio.rotary_encoder",
    "serial": "labnode.drivers.serial.driver",
    "servo": "labnode.drivers.gpio.servo",
    "setpoint": "labnode.drivers.instruments.devices",
    "st_flash": "labnode.drivers.tools.st_flash",
    "stepper": "labnode.drivers.gpio.stepper",
    "tonal_buzzer": "labnode.drivers.gpio.pwm_output",
    "uf2": "labnode.drivers.tools.uf2",
    "usb_power": "labnode.drivers.programs.command",
    "virtual": "labnode.drivers.logic.virtual",
    "waveform": "labnode.drivers.instruments.waveform",
}

registry: dict[str, type[Driver]] = {}  # those whose modules are imported


def register(kind: str) -> Callable[[D], D]:
    """Name a driver, as in `driver: led`; it stands above `@dataclass(kw_only=True)`.

    ValueError if there is such a driver already, TypeError if the class is no dataclass.
    """

    def add(cls: D) -> D:
        if kind in registry or MODULES.get(kind, cls.__module__) != cls.__module__:
            raise ValueError(Message("driver.two", name=repr(kind)))
        if not is_dataclass(cls):
            raise TypeError(f"{cls.__name__} is not a dataclass")
        cls.kind = kind
        cls.commands = commands_of(cls)
        registry[kind] = cls
        return cls

    return add


class Drivers(Mapping[str, type[Driver]]):
    """All drivers by name, those of a board's `own` files too.

    labnode's are imported when they are looked up: all of them would be a third of the time in
    which `labnode safe` has a relay safe.
    """

    def __init__(self, own: Mapping[str, type[Driver]]) -> None:
        self._own = own

    def __getitem__(self, kind: str) -> type[Driver]:
        if kind in self._own:
            return self._own[kind]
        if kind in MODULES:
            import_module(MODULES[kind])
        return registry[kind]

    def __iter__(self) -> Iterator[str]:
        return iter({**MODULES, **registry, **self._own})

    def __len__(self) -> int:
        return len({**MODULES, **registry, **self._own})


def load_drivers() -> dict[str, type[Driver]]:
    """Import every driver of labnode; all drivers by name."""
    return dict(Drivers({}))
