"""What two devices of a board cannot both have, and how that is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from labnode.board import load_board
from labnode.drivers.buses.bus_pins import I2cAddress, PwmPin, i2c_claims, pwm_claims, spi_claims
from labnode.drivers.framework.driver import Claim, Driver
from labnode.drivers.framework.registry import load_drivers, register, registry
from labnode.errors import ConfigError
from labnode.schema import Doc

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def parts() -> Iterator[None]:
    """Drivers of parts that sit on buses."""
    load_drivers()
    known = set(registry)

    @register("i2c_part")
    @dataclass(kw_only=True)
    class I2cPart(Driver):
        address: Annotated[I2cAddress, Doc("Its address.")]

        def claims(self) -> list[Claim]:
            return [*super().claims(), *i2c_claims(1, self.address)]

    @register("spi_part")
    @dataclass(kw_only=True)
    class SpiPart(Driver):
        device: Annotated[int, Doc("Its chip select.")] = 0

        def claims(self) -> list[Claim]:
            return [*super().claims(), *spi_claims(0, self.device)]

    @register("pwm_part")
    @dataclass(kw_only=True)
    class PwmPart(Driver):
        pin: Annotated[PwmPin, Doc("Its pin.")]

        def claims(self) -> list[Claim]:
            return [*super().claims(), *pwm_claims(self.pin)]

    yield
    for kind in set(registry) - known:
        del registry[kind]


def told(path: Path) -> list[str]:
    try:
        load_board(path)
    except ConfigError as error:
        return [str(problem).removeprefix(f"{path.parent}/") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "devices",
    [
        "a: {driver: i2c_part, address: 0x48}\n  b: {driver: i2c_part, address: 0x49}",
        "a: {driver: spi_part}\n  b: {driver: spi_part, device: 1}",
        "a: {driver: pwm_part, pin: 18}\n  b: {driver: pwm_part, pin: 13}",
        "a: {driver: led, pin: 2}\n  b: {driver: led, pin: 7}",  # no bus is in use
    ],
)
def test_the_parts_of_a_bus_share_its_pins(write: Write, devices: str) -> None:
    assert told(write(f"devices:\n  {devices}\n")) == []


@pytest.mark.parametrize(
    ("devices", "sentence"),
    [
        (
            "a: {driver: i2c_part, address: 0x48}\n  b: {driver: led, pin: 2}",
            "'b' uses pin GPIO2, which 'a' (line 3) already uses for the I2C bus 1",
        ),
        (
            "a: {driver: led, pin: 3}\n  b: {driver: i2c_part, address: 0x48}",
            "'b' uses pin GPIO3, which 'a' (line 3) already uses",
        ),
        (
            "a: {driver: i2c_part, address: 0x48}\n  b: {driver: i2c_part, address: 72}",
            "'b' uses I2C address 0x48 of bus 1, which 'a' (line 3) already uses",
        ),
        (
            "a: {driver: spi_part}\n  b: {driver: spi_part}",
            "'b' uses chip select 0 of SPI bus 0, which 'a' (line 3) already uses",
        ),
        (
            "a: {driver: spi_part}\n  b: {driver: led, pin: BOARD26}",
            "'b' uses pin GPIO7, which 'a' (line 3) already uses for the SPI bus 0",
        ),
        (
            "a: {driver: pwm_part, pin: 18}\n  b: {driver: pwm_part, pin: 12}",
            "'b' uses PWM channel 0 (GPIO12 and GPIO18), which 'a' (line 3) already uses",
        ),
        (
            "a: {driver: pulse_counter, pin: 17}\n  b: {driver: gate_timer, start: 4, stop: 17}",
            "'b' uses pin GPIO17, which 'a' (line 3) already uses",
        ),
        (
            "a: {driver: led, pin: 4}\n  b: {driver: led, pin: GPIO1}",
            "'b' uses pin GPIO1, which belongs to the memory of add-on boards (HATs): the Pi "
            "drives it while it boots",
        ),
    ],
)
def test_what_cannot_be_shared_names_both_places(write: Write, devices: str, sentence: str) -> None:
    assert told(write(f"devices:\n  {devices}\n")) == [f"x.yaml:4: {sentence}"]


def test_the_serial_port_of_the_header_takes_its_pins(write: Write) -> None:
    console = "a: {driver: serial, port: /dev/serial0}"
    assert told(write(f"devices:\n  {console}\n  b: {{driver: led, pin: 15}}\n")) == [
        "x.yaml:4: 'b' uses pin GPIO15, which 'a' (line 3) already uses"
    ]
    board = load_board(write(f"devices:\n  {console}\n"))
    assert board.devices["a"].boot_config() == ["enable_uart=1"]
    usb = load_board(write(f"devices:\n  {console.replace('serial0', 'ttyUSB0')}\n"))
    assert [claim.kind for claim in usb.devices["a"].claims()] == ["port"]
