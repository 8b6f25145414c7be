"""What a board file says of a serial port."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from labnode.drivers.buses.bus_pins import uart_boot_config, uart_claims
from labnode.drivers.framework.driver import Claim, Driver
from labnode.drivers.serial.find import UsbMatch, find_port
from labnode.drivers.serial.port import Frame
from labnode.schema import Doc, Duration, Size

LineEnding = Literal["none", "lf", "cr", "crlf"]


def _positive(number: int) -> int:
    if number <= 0:
        raise ValueError(f"expected a number of at least 1, not {number}")
    return number


def _stopbits(number: float) -> float:
    if number not in (1, 1.5, 2):
        raise ValueError(f"expected 1, 1.5 or 2, not {number:g}")
    return number


def _codec(name: str) -> str:
    try:
        if codecs.lookup(name)._is_text_encoding:
            return name
    except LookupError:
        pass
    raise ValueError(f"there is no encoding {name!r}; expected utf-8, latin-1, ascii ...")


Baudrate = Annotated[int, _positive]


@dataclass(kw_only=True)
class SerialOptions(Driver):
    """The options of a serial port, and what follows from them alone."""

    port: Annotated[
        str | None, Doc("The port's path, best one of /dev/serial/by-id or by-path.")
    ] = None
    match: Annotated[
        UsbMatch | None, Doc("Instead of the path: what the USB device says of itself.")
    ] = None
    baudrate: Annotated[Baudrate, Doc("Bits per second, for every student to begin with.")] = 115200
    baudrates: Annotated[list[Baudrate], Doc("The baud rates that students may choose from.")] = (
        field(default_factory=list)
    )
    bytesize: Annotated[Literal[5, 6, 7, 8], Doc("Data bits of a byte.")] = 8
    parity: Annotated[
        Literal["N", "E", "O", "M", "S"], Doc("The parity bit: none, even, odd, mark or space.")
    ] = "N"
    stopbits: Annotated[float, _stopbits, Doc("Stop bits after a byte: 1, 1.5 or 2.")] = 1
    xonxoff: Annotated[bool, Doc("Flow control by the characters XON and XOFF.")] = False
    rtscts: Annotated[bool, Doc("Flow control by the lines RTS and CTS.")] = False
    dtr_on_open: Annotated[
        bool, Doc("Whether DTR is active while the port is open; it resets most Arduinos.")
    ] = True
    encoding: Annotated[str, _codec, Doc("How texts become bytes and bytes texts.")] = "utf-8"
    line_ending: Annotated[LineEnding, Doc("What Enter sends at the end of a line.")] = "lf"
    history: Annotated[Size, Doc("How much a page that comes later sees of what was said.")] = 65536
    max_rate: Annotated[
        Size | None, Doc("Bytes per second that a page gets at most; more is counted as dropped.")
    ] = None
    write_timeout: Annotated[
        Duration, Doc("How long the device may take nothing before what waits is thrown away.")
    ] = 10.0
    read_only: Annotated[bool, Doc("Whether students see what is said and send nothing.")] = False

    def __post_init__(self) -> None:
        if (self.port is None) == (self.match is None):
            raise ValueError("say either port (a path) or match (a USB identity)")
        if self.max_rate is not None and self.max_rate < 100:
            raise ValueError("max_rate is at least 100 bytes per second; null is no limit")
        if not self.write_timeout:
            raise ValueError("write_timeout must be more than 0")
        if self.baudrate not in self.baudrates:
            self.baudrates = [self.baudrate, *self.baudrates]
        if self.read_only:
            self.commands = {  # type: ignore[misc]  # of this device alone
                name: replace(each, students=False) for name, each in self.commands.items()
            }

    def claims(self) -> list[Claim]:
        if self.port is None:
            return [Claim("port", f"with {self.match}")]
        return [Claim("port", self.port), *uart_claims(self.port)]

    def boot_config(self) -> list[str]:
        return [] if self.port is None else uart_boot_config(self.port)

    def find(self) -> str:
        """The path of the port; DeviceGone when it is not there."""
        if self.services.simulated:
            return self.port or "simulated"
        return find_port(self.port, self.match)

    @property
    def frame(self) -> Frame:
        return Frame(
            bytesize=self.bytesize,
            parity=self.parity,
            stopbits=self.stopbits,
            xonxoff=self.xonxoff,
            rtscts=self.rtscts,
            dtr_on_open=self.dtr_on_open,
        )

    def describe(self) -> dict[str, Any]:
        return {
            "baudrate": self.baudrate,
            "baudrates": self.baudrates,
            "line_ending": self.line_ending,
            "encoding": codecs.lookup(self.encoding).name,
            "read_only": self.read_only,
        }
