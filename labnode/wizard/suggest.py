"""What is plugged in, as YAML to paste into a board file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from labnode.board.config.board_file import BoardFile
from labnode.drivers.buses.bus_pins import HARDWARE_PWM
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
from labnode.wizard.wiring import wiring

_PLAIN = re.compile(r"/[A-Za-z0-9_./:+-]*[A-Za-z0-9]")  # a path

# By USB vendor and product (empty: any): what it is, and which driver programs it.
_KNOWN = {
    ("2341", "0043"): ("Arduino Uno", "avrdude"),
    ("2341", "0001"): ("Arduino Uno", "avrdude"),
    ("2341", "0010"): ("Arduino Mega 2560", "avrdude"),
    ("2341", "0042"): ("Arduino Mega 2560", "avrdude"),
    ("2341", "8036"): ("Arduino Leonardo", "avrdude"),
    ("1a86", "7523"): ("CH340 adapter, as on many Arduino and ESP boards", ""),
    ("1a86", "55d4"): ("CH9102 adapter, as on many ESP32 boards", "esptool"),
    ("10c4", "ea60"): ("CP210x adapter, as on many ESP boards", "esptool"),
    ("0403", "6001"): ("FT232 adapter", ""),
    ("0403", "6010"): ("FT2232, as on Digilent's FPGA boards", "openfpgaloader"),
    ("0403", "6014"): ("FT232H", "openfpgaloader"),
    ("09fb", "6001"): ("USB-Blaster", "openfpgaloader"),
    ("0483", "374b"): ("ST-Link of a Nucleo or Discovery board", "openocd"),
    ("0483", "374e"): ("ST-Link V3", "openocd"),
    ("0483", "374f"): ("ST-Link V3", "openocd"),
    ("0483", "3748"): ("ST-Link V2", "openocd"),
    ("0483", "df11"): ("STM32 in its boot loader", "dfu_util"),
    ("2e8a", "0003"): ("RP2040 in its boot loader", "picotool"),
    ("2e8a", "000a"): ("Raspberry Pi Pico", "picotool"),
    ("2e8a", "000c"): ("Raspberry Pi Debug Probe", "openocd"),
    ("303a", "1001"): ("ESP32 with USB of its own", "esptool"),
    ("16c0", "05dc"): ("USBasp", "avrdude"),
    ("1366", ""): ("J-Link", "openocd"),
}


def suggest(root: Path, board: BoardFile | None = None) -> str:
    """Comments that list what there is, and a device for each thing that `board` lacks."""
    ports, seen, sensors = serial_ports(root), cameras(root), thermometers(root)
    used = _texts_of(board)
    lines = [
        *_listed("Serial ports", (f"{port.path}  {_what(port)}" for port in ports)),
        *_listed("Programmers and boards on USB", _programmers(usb_devices(root))),
        *_listed("Cameras", (f"{camera.path}  {camera.name}" for camera in seen)),
        *_listed("1-Wire thermometers", map(_reading, sensors)),
        *_listed("Free pins", _free_pins(root, board)),
    ]
    found = _devices(ports, seen, sensors)
    new = [(name, options) for name, options in found if list(options.values())[1] not in used]
    if not new:
        return "\n".join([*lines, "# There is nothing else to suggest."]) + "\n"
    lines += ["# To paste into a board file; the names are yours to choose.", "devices:"]
    taken = set(board.devices) if board else set()
    for wanted, options in new:
        name = _free_name(wanted, taken)
        lines += [f"  {name}:", *(f"    {key}: {_yaml(key, options[key])}" for key in options)]
    return "\n".join(lines) + "\n"


def _devices(
    ports: Iterable[SerialPort], cameras: Iterable[Camera], sensors: Iterable[Thermometer]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Devices to suggest: a name, and options of which the second tells if a board has it."""
    for port in ports:
        options = {"driver": "serial", "port": port.path, "baudrate": 115200}
        yield "console", options | ({"label": _name(port.usb)} if port.usb else {})
    for camera in cameras:
        yield "camera", {"driver": "mjpeg", "device": camera.path, "label": camera.name}
    for sensor in sensors:
        yield "temp", {"driver": "ds18b20", "id": sensor.id, "unit": "°C"}


def _known(usb: UsbDevice) -> tuple[str, str]:
    return _KNOWN.get((usb.vendor, usb.product)) or _KNOWN.get((usb.vendor, "")) or ("", "")


def _name(usb: UsbDevice) -> str:
    return _known(usb)[0].partition(",")[0] or usb.name or usb.ids


def _what(port: SerialPort) -> str:
    if port.usb is None:
        return "the Pi's own, on GPIO14 and GPIO15"
    words, _ = _known(port.usb)
    hint = "" if port.usb.serial else "; a second one would have the same name"
    return f"{words + ': ' if words else ''}{port.usb}{hint if 'by-id' in port.path else ''}"


def _programmers(devices: Iterable[UsbDevice]) -> Iterator[str]:
    for usb in devices:
        words, driver = _known(usb)
        if driver:
            yield f"{words}: {usb}; programmed by the driver {driver}"


def _reading(sensor: Thermometer) -> str:
    return sensor.id if sensor.celsius is None else f"{sensor.id}  now {sensor.celsius:.1f} °C"


def _free_pins(root: Path, board: BoardFile | None) -> Iterator[str]:
    free = [pin.number for pin in wiring(board) if pin.is_free]
    buses = buses_switched_on(root)
    taken = {pin for pins in buses.values() for pin in pins}
    yield _pins(pin for pin in free if pin not in taken)
    if fast := [pin for pin in free if pin in HARDWARE_PWM and pin not in taken]:
        yield f"of these with hardware PWM: {_pins(fast)}"
    for bus, pins in buses.items():
        if any(pin in free for pin in pins):
            yield f"taken by Linux for the {bus}: {_pins(pin for pin in pins if pin in free)}"


def _pins(numbers: Iterable[int]) -> str:
    return ", ".join(f"GPIO{number}" for number in sorted(numbers)) or "none"


def _listed(title: str, entries: Iterable[str]) -> list[str]:
    found = ["".join(filter(str.isprintable, entry)) for entry in entries] or ["none"]
    return [f"# {title}", *(f"#   {entry}" for entry in found), "#"]


def _texts_of(board: BoardFile | None) -> set[Any]:
    """Every text among the options of a board: ports, sensors' ids."""
    drivers = board.devices.values() if board else ()
    values = (getattr(driver, field.name) for driver in drivers for field in fields(driver))
    return {str(value) for value in values if isinstance(value, str | Path) and str(value)}


def _free_name(wanted: str, taken: set[str]) -> str:
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}{number}"
    taken.add(name)
    return name


def _yaml(key: str, value: Any) -> str:
    """A value as YAML; text that could be read as something else is quoted."""
    if isinstance(value, str) and key != "driver" and not _PLAIN.fullmatch(value):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
