"""Devices on single pins of I/O expanders, on chips that behave as their datasheets say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.board import Board, load_board
from labnode.board.safe import drive_safe
from labnode.clock import ManualClock
from labnode.errors import ConfigError, DeviceError
from tests.kit.wiring import lone_board

Make = Callable[..., Any]

BOARD = """\
devices:
  heater: {driver: relay, pin: expander.A3, active_high: false}
  lamps: {driver: digital_output_bank, pins: [expander.B0, GPIO5, expander.B1], safe: 5}
  lid: {driver: button, pin: expander.A0, bounce_time: 30ms}
  expander: {driver: mcp23017, address: 0x20, sample_every: 20ms}
"""
WEAK = """\
devices:
  expander: {driver: pcf8574, address: 0x27}
  pump: {driver: relay, pin: expander.P1, active_high: false}
  lid: {driver: button, pin: expander.P0}
interlocks:
  - {name: lid, require: lid, for: [pump]}
"""

ALONE = WEAK[: WEAK.index("interlocks")]


class Mcp23017:
    """The chip's registers, and the levels that its pins have from outside."""

    def __init__(self) -> None:
        self.bytes = bytearray(0x16)
        self.bytes[0:2] = b"\xff\xff"  # all inputs, after power-on
        self.outside = 0xFFFF
        self.written: list[int] = []

    def both(self, register: int) -> int:
        return int.from_bytes(self.bytes[register : register + 2], "little")

    @property
    def levels(self) -> int:
        inputs = self.both(0x00)
        return self.both(0x14) & ~inputs | self.outside & inputs

    def read(self, register: int, count: int) -> bytes:
        self.bytes[0x12:0x14] = self.levels.to_bytes(2, "little")
        return bytes(self.bytes[register : register + count])

    def write(self, register: int, data: Any) -> None:
        self.bytes[register : register + len(data)] = bytes(data)
        self.written.append(self.both(0x00) << 16 | self.both(0x14))


class Pcf8574:
    """Quasi-bidirectional pins: a high one is weak, so that anything outside pulls it low."""

    def __init__(self) -> None:
        self.driven = 0xFF
        self.outside = 0xFF
        self.written: list[int] = []


class Wires:
    """What the kernel has of an I2C bus; `dead` while no chip answers."""

    def __init__(self) -> None:
        self.mcp = Mcp23017()
        self.pcf = Pcf8574()
        self.dead = False

    def __call__(self, _bus: int) -> Wires:
        return self

    def close(self) -> None: ...

    def _answer(self, address: int, expected: int) -> None:
        if self.dead or address != expected:
            raise OSError(121, "Remote I/O error")

    def read_i2c_block_data(self, address: int, register: int, count: int) -> list[int]:
        self._answer(address, 0x20)
        return list(self.mcp.read(register, count))

    def write_i2c_block_data(self, address: int, register: int, data: Any) -> None:
        self._answer(address, 0x20)
        self.mcp.write(register, data)

    def read_byte(self, address: int) -> int:
        self._answer(address, 0x27)
        return self.pcf.driven & self.pcf.outside

    def write_byte(self, address: int, byte: int) -> None:
        self._answer(address, 0x27)
        self.pcf.driven = byte
        self.pcf.written.append(byte)


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    wires = Wires()
    monkeypatch.setattr("smbus2.SMBus", wires)
    return wires


@pytest.fixture
def wired(
    write: Callable[[str], Path], wires: Wires, make_pins: Any
) -> Iterator[Callable[[str], tuple[Board, ManualClock]]]:
    boards = []

    def make(text: str) -> tuple[Board, ManualClock]:
        clock = ManualClock()
        board = lone_board(load_board(write(text)), clock, simulate=False, pins=make_pins)
        board.open()
        boards.append(board)
        return board, clock

    yield make
    wires.dead = False
    for board in boards:
        board.close()


@pytest.fixture
def make_pins() -> Iterator[Any]:
    from labnode.drivers.gpio.factories import mock_factory

    pins = mock_factory()
    yield pins
    pins.close()


def live(board: Board, clock: ManualClock, seconds: float) -> None:
    end = clock.now() + seconds
    while (left := end - clock.now()) > 0:
        wait = board.poll()
        clock.advance(left if wait is None else min(left, wait))
    board.poll()


def value(board: Board, name: str) -> Any:
    return board.snapshot[name]["value"]


def test_a_simulated_board_has_them_as_pins_of_the_pi_are(rig: Make) -> None:
    rig = rig(BOARD + "simulate: {lid: heater}\n")
    rig.board.open()
    assert (rig.values()["heater"], rig.values()["lamps"], rig.values()["lid"]) == (False, 5, False)
    rig.board.command("heater", "on")
    rig.serve()
    assert (rig.values()["heater"], rig.values()["lid"]) == (True, True)
    rig.board.command("lamps", "set", [2])
    assert (rig.values()["lamps"], rig.level("GPIO5")) == (2, 1)
    rig.board.reset()
    assert (rig.values()["heater"], rig.values()["lamps"]) == (False, 5)
    rig.board.poll()


