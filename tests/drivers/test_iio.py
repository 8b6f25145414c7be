"""Channels of the kernel's own drivers, in a tree of files as they are in /sys."""

from __future__ import annotations

import errno
import os
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.drivers.burst import Burst, ConverterRef
from labnode.drivers.buses.iio import IioChannel, IioInput, IioOutput
from labnode.drivers.buses.iio_buffer import Element
from labnode.errors import BadInput, DeviceError
from labnode.wizard.bootconfig import boot_config


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real: Any) -> Path:
    root = tmp_path / "sys" / "bus" / "iio" / "devices"
    root.mkdir(parents=True)
    for cls in (IioInput, IioOutput):
        monkeypatch.setattr(cls, "root", root)
    return root


def part(root: Path, name: str, number: int = 0, **files: str) -> Path:
    folder = root / f"iio:device{number}"
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n")
    for file, text in files.items():
        (folder / file.replace("__", "-")).write_text(f"{text}\n")
    return folder


def opened(bench: Any, driver: Any) -> Any:
    bench.open(driver)
    bench.until(lambda: driver.value is not None or "error" in driver.state())
    return driver


ADC = {
    "in_voltage0_raw": "1000",
    "in_voltage0_scale": "3.000000",
    "in_voltage1_raw": "-10",
    "in_voltage_scale": "0.5",
    "in_voltage0__voltage1_raw": "200",
    "in_voltage__voltage_scale": "0.25",
}


@pytest.mark.parametrize(
    ("channel", "files", "read"),
    [
        ("voltage0", ADC, (3.0, "V")),
        ("voltage1", ADC, (-0.005, "V")),
        ("voltage0-voltage1", ADC, (0.05, "V")),
        ("temp", {"in_temp_input": "21450"}, (21.45, "°C")),
        (
            "temp",
            {"in_temp_raw": "100", "in_temp_offset": "20", "in_temp_scale": "125"},
            (15, "°C"),
        ),
        ("pressure", {"in_pressure_input": "101.325"}, (101.325, "kPa")),
        ("humidityrelative", {"in_humidityrelative_input": "45500"}, (45.5, "%")),
        ("illuminance", {"in_illuminance_raw": "300"}, (300, "lx")),
        ("accel_z", {"in_accel_z_raw": "1000", "in_accel_scale": "0.0098"}, (9.8, "m/s²")),
        ("current1", {"in_current1_raw": "50", "in_current1_scale": "10"}, (0.5, "A")),
    ],
)
def test_a_channel_is_read_in_units_of_people(
    tree: Path, real: Any, channel: str, files: dict[str, str], read: tuple[float, str]
) -> None:
    part(tree, "chip", **files)
    sensor = opened(real, IioInput(device="chip", channel=IioChannel.from_yaml(channel)))
    assert (sensor.value, sensor.unit) == (pytest.approx(read[0]), read[1])


def test_a_device_is_found_by_name_label_or_place_in_the_device_tree(tree: Path, real: Any) -> None:
    for number in (0, 1):
        folder = part(tree, "ads1015", number, in_voltage0_raw=str(1000 * number))
        node = tree.parent / "base" / "soc" / f"ads1015@4{number + 8}"
        node.mkdir(parents=True)
        (folder / "of_node").symlink_to(node)
    (tree / "iio:device0" / "label").write_text("left")
    channel = IioChannel("voltage0")
    assert opened(real, IioInput(device="left", channel=channel)).value == 0
    assert opened(real, IioInput(device="ads1015@49", channel=channel)).value == 1
    both = opened(real, IioInput(device="ads1015", channel=channel))
    assert both.state()["error"] == (
        "2 IIO devices are called 'ads1015'; name one of left, /soc/ads1015@49"
    )


def test_what_is_not_there_is_not_connected_and_read_when_it_is(tree: Path, real: Any) -> None:
    part(tree, "cpu_thermal")
    sensor = opened(real, IioInput(device="bmp280", channel=IioChannel("temp"), sample_every=0.05))
    state = sensor.state()
    assert (state["value"], state["connected"]) == (None, False)
    assert state["error"] == "there is no IIO device 'bmp280'; there are cpu_thermal"
    part(tree, "bmp280", 1, in_temp_input="20000")
    real.clock.advance(0.05)
    sensor._io.wake()
    assert real.until(lambda: sensor.value == 20)
    assert "connected" not in sensor.state()
    assert "error" not in sensor.state()


