"""Counters and timers on events as the kernel writes them, which come through a pipe here."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.gpio import gpiochips
from labnode.drivers.gpio.gate_timer import GateTimer
from labnode.drivers.gpio.gpiochips import EVENT, LineRequest
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pulse_counter import PulseCounter
from labnode.errors import DeviceError
from tests.drivers.conftest import Bench
from tests.kit.waiting import eventually

SECOND = 1_000_000_000  # nanoseconds
RISING, FALLING = 1, 2
BATCH = 80  # events: a pipe takes 4096 bytes as a whole


class Line:
    """The far end of a request: what the kernel writes, one event of 48 bytes after the other."""

    def __init__(self, bench: Bench) -> None:
        self.requests: list[LineRequest] = []
        self._bench = bench
        self._end = -1
        self._number = 0
        bench.simulated = False
        bench.pins.line_events = self._open

    def _open(self, request: LineRequest) -> int:
        self.close()
        self.requests.append(request)
        self._number = 0
        descriptor, self._end = os.pipe()
        return descriptor

    def happens(self, *times: float, line: int = 17, kind: int = RISING) -> None:
        """Edges at these times, in seconds."""
        self.write((round(time * SECOND), line, kind) for time in times)

    def write(self, edges: Iterable[tuple[int, int, int]]) -> None:
        data = b""
        for time, line, kind in edges:
            self._number += 1
            data += struct.pack("<QIIII24x", time, kind, line, self._number, self._number)
        for begin in range(0, len(data), BATCH * 48):
            os.write(self._end, data[begin : begin + BATCH * 48])

    def lose(self, number: int) -> None:
        """As many edges come as the kernel's buffer cannot hold."""
        self._number += number

    def close(self) -> None:
        if self._end >= 0:
            os.close(self._end)
            self._end = -1


@pytest.fixture
def line(bench: Bench) -> Iterator[Line]:
    line = Line(bench)
    yield line
    bench.close()
    line.close()


def sample(bench: Bench, counter: PulseCounter) -> float:
    """The value after the next second."""
    bench.clock.advance(1.0)
    counter.poll()
    return float(counter.value)


def counted(counter: PulseCounter, number: int) -> None:
    eventually(lambda: counter._tally.count == number)


# --- the kernel's structures ---


def test_the_structures_have_the_sizes_of_the_kernels_on_every_machine() -> None:
    # _IOWR(0xB4, 0x07, struct gpio_v2_line_request) has the size of its structure in bits 16 to 29.
    assert gpiochips._GET_LINE == 3 << 30 | 592 << 16 | 0xB4 << 8 | 0x07
    assert (gpiochips._REQUEST.size, EVENT.size, gpiochips._DEBOUNCE.size) == (592, 48, 24)


def test_a_request_says_which_lines_which_edges_and_which_bias(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[bytes] = []

    def ioctl(descriptor: int, number: int, request: bytearray) -> None:
        asked.append(bytes(request))
        request[588:] = (77).to_bytes(4, "little")

    monkeypatch.setattr(gpiochips.fcntl, "ioctl", ioctl)
    (tmp_path / "gpiochip0").touch()
    request = LineRequest([17, 27], "both", pull_up=True, debounce=0.002)
    assert request.open(0, tmp_path) == 77
    (raw,) = asked
    assert struct.unpack_from("<3I", raw) == (17, 27, 0)  # offsets
    assert raw[256:288].rstrip(b"\0") == b"labnode"
    flags, attributes = struct.unpack_from("<QI", raw, 288)
    assert flags == 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8
    assert attributes == 1
    assert struct.unpack_from("<IIIIQ", raw, 320) == (3, 0, 2000, 0, 0b11)
    assert struct.unpack_from("<II", raw, 560) == (2, 1024)  # lines, buffer


def test_a_line_that_is_taken_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "gpiochip0").touch()  # an ioctl on a file fails
    with pytest.raises(DeviceError, match=r"GPIO17 cannot be had \(.*\): another program has it"):
        LineRequest([17], "rising", pull_up=None).open(0, tmp_path)


