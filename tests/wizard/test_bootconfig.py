"""What a board needs in config.txt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import pytest

from labnode.board.config.board_file import BoardFile
from labnode.drivers.buses import bus_pins
from labnode.drivers.framework.driver import Claim, Driver
from labnode.drivers.framework.registry import load_drivers, register, registry
from labnode.drivers.gpio.pin import Pin
from labnode.locale import BUILT_IN
from labnode.schema import Doc
from labnode.wizard.bootconfig import boot_config
from labnode.wizard.wiring import wiring

Board = Callable[[str], BoardFile]


@pytest.fixture(autouse=True)
def parts() -> Iterator[None]:
    """Drivers of parts that need something in config.txt."""
    load_drivers()
    known = set(registry)

    @register("bus_part")
    @dataclass(kw_only=True)
    class BusPart(Driver):
        bus: Annotated[str, Doc("Which bus it is on.")]
        number: Annotated[int, Doc("Its address, chip select or pin.")] = 0

        def claims(self) -> list[Claim]:
            return {
                "i2c": lambda: bus_pins.i2c_claims(1, self.number),
                "spi0": lambda: bus_pins.spi_claims(0, self.number),
                "spi1": lambda: bus_pins.spi_claims(1, self.number),
                "uart": lambda: bus_pins.uart_claims("/dev/serial0"),
                "w1": lambda: bus_pins.one_wire_claims(Pin(self.number), self.name_of_sensor),
                "pwm": lambda: [Pin(self.number).claim, *bus_pins.pwm_claims(Pin(self.number))],
            }[self.bus]()

        def boot_config(self) -> list[str]:
            return {
                "i2c": lambda: bus_pins.i2c_boot_config(1),
                "spi0": lambda: bus_pins.spi_boot_config(0, self.number),
                "spi1": lambda: bus_pins.spi_boot_config(1, self.number),
                "uart": lambda: bus_pins.uart_boot_config("/dev/serial0"),
                "w1": lambda: bus_pins.one_wire_boot_config(Pin(self.number)),
                "pwm": lambda: bus_pins.pwm_boot_config(Pin(self.number)),
            }[self.bus]()

        @property
        def name_of_sensor(self) -> str:
            return f"28-{id(self):012x}"

    yield
    for kind in set(registry) - known:
        del registry[kind]


def lines(file: BoardFile) -> list[str]:
    """What the firmware reads: no comments."""
    return [line for line in boot_config(file).splitlines() if line and not line.startswith("#")]


def part(name: str, bus: str, number: int = 0) -> str:
    return f"  {name}: {{driver: bus_part, bus: {bus}, number: {number}}}\n"


@pytest.mark.parametrize(
    ("device", "line"),
    [
        ("{driver: relay, pin: 17}", "gpio=17=op,dl"),
        ("{driver: relay, pin: 17, safe: true}", "gpio=17=op,dh"),
        ("{driver: relay, pin: 17, active_high: false}", "gpio=17=op,dh"),
        ("{driver: relay, pin: 17, active_high: false, safe: true}", "gpio=17=op,dl"),
        ("{driver: pwm_output, pin: 18, safe: 1}", "gpio=18=op,dh"),
        ("{driver: pwm_output, pin: 18, safe: 0.4}", "gpio=18=op,dl"),
    ],
)
def test_an_output_is_held_at_its_safe_level(board: Board, device: str, line: str) -> None:
    assert lines(board(f"  a: {device}")) == ["[all]", line]


def test_inputs_need_nothing(board: Board) -> None:
    assert lines(board("  a: {driver: button, pin: 17}")) == ["[all]"]


def test_a_level_that_the_chip_pulls_away_from_at_first_is_told(board: Board) -> None:
    text = boot_config(
        board(
            "  a: {driver: led, pin: 17, safe: true}\n  b: {driver: led, pin: 4}\n"
            "  c: {driver: led, pin: 5, safe: true}\n  d: {driver: led, pin: 22}"
        )
    )
    assert "GPIO17 is high while it is safe\n# (a resistor to 3V3 holds it there" in text
    assert "GPIO4 is low while it is safe\n# (a resistor to ground holds it there" in text
    assert "GPIO5 is high while it is safe\ngpio=5=op,dh" in text
    assert "GPIO22 is low while it is safe\ngpio=22=op,dl" in text


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (part("a", "i2c", 0x48) + part("b", "i2c", 0x49), ["dtparam=i2c_arm=on"]),
        (part("a", "spi0", 0) + part("b", "spi0", 1), ["dtparam=spi=on"]),
        (part("a", "spi1", 0) + part("b", "spi1", 2), ["dtoverlay=spi1-3cs"]),
        (part("a", "uart"), ["enable_uart=1"]),
        (part("a", "w1", 4) + part("b", "w1", 4), ["dtoverlay=w1-gpio,gpiopin=4"]),
        (
            part("a", "w1", 4) + part("b", "w1", 5),
            ["dtoverlay=w1-gpio,gpiopin=4", "dtoverlay=w1-gpio,gpiopin=5"],
        ),
        (part("a", "pwm", 18), ["dtoverlay=pwm,pin=18,func=2", "dtparam=audio=off"]),
        (
            part("a", "pwm", 12) + part("b", "pwm", 19),
            ["dtoverlay=pwm-2chan,pin=12,func=4,pin2=19,func2=2", "dtparam=audio=off"],
        ),
    ],
)
def test_each_bus_is_switched_on_once_for_all_of_its_parts(
    board: Board, devices: str, expected: list[str]
) -> None:
    assert lines(board(devices)) == ["[all]", *expected]


def test_each_line_says_who_needs_it(board: Board) -> None:
    text = boot_config(board(part("adc", "i2c", 0x48) + part("dac", "i2c", 0x60)))
    assert "\n# adc, dac\ndtparam=i2c_arm=on\n" in text
    assert "console=serial0" in boot_config(board(part("console", "uart")))


def test_a_bus_whose_pins_are_used_otherwise_must_be_off(board: Board) -> None:
    text = boot_config(board("  a: {driver: led, pin: 2}\n  b: {driver: led, pin: 14}"))
    assert "# no line dtparam=i2c_arm=on: GPIO2 would not be free" in text
    assert "# no line enable_uart=1: GPIO14 would not be free" in text
    for bus in ("i2c", "uart", "spi0"):
        assert "# no line" not in boot_config(board(part("a", bus, 0x48 if bus == "i2c" else 0)))
    assert "# no line" not in boot_config(board(part("a", "w1", 4)))


def test_the_pins_of_a_bus_are_drawn_with_all_who_share_it(board: Board) -> None:
    pins = {pin.name: pin for pin in wiring(board(part("a", "i2c", 8) + part("b", "i2c", 9)))}
    assert pins["GPIO2"].label() == "a (I2C bus 1), b (I2C bus 1)"
    assert pins["GPIO2"].label(BUILT_IN.best(["es"]).say) == "a (bus I2C 1), b (bus I2C 1)"
    assert pins["GPIO2"].is_bus
