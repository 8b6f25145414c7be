"""The serial port and its console."""

from labnode.drivers.serial.driver import Serial
from labnode.drivers.serial.reader import Reader
from labnode.drivers.serial.script import SerialScript

__all__ = ["Reader", "Serial", "SerialScript"]
