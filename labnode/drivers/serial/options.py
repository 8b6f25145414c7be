"""The options of a serial port, and how it is found and opened with them."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from serial.tools.list_ports import comports

from labnode.drivers.buses.bus_pins import port_claim, uart_boot_config, uart_claims
from labnode.drivers.framework.driver import Claim, Driver
from labnode.drivers.serial.port import Frame, Port, TtyPort
from labnode.drivers.serial.simulated import ScriptedPort, SerialScript
from labnode.errors import DeviceGone
from labnode.locale import Message
from labnode.schema import Doc, Duration, Size, any_of, unlike

LineEnding = Literal["none", "lf", "cr", "crlf"]


def _positive(number: int) -> int:
    if number <= 0:
        limits = Message("yaml.at-least", low=1)
        raise ValueError(Message("yaml.outside", limits=limits, value=number))
    return number


def _stopbits(number: float) -> float:
    if number not in (1, 1.5, 2):
        expected = any_of(["1", "1.5", "2"])
        raise ValueError(Message("yaml.unlike", expected=expected, value=f"{number:g}"))
    return number


def _codec(name: str) -> str:
    try:
        if codecs.lookup(name)._is_text_encoding:
            return name
    except LookupError:
        pass
    raise ValueError(Message("driver.no-encoding", name=repr(name)))


Baudrate = Annotated[int, _positive]


@dataclass(kw_only=True)
class SerialOptions(Driver):
    script: ClassVar[type | None] = SerialScript

    port: Annotated[
        str | None, Doc("The port's path, preferably in /dev/serial/by-id or by-path.")
    ] = None
    match: Annotated[
        UsbMatch | None, Doc("Instead of the path: the identity of the USB device.")
    ] = None
    baudrate: Annotated[Baudrate, Doc("Bits per second at the start of every session.")] = 115200
    baudrates: Annotated[list[Baudrate], Doc("The baud rates that students may choose from.")] = (
        field(default_factory=list)
    )
    bytesize: Annotated[Literal[5, 6, 7, 8], Doc("Data bits per byte.")] = 8
    parity: Annotated[
        Literal["N", "E", "O", "M", "S"], Doc("The parity bit: none, even, odd, mark or space.")
    ] = "N"
    stopbits: Annotated[float, _stopbits, Doc("Stop bits after a byte: 1, 1.5 or 2.")] = 1
    xonxoff: Annotated[bool, Doc("Flow control with the characters XON and XOFF.")] = False
    rtscts: Annotated[bool, Doc("Flow control with the lines RTS and CTS.")] = False
    dtr_on_open: Annotated[
        bool, Doc("Whether DTR is active while the port is open; it resets most Arduinos.")
    ] = True
    encoding: Annotated[str, _codec, Doc("The character encoding of texts.")] = "utf-8"
    line_ending: Annotated[LineEnding, Doc("What Enter sends at the end of a line.")] = "lf"
    history: Annotated[Size, Doc("How much earlier output a newly opened page shows.")] = 65536
    max_rate: Annotated[
        Size | None, Doc("Bytes per second sent to a page; the rest is dropped and counted.")
    ] = None
    write_timeout: Annotated[
        Duration,
        Doc("How long to wait for a device that accepts no data before unsent data is discarded."),
    ] = 10.0
    read_only: Annotated[bool, Doc("Whether students see the output and send nothing.")] = False

    def __post_init__(self) -> None:
        if (self.port is None) == (self.match is None):
            raise ValueError(Message("driver.port-or-match"))
        if self.max_rate is not None and self.max_rate < 100:
            raise ValueError(Message("driver.max-rate"))
        if not self.write_timeout:
            raise ValueError(Message("driver.write-timeout"))
        if self.baudrate not in self.baudrates:
            self.baudrates = [self.baudrate, *self.baudrates]
        if self.read_only:
            self.commands = {  # type: ignore[misc]  # of this device alone
                name: replace(each, students=False) for name, each in self.commands.items()
            }

    def claims(self) -> list[Claim]:
        if self.port is None:
            match = str(self.match)
            called = Message("driver.claim-port-with", match=match)
            return [Claim("port", f"with {match}", called=called)]
        return [port_claim(self.port), *uart_claims(self.port)]

    def boot_config(self) -> list[str]:
        return [] if self.port is None else uart_boot_config(self.port)

    def describe(self) -> dict[str, Any]:
        return {
            "baudrate": self.baudrate,
            "baudrates": self.baudrates,
            "line_ending": self.line_ending,
            "encoding": codecs.lookup(self.encoding).name,
            "read_only": self.read_only,
        }

    def find(self) -> str:
        """The path of the port; DeviceGone when it is not there, or when two devices fit."""
        if self.services.simulated:
            return self.port or "simulated"
        if self.port is None:
            assert self.match is not None
            return self.match.find()
        if not Path(self.port).exists():
            raise DeviceGone(f"there is no {self.port}")
        return self.port

    def open_port(self, path: str, baudrate: int) -> Port:
        """DeviceGone says why it cannot be opened."""
        if self.services.simulated:
            script = self.scripted or SerialScript(echo=True)
            return ScriptedPort(path, script, self.encoding, self.services.clock)
        frame = Frame(
            bytesize=self.bytesize,
            parity=self.parity,
            stopbits=self.stopbits,
            xonxoff=self.xonxoff,
            rtscts=self.rtscts,
            dtr_on_open=self.dtr_on_open,
        )
        return TtyPort(path, baudrate, frame)


@dataclass(frozen=True, kw_only=True)
class UsbMatch:
    """The identity of a USB device; all that is given has to fit."""

    vid: Annotated[UsbId | None, Doc("The vendor's number.")] = None
    pid: Annotated[UsbId | None, Doc("The product's number.")] = None
    serial: Annotated[str | None, Doc("The serial number.")] = None
    product: Annotated[str | None, Doc("The name of the product.")] = None
    manufacturer: Annotated[str | None, Doc("The name of the manufacturer.")] = None
    interface: Annotated[
        str | None, Doc("The name of the interface, if the device has several ports.")
    ] = None
    location: Annotated[str | None, Doc("The USB port that it is plugged into, such as 1-1.2.")] = (
        None
    )

    def __post_init__(self) -> None:
        if all(getattr(self, field.name) is None for field in fields(self)):
            raise ValueError(Message("driver.match"))

    def __str__(self) -> str:
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{name} {value}" for name, value in named if value is not None)

    def find(self) -> str:
        """The path of the only port that fits; DeviceGone for none or several."""
        found = sorted(port.device for port in comports() if self.fits(port))
        if not found:
            raise DeviceGone(f"there is no USB serial port with {self}")
        if len(found) > 1:
            raise DeviceGone(
                f"{len(found)} USB serial ports have {self} ({', '.join(found)}); "
                "say more in 'match'"
            )
        return str(found[0])

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
            raise ValueError(unlike(Message("driver.a-usb-id"), value))
        return cls(number)

    def __str__(self) -> str:
        return f"{self.number:04x}"
