"""Chips on an I2C bus: what all of their drivers have in common, and their registers."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from labnode.drivers.buses.bus_pins import (
    I2cAddress,
    I2cBus,
    chip_in_words,
    i2c_boot_config,
    i2c_claims,
)
from labnode.drivers.framework.driver import Claim, Driver
from labnode.errors import DeviceError, DeviceGone
from labnode.locale import Message, Wording
from labnode.schema import Doc


@dataclass(kw_only=True)
class I2cPart(Driver):
    """A chip on an I2C bus, or a part of one: several devices may each have a part of a chip."""

    chip = ""  # "PCA9685"; without an annotation: not an option
    addresses: ClassVar[Sequence[int]] = range(0x08, 0x78)  # that its pins can select

    bus: Annotated[I2cBus, Doc("The number of the I2C bus.")] = 1
    address: Annotated[I2cAddress, Doc("The chip's address on the bus.")]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.address not in self.addresses:
            numbers = (self.addresses[0], self.addresses[-1], self.address)
            low, high, value = (f"0x{number:02x}" for number in numbers)
            raise ValueError(
                Message("driver.addresses", chip=self.chip, low=low, high=high, value=value)
            )

    def parts(self) -> Sequence[str | Wording]:
        """The parts of the chip that only this device may use: "channel 2"."""
        return []

    def part_claim(self, part: str | Wording) -> Claim:
        """One of its parts: different from those of other chips."""
        chip = chip_in_words(self.chip, f"0x{self.address:02x}", str(self.bus))
        called = Message("driver.claim-part", part=part, chip=chip)
        return Claim(f"{part} of", I2cPart.shared_as(self), called=called)

    def shared_as(self) -> str:
        """Devices may share a chip if they say the same here."""
        return f"{self.chip} 0x{self.address:02x} of bus {self.bus}"

    def claims(self) -> list[Claim]:
        *pins, address = i2c_claims(self.bus, self.address)
        own = map(self.part_claim, self.parts())
        return [*super().claims(), *pins, replace(address, bus=self.shared_as()), *own]

    def boot_config(self) -> list[str]:
        return i2c_boot_config(self.bus)

    def open(self) -> None:
        simulated = self.services.simulated
        self.hardware = MockChip() if simulated else WiredChip(self.bus, self.address)
        try:
            self.begin()
            self.opened()
        except BaseException:
            chip, self.hardware = self.hardware, None
            chip.close()
            raise

    def begin(self) -> None:
        """Set up the chip, which `hardware` is; an output is safe afterwards."""


class WiredChip:
    """The registers of a chip on a bus of this machine; DeviceGone when it does not answer.

    Several bytes are those of a register and of the next ones.
    """

    def __init__(self, bus: int, address: int) -> None:
        from smbus2 import SMBus  # noqa: PLC0415  (1 MB, only for boards with such a chip)

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

    def receive(self) -> int:
        """The byte of a chip without registers."""
        try:
            return int(self._bus.read_byte(self._address))
        except OSError as error:
            raise DeviceGone(f"{self._name} does not answer ({error.strerror})") from error

    def send(self, byte: int) -> None:
        """Write the byte of a chip without registers."""
        try:
            self._bus.write_byte(self._address, byte)
        except OSError as error:
            raise DeviceGone(f"{self._name} does not answer ({error.strerror})") from error

    def take(self) -> bool:
        """Have the bus to itself among those who ask for it this way; False if one has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def give_back(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @property
    def _descriptor(self) -> int:
        assert self._bus.fd is not None, "it is open"
        return self._bus.fd

    def close(self) -> None:
        self._bus.close()


class MockChip:
    """The registers of a simulated chip, which keep what is written."""

    def __init__(self) -> None:
        self.registers = bytearray(256)

    def read(self, register: int, count: int = 1) -> bytes:
        return bytes(self.registers[register : register + count])

    def write(self, register: int, *data: int) -> None:
        self.registers[register : register + len(data)] = bytes(data)

    def receive(self) -> int:
        return self.registers[0]

    def send(self, byte: int) -> None:
        self.registers[0] = byte

    def close(self) -> None: ...