def test_a_channel_that_there_is_not_is_told_with_those_that_there_are(
    tree: Path, real: Any
) -> None:
    part(tree, "adc", **ADC)
    sensor = opened(real, IioInput(device="adc", channel=IioChannel("voltage7")))
    assert sensor.state()["error"] == (
        "adc has no input voltage7; it has voltage0, voltage0-voltage1, voltage1"
    )


@pytest.fixture
def dac(tree: Path) -> Path:
    files = {"out_voltage0_raw": "4000", "out_voltage0_scale": "0.8", "out_voltage0_powerdown": "1"}
    return part(tree, "mcp4725", **files)


def drive(**options: Any) -> IioOutput:
    limits = {"min": 0.0, "max": 3.0, "safe": 0.0, **options}
    return IioOutput(device="mcp4725", channel=IioChannel("voltage0"), **limits)


def raw(folder: Path) -> str:
    return (folder / "out_voltage0_raw").read_text().strip()


def test_an_output_is_safe_from_the_start_set_within_limits_and_left_safe(
    dac: Path, real: Any
) -> None:
    output = opened(real, drive())
    assert (output.value, raw(dac), output.unit) == (0, "0", "V")
    assert (dac / "out_voltage0_powerdown").read_text() == "0"
    output.set(1.2345)
    assert real.until(lambda: output.value == 1.2345)
    assert raw(dac) == "1543"
    with pytest.raises(BadInput, match=r"must be a number from 0 to 3, not 3\.3"):
        output.set(3.3)
    output.reset()
    assert raw(dac) == "0"
    output.set(2)
    output.make_safe()
    output.await_safe(5)
    assert raw(dac) == "0"
    output.set(2)
    output.close()
    assert raw(dac) == "0"


