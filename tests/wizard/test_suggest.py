"""What is plugged in, found and written as YAML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.board.config.board_file import BoardFile
from labnode.schema import parse_yaml
from labnode.wizard.found import (
    Camera,
    SerialPort,
    Thermometer,
    UsbDevice,
    buses_switched_on,
    cameras,
    serial_ports,
    thermometers,
    usb_devices,
)
from labnode.wizard.suggest import suggest

from .machine import Machine

Board = Callable[[str], BoardFile]

UNO = ("2341:0043", "Arduino (www.arduino.cc)", "", "75735303530351F0A1B1")


def test_a_serial_port_is_found_by_id_with_its_usb_identity(machine: Machine) -> None:
    machine.serial("ttyACM0", *UNO)
    (port,) = serial_ports(machine.root)
    usb = UsbDevice("2341", "0043", "Arduino (www.arduino.cc)", "", "75735303530351F0A1B1")
    assert port == SerialPort(
        "/dev/serial/by-id/usb-Arduino__www.arduino.cc__75735303530351F0A1B1-if00", "ttyACM0", usb
    )
    assert str(usb) == "Arduino (www.arduino.cc) (2341:0043, serial number 75735303530351F0A1B1)"


def test_of_two_devices_with_the_same_id_the_first_is_found_by_its_socket(
    machine: Machine,
) -> None:
    machine.serial("ttyUSB0", "1a86:7523", name="USB Serial")
    machine.serial("ttyUSB1", "1a86:7523", name="USB Serial")
    first, second = serial_ports(machine.root)
    assert first.path == "/dev/serial/by-path/platform-fd500000.pcie-usb-0:1.1:1.0"
    assert second.path == "/dev/serial/by-id/usb-USB_Serial-if00"
    assert "a second one would have the same name" in suggest(machine.root)


def test_a_port_without_links_is_found_by_its_node(machine: Machine) -> None:
    machine.serial("ttyUSB0", "0403:6001", name="FT232R")
    for link in (machine.root / "dev/serial").glob("*/*"):
        link.unlink()
    assert [port.path for port in serial_ports(machine.root)] == ["/dev/ttyUSB0"]


def test_the_serial_port_of_the_header_is_found_where_it_is_switched_on(machine: Machine) -> None:
    assert serial_ports(machine.root) == []
    machine.node("serial0")
    assert serial_ports(machine.root) == [SerialPort("/dev/serial0", "serial0", None)]
    assert "/dev/serial0  the Pi's own, on GPIO14 and GPIO15" in suggest(machine.root)


def test_devices_on_usb_are_found_without_the_hubs_of_linux(machine: Machine) -> None:
    machine.usb("0403:6010", "Digilent", "Digilent USB Device", "210183A4")
    machine.usb("046d:c31c", "Logitech", "USB Keyboard")
    assert [usb.ids for usb in usb_devices(machine.root)] == ["0403:6010", "046d:c31c"]
    text = suggest(machine.root)
    assert "FT2232, as on Digilent's FPGA boards: Digilent Digilent USB Device (0403:6010" in text
    assert "programmed by the driver openfpgaloader" in text
    assert "Keyboard" not in text


def test_a_camera_is_found_once(machine: Machine) -> None:
    machine.camera("HD Webcam")
    assert cameras(machine.root) == [
        Camera("/dev/v4l/by-id/usb-HD_Webcam-video-index0", "HD Webcam")
    ]


def test_thermometers_are_found_with_what_they_measure_and_nothing_else_on_the_wire(
    machine: Machine,
) -> None:
    machine.one_wire("28-0316a4a1f2ff", "23125")
    machine.one_wire("28-000000000bad", None)
    machine.one_wire("10-000802cc045a", "-1500")
    machine.one_wire("3a-000000123456", None)  # a switch
    assert thermometers(machine.root) == [
        Thermometer("10-000802cc045a", -1.5),
        Thermometer("28-000000000bad", None),
        Thermometer("28-0316a4a1f2ff", 23.125),
    ]
    assert "#   28-0316a4a1f2ff  now 23.1 °C" in suggest(machine.root)


def test_pins_are_free_that_neither_the_board_nor_linux_has(machine: Machine, board: Board) -> None:
    machine.node("i2c-1")
    machine.node("spidev0.0")
    assert buses_switched_on(machine.root) == {
        "I2C bus 1": (2, 3),
        "SPI bus 0": (7, 8, 9, 10, 11),
    }
    text = suggest(machine.root, board("  a: {driver: led, pin: 12}\n  b: {driver: led, pin: 9}"))
    assert "#   GPIO4, GPIO5, GPIO6, GPIO13, GPIO14, GPIO15, GPIO16, GPIO17, GPIO18," in text
    assert "of these with hardware PWM: GPIO13, GPIO18, GPIO19" in text
    assert "taken by Linux for the I2C bus 1: GPIO2, GPIO3\n" in text
    assert "taken by Linux for the SPI bus 0: GPIO7, GPIO8, GPIO10, GPIO11\n" in text


def test_on_a_machine_with_nothing_it_says_so(machine: Machine) -> None:
    text = suggest(machine.root)
    assert text.count("#   none\n") == 4
    assert text.endswith("# There is nothing else to suggest.\n")
    assert suggest(Path("/nowhere")).count("#   none\n") == 4


def everything(machine: Machine) -> str:
    machine.serial("ttyACM0", *UNO)
    machine.serial("ttyACM1", "ffff:0001", "Evil\nmaker", 'on: "x" # {[&*!%', "a\x07b")
    machine.serial("ttyUSB0", "1a86:7523", name="USB Serial")
    machine.camera("HD: Webcam # 1")
    machine.one_wire("28-0316a4a1f2ff", "23125")
    return suggest(machine.root)


def test_what_it_prints_is_yaml_with_a_name_for_everything(machine: Machine) -> None:
    devices = parse_yaml(everything(machine), "s.yaml").value["devices"]
    assert list(devices) == ["console", "console2", "console3", "camera", "temp"]
    assert devices["console"] == {
        "driver": "serial",
        "port": "/dev/serial/by-id/usb-Arduino__www.arduino.cc__75735303530351F0A1B1-if00",
        "baudrate": 115200,
        "label": "Arduino Uno",
    }
    assert devices["console2"]["label"] == 'on: "x" # {[&*!%'
    assert devices["camera"]["label"] == "HD: Webcam # 1"
    assert devices["temp"] == {"driver": "ds18b20", "id": "28-0316a4a1f2ff", "unit": "°C"}


def test_what_it_prints_is_a_board(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "suggested.yaml"
    path.write_text("schema: 1\n" + everything(machine))
    assert len(load_board(path).devices) == 5


@pytest.mark.parametrize("name", ["console", "temp"])
def test_a_name_that_the_board_has_is_not_taken_twice(
    machine: Machine, board: Board, name: str
) -> None:
    everything(machine)
    text = suggest(machine.root, board(f"  {name}: {{driver: led, pin: 4}}"))
    devices = parse_yaml(text, "s.yaml").value["devices"]
    assert name not in devices
    assert f"{name}2" in devices


def test_what_the_board_has_is_not_suggested_again(machine: Machine, board: Board) -> None:
    devices = everything(machine).partition("devices:\n")[2]
    text = suggest(machine.root, board(devices))
    assert text.endswith("# There is nothing else to suggest.\n")
