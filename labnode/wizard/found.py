"""What is plugged into this machine, from /dev and /sys."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BUS_FILES = {  # what exists when config.txt switches the bus on
    "I2C bus 1": ("dev/i2c-1", (2, 3)),
    "SPI bus 0": ("dev/spidev0.0", (7, 8, 9, 10, 11)),
    "serial port": ("dev/serial0", (14, 15)),
    "1-Wire bus": ("sys/bus/w1/devices/w1_bus_master1", (4,)),  # the default pin
}
_THERMOMETERS = ("10", "22", "28", "3b", "42")  # families of 1-Wire parts


@dataclass(frozen=True)
class UsbDevice:
    """A USB device's own description: any text, but printable."""

    vendor: str  # "2341"
    product: str  # "0043"
    maker: str = ""
    name: str = ""
    serial: str = ""

    @property
    def ids(self) -> str:
        return f"{self.vendor}:{self.product}"

    def __str__(self) -> str:
        words = " ".join(filter(None, (self.maker, self.name))) or "a USB device"
        number = f", serial number {self.serial}" if self.serial else ", without a serial number"
        return f"{words} ({self.ids}{number})"


@dataclass(frozen=True)
class SerialPort:
    """A serial port, its stable path, and the device at its other end."""

    path: str
    tty: str
    usb: UsbDevice | None


@dataclass(frozen=True)
class Camera:
    path: str
    name: str


@dataclass(frozen=True)
class Thermometer:
    id: str
    celsius: float | None  # now


def serial_ports(root: Path) -> list[SerialPort]:
    """Those of USB, by id; by path where two devices have the same id. Then the header's."""
    ports = []
    names = _links(root / "dev/serial/by-path") | _links(root / "dev/serial/by-id")
    for tty in sorted(_names(root / "sys/class/tty")):
        if tty.startswith(("ttyUSB", "ttyACM")):
            usb = _usb_above(root, root / "sys/class/tty" / tty / "device")
            ports.append(SerialPort(names.get(tty, f"/dev/{tty}"), tty, usb))
    if (root / "dev/serial0").exists():
        ports.append(SerialPort("/dev/serial0", "serial0", None))
    return ports


def usb_devices(root: Path) -> list[UsbDevice]:
    """All USB devices but hubs, in the order of the sockets."""
    found = (_usb_at(path) for path in sorted((root / "sys/bus/usb/devices").glob("*")))
    return [usb for usb in found if usb is not None and usb.vendor != "1d6b"]  # Linux's own hubs


def cameras(root: Path) -> list[Camera]:
    found = []
    for tty, path in sorted(_links(root / "dev/v4l/by-id").items()):
        if path.endswith("-video-index0"):  # the others are for metadata
            name = _text(root / "sys/class/video4linux" / tty / "name")
            found.append(Camera(path, name or "a camera"))
    return found


def thermometers(root: Path) -> list[Thermometer]:
    """The 1-Wire sensors that are thermometers; reading one takes up to a second."""
    found = []
    for path in sorted((root / "sys/bus/w1/devices").glob("??-*")):
        if path.name.partition("-")[0] in _THERMOMETERS:
            text = _text(path / "temperature")
            celsius = int(text) / 1000 if text.lstrip("-").isdecimal() else None
            found.append(Thermometer(path.name, celsius))
    return found


def buses_switched_on(root: Path) -> dict[str, tuple[int, ...]]:
    """The pins that Linux uses for buses: {"I2C bus 1": (2, 3)}."""
    return {bus: pins for bus, (file, pins) in _BUS_FILES.items() if (root / file).exists()}


def _links(directory: Path) -> dict[str, str]:
    """{"ttyACM0": "/dev/serial/by-id/..."} of a directory of links."""
    links = {}
    for name in sorted(_names(directory)):
        with suppress(OSError):
            target = (directory / name).readlink().name
            links[target] = f"/dev/{directory.parent.name}/{directory.name}/{name}"
    return links


def _usb_above(root: Path, start: Path) -> UsbDevice | None:
    """The USB device that an interface belongs to."""
    top = (root / "sys").resolve()
    start = start.resolve()
    for path in (start, *start.parents):
        if not path.is_relative_to(top):
            return None
        if usb := _usb_at(path):
            return usb
    return None


def _usb_at(path: Path) -> UsbDevice | None:
    vendor, product = _text(path / "idVendor"), _text(path / "idProduct")
    if not vendor or not product:
        return None
    words = (_text(path / name) for name in ("manufacturer", "product", "serial"))
    return UsbDevice(vendor, product, *words)


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except OSError:
        return []


def _text(path: Path) -> str:
    """The content of a file, on one line, printable."""
    try:
        text = path.read_bytes()[:200].decode("utf-8", "replace")
    except OSError:
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
