"""The pins of the Pi's buses, and the lines of its config.txt that enable them.

A driver of a part on a bus adds them to its `claims` and its `boot_config`. The devices of a bus
share its pins; another device on one of them is refused at load.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, ClassVar

from labnode.drivers.framework.driver import Claim
from labnode.drivers.gpio.pin import Pin
from labnode.locale import Message
from labnode.schema import Between, all_of, unlike

# The pins of each bus on the 40-pin header. The numbers are those of a Pi 4 (see "overlays/README"
# in raspberrypi/firmware); buses 0 and 1 have the same pins on every Pi since 2014.
_I2C_PINS = {0: (0, 1), 1: (2, 3), 3: (4, 5), 4: (8, 9), 5: (12, 13), 6: (22, 23)}
_SPI_PINS = {0: (7, 8, 9, 10, 11), 1: (19, 20, 21)}
_SPI1_SELECTS = (18, 17, 16)  # for its devices 0, 1 and 2
_UART_PINS = (14, 15)
_UART_PORTS = ("/dev/serial0", "/dev/ttyS0", "/dev/ttyAMA0")
_PWM = {12: (0, 4), 13: (1, 4), 18: (0, 2), 19: (1, 2)}  # pin: channel, function

BUS_PINS = {
    "dtparam=i2c_arm=on": _I2C_PINS[1],
    "dtparam=spi=on": _SPI_PINS[0],
    "enable_uart=1": _UART_PINS,
    "dtoverlay=w1-gpio,gpiopin=4 (or without gpiopin)": (4,),
}
"""The pins that a line of config.txt takes; lines that name their pins are left out."""

HARDWARE_PWM = tuple(_PWM)

_CHIP = re.compile(r"(\w+) (0x[0-9a-f]+) of bus (\d+)(?: at (.+) Hz)?")
_SPI_CHIP = re.compile(r"(\w+) at chip select (\d) of SPI bus (\d)")

RESERVED = tuple(Claim("pin", f"GPIO{pin}", "I2C bus 0") for pin in _I2C_PINS[0])
"""What belongs to the memory of add-on boards (HATs): the Pi drives it while it boots."""


def bus_in_words(bus: str) -> Message:
    """What the `bus` of a claim ("I2C bus 1", or a chip) is called in several languages."""
    if (chip := _CHIP.fullmatch(bus)) is not None:
        return chip_in_words(*chip.groups())
    if (chip := _SPI_CHIP.fullmatch(bus)) is not None:
        return Message("driver.spi-chip", chip=chip[1], select=chip[2], bus=chip[3])
    kind, _, number = bus.partition(" bus")
    if number:
        return Message("cli.bus-number", kind=kind, number=number.strip())
    return Message("cli.bus", kind=kind)


def chip_in_words(chip: str, address: str, bus: str, frequency: str | None = None) -> Message:
    """A chip on an I2C bus."""
    found = Message("driver.chip", chip=chip, address=address, bus=bus)
    if frequency is None:
        return found
    return Message("driver.chip-frequency", chip=found, frequency=frequency)


def i2c_claims(bus: int, address: int) -> list[Claim]:
    """The pins of an I2C bus, for all of its devices, and an address on it for one."""
    pins = _shared(_I2C_PINS.get(bus, ()), f"I2C bus {bus}")
    called = Message("driver.claim-i2c", address=f"0x{address:02x}", bus=bus)
    return [*pins, Claim("I2C address", f"0x{address:02x} of bus {bus}", called=called)]


def i2c_boot_config(bus: int) -> list[str]:
    if bus == 1:
        return ["dtparam=i2c_arm=on"]
    return ["dtparam=i2c_vc=on"] if bus == 0 else [f"dtoverlay=i2c{bus}"]


def spi_claims(port: int, device: int) -> list[Claim]:
    """The pins of SPI bus `port`, for all of its devices, and its chip select `device` for one.

    The kernel takes the chip selects of a bus together: both of bus 0, the first ones of bus 1.
    """
    bus = f"SPI bus {port}"
    pins = _SPI_PINS.get(port, ()) + (_SPI1_SELECTS[: device + 1] if port == 1 else ())
    called = Message("driver.claim-select", select=device, bus=port)
    return [*_shared(pins, bus), Claim("chip select", f"{device} of {bus}", called=called)]


def spi_boot_config(port: int, device: int) -> list[str]:
    return ["dtparam=spi=on"] if port == 0 else [f"dtoverlay=spi{port}-{device + 1}cs"]


def port_claim(path: str) -> Claim:
    """A serial port by its path."""
    return Claim("port", path, called=Message("driver.claim-port", path=path))


def uart_claims(port: str) -> list[Claim]:
    """The pins of the Pi's own serial port; none if `port` is another one."""
    return [pin.claim for pin in map(Pin, _UART_PINS)] if port in _UART_PORTS else []


def uart_boot_config(port: str) -> list[str]:
    return ["enable_uart=1"] if port in _UART_PORTS else []


def one_wire_claims(pin: Pin, sensor: str) -> list[Claim]:
    """The pin of a 1-Wire bus, for all of its sensors, and one sensor."""
    called = Message("driver.claim-1-wire", sensor=sensor)
    return [*_shared((pin.number,), "1-Wire bus"), Claim("1-Wire sensor", sensor, called=called)]


def one_wire_boot_config(pin: Pin) -> list[str]:
    return [f"dtoverlay=w1-gpio,gpiopin={pin.number}"]


def pwm_claims(pin: Pin) -> list[Claim]:
    """The channel of the kernel's PWM on a pin, which another pin can use, too."""
    channel = pwm_channel(pin)
    pins = all_of(f"GPIO{number}" for number, (other, _) in _PWM.items() if other == channel)
    called = Message("driver.claim-pwm", channel=channel, pins=pins)
    return [Claim("PWM channel", str(channel), called=called)]


def pwm_channel(pin: Pin) -> int:
    return _PWM[pin.number][0]


def pwm_boot_config(pin: Pin) -> list[str]:
    """The overlay for one pin; `labnode bootconfig` merges those of two."""
    return [f"dtoverlay=pwm,pin={pin.number},func={_PWM[pin.number][1]}", "dtparam=audio=off"]


def _has_pwm(pin: Pin) -> Pin:
    if pin.number not in _PWM:
        raise ValueError(Message("driver.no-pwm", pin=pin.name))
    return pin


PwmPin = Annotated[Pin, _has_pwm]
"""A pin that has hardware PWM."""


class _AddressReader:
    expected = Message("driver.an-i2c-address")
    json_schema: ClassVar[dict[str, object]] = {"type": "integer", "minimum": 0x08, "maximum": 0x77}

    def from_yaml(self, value: object) -> int:
        if type(value) is int and 0x08 <= value <= 0x77:
            return value
        raise ValueError(unlike(self.expected, value))

    def to_yaml(self, address: int) -> str:
        return f"0x{address:02x}"


I2cAddress = Annotated[int, _AddressReader()]
"""A 7-bit address; in YAML a number, usually written as 0x48."""

I2cBus = Annotated[int, Between(0, 30)]


def _shared(pins: tuple[int, ...], bus: str) -> list[Claim]:
    return [replace(Pin(pin).claim, bus=bus) for pin in pins]
