"""The doctor's look at the machine: what is told of pins, ports, programs, clock, power, disk."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from labnode.clock import Clock
from labnode.doctor import machine
from labnode.doctor.finding import SystemUser
from labnode.drivers.framework.driver import EXTRAS, Claim, Driver
from labnode.drivers.framework.registry import registry
from labnode.drivers.gpio import gpiochips
from labnode.errors import DeviceError

from .conftest import Bed

LED = "  led: {driver: led, pin: GPIO17}\n  fan: {driver: pwm_output, pin: GPIO18}\n"


class Kernel:
    """A GPIO chip as the kernel tells of it; `used` is who has its lines."""

    def __init__(self) -> None:
        self.used: dict[int, bytes] = {}

    def ioctl(self, _descriptor: int, request: int, data: bytes) -> bytes:
        if request == 0x8044B401:
            return struct.pack("32s32sI", b"gpiochip0", b"pinctrl-bcm2711", 58)
        assert request == 0xC100B405
        assert len(data) == 256
        line = struct.unpack_from("=I", data, 64)[0]
        if line > 57:
            raise OSError(22, "Invalid argument")
        consumer = self.used.get(line, b"")
        return struct.pack("=32s32sIIQ176x", b"GPIO", consumer, line, 0, int(line in self.used))


@pytest.fixture
def kernel(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A Pi 4 whose lgpio works."""

    class Factory:
        def close(self) -> None:
            pass

    bed.write("dev/gpiochip0", mode=0o666)
    kernel = Kernel()
    monkeypatch.setattr(gpiochips.fcntl, "ioctl", kernel.ioctl)
    monkeypatch.setattr(machine, "real_factory", lambda _: Factory())
    return kernel


# --- pins ---


def test_free_pins_are_told_by_their_number(bed: Bed, kernel: Kernel) -> None:
    bed.board(LED)
    assert bed.found(machine.gpio) == [
        ("ok", "The pins are those of gpiochip0, pinctrl-bcm2711."),
        ("ok", "2 pins of the board are free."),
    ]


def test_pins_that_something_else_has_are_a_problem_with_its_name(bed: Bed, kernel: Kernel) -> None:
    bed.board(LED)
    kernel.used = {17: b"spi0 CS0", 18: b"", 4: b"w1"}
    assert bed.found(machine.gpio)[1:] == [
        (
            "problem",
            "Pins of the board are used by something else: GPIO17 (spi0 CS0), GPIO18 (?).",
        )
    ]


def test_pins_of_the_running_node_are_no_problem(bed: Bed, kernel: Kernel) -> None:
    bed.board(LED)
    bed.is_now(running=True)
    kernel.used = {17: b"lg", 18: b"lg"}
    assert bed.found(machine.gpio)[1:] == [("ok", "The running node has 2 of its pins.")]


def test_a_chip_that_the_user_may_not_use_names_the_group(bed: Bed, kernel: Kernel) -> None:
    chip = bed.write("dev/gpiochip0", mode=0o660)
    bed.board(LED)
    bed.is_now(user=SystemUser("ada", 12345, frozenset()))
    (found,) = [f for f in bed.findings(machine.gpio) if f.level == "problem"]
    assert found.message == f"The user ada may not use {chip}."
    assert found.advice.startswith("sudo usermod -aG ")
    assert " ada, " in found.advice
    bed.is_now(user=SystemUser("ada", 12345, frozenset({chip.stat().st_gid})))
    assert all(f.level == "ok" for f in bed.findings(machine.gpio))


