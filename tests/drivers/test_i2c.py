"""The I2C parts on a bus of chips that behave as their datasheets say."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from labnode.board.config.devices import Claims
from labnode.clock import Clock
from labnode.drivers.burst import Burst, ConverterRef
from labnode.drivers.buses.ads1115 import Ads1115
from labnode.drivers.buses.bme280 import Bme280, Trim
from labnode.drivers.buses.mcp23017 import ExpanderPin, Mcp23017InputBank, Mcp23017OutputBank
from labnode.drivers.buses.pca9685 import Pca9685, Pca9685Servo
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.registry import load_drivers
from labnode.errors import Busy, DeviceError, DeviceGone
from labnode.schema import Problems, parse_yaml


class Registers:
    """A chip of one-byte registers that goes on to the next one with each byte."""

    def __init__(self) -> None:
        self.bytes = bytearray(256)
        self.written: list[tuple[int, int]] = []

    def read(self, register: int, count: int) -> list[int]:
        return list(self.bytes[register : register + count])

    def write(self, register: int, data: Sequence[int]) -> None:
        for place, byte in enumerate(data, register):
            self.bytes[place] = byte
            self.written.append((place, byte))


class Wires:
    """What the kernel has of an I2C bus: chips by their address, and who has it open."""

    def __init__(self) -> None:
        self.chips: dict[int, Any] = {}
        self.open = 0

    def bus(self, number: int) -> Handle:
        if number != 1:
            raise FileNotFoundError(2, "No such file or directory")
        self.open += 1
        return Handle(self)

    def read_i2c_block_data(self, address: int, register: int, count: int) -> list[int]:
        assert 1 <= count <= 32  # the kernel takes no more
        return list(self._chip(address).read(register, count))

    def write_i2c_block_data(self, address: int, register: int, data: Sequence[int]) -> None:
        assert len(data) <= 32
        self._chip(address).write(register, data)

    def _chip(self, address: int) -> Any:
        if address not in self.chips:
            raise OSError(121, "Remote I/O error")
        return self.chips[address]


class Handle:
    """One opening of the bus, with a descriptor that can be locked."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self.fd = os.open(__file__, os.O_RDONLY)
        self.read_i2c_block_data = wires.read_i2c_block_data
        self.write_i2c_block_data = wires.write_i2c_block_data

    def close(self) -> None:
        self._wires.open -= 1
        os.close(self.fd)


