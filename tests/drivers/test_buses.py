"""The pins of buses: shared by the devices of a bus, and by nothing else."""

from __future__ import annotations

from typing import Annotated

import pytest

from labnode.drivers.buses.bus_pins import (
    I2cAddress,
    PwmPin,
    i2c_boot_config,
    i2c_claims,
    one_wire_boot_config,
    one_wire_claims,
    pwm_boot_config,
    pwm_channel,
    pwm_claims,
    spi_boot_config,
    spi_claims,
    uart_boot_config,
    uart_claims,
)
from labnode.drivers.framework.driver import Claim
from labnode.drivers.gpio.pin import Pin
from labnode.errors import ConfigError
from labnode.schema import Doc, build, parse_yaml


def pins(claims: list[Claim]) -> list[str]:
    return [claim.name for claim in claims if claim.kind == "pin"]


def test_claims_are_equal_whatever_bus_they_are_for():
    assert Claim("pin", "GPIO2") == Claim("pin", "GPIO2", "I2C bus 1")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (i2c_claims(1, 0x48), ["GPIO2", "GPIO3"]),
        (i2c_claims(22, 0x48), []),  # in software, on pins that the overlay names
        (spi_claims(0, 1), ["GPIO7", "GPIO8", "GPIO9", "GPIO10", "GPIO11"]),
        (spi_claims(1, 0), ["GPIO19", "GPIO20", "GPIO21", "GPIO18"]),
        (spi_claims(1, 2), ["GPIO19", "GPIO20", "GPIO21", "GPIO18", "GPIO17", "GPIO16"]),
        (one_wire_claims(Pin(4), "28-0316a4a1f2ff"), ["GPIO4"]),
        (uart_claims("/dev/serial0"), ["GPIO14", "GPIO15"]),
        (uart_claims("/dev/ttyUSB0"), []),
    ],
)
def test_a_bus_takes_its_pins(claims: list[Claim], expected: list[str]) -> None:
    assert pins(claims) == expected


def test_two_parts_at_one_address_or_one_chip_select_claim_the_same_thing():
    assert i2c_claims(1, 0x48)[-1] == i2c_claims(1, 0x48)[-1] != i2c_claims(1, 0x49)[-1]
    assert i2c_claims(1, 0x48)[-1] != i2c_claims(3, 0x48)[-1]
    assert spi_claims(0, 0)[-1] == spi_claims(0, 0)[-1] != spi_claims(0, 1)[-1]
    assert str(i2c_claims(1, 0x48)[-1]) == "I2C address 0x48 of bus 1"
    assert not any(i2c_claims(1, 0x48)[-1].bus + spi_claims(0, 0)[-1].bus)


def test_gpio12_and_gpio18_show_the_same_pwm_channel():
    assert pwm_claims(Pin(12)) == pwm_claims(Pin(18)) != pwm_claims(Pin(13))
    assert str(pwm_claims(Pin(19))[0]) == "PWM channel 1 (GPIO13 and GPIO19)"
    assert [pwm_channel(Pin(number)) for number in (12, 13, 18, 19)] == [0, 1, 0, 1]


def test_each_bus_knows_its_lines_of_config_txt():
    assert i2c_boot_config(1) == ["dtparam=i2c_arm=on"]
    assert i2c_boot_config(0) == ["dtparam=i2c_vc=on"]
    assert i2c_boot_config(4) == ["dtoverlay=i2c4"]
    assert spi_boot_config(0, 1) == ["dtparam=spi=on"]
    assert spi_boot_config(1, 2) == ["dtoverlay=spi1-3cs"]
    assert uart_boot_config("/dev/serial0") == ["enable_uart=1"]
    assert uart_boot_config("/dev/ttyUSB0") == []
    assert one_wire_boot_config(Pin(22)) == ["dtoverlay=w1-gpio,gpiopin=22"]
    assert pwm_boot_config(Pin(18)) == ["dtoverlay=pwm,pin=18,func=2", "dtparam=audio=off"]


def test_a_pin_without_hardware_pwm_is_told_which_have_it():
    fan = Annotated[PwmPin, Doc("Where the fan is.")]
    assert build(fan, parse_yaml("GPIO18", "x.yaml")) == Pin(18)
    with pytest.raises(ConfigError, match="GPIO17 has no hardware PWM; GPIO12, GPIO13, GPIO18"):
        build(fan, parse_yaml("BOARD11", "x.yaml"))


def test_an_address_is_one_of_the_bus():
    assert build(I2cAddress, parse_yaml("0x48", "x.yaml")) == 0x48
    for text in ("0x78", "7", "true", "'0x48'", "4.5"):
        with pytest.raises(ConfigError, match="expected an I2C address from 0x08 to 0x77"):
            build(I2cAddress, parse_yaml(text, "x.yaml"))