# --- counting ---


def test_it_counts_from_0_and_a_reset_begins_again(bench: Bench, line: Line) -> None:
    counter = bench.open(PulseCounter(pin=Pin(17)))
    assert sample(bench, counter) == 0
    line.happens(0.1, 0.2, 0.3)
    counted(counter, 3)
    assert sample(bench, counter) == 3
    counter.reset()
    assert counter.value == 0
    line.happens(0.4)
    counted(counter, 4)
    assert sample(bench, counter) == 1


def test_10_kilohertz_are_counted_and_measured_without_a_loss(bench: Bench, line: Line) -> None:
    counter = bench.open(PulseCounter(pin=Pin(17), measure="frequency"))
    line.write((number * 100_000, 17, RISING) for number in range(10_000))  # 100 µs apart
    counted(counter, 10_000)
    bench.clock.advance(0.5)
    counter.poll()
    assert counter.value == 10_000
    assert "lost" not in counter.state()


def test_what_nobody_could_read_in_time_is_counted_and_told(bench: Bench, line: Line) -> None:
    counter = bench.open(PulseCounter(pin=Pin(17)))
    line.happens(0.1)
    line.lose(500)
    line.happens(0.2)
    counted(counter, 502)
    assert sample(bench, counter) == 502
    assert counter.state()["lost"] == 500
    counter.reset()
    assert "lost" not in counter.state()


def test_the_numbers_of_the_kernel_may_go_round(bench: Bench, line: Line) -> None:
    counter = bench.open(PulseCounter(pin=Pin(17)))
    counter._tally._number = line._number = 0xFFFFFFFE
    line.happens(0.1)
    line._number = -1
    line.happens(0.2, 0.3)
    counted(counter, 3)
    assert counter._tally.lost == 0


@pytest.mark.parametrize(
    ("options", "value", "unit"),
    [
        ({"measure": "frequency"}, 50.0, "Hz"),
        ({"measure": "rpm", "pulses_per_turn": 20}, 150.0, "rpm"),
        ({"measure": "flow", "pulses_per_litre": 450}, 6.667, "L/min"),
        ({"measure": "volume", "pulses_per_litre": 450}, 0.111, "L"),
        ({"measure": "cpm", "gate": 10}, 3000.0, "cpm"),
        ({"measure": "count", "unit": "turns", "scale": 0.5}, 25.0, "turns"),
    ],
)
def test_a_value_is_what_it_measures(
    bench: Bench, line: Line, options: dict[str, Any], value: float, unit: str
) -> None:
    counter = bench.open(PulseCounter(pin=Pin(17), **options))
    line.happens(*(number / 50 for number in range(50)))
    counted(counter, 50)
    bench.clock.advance(0.99)
    if counter.measure in ("cpm", "volume", "count"):
        bench.clock.advance(0.01)
    counter.poll()
    assert (counter.value, counter.unit) == (value, unit)


def test_a_shaft_that_stands_still_has_no_speed_and_a_new_start_is_not_averaged_with_it(
    bench: Bench, line: Line
) -> None:
    counter = bench.open(PulseCounter(pin=Pin(17), measure="frequency"))
    line.happens(1.0, 1.1)
    counted(counter, 2)
    assert sample(bench, counter) == 0
    bench.clock.advance(60)
    line.happens(61.00, 61.02, 61.04)
    counted(counter, 5)
    bench.clock.advance(0.5)
    counter.poll()
    assert counter.value == 50


def test_counts_per_minute_forget_what_is_older_than_the_gate(bench: Bench, line: Line) -> None:
    counter = bench.open(PulseCounter(pin=Pin(17), measure="cpm", gate=10))
    for second in range(20):
        if second < 10:
            line.happens(second + 0.1, second + 0.2)
            counted(counter, 2 * (second + 1))
        sample(bench, counter)
    assert counter.value == 0
    line.happens(20.5)
    counted(counter, 21)
    assert sample(bench, counter) == 6