def test_an_lgpio_that_does_not_work_says_which_package_is_missing(
    bed: Bed, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> Any:
        raise DeviceError("the Python library lgpio that is installed is an empty one")

    monkeypatch.setattr(machine, "real_factory", broken)
    bed.board(LED)
    found = bed.findings(machine.gpio)[1]
    assert found.level == "problem"
    assert "python3-lgpio" in found.advice


@pytest.mark.parametrize(("simulated", "level"), [(False, "problem"), (True, "unknown")])
def test_a_machine_without_pins_is_a_problem_only_for_a_board_that_needs_them(
    bed: Bed, simulated: bool, level: str
) -> None:
    bed.board(LED)
    bed.is_now(simulated=simulated)
    ((found, message),) = bed.found(machine.gpio)
    assert found == level
    assert message.startswith("This machine has no GPIO pins")


# --- buses ---


@dataclass(kw_only=True)
class Part(Driver):
    bus: str = "I2C bus 1"

    def claims(self) -> list[Claim]:
        return [Claim("pin", "GPIO2", self.bus), Claim("pin", "GPIO3", self.bus)]


@pytest.mark.parametrize(
    ("bus", "file"),
    [
        ("I2C bus 1", "dev/i2c-1"),
        ("SPI bus 0", "dev/spidev0.0"),
        ("1-Wire bus", "sys/bus/w1/devices/w1_bus_master1"),
    ],
)
def test_a_bus_that_is_not_switched_on_is_a_problem_that_bootconfig_mends(
    bed: Bed, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, bus: str, file: str
) -> None:
    monkeypatch.setitem(registry, "part", Part)
    bed.board(f"  part: {{driver: part, bus: {bus}}}\n")
    (found,) = bed.findings(machine.buses)
    assert found.level == "problem"
    assert found.message.startswith(f"The {bus} is not there")
    assert "labnode bootconfig" in found.advice
    bed.write(file, mode=0o666)
    assert bed.found(machine.buses) == [("ok", f"The {bus} is there.")]
    kernel.used = {2: b"i2c"}  # the bus's own, and no business of anybody's
    assert all(level == "ok" for level, _ in bed.found(machine.gpio))


# --- serial ports ---


@dataclass(kw_only=True)
class Console(Driver):
    programs: ClassVar[dict[str, str]] = {"flashit": "flashit-tools"}
    port: str


@pytest.fixture
def console(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry, "console", Console)
    bed.board("  console: {driver: console, port: /dev/serial/by-id/usb-A}\n")


def test_a_port_of_the_board_that_is_not_there_is_a_problem(bed: Bed, console: None) -> None:
    bed.write("dev/serial/by-id/usb-B", mode=0o666)
    assert bed.found(machine.serial_ports) == [("ok", "Serial ports in /dev/serial/by-id: usb-B.")]
    port = bed.root / "dev/serial/by-id/usb-A"
    assert bed.found(machine.device_files) == [
        ("problem", f"'console' needs {port}, which is not there.")
    ]
    bed.write("dev/serial/by-id/usb-A", mode=0o666)
    assert bed.found(machine.device_files) == [("ok", f"'console' has {port}.")]


def test_a_port_that_may_not_be_used_is_worse_where_the_board_needs_it(
    bed: Bed, console: None
) -> None:
    bed.is_now(user=SystemUser("ada", 12345, frozenset()))
    bed.write("dev/serial/by-id/usb-A", mode=0o660)
    bed.write("dev/serial/by-id/usb-B", mode=0o660)
    assert [level for level, _ in bed.found(machine.serial_ports)] == ["ok", "warning"]
    assert [level for level, _ in bed.found(machine.device_files)] == ["problem"]


def test_without_hardware_no_port_is_missed(bed: Bed, console: None) -> None:
    bed.is_now(simulated=True)
    assert bed.found(machine.device_files) == []


# --- programs, clock, power, disk ---


def test_a_program_that_is_missing_comes_with_its_package(bed: Bed, console: None) -> None:
    (found,) = bed.findings(machine.programs)
    assert (found.level, found.advice) == ("problem", "sudo apt install flashit-tools")
    bed.write("bin/flashit", "#!/bin/sh\n", mode=0o755)
    assert bed.found(machine.programs) == [("ok", f"flashit is {bed.root}/bin/flashit.")]


def test_a_program_that_only_the_board_names_is_looked_for_too(bed: Bed) -> None:
    bed.board("  load: {driver: command, run: [read-load]}\n")
    (found,) = bed.findings(machine.programs)
    assert found.message == "The board needs the program read-load, which is not installed."
    assert found.advice == "install it, or correct its name or path in the board file"


def test_a_library_that_is_missing_comes_with_the_command_that_adds_it(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.board("  meter: {driver: instrument, visa: 'GPIB0::5::INSTR'}\n")
    monkeypatch.setitem(EXTRAS, "visa", ("json",))
    assert bed.found(machine.programs) == [("ok", "The extra visa of labnode is installed.")]
    monkeypatch.setitem(EXTRAS, "visa", ("json", "no_such_library"))
    (found,) = bed.findings(machine.programs)
    assert (found.level, found.message) == (
        "problem",
        "The board needs the extra visa of labnode, which is not installed.",
    )
    assert found.advice == f"{sys.executable} -m pip install 'labnode[visa]'"


TOOLS = """
  console: {driver: serial, port: /dev/ttyACM0}
  mcu: {driver: avrdude, part: m328p, programmer: arduino, port: console}
  usb: {driver: avrdude, part: m328p, programmer: usbasp}
"""


def test_tools_with_a_user_of_their_own_are_told_with_ports_that_are_not_theirs(bed: Bed) -> None:
    bed.board(TOOLS)
    port = bed.write("dev/ttyACM0", mode=0o660)
    bed.write("run/labnode-tool.sock", mode=0o666)
    own = ("ok", "Programming tools run as a user of their own, labnode-tool, without network.")
    assert bed.found(machine.tools) == [
        own,
        ("problem", f"The user labnode-tool may not use {port}, which 'mcu' needs."),
    ]
    port.chmod(0o666)
    assert bed.found(machine.tools) == [own]


@pytest.mark.parametrize(
    ("landlock", "found"),
    [
        (6, ("ok", "Programming tools run as nobody-here; Landlock keeps its files from them.")),
        (0, ("warning", "Programming tools run as nobody-here, and may read what it may.")),
    ],
)
def test_tools_without_one_are_told(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, landlock: int, found: tuple[str, str]
) -> None:
    bed.board(TOOLS)
    monkeypatch.setattr(machine, "landlock_version", lambda: landlock)
    assert bed.found(machine.tools) == [found]


def test_a_board_without_tools_says_nothing_of_them(bed: Bed) -> None:
    bed.board(LED)
    assert bed.found(machine.tools) == []
    bed.board(TOOLS)
    bed.is_now(simulated=True)
    assert bed.found(machine.tools) == []


@pytest.mark.parametrize(("right", "level"), [(True, "ok"), (False, "warning")])
def test_the_clock_is_right_when_the_node_would_trust_it(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, right: bool, level: str
) -> None:
    monkeypatch.setattr(Clock, "is_right", lambda _: right)
    assert [found for found, _ in bed.found(machine.clock)] == [level]


ARMED = "The machine's watchdog is armed"
DEVICE = "sys/class/watchdog/watchdog0/state"


@pytest.mark.parametrize(
    ("systemd", "state", "level", "sentence"),
    [
        ("echo 15s", "active", "ok", f"{ARMED}: it resets a kernel that hangs for 15s."),
        ("echo 15s", None, "ok", f"{ARMED}: it resets a kernel that hangs for 15s."),
        ("echo 0", "active", "ok", f"{ARMED}, not by systemd."),
        ("echo 0", "inactive", "warning", "The machine's watchdog is not armed: "),
        ("echo infinity", None, "warning", "The machine's watchdog is not armed: "),
        ("exit 1", "inactive", "warning", "The machine's watchdog is not armed: "),
        ("exit 1", None, "unknown", "Whether the machine's watchdog is armed cannot be seen here."),
    ],
)
def test_the_watchdog_is_armed_or_it_is_told_how(
    bed: Bed, systemd: str, state: str | None, level: str, sentence: str
) -> None:
    bed.write("bin/systemctl", f"#!/bin/sh\n{systemd}\n", mode=0o755)
    bed.write(DEVICE, f"{state}\n")
    if state is None:
        (bed.root / DEVICE).unlink()
    (found,) = bed.findings(machine.watchdog)
    assert found.level == level
    assert found.message.startswith(sentence)
    assert ("sudo systemctl daemon-reload" in found.advice) == (level == "warning")


def test_a_pi_without_a_watchdog_is_told_how_to_get_it(bed: Bed) -> None:
    assert bed.found(machine.watchdog) == [("unknown", "This machine has no watchdog of its own.")]
    bed.write("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    (found,) = bed.findings(machine.watchdog)
    assert found.level == "warning"
    assert "dtparam=watchdog=on" in found.advice


@pytest.mark.parametrize(
    ("bits", "found"),
    [
        ("0", ("ok", "There was no undervoltage and no throttling.")),
        ("1", ("warning", "The firmware reports undervoltage now.")),
        (
            "80000",
            (
                "warning",
                "The firmware has reported heat above the limit since the machine was switched on.",
            ),
        ),
    ],
)
def test_the_power_supply_is_what_the_firmware_says(
    bed: Bed, bits: str, found: tuple[str, str]
) -> None:
    bed.write("sys/devices/platform/soc/soc:firmware/get_throttled", bits)
    assert bed.found(machine.power) == [found]


@pytest.mark.parametrize(("temperature", "level"), [("60100", "ok"), ("81000", "warning")])
def test_heat_is_told(bed: Bed, temperature: str, level: str) -> None:
    bed.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal")
    bed.write("sys/class/thermal/thermal_zone0/temp", temperature)
    assert bed.found(machine.power)[1][0] == level


def test_a_read_only_card_with_errors_is_told(bed: Bed) -> None:
    bed.write("proc/mounts", "/dev/mmcblk0p2 / ext4 ro,noatime 0 0\n")
    assert "read-only" in bed.found(machine.disk)[1][1]
    bed.write("proc/mounts", "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n")
    bed.write("sys/fs/ext4/mmcblk0p2/errors_count", "2\n")
    level, message = bed.found(machine.disk)[1]
    assert (level, "has had 2 errors" in message) == ("warning", True)


@pytest.mark.parametrize(("free", "level"), [(19, "problem"), (150, "warning"), (500, "ok")])
def test_a_full_disk_is_told(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    monkeypatch.setattr(
        "labnode.system.pi.shutil.disk_usage",
        lambda _: type("Usage", (), {"total": 1000 << 20, "free": free << 20}),
    )
    assert bed.found(machine.disk)[0][0] == level
