"""Which serial port: a path, or what the USB device says of itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from serial.tools.list_ports import comports

from labnode.errors import DeviceGone
from labnode.schema import Doc, shown


@dataclass(frozen=True)
class UsbId:
    """A vendor's or product's number: 0x2341, or the text "2341", which is hexadecimal too."""

    number: int

    @classmethod
    def from_yaml(cls, value: object) -> UsbId:
        try:
            number = int(value, 16) if isinstance(value, str) else value
        except ValueError:
            number = None
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 0xFFFF:
            raise ValueError(
                f'expected four hexadecimal digits such as 0x2341 or "2341", not {shown(value)}'
            )
        return cls(number)

    def __str__(self) -> str:
        return f"{self.number:04x}"


@dataclass(frozen=True, kw_only=True)
class UsbMatch:
    """What a USB device has to say of itself; `location` is the socket it is in ("1-1.2")."""

    vid: Annotated[UsbId | None, Doc("The vendor's number.")] = None
    pid: Annotated[UsbId | None, Doc("The product's number.")] = None
    serial: Annotated[str | None, Doc("The serial number.")] = None
    product: Annotated[str | None, Doc("The name of the product.")] = None
    manufacturer: Annotated[str | None, Doc("The name of the maker.")] = None
    interface: Annotated[
        str | None, Doc("The name of the interface, of a device with several ports.")
    ] = None
    location: Annotated[str | None, Doc("The socket that it is in, such as 1-1.2.")] = None

    def __post_init__(self) -> None:
        if all(getattr(self, field.name) is None for field in fields(self)):
            raise ValueError(
                "match needs at least one of vid, pid, serial, product, manufacturer, interface "
                "and location"
            )

    def __str__(self) -> str:
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{name} {value}" for name, value in named if value is not None)

    def fits(self, port: Any) -> bool:
        """Whether `port`, as pyserial lists it, is such a device."""
        numbers = ((self.vid, port.vid), (self.pid, port.pid))
        location = (port.location or "").partition(":")[0]  # "1-1.2:1.0" of several interfaces
        texts = (
            (self.serial, port.serial_number),
            (self.product, port.product),
            (self.manufacturer, port.manufacturer),
            (self.interface, port.interface),
            (self.location, port.location if ":" in (self.location or "") else location),
        )
        return all(wanted is None or wanted.number == found for wanted, found in numbers) and all(
            wanted is None or wanted == found for wanted, found in texts
        )


def find_port(path: str | None, match: UsbMatch | None) -> str:
    """The path of the port; DeviceGone when it is not there, or when two devices fit."""
    if path is not None:
        if not Path(path).exists():
            raise DeviceGone(f"there is no {path}")
        return path
    assert match is not None
    found = sorted(port.device for port in comports() if match.fits(port))
    if not found:
        raise DeviceGone(f"there is no USB serial port with {match}")
    if len(found) > 1:
        raise DeviceGone(
            f"{len(found)} USB serial ports have {match} ({', '.join(found)}); say more in 'match'"
        )
    return str(found[0])