@pytest.fixture
def wires(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    wires = Wires()
    monkeypatch.setattr("smbus2.SMBus", wires.bus)
    bench.simulated = False
    yield wires
    bench.close()
    assert wires.open == 0


def sample(sensor: Any) -> Any:
    sensor.poll()
    return sensor.value


# --- all of them ---


def test_a_bus_that_is_not_switched_on_says_so(bench: Any, wires: Any) -> None:
    with pytest.raises(DeviceError, match=r"I2C bus 3 cannot be opened .* labnode bootconfig"):
        bench.open(Ads1115(bus=3, channel=0))


@pytest.mark.parametrize(
    "driver",
    [
        Bme280(),
        Pca9685(channel=0),
        Mcp23017OutputBank(pins=[ExpanderPin("A0")]),
        Mcp23017InputBank(pins=[ExpanderPin("A0")]),
    ],
    ids=lambda driver: driver.kind,
)
def test_a_chip_that_is_not_there_is_found_when_it_is_opened_and_the_bus_let_go(
    bench: Any, wires: Any, driver: Driver
) -> None:
    with pytest.raises(DeviceGone, match=rf"address 0x{driver.address:02x} of I2C bus 1 does not"):
        bench.open(driver)
    assert wires.open == 0


def conflicts(*drivers: Driver) -> list[str]:
    problems = Problems()
    claims = Claims(problems)
    for number, driver in enumerate(drivers):
        place = parse_yaml(f"d{number}: 1", "b.yaml").child(f"d{number}")
        claims.add(f"d{number}", place, driver)
    return [str(problem.message) for problem in problems]


def test_devices_may_have_parts_of_one_chip_but_no_part_twice() -> None:
    assert conflicts(Bme280(), Bme280(measure="pressure"), Ads1115(channel=0)) == []
    assert conflicts(Ads1115(channel=0), Ads1115(channel="0-1"), Pca9685(channel=1)) == []
    (told,) = conflicts(Ads1115(channel=2), Ads1115(channel=2))
    assert told.startswith("'d1' uses input 2 of ADS1115 0x48 of bus 1, which 'd0'")


def test_two_kinds_of_chips_at_one_address_are_a_mistake() -> None:
    (told,) = conflicts(Ads1115(channel=0), Pca9685(channel=0, address=0x48))
    assert "'d1' uses I2C address 0x48 of bus 1, which 'd0'" in told


def test_two_frequencies_of_one_chip_are_a_mistake() -> None:
    one, other = Pca9685(channel=0, frequency=50), Pca9685(channel=1, frequency=200)
    (told,) = conflicts(one, other)
    assert "I2C address 0x40" in told


# --- ADS1115 ---


class Converter:
    """An ADS1115: a conversion takes a few looks, then its code for the input is there."""

    def __init__(self) -> None:
        self.volts = [0.0] * 4
        self.config = 0x8583
        self.code = 0
        self.looks = 0
        self.dead = False
        self.converts_always = False

    def write(self, register: int, data: Sequence[int]) -> None:
        assert register == 1
        self.config = int.from_bytes(bytes(data), "big")
        self.converts_always = not self.config & 0x0100
        if self.config & 0x8000:
            assert self.config & 0x0100, "single shots only"
            mux, gain = self.config >> 12 & 7, self.config >> 9 & 7
            full = [6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256][gain]
            pairs = [(0, 1), (0, 3), (1, 3), (2, 3)]
            volts = (
                self.volts[mux - 4]
                if mux >= 4
                else self.volts[pairs[mux][0]] - self.volts[pairs[mux][1]]
            )
            self.code = max(-32768, min(32767, round(volts / full * 32768)))
            self.config &= 0x7FFF
            self.looks = 3

    def read(self, register: int, count: int) -> list[int]:
        if register == 0 and self.converts_always:
            self.code += 100
        elif register == 0:
            assert self.config & 0x8000, "read before it was ready"
        if register == 0:
            return list(self.code.to_bytes(2, "big", signed=True))
        self.looks -= 1
        if self.looks <= 0 and not self.dead:
            self.config |= 0x8000
        return list(self.config.to_bytes(2, "big"))


@pytest.mark.parametrize(
    ("channel", "gain", "volts"),
    [(0, 1, 3.3), (3, 1, 0.5), (1, "2/3", 5.0), ("0-1", 1, -1.7), ("2-3", 16, 0.1), (0, 2, 2.0479)],
)
def test_a_channel_is_read_in_volts(
    bench: Any, wires: Any, channel: Any, gain: Any, volts: float
) -> None:
    chip = wires.chips[0x48] = Converter()
    chip.volts = [3.3, 5.0, 0.6, 0.5]
    supply = bench.open(Ads1115(channel=channel, gain=gain, digits=4))
    assert sample(supply) == pytest.approx(volts, abs=0.0002)


def test_a_converter_that_never_ends_is_told(bench: Any, wires: Any) -> None:
    wires.chips[0x48] = Converter()
    wires.chips[0x48].dead = True
    supply = bench.open(Ads1115(channel=0))
    with pytest.raises(DeviceError, match="does not end its conversion"):
        supply.poll()


@pytest.fixture
def burst(bench: Any, wires: Any) -> Any:
    """A burst of a converter whose code rises by 100 each time."""
    wires.chips[0x48] = Converter()
    supply = bench.open(Ads1115(channel=0, data_rate=860, scale=2))
    bench.device, bench.clock = (lambda _name: supply), Clock()
    return bench.open(Burst(of=ConverterRef("supply"), count=20, rate=500))


def test_a_burst_has_the_chip_to_itself_until_it_ends(bench: Any, wires: Any, burst: Any) -> None:
    burst.acquire()
    with pytest.raises(Busy, match="is taking samples already"):
        burst.acquire()
    assert bench.until(lambda: burst.value is not None)
    assert (burst.value["count"], burst.unit) == (20, "V")
    steps = {round(b - a, 6) for a, b in pairwise(burst.samples.y)}
    assert steps == {round(2 * 100 * 4.096 / 32768, 6)}, "scale counts"
    assert burst.value["rate"] == pytest.approx(500, rel=0.5)
    assert wires.chips[0x48].config & 0x0100, "it rests"


def test_while_a_burst_has_the_chip_its_sensors_have_no_reading(
    bench: Any, wires: Any, burst: Any
) -> None:
    supply = bench.device("supply")
    source = supply.burst_source(threading.Event())
    assert supply.read() is None
    source.close()
    assert supply.read() is not None


def test_a_burst_that_is_too_quick_for_the_chip_is_told(bench: Any, burst: Any) -> None:
    burst.rate = 2000
    burst.acquire()
    assert bench.until(lambda: "error" in burst.state())
    assert burst.state()["error"] == "2000 readings per second need a data_rate above 860"
    assert "running" not in burst.state()


# --- BME280 ---

# The calculation that Bosch shows for the BMP280 (BST-BMP280-DS001, section 3.12), whose formulas
# for temperature and pressure are the same.
EXAMPLE = Trim(
    t=(27504, 26435, -1000),
    p=(36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000),
    h=(75, 370, 0, 309, 50, 30),
)
EXAMPLE_T, EXAMPLE_P = 519888, 415148


def humidity_by_integers(trim: Trim, t_fine: int, adc: int) -> float:
    """bme280_compensate_H_int32 of the datasheet (section 4.2.3), the other way to calculate it."""
    h1, h2, h3, h4, h5, h6 = trim.h
    v = t_fine - 76800
    a = ((adc << 14) - (h4 << 20) - h5 * v + 16384) >> 15
    b = ((((v * h6) >> 10) * (((v * h3) >> 11) + 32768)) >> 10) + 2097152
    v = a * ((b * h2 + 8192) >> 14)
    v -= ((((v >> 15) * (v >> 15)) >> 7) * h1) >> 4
    v = max(0, min(419430400, v))
    return (v >> 12) / 1024


def environment(kind: int = 0x60) -> Registers:
    """A BME280 with the calibration of the example, asleep as after power-on."""
    chip = Registers()
    chip.bytes[0xD0] = kind
    chip.bytes[0x88:0xA0] = struct.pack("<HhhHhhhhhhhh", *EXAMPLE.t, *EXAMPLE.p)
    h1, h2, h3, h4, h5, h6 = EXAMPLE.h
    chip.bytes[0xA1] = h1
    packed = (h4 >> 4, (h4 & 15) | (h5 & 15) << 4, h5 >> 4)
    chip.bytes[0xE1:0xE8] = struct.pack("<hBbBbb", h2, h3, *packed, h6)
    chip.bytes[0xF7:0xFD] = bytes([0x80, 0, 0, 0x80, 0, 0])
    return chip


def measured(chip: Registers, humidity: int = 30000) -> None:
    assert (chip.bytes[0xF2], chip.bytes[0xF4]) == (1, 0x27), "it sleeps"
    chip.bytes[0xF7:0xFA] = (EXAMPLE_P << 4).to_bytes(3, "big")
    chip.bytes[0xFA:0xFD] = (EXAMPLE_T << 4).to_bytes(3, "big")
    chip.bytes[0xFD:0xFF] = humidity.to_bytes(2, "big")


def test_the_formulas_give_what_the_datasheet_shows() -> None:
    fine = EXAMPLE.fine(EXAMPLE_T)
    assert int(fine) == 128422
    assert fine / 5120 == pytest.approx(25.08, abs=0.005)
    assert EXAMPLE.pressure(int(fine), EXAMPLE_P) == pytest.approx(100653.27, abs=0.1)


@pytest.mark.parametrize("adc", [0, 15000, 25000, 30000, 36000, 65535])
@pytest.mark.parametrize("fine", [20000, 128422, 300000])
def test_both_ways_to_calculate_humidity_give_the_same(fine: int, adc: int) -> None:
    expected = humidity_by_integers(EXAMPLE, fine, adc)
    assert EXAMPLE.humidity(fine, adc) == pytest.approx(expected, abs=0.05)


def test_all_three_are_read_from_one_chip(bench: Any, wires: Any) -> None:
    chip = wires.chips[0x76] = environment()
    sensors = [
        bench.open(Bme280(measure=measure, digits=2), measure)
        for measure in ("temperature", "pressure", "humidity")
    ]
    assert [sample(sensor) for sensor in sensors] == [None] * 3  # nothing measured yet
    measured(chip)
    bench.clock.advance(1)
    humidity = round(EXAMPLE.humidity(128422, 30000), 2)
    assert [sample(sensor) for sensor in sensors] == [25.08, 1006.53, humidity]
    assert [sensor.unit for sensor in sensors] == ["°C", "hPa", "%"]
    assert chip.written.count((0xF4, 0x27)) == 1, "it was configured again under the others"


def test_the_humidity_words_that_share_a_byte_are_taken_apart(bench: Any, wires: Any) -> None:
    chip = wires.chips[0x76] = environment()
    chip.bytes[0xE4:0xE7] = bytes([0xFF, 0x2C, 0x81])  # -16 | 12, -127 * 16 | 2
    air = bench.open(Bme280())
    assert (air._trim.h[3], air._trim.h[4]) == (-16 | 12, -127 * 16 | 2)


@pytest.mark.parametrize(
    ("kind", "measure", "sentence"),
    [
        (0x58, "humidity", "a BMP280, which does not measure humidity"),
        (0x61, "temperature", r"there is no BME280 \(its identity is 0x61\)"),
    ],
)
def test_another_chip_is_recognised(
    bench: Any, wires: Any, kind: int, measure: Any, sentence: str
) -> None:
    wires.chips[0x76] = environment(kind)
    with pytest.raises(DeviceError, match=sentence):
        bench.open(Bme280(measure=measure))
    assert wires.open == 0


# --- PCA9685 ---


class PwmChip(Registers):
    """A PCA9685 after power-on; it takes a frequency only in its sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes[0x00] = 0x11
        self.bytes[0xFE] = 0x1E
        for output in range(16):
            self.bytes[0x09 + 4 * output] = 0x10

    def write(self, register: int, data: Sequence[int]) -> None:
        assert len(data) == 1 or self.bytes[0] & 0x20, "it does not go on to the next register"
        if register == 0xFE:
            assert self.bytes[0] & 0x10, "it is awake"
        super().write(register, data)

    def output(self, number: int) -> float:
        on_low, on_high, off_low, off_high = self.bytes[6 + 4 * number : 10 + 4 * number]
        if self.bytes[0] & 0x10 or off_high & 0x10:
            return 0.0
        if on_high & 0x10:
            return 1.0
        assert (on_low, on_high) == (0, 0)
        return (off_low | off_high << 8) / 4096


@pytest.mark.parametrize(("frequency", "prescale"), [(200, 0x1E), (50, 121), (1526, 3), (24, 253)])
def test_an_output_pulses_as_it_is_told(
    bench: Any, wires: Any, frequency: float, prescale: int
) -> None:
    chip = wires.chips[0x40] = PwmChip()
    fan = bench.open(Pca9685(channel=15, frequency=frequency))
    values = []
    for value in (0.25, 1, 0, 0.5):
        fan.set(value)
        values.append(chip.output(15))
    assert (values, chip.bytes[0xFE]) == ([0.25, 1, 0, 0.5], prescale)


def test_an_output_is_safe_before_the_chip_pulses_and_when_it_is_closed(
    bench: Any, wires: Any
) -> None:
    chip = wires.chips[0x40] = PwmChip()
    fan = bench.open(Pca9685(channel=3, safe=0.5, active_high=False))
    written = [register for register, _ in chip.written]
    assert written.index(6 + 4 * 3) < written.index(0xFE)
    assert chip.output(3) == 0.5
    fan.on()
    assert chip.output(3) == 0
    fan.close()
    assert chip.output(3) == 0.5


def test_a_second_output_does_not_stop_the_first(bench: Any, wires: Any) -> None:
    chip = wires.chips[0x40] = PwmChip()
    bench.open(Pca9685(channel=0)).set(0.5)
    chip.written.clear()
    bench.open(Pca9685(channel=1))
    assert not [byte for register, byte in chip.written if register == 0 and byte & 0x10]
    assert chip.output(0) == 0.5


@pytest.mark.parametrize(("angle", "width"), [(0, 0.001), (90, 0.0015), (180, 0.002)])
def test_a_servo_of_a_pwm_chip_gets_pulses_for_its_angle_and_keeps_them(
    bench: Any, wires: Any, angle: float, width: float
) -> None:
    chip = wires.chips[0x40] = PwmChip()
    arm = bench.open(Pca9685Servo(channel=2, min_angle=0, max_angle=180, safe=angle))
    arm.set(180 - angle)
    assert chip.output(2) == pytest.approx(50 * (0.003 - width), abs=1 / 4096)
    arm.close()
    assert chip.output(2) == pytest.approx(50 * width, abs=1 / 4096)


# --- MCP23017 ---


class ExpanderChip(Registers):
    """An MCP23017 after power-on: all inputs. `outside` is what drives the pins from there."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes[0:2] = b"\xff\xff"
        self.outside = 0
        self.driven: list[tuple[int, int]] = []  # outputs and their levels, as each write left them

    def write(self, register: int, data: Sequence[int]) -> None:
        super().write(register, data)
        outputs = ~int.from_bytes(self.bytes[0:2], "little") & 0xFFFF
        self.driven.append((outputs, int.from_bytes(self.bytes[0x14:0x16], "little") & outputs))

    def read(self, register: int, count: int) -> list[int]:
        outputs, levels = self.driven[-1] if self.driven else (0, 0)
        pins = levels | self.outside & ~outputs & 0xFFFF
        self.bytes[0x12:0x14] = pins.to_bytes(2, "little")
        return super().read(register, count)


def pins(*names: str) -> list[ExpanderPin]:
    return [ExpanderPin.from_yaml(name) for name in names]


def test_outputs_of_an_expander_are_a_number_on_any_of_its_pins(bench: Any, wires: Any) -> None:
    chip = wires.chips[0x20] = ExpanderChip()
    switches = bench.open(Mcp23017OutputBank(pins=pins("B7", "A0", "gpb1")))
    switches.set(0b011)
    assert chip.driven[-1] == (0b1000_0010_0000_0001, 0b1000_0000_0000_0001)
    switches.set_bit(2, True)
    assert (switches.value, chip.driven[-1][1]) == (7, 0b1000_0010_0000_0001)


def test_pins_of_an_expander_have_their_safe_level_before_they_are_outputs(
    bench: Any, wires: Any
) -> None:
    chip = wires.chips[0x20] = ExpanderChip()
    switches = bench.open(Mcp23017OutputBank(pins=pins("A0", "A1"), active_high=False, safe=1))
    assert {(outputs, level) for outputs, level in chip.driven if outputs} == {(3, 2)}
    switches.set(2)
    switches.close()
    assert chip.driven[-1] == (3, 2)


def test_the_devices_of_an_expander_leave_each_other_alone(bench: Any, wires: Any) -> None:
    chip = wires.chips[0x20] = ExpanderChip()
    one = bench.open(Mcp23017OutputBank(pins=pins("A0", "A1")), "one")
    other = bench.open(Mcp23017OutputBank(pins=pins("A2", "B0")), "other")
    lights = bench.open(Mcp23017InputBank(pins=pins("B6", "A7"), pull_up=True), "lights")
    one.set(3)
    other.set(2)
    other.reset()
    assert (one.value, other.value, chip.driven[-1]) == (3, 0, (0b1_0000_0111, 3))
    chip.outside = 0b1000_0000
    bench.clock.advance(1)
    assert sample(lights) == 1
    assert chip.bytes[0x0C:0x0E] == bytes([0x80, 0x40])


def test_a_chip_in_another_mode_is_recognised(bench: Any, wires: Any) -> None:
    wires.chips[0x20] = ExpanderChip()
    wires.chips[0x20].bytes[0x0A] = 0x80
    with pytest.raises(DeviceError, match="no MCP23017 as it is at power-on"):
        bench.open(Mcp23017OutputBank(pins=pins("A0")))


@pytest.mark.parametrize(
    ("kind", "options", "right", "wrong"),
    [
        ("ads1115", {"channel": 0}, (0x48, 0x4B), (0x47, 0x4C, 0x20)),
        ("bme280", {}, (0x76, 0x77), (0x75, 0x10)),
        ("mcp23017_output_bank", {"pins": ["A0"]}, (0x20, 0x27), (0x1F, 0x28, 0x48)),
        ("pca9685", {"channel": 0}, (0x40, 0x77), (0x3F, 0x20)),
    ],
)
def test_a_chip_has_only_addresses_that_its_pins_can_select(
    kind: str, options: dict[str, Any], right: Iterable[int], wrong: Iterable[int]
) -> None:
    cls: Any = load_drivers()[kind]
    for address in right:
        cls(address=address, **options)
    for address in wrong:
        with pytest.raises(ValueError, match=rf"has addresses from .* not 0x{address:02x}"):
            cls(address=address, **options)
