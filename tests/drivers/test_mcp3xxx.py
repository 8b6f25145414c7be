"""MCP3xxx on gpiozero's mock SPI: clock, data and select lines, bit by bit."""

from __future__ import annotations

import gc
import re
import threading
from pathlib import Path
from typing import Any

import gpiozero
import pytest
from gpiozero.pins.mock import MockPin, MockSPIDevice

from labnode.board import load_board
from labnode.clock import Clock
from labnode.drivers.burst import Burst, ConverterRef
from labnode.drivers.buses.mcp3xxx import Mcp3xxx, Mcp3008
from labnode.drivers.framework.registry import load_drivers
from labnode.errors import ConfigError, DeviceError


class Converter(MockSPIDevice):
    """An MCP3004/3008/3204/3208 as in Microchip DS21295 and DS21298, figures 5-1 and 6-1.

    After a start bit, "single-ended" and three bits of the channel it samples for one and a half
    clocks, sends a 0 and then its result.
    """

    def __init__(self, factory: Any, bits: int) -> None:
        super().__init__("GPIO11", "GPIO10", "GPIO9", "GPIO8", pin_factory=factory)
        self.bits = bits
        self.codes = [0] * 8
        self.asked: list[tuple[bool, int]] = []

    def on_start(self) -> None:
        super().on_start()
        self.begun: int | None = None

    def on_bit(self) -> None:
        if self.begun is None:
            self.begun = self.rx_bit if self.rx_buf[-1] else None
        elif self.rx_bit == self.begun + 4:
            single, *channel = self.rx_buf[-4:]
            number = int("".join(str(int(bit)) for bit in channel), 2)
            self.asked.append((bool(single), number))
            code = self.codes[number] if single else self.codes[number] - self.codes[number ^ 1]
            self.tx_buf = [0, 0]
            self.tx_word(max(0, code), self.bits)


@pytest.fixture
def spi(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(gpiozero.Device, "pin_factory", bench.pins)  # of gpiozero's mock SPI
    bench.pins.pin_class = MockPin  # those of a mock SPI are its children, and not of ours
    bench.simulated = False
    gc.collect()  # a shared bus of an earlier test that went later would take this one's along
    return bench


def converter(bench: Any, bits: int) -> Converter:
    return Converter(bench.pins, bits)


def read(sensor: Any) -> Any:
    sensor.poll()
    return sensor.value


def test_a_channel_is_read_in_volts(spi: Any) -> None:
    chip = converter(spi, 10)
    chip.codes[5] = 512
    supply = spi.open(Mcp3008(channel=5, max_voltage=3.3))
    assert (read(supply), chip.asked) == (1.65, [(True, 5)])
    chip.close()


def test_a_chip_of_12_bits_tells_smaller_steps_and_differences(spi: Any) -> None:
    chip = converter(spi, 12)
    chip.codes[2:4] = [3000, 2000]
    options: dict[str, Any] = {"chip": "MCP3208", "max_voltage": 4.096}
    for differential, volts in ((False, 3.0), (True, 1.0)):
        sensor = spi.open(Mcp3xxx(channel=2, differential=differential, **options))
        assert read(sensor) == volts
        sensor.close()
    chip.close()


def test_two_channels_share_the_chip(spi: Any) -> None:
    chip = converter(spi, 10)
    chip.codes[:2] = [256, 768]
    sensors = [spi.open(Mcp3008(channel=n, max_voltage=4), f"c{n}") for n in (0, 1)]
    assert [read(sensor) for sensor in sensors] == [1, 3]
    sensors[0].close()
    spi.clock.advance(1)
    chip.codes[1] = 512
    assert read(sensors[1]) == 2
    chip.close()


def test_a_bus_that_is_not_switched_on_says_so(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_bus(**_: Any) -> Any:
        raise OSError("can not open SPI device")

    bench.simulated = False
    monkeypatch.setattr(bench.pins, "_get_spi_class", lambda **_: no_bus)
    with pytest.raises(DeviceError, match=r"SPI bus 0 cannot be had: .* labnode bootconfig"):
        bench.open(Mcp3008(channel=0))


CHIPS = [name for name in dir(gpiozero) if re.fullmatch(r"MCP3\d{3}", name)]


@pytest.mark.parametrize("chip", CHIPS)
def test_every_chip_of_gpiozero_is_a_driver_by_its_name(
    spi: Any, chip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getattr(gpiozero, chip), "_read", lambda _: 512)  # its wires are gpiozero's
    cls = load_drivers()[chip.lower()]
    one = chip.endswith("1")
    sensor: Any = spi.open(cls(max_voltage=4.0, **({} if one else {"channel": 1})), "level")
    try:
        assert sensor.hardware.__class__.__name__ == chip
        assert read(sensor) == 512 * 4.0 / (1 << sensor.hardware._bits)
        assert sensor.hardware.channel == (0 if one else 1)
    finally:
        sensor.close()


def test_a_chip_with_one_channel_has_no_other() -> None:
    with pytest.raises(ValueError, match="a MCP3201 has one channel, 0"):
        Mcp3xxx(chip="MCP3201", channel=1)


def test_a_burst_reads_at_its_rate_and_is_ended_by_a_close(spi: Any) -> None:
    chip = converter(spi, 10)
    chip.codes[1] = 256
    level = spi.open(Mcp3008(channel=1, max_voltage=4, offset=1))
    spi.device, spi.clock = (lambda _name: level), Clock()
    burst = spi.open(Burst(of=ConverterRef("level"), count=10, rate=100))
    burst.acquire()
    assert spi.until(lambda: burst.value is not None)
    assert burst.value["y"] == [2.0] * 10
    assert burst.value["step"] == pytest.approx(0.01, rel=0.3)
    burst.count, burst.rate = 1000, 20
    burst.acquire()
    burst.reset()
    assert spi.until(lambda: "running" not in burst.state())
    assert burst.state() == {"value": None}, "the next student need not wait, and sees nothing"
    burst.acquire()
    burst.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "io-thing"]
    chip.close()


def test_a_burst_is_bounded_and_of_a_converter(tmp_path: Path) -> None:
    board = tmp_path / "board.yaml"
    for options, sentence in {
        "of: led": "'led' gives no bursts: it is a led",
        "of: level, count: 2000, rate: 10": "a burst lasts 60 s at most, not 200 s",
        "of: level, count: 30000": "expected a number from 2 to 20000",
    }.items():
        board.write_text(
            "schema: 1\ndevices:\n  led: {driver: led, pin: GPIO17}\n"
            "  level: {driver: mcp3008, channel: 0}\n"
            f"  burst: {{driver: burst, {options}}}\n"
        )
        with pytest.raises(ConfigError, match=sentence):
            load_board(board)