def test_a_flood_pauses_and_counting_goes_on_afterwards(bench: Bench, line: Line) -> None:
    counter = bench.open(PulseCounter(pin=Pin(17)), "counter")
    line.happens(0.1)
    counted(counter, 1)
    reader = counter._reader
    assert reader is not None
    waits: list[float] = []
    wait = reader._io.wait

    def no_pause(timeout: float | None = None, **what: Any) -> Any:
        if timeout == 1.0:
            waits.append(timeout)
            assert counter.state()["edges_paused"] is True
            return set(), set()
        return wait(timeout, **what)

    reader._io.wait = no_pause  # type: ignore[method-assign]
    line.lose(20_001)
    line.happens(0.2)
    eventually(lambda: len(line.requests) == 2 and not reader.paused)
    assert waits == [1.0]
    assert len(bench.posted) == 2  # the page is told of both
    line.happens(2.0)
    counted(counter, 20_004)
    assert "edges_paused" not in counter.state()


def test_a_chip_that_is_gone_is_an_error_and_the_value_gets_stale(bench: Bench, line: Line) -> None:
    counter = bench.open(PulseCounter(pin=Pin(17), stale_after=3))
    sample(bench, counter)
    line.close()
    eventually(lambda: bench.posted)
    bench.serve()
    assert counter.state()["error"] == "the GPIO chip is gone"
    for _ in range(4):
        bench.clock.advance(1)
        counter.poll()
    assert counter.stale


def test_flow_needs_to_know_how_many_pulses_a_litre_has() -> None:
    with pytest.raises(ValueError, match="measure: flow needs pulses_per_litre"):
        PulseCounter(pin=Pin(17), measure="flow")
    with pytest.raises(ValueError, match="GPIO2 has a resistor that pulls it up"):
        PulseCounter(pin=Pin(2))


# --- the time between two edges ---


def timer(bench: Bench, **options: Any) -> GateTimer:
    driver = bench.open(GateTimer(start=Pin(17), stop=Pin(27), **options))
    assert isinstance(driver, GateTimer)
    return driver


def measured(bench: Bench) -> None:
    eventually(lambda: bench.posted)
    bench.serve()


def test_the_time_between_two_gates_is_that_of_the_kernels_stamps(bench: Bench, line: Line) -> None:
    flight = timer(bench)
    assert flight.value is None
    assert line.requests[0].lines == [17, 27]
    line.write([(1_000_000, 17, RISING), (1_234_567, 27, RISING)])
    measured(bench)
    assert (flight.value, bench.published[-1]) == (234.567, 234.567)
    flight.reset()
    assert (flight.value, flight.stale) == (None, True)


def test_of_several_starts_the_last_counts_and_a_stop_alone_is_none(
    bench: Bench, line: Line
) -> None:
    flight = timer(bench, start_edge="falling")
    assert line.requests[0].edge == "both"
    line.write([(10_000, 27, RISING), (20_000, 17, RISING), (30_000, 17, FALLING)])
    line.write([(40_000, 17, FALLING), (45_000, 27, FALLING), (90_000, 27, RISING)])
    line.write([(95_000, 27, RISING)])
    measured(bench)
    assert flight.value == 50


def test_a_measurement_that_lost_edges_may_belong_to_is_dropped(bench: Bench, line: Line) -> None:
    flight = timer(bench)
    line.write([(10_000, 17, RISING)])
    eventually(lambda: flight._started is not None)
    line.lose(3)
    line.write([(20_000, 27, RISING), (30_000, 17, RISING), (37_000, 27, RISING)])
    measured(bench)
    assert (flight.value, flight.state()["lost"]) == (7, 3)


def test_two_gates_are_two_pins() -> None:
    with pytest.raises(ValueError, match="start and stop must be two pins"):
        GateTimer(start=Pin(17), stop=Pin(17))