def test_an_output_that_is_gone_is_told_and_safe_when_it_is_back(dac: Path, real: Any) -> None:
    output = opened(real, drive())
    away = dac.parent.parent / "away"
    shutil.move(dac, away)
    output.set(2)
    assert real.until(lambda: output.state().get("connected") is False)
    with pytest.raises(DeviceError, match="not confirmed that it is 0: there is no IIO device"):
        output.reset()
    (away / "out_voltage0_raw").write_text("777")
    shutil.move(away, dac)
    real.clock.advance(10)
    output.poll()
    assert real.until(lambda: output.value == 0)
    assert raw(dac) == "0"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("in_voltage0", "expected 'voltage0', without 'in_'"),
        ("temp_input", "expected 'temp', without '_input'"),
        ("../name", "expected a channel such as voltage0"),
        (0, "expected a channel such as voltage0"),
    ],
)
def test_what_is_no_channel_is_refused(value: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        IioChannel.from_yaml(value)


def test_bootconfig_prints_the_overlay(tmp_path: Path) -> None:
    file = tmp_path / "board.yaml"
    file.write_text(
        "schema: 1\ndevices:\n"
        "  air: {driver: iio, device: bme280, channel: temp, overlay: 'i2c-sensor,bme280'}\n"
        "  damp: {driver: iio, device: bme280, channel: humidityrelative,"
        " overlay: 'i2c-sensor,bme280'}\n"
    )
    lines = boot_config(load_board(file)).splitlines()
    place = lines.index("dtoverlay=i2c-sensor,bme280")
    assert lines[place - 1] == "# air, damp"
    assert lines.count("dtoverlay=i2c-sensor,bme280") == 1


DEVICE = "iio:device0"
PERIOD = 1_250_500  # ns


class Kernel:
    """What files in /sys and /dev do of their own: industrialio-buffer.c, iio-trig-hrtimer.c.

    The device takes one channel at a time, as an ADS1015 does (iio_validate_scan_mask_onehot).
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.held = False  # the device's file is open somewhere
        self.outputs_wait = False
        self.reads: list[str] = []
        self._open, self._close = os.open, os.close
        self._read, self._write = Path.read_text, Path.write_text
        self._descriptor = -1
        monkeypatch.setattr(Path, "read_text", lambda path, **_: self.read(path))
        monkeypatch.setattr(Path, "write_text", lambda path, text, **_: self.write(path, text))
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(os, "close", self.close)

    def enable(self, text: str) -> None:
        """Somebody else turns the buffer on or off."""
        self._write(self.folder / "buffer" / "enable", text)

    @property
    def enabled(self) -> bool:
        return self._read(self.folder / "buffer" / "enable").strip() == "1"

    def read(self, path: Path) -> str:
        if path.parent == self.folder:
            self.reads.append(path.name)
            if path.name.endswith("_raw") and self.enabled:
                raise OSError(errno.EBUSY, "Device or resource busy")
        return self._read(path)

    def write(self, path: Path, text: str) -> int:
        if path.name == "sampling_frequency" and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            raise OSError(errno.EINVAL, "Invalid argument")
        if self.folder in path.parents and self.enabled:
            waits = path.name != "enable" and (self.outputs_wait or path.parent != self.folder)
            if waits or path.name == "current_timestamp_clock":
                raise OSError(errno.EBUSY, "Device or resource busy")
        trigger = self.folder / "trigger" / "current_trigger"
        if path.name == "enable" and text == "1" and not self._read(trigger).strip():
            raise OSError(errno.EINVAL, "Invalid argument")
        if path.name.endswith("_en") and text == "1" and "timestamp" not in path.name:
            others = set(path.parent.glob("in_voltage*_en")) - {path}
            if any(self._read(other).strip() == "1" for other in others):
                raise OSError(errno.EINVAL, "Invalid argument")
        return self._write(path, text)

    def open(self, path: Any, *args: Any, **options: Any) -> int:
        if not str(path).endswith(f"/dev/{DEVICE}"):
            return self._open(path, *args, **options)
        if self.held:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.held = True
        self._descriptor = self._open(path, *args, **options)
        return self._descriptor

    def close(self, descriptor: int) -> None:
        if descriptor == self._descriptor:
            self.held, self._descriptor = False, -1
        self._close(descriptor)


@pytest.fixture
def kernel(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A device with a buffer and a timer that may trigger it, in the state of their first day."""
    folder = part(tree, "ads1015", **ADC, current_timestamp_clock="realtime", out_voltage0_raw="0")
    for name, text in {
        "buffer/enable": "0",
        "buffer/length": "2",
        "buffer/watermark": "1",
        "trigger/current_trigger": "",
        "scan_elements/in_voltage0_en": "0",
        "scan_elements/in_voltage0_index": "0",
        "scan_elements/in_voltage0_type": "le:s12/16>>4",
        "scan_elements/in_voltage1_en": "1",
        "scan_elements/in_timestamp_en": "0",
        "scan_elements/in_timestamp_index": "4",
        "scan_elements/in_timestamp_type": "le:s64/64>>0",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    (tree / "trigger0").mkdir()
    (tree / "trigger0" / "name").write_text("timer\n")
    (tree / "trigger0" / "sampling_frequency").write_text("100.000000\n")
    records(tree, [])
    return Kernel(folder, monkeypatch)


def records(tree: Path, numbers: list[int]) -> None:
    """The file in /dev has these: 12 of 16 bits, then a time in ns at a multiple of 8 bytes."""
    dev = tree.parents[3] / "dev"
    dev.mkdir(exist_ok=True)
    pieces = [struct.pack("<hxxxxxxq", n << 4, 10**9 + i * PERIOD) for i, n in enumerate(numbers)]
    (dev / DEVICE).write_bytes(b"".join(pieces))


def burst_of(real: Any, trigger: str | None = "timer", rate: float = 800) -> Any:
    sensor = IioInput(device="ads1015", channel=IioChannel("voltage0"), trigger=trigger)
    real.attach(sensor)
    real.device = lambda _name: sensor
    return real.open(Burst(of=ConverterRef("adc"), count=4, rate=rate))


def ended(real: Any, burst: Any) -> Any:
    """A burst that was taken; the sentence of its error, where it has one."""
    burst.acquire()
    real.until(lambda: burst.value is not None or "error" in burst.state())
    return burst.state().get("error")


def test_a_burst_comes_out_of_the_buffer_with_the_rate_of_its_timestamps(
    tree: Path, real: Any, kernel: Kernel
) -> None:
    records(tree, [0, 1, -1, 2047])
    burst = burst_of(real)
    assert ended(real, burst) is None
    assert burst.samples.y == pytest.approx([0, 0.003, -0.003, 6.141])
    assert burst.value["rate"] == pytest.approx(799.68, abs=0.01)
    written = {
        "buffer/enable": "0",
        "buffer/length": "4",
        "trigger/current_trigger": "timer",
        "scan_elements/in_voltage0_en": "1",
        "scan_elements/in_voltage1_en": "0",
        "current_timestamp_clock": "monotonic",
    }
    assert {name: (kernel.folder / name).read_text() for name in written} == written
    assert (tree / "trigger0" / "sampling_frequency").read_text() == "800"
    assert not kernel.held


def test_the_scale_is_read_once_for_a_burst(tree: Path, real: Any, kernel: Kernel) -> None:
    records(tree, [1, 2, 3, 4])
    assert ended(real, burst_of(real)) is None
    assert kernel.reads.count("in_voltage0_scale") == 1


@pytest.mark.parametrize(("rate", "text"), [(1e6, "1000000"), (0.1, "0.1"), (1000 / 3, "333.333")])
def test_a_rate_is_written_as_the_kernel_reads_it(
    tree: Path, real: Any, kernel: Kernel, rate: float, text: str
) -> None:
    records(tree, [1, 2, 3, 4])
    assert ended(real, burst_of(real, rate=rate)) is None
    assert (tree / "trigger0" / "sampling_frequency").read_text().startswith(text)


def test_a_buffer_that_ends_is_told_and_off(tree: Path, real: Any, kernel: Kernel) -> None:
    records(tree, [0])
    assert ended(real, burst_of(real)) == "its buffer has ended"
    assert not kernel.enabled


def test_a_buffer_without_a_trigger_says_so(real: Any, kernel: Kernel) -> None:
    burst = burst_of(real, trigger=None)
    assert ended(real, burst) == "its buffer needs a trigger, and none is set"


def test_a_burst_leaves_the_buffer_of_another_program_alone(real: Any, kernel: Kernel) -> None:
    kernel.enable("1")
    kernel.held = True
    assert ended(real, burst_of(real)) == "another burst or program reads its buffer"
    assert kernel.enabled


def test_while_a_buffer_is_read_its_device_has_no_new_reading(real: Any, kernel: Kernel) -> None:
    sensor = IioInput(device="ads1015", channel=IioChannel("voltage0"))
    real.attach(sensor)
    kernel.enable("1")
    kernel.held = True
    assert sensor.read() is None
    assert kernel.enabled


def test_a_buffer_that_was_left_on_is_turned_off_by_the_first_reading(
    real: Any, kernel: Kernel
) -> None:
    sensor = IioInput(device="ads1015", channel=IioChannel("voltage0"))
    real.attach(sensor)
    kernel.enable("1")
    assert sensor.read() == 3
    assert not kernel.enabled


@pytest.mark.parametrize(("waits", "left"), [(False, True), (True, False)])
def test_an_output_is_set_while_a_buffer_is_read_and_ends_that_if_it_has_to(
    real: Any, kernel: Kernel, waits: bool, left: bool
) -> None:
    output = IioOutput(device="ads1015", channel=IioChannel("voltage0"), min=0, max=3, safe=0)
    real.open(output)
    assert real.until(lambda: output.value == 0)
    kernel.enable("1")
    kernel.held, kernel.outputs_wait = True, waits
    output.set(0.002)
    assert real.until(lambda: output.value == 0.002)
    assert kernel.enabled == left
    assert "error" not in output.state()
    kernel.enable("0")
    assert raw(kernel.folder) == "2"


def test_without_a_buffer_a_burst_reads_one_by_one(tree: Path, real: Any) -> None:
    part(tree, "ads1015", **ADC)
    sensor = real.open(IioInput(device="ads1015", channel=IioChannel("voltage0")))
    real.device = lambda _name: sensor
    burst = real.open(Burst(of=ConverterRef("adc"), count=5, rate=1000))
    burst.acquire()
    assert real.until(lambda: burst.value is not None)
    assert burst.value["y"] == [3] * 5


@pytest.mark.parametrize(
    ("text", "data", "number"),
    [
        ("le:u12/16>>0", "ff0f", 4095),
        ("be:s16/16>>0", "fffe", -2),
        ("be:u24/32>>8", "00012300", 0x123),
        ("le:s12/16>>4", "f0ff", -1),
    ],
)
def test_a_number_in_a_buffer_is_what_its_type_says(text: str, data: str, number: int) -> None:
    assert Element.of(text).number(bytes.fromhex(data)) == number
