"""Outputs made safe without a node: all of them, nothing else, and they stay so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.board.safe import drive_safe, outputs
from labnode.clock import Clock
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.registry import registry
from labnode.drivers.gpio.factories import mock_factory

BOARD = """
schema: 1
devices:
  heater: {driver: relay, pin: GPIO17, safe: true}
  valve: {driver: digital_output, pin: GPIO22, active_high: false, safe: false}
  fan: {driver: pwm_output, pin: GPIO18, safe: 1.0}
  lid: {driver: button, pin: GPIO27}
"""


@pytest.fixture
def pins() -> Iterator[Any]:
    factory = mock_factory()
    yield factory
    factory.reset()


def board(path: Path, text: str = BOARD) -> Any:
    (path / "board.yaml").write_text(text)
    return load_board(path / "board.yaml")


def test_every_output_is_driven_and_stays_driven(tmp_path: Path, pins: Any) -> None:
    assert drive_safe(board(tmp_path), pins, Clock()) == []
    shown = {name: (pins.pin(name).function, pins.pin(name).state) for name in ("GPIO17", "GPIO22")}
    assert shown == {"GPIO17": ("output", True), "GPIO22": ("output", True)}
    assert pins.pin("GPIO18").function == "output"
    assert pins.pin("GPIO18").state == 1


def test_a_driver_that_exits_keeps_no_other_from_being_safe(
    tmp_path: Path, pins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = board(tmp_path)
    monkeypatch.setattr(file.devices["heater"], "open", lambda: sys.exit("bye"))
    assert drive_safe(file, pins, Clock()) == ["'heater' is not safe: bye"]
    assert pins.pin("GPIO18").state == 1


def test_no_output_has_another_level_on_the_way(tmp_path: Path, pins: Any) -> None:
    drive_safe(board(tmp_path), pins, Clock())
    assert {bool(level) for level in pins.pin("GPIO17").levels} == {True}
    assert {bool(level) for level in pins.pin("GPIO22").levels} == {True}


def test_what_is_no_output_is_not_touched(tmp_path: Path, pins: Any) -> None:
    file = board(tmp_path)
    drive_safe(file, pins, Clock())
    assert "lid" not in outputs(file)
    assert file.devices["lid"].hardware is None


def test_pins_come_before_what_may_take_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(kw_only=True)
    class Plug(Driver):
        safe: bool = False

    monkeypatch.setitem(registry, "plug", Plug)
    file = board(tmp_path, BOARD.replace("devices:", "devices:\n  mains: {driver: plug}"))
    assert list(outputs(file)) == ["heater", "valve", "fan", "mains"]


def test_an_output_that_fails_keeps_none_of_the_others_from_being_safe(
    tmp_path: Path, pins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(kw_only=True)
    class Broken(Driver):
        safe: bool = False

        def open(self) -> None:
            raise OSError("no such bus")

    monkeypatch.setitem(registry, "broken", Broken)
    file = board(tmp_path, BOARD.replace("devices:", "devices:\n  laser: {driver: broken}"))
    assert drive_safe(file, pins, Clock()) == ["'laser' is not safe: no such bus"]
    assert pins.pin("GPIO17").state is True
