"""What a driver's author imports; each room below is one way in which a device is connected."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labnode.drivers.framework.bank import InputBank, OutputBank
    from labnode.drivers.framework.driver import Claim, Driver, Ref, command, private_command
    from labnode.drivers.framework.input import Input, Sensor
    from labnode.drivers.framework.io_thread import Backoff, IoThread
    from labnode.drivers.framework.output import NumberOutput, Output, SwitchOutput
    from labnode.drivers.framework.registry import register
    from labnode.drivers.framework.slow import SlowOutput, SlowSensor, SlowSwitch
    from labnode.drivers.gpio.pin import Pin, PinGroup
    from labnode.drivers.instruments.devices import InstrumentOutput

_HOMES = [
    *(f"framework.{name}" for name in ("driver", "bank", "input", "output", "registry", "slow")),
    "framework.io_thread",
    "gpio.pin",
    "instruments.devices",
]

# Boards that were written for labnode 0.1 import the same names from these.
for _old in ("base", "output", "pins"):
    sys.modules[f"{__name__}.{_old}"] = sys.modules[__name__]


def __getattr__(name: str) -> Any:
    """Loaded only for those who ask: gpiozero takes its time on a Pi."""
    for home in _HOMES if name in __all__ else ():
        module = import_module(f"{__name__}.{home}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(name)


__all__ = [
    "Backoff",
    "Claim",
    "Driver",
    "Input",
    "InputBank",
    "InstrumentOutput",
    "IoThread",
    "NumberOutput",
    "Output",
    "OutputBank",
    "Pin",
    "PinGroup",
    "Ref",
    "Sensor",
    "SlowOutput",
    "SlowSensor",
    "SlowSwitch",
    "SwitchOutput",
    "command",
    "private_command",
    "register",
]
