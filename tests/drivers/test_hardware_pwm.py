"""The kernel's PWM on a tree of files that behaves as /sys/class/pwm."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.clock import Clock
from labnode.drivers.gpio.hardware_pwm import HardwarePwm
from labnode.drivers.gpio.pin import Pin
from labnode.errors import DeviceError

DEVICES = {"pi4": "fe20c000.pwm", "pi5": "1f00098000.pwm", "zero": "20c000.pwm"}


class Tree:
    """Makes a channel's files when its number is written into `export`, as kernel and udev do."""

    def __init__(self, root: Path, device: str) -> None:
        (root / "devices" / "fan.pwm").mkdir(parents=True)
        (root / "devices" / device).mkdir()
        for number, name in ((0, "fan.pwm"), (1, device)):
            (root / f"pwmchip{number}").mkdir()
            (root / f"pwmchip{number}" / "device").symlink_to(root / "devices" / name)
        self.chip = root / "pwmchip1"
        os.mkfifo(self.chip / "export")
        self.thread = threading.Thread(target=self._serve, name="udev")
        self.thread.start()

    def _serve(self) -> None:
        while (number := (self.chip / "export").read_text()) != "end":
            channel = self.chip / f"pwm{number}"
            channel.mkdir()
            for name in ("period", "enable", "duty_cycle"):
                (channel / name).write_text("0\n")

    def close(self) -> None:
        (self.chip / "export").write_text("end")
        self.thread.join()

    def files(self, channel: int) -> tuple[int, ...]:
        folder = self.chip / f"pwm{channel}"
        names = ("period", "duty_cycle", "enable")
        return tuple(int((folder / name).read_text()) for name in names)


@pytest.fixture
def real(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(HardwarePwm, "root", tmp_path)
    bench.simulated = False
    bench.clock = Clock()
    yield bench
    bench.close()


@pytest.mark.parametrize(
    ("model", "pin", "channel"),
    [("pi4", 12, 0), ("pi4", 19, 1), ("zero", 18, 0), ("pi5", 18, 2), ("pi5", 13, 1)],
)
def test_a_pin_is_a_channel_of_the_right_circuit(
    real: Any, tmp_path: Path, model: str, pin: int, channel: int
) -> None:
    tree = Tree(tmp_path, DEVICES[model])
    laser = real.open(HardwarePwm(pin=Pin(pin), frequency=25_000, safe=0.25))
    assert tree.files(channel) == (40_000, 10_000, 1)
    laser.set(0.5)
    assert (laser.value, tree.files(channel)) == (0.5, (40_000, 20_000, 1))
    laser.close()
    assert tree.files(channel) == (40_000, 10_000, 1)
    tree.close()


def test_an_inverted_pin_is_low_during_a_pulse(real: Any, tmp_path: Path) -> None:
    tree = Tree(tmp_path, DEVICES["pi4"])
    heater = real.open(HardwarePwm(pin=Pin(12), frequency=1000, active_high=False))
    assert (heater.value, tree.files(0)) == (0, (1_000_000, 1_000_000, 1))
    heater.set(0.25)
    assert tree.files(0)[1] == 750_000
    tree.close()


@pytest.mark.parametrize("active_high", [True, False])
def test_what_it_shows_is_what_was_set_in_whole_nanoseconds(
    real: Any, tmp_path: Path, active_high: bool
) -> None:
    tree = Tree(tmp_path, DEVICES["pi4"])
    laser = real.open(HardwarePwm(pin=Pin(12), frequency=26_000, active_high=active_high))
    for part in (1 / 3, 0.123456, 0.999999, 1.0):
        accepted = laser.accept("test", part)
        laser.force(accepted)
        assert laser.value == accepted == pytest.approx(part, abs=3e-5)
    tree.close()


def test_a_channel_that_was_left_running_is_taken_over(real: Any, tmp_path: Path) -> None:
    tree = Tree(tmp_path, DEVICES["pi4"])
    for frequency in (1000, 1000, 50_000):
        laser = real.open(HardwarePwm(pin=Pin(12), frequency=frequency))
        laser.set(1)
        laser.close()
    assert tree.files(0) == (20_000, 0, 1)
    tree.close()


def test_a_circuit_that_is_not_switched_on_is_told(real: Any) -> None:
    with pytest.raises(DeviceError, match=r"no PWM circuit: .* labnode bootconfig"):
        real.open(HardwarePwm(pin=Pin(12)))


def test_a_channel_that_may_not_be_written_is_told(
    real: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.drivers.gpio.hardware_pwm._READY_WITHIN", 0.1)
    tree = Tree(tmp_path, DEVICES["pi4"])
    (tree.chip / "pwm0").mkdir()
    with pytest.raises(DeviceError, match=r"pwm0 cannot be written: is this user in 'gpio'\?"):
        real.open(HardwarePwm(pin=Pin(12)))
    tree.close()


def test_simulated_it_is_a_pin_that_can_be_looked_at(bench: Any) -> None:
    laser = bench.open(HardwarePwm(pin=Pin(12), frequency=25_000))
    laser.set(0.5)
    assert (bench.level("GPIO12"), bench.pins.pin("GPIO12").frequency) == (0.5, 25_000)
