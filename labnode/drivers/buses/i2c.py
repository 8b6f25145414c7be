"""Chips on an I2C bus: their registers, and the options that all of their drivers have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Protocol

from labnode.drivers.buses.bus_pins import I2cAddress, I2cBus, i2c_boot_config, i2c_claims
from labnode.drivers.framework.driver import Claim, Driver
from labnode.errors import DeviceError, DeviceGone
from labnode.schema import Doc


class Chip(Protocol):
    """The registers of a chip; it goes on to the next one with each byte."""

    def read(self, register: int, count: int = 1) -> bytes: ...

    def write(self, register: int, *data: int) -> None: ...

    def close(self) -> None: ...


class WiredChip:
    """A chip on a bus of this machine. DeviceGone: it does not answer."""

    def __init__(self, bus: int, address: int) -> None:
        from smbus2 import SMBus  # noqa: PLC0415  (1 MB, for boards that have such a chip)

        self._address = address
        self._name = f"address 0x{address:02x} of I2C bus {bus}"
        try:
            self._bus = SMBus(bus)
        except OSError as error:
            raise DeviceError(
                f"I2C bus {bus} cannot be opened ({error.strerror}): it has to be switched on in "
                "the Pi's config.txt, see labnode bootconfig, and this user be in the group 'i2c'"
            ) from error

    def read(self, register: int, count: int = 1) -> bytes:
        try:
            return bytes(self._bus.read_i2c_block_data(self._address, register, count))
        except OSError as error:
            raise DeviceGone(f"{self._name} does not answer ({error.strerror})") from error

    def write(self, register: int, *data: int) -> None:
        try:
            self._bus.write_i2c_block_data(self._address, register, data)
        except OSError as error:
            raise DeviceGone(f"{self._name} does not answer ({error.strerror})") from error

    def close(self) -> None:
        self._bus.close()


class MockChip:
    """A chip of a simulation: it keeps what is written."""

    def __init__(self) -> None:
        self.registers = bytearray(256)

    def read(self, register: int, count: int = 1) -> bytes:
        return bytes(self.registers[register : register + count])

    def write(self, register: int, *data: int) -> None:
        self.registers[register : register + len(data)] = bytes(data)

    def close(self) -> None: ...


@dataclass(kw_only=True)
class I2cPart(Driver):
    """A chip on an I2C bus, or a part of one: several devices may have each a part of a chip."""

    chip = ""  # "PCA9685"; without an annotation: it is no option

    bus: Annotated[I2cBus, Doc("The number of the I2C bus.")] = 1
    address: Annotated[I2cAddress, Doc("The chip's address on the bus.")]

    def shared_as(self) -> str:
        """Which devices may share the chip: those that say the same."""
        return f"{self.chip} 0x{self.address:02x} of bus {self.bus}"

    def parts(self) -> list[str]:
        """What of the chip is this device's alone: "channel 2"."""
        return []

    def claims(self) -> list[Claim]:
        *pins, address = i2c_claims(self.bus, self.address)
        chip = f"{self.chip} 0x{self.address:02x} of bus {self.bus}"
        own = [Claim(f"{part} of", chip) for part in self.parts()]
        return [*super().claims(), *pins, replace(address, bus=self.shared_as()), *own]

    def open_chip(self) -> Chip:
        return MockChip() if self.services.simulated else WiredChip(self.bus, self.address)

    def boot_config(self) -> list[str]:
        return i2c_boot_config(self.bus)
