"""The serial port and its console."""

from labnode.drivers.serial.driver import Serial
from labnode.drivers.serial.simulated import SerialScript

__all__ = ["Serial", "SerialScript"]