def test_outputs_are_safe_from_the_first_moment_and_stay_driven(wired: Any, wires: Wires) -> None:
    board, _clock = wired(BOARD)
    chip, off = wires.mcp, 1 << 3  # active low: safe is high
    for state in chip.written:
        direction, latch = state >> 16, state & 0xFFFF
        assert direction & off or latch & off  # an output only once it is high
        assert direction & 0x100 or latch & 0x100
    board.command("heater", "on")
    assert chip.levels & off == 0
    board.close()
    assert chip.levels & off
    assert chip.both(0x00) & (off | 0x300) == 0  # they are outputs still


def test_an_input_is_read_again_and_again_and_short_changes_are_ignored(
    wired: Any, wires: Wires
) -> None:
    board, clock = wired(BOARD)
    posted: list[Any] = []
    board.worker.post = posted.append
    wires.mcp.outside &= ~1
    live(board, clock, 0.02)
    wires.mcp.outside |= 1
    live(board, clock, 0.1)
    assert (posted, value(board, "lid")) == ([], False)
    wires.mcp.outside &= ~1
    live(board, clock, 0.08)
    (call,) = posted
    call()
    assert value(board, "lid") is True
    assert wires.mcp.both(0x0C) == 1  # its pull-up alone


def test_while_the_chip_does_not_answer_its_inputs_have_no_value(wired: Any, wires: Wires) -> None:
    board, clock = wired(WEAK)
    board.worker.post = lambda call: call()
    wires.pcf.outside = 0xFE
    live(board, clock, 0.2)
    board.command("pump", "on")
    assert wires.pcf.driven == 0xFD
    wires.dead = True
    live(board, clock, 0.2)
    assert value(board, "lid") is None
    assert "does not answer" in board.snapshot["lid"]["error"]
    wires.dead = False
    live(board, clock, 1)
    assert value(board, "lid") is True
    assert wires.pcf.driven == 0xFF  # the interlock has made it safe
    board.command("pump", "on")
    assert value(board, "pump") is True


def test_what_was_driven_before_it_is_opened_does_not_move(wired: Any, wires: Wires) -> None:
    wires.pcf.driven = 0b11111101  # as an earlier run has left it
    text = WEAK.replace("active_high: false", "active_high: true")
    board, _clock = wired(text)
    assert wires.pcf.driven == 0b11111101
    assert all(byte & 2 == 0 for byte in wires.pcf.written)
    assert [w for w in board.file.warnings() if "P1 is high while 'pump' is on" in str(w)]


def test_labnode_safe_reaches_what_is_on_an_expander(
    write: Callable[[str], Path], wires: Wires, make_pins: Any
) -> None:
    wires.mcp.bytes[0x00:0x02] = b"\x00\x00"
    file = load_board(write(BOARD))
    assert drive_safe(file, make_pins, ManualClock(), pins_only=True) == []
    assert wires.mcp.levels & 0b1000_0000_1000 == 0b1000
    wires.dead = True
    failures = drive_safe(file, make_pins, ManualClock())
    assert any("'heater' is not safe" in failure for failure in failures)


def test_an_expander_that_is_not_there_keeps_the_board_closed(wired: Any, wires: Wires) -> None:
    wires.dead = True
    with pytest.raises(DeviceError, match="'expander' did not open: address 0x20 of I2C bus 1 do"):
        wired(BOARD)


@pytest.mark.parametrize(
    ("board", "device", "sentence"),
    [
        (
            BOARD,
            "x: {driver: led, pin: expander.A3}",
            "'x' uses pin A3 of MCP23017 0x20 of bus 1, wh",
        ),
        (BOARD, "x: {driver: led, pin: expnder.A4}", "x.yaml:7: there is no device 'expnder'; did"),
        (BOARD, "x: {driver: led, pin: expander.C4}", "'x': the MCP23017 has no pin 'C4'"),
        (BOARD, "x: {driver: led, pin: heater.A4}", "'heater' has no pins: it is a relay"),
        (
            BOARD,
            "x: {driver: mcp23017_output_bank, address: 0x20, pins: [A4, B1]}",
            "'lamps' uses pin B1 of MCP23017 0x20 of bus 1, which 'x' (line 7) already uses",
        ),
        (BOARD, "x: {driver: digital_input, pin: expander.A4}", "'x': MCP23017 has no resistors t"),
        (
            ALONE,
            "x: {driver: line_sensor, pin: expander.P4}",
            "pull_up: true",
        ),
        (
            ALONE,
            "x: {driver: pcf8574, address: 0x27}",
            "0x27 of bus 1, which",
        ),
        (BOARD, "x: {driver: button, pin: expander.A4, role: estop}", "needs a pin of the Pi"),
        (BOARD, "x: {driver: pwm_led, pin: expander.A4}", "expected a GPIO pin such as 17"),
        (
            BOARD,
            "x: {driver: mcp23017, address: 0x20}\n  y: {driver: led, pin: x.A3}",
            "'y' uses pin",
        ),
    ],
)
def test_a_pin_that_cannot_be_is_told_with_its_line(
    write: Callable[[str], Path], board: str, device: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_board(write(f"{board}  {device}\n"))
    assert sentence in str(caught.value)


def test_banks_and_single_pins_share_a_chip(wired: Any, wires: Wires) -> None:
    bank = "  x: {driver: mcp23017_output_bank, address: 0x20, pins: [A4, B7], safe: 1}\n"
    board, _clock = wired(BOARD + bank)
    board.command("heater", "on")
    board.command("x", "set", [2])
    assert wires.mcp.levels & 0x8018 == 0x8000
    assert (value(board, "heater"), value(board, "x")) == (True, 2)
