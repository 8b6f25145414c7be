"""An instrument: one connection, which any number of devices of the board share."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from labnode.drivers.framework.driver import (
    Claim,
    Driver,
    Ref,
    Requires,
    Widget,
    private_command,
)
from labnode.drivers.framework.io_thread import IoLoop
from labnode.drivers.framework.registry import register
from labnode.drivers.instruments.conversation import Conversation, InstrumentStatus, Speaker
from labnode.drivers.instruments.dialogue import Dialogue
from labnode.drivers.instruments.formats import Phrase
from labnode.drivers.instruments.wire import LineWire, TcpWire, TextWire, UsbtmcWire, VisaWire
from labnode.drivers.serial.driver import Serial
from labnode.drivers.serial.options import UsbId
from labnode.errors import DeviceGone, TooLate
from labnode.locale import Message, Wording
from labnode.schema import Between, Doc, Duration, all_of, unlike

T = TypeVar("T")

_ENDINGS = {"lf": "\n", "cr": "\r", "crlf": "\r\n"}
_LONGEST_WAIT = 60.0  # seconds, of Python and sequences


class HostPort(str):
    """A host and a TCP port: 192.168.1.20:5025."""

    json_schema = {"type": "string", "pattern": "^[^ :]+:[0-9]+$"}  # noqa: RUF012

    @classmethod
    def from_yaml(cls, value: object) -> HostPort:
        found = re.fullmatch(r"([^\s:/]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})", str(value))
        if not isinstance(value, str) or found is None or not 0 < int(found[2]) <= 65535:
            raise ValueError(unlike(Message("driver.a-host"), value))
        return cls(value)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.rpartition(":")
        return host.strip("[]"), int(port)


class SerialRef(Ref):
    """An option that names a serial device of the board."""

    def mistake(self, device: Driver) -> str | Wording:
        if isinstance(device, Serial):
            return ""
        return Message("driver.no-serial-port", name=f"'{self}'", kind=device.kind)


@dataclass(frozen=True, kw_only=True)
class UsbtmcMatch:
    """The identity of a USB instrument; all that is given has to fit."""

    vid: Annotated[UsbId | None, Doc("The vendor's number.")] = None
    pid: Annotated[UsbId | None, Doc("The product's number.")] = None
    serial: Annotated[str | None, Doc("The serial number.")] = None

    root: ClassVar[Path] = Path("/sys/class/usbmisc")

    def __post_init__(self) -> None:
        if (self.vid, self.pid, self.serial) == (None, None, None):
            raise ValueError(Message("driver.usbtmc"))

    def __str__(self) -> str:
        named = (("vid", self.vid), ("pid", self.pid), ("serial", self.serial))
        return ", ".join(f"{name} {value}" for name, value in named if value is not None)

    def find(self) -> str:
        """The file of the only instrument that fits; DeviceGone for none or several."""
        found = [path.name for path in sorted(self.root.glob("usbtmc*")) if self._fits(path)]
        if len(found) != 1:
            many = f"{len(found)} USB instruments have" if found else "there is no USB instrument"
            raise DeviceGone(f"{many}{'' if found else ' with'} {self}")
        return f"/dev/{found[0]}"

    def _fits(self, path: Path) -> bool:
        above = (path / "device").resolve().parent  # the interface's device
        numbers = (("idVendor", self.vid), ("idProduct", self.pid))
        return all(
            wanted is None or _read(above / name) == str(wanted) for name, wanted in numbers
        ) and self.serial in (None, _read(above / "serial"))


@dataclass(frozen=True, kw_only=True)
class InstrumentScript:
    """An instrument in a simulation: what Python and sequences are answered."""

    answers: Annotated[dict[str, str], Doc("Answers to questions, word for word; else 0.")] = field(
        default_factory=dict
    )


@register("instrument")
@dataclass(kw_only=True)
class Instrument(Driver):
    """The connection to an instrument that is spoken to in text, such as SCPI.

    It needs one of `tcp`, `serial`, `usbtmc` and `visa`. Devices that name it, of the drivers
    `reading`, `setpoint`, `instrument_switch` and `waveform`, take places on it. An instrument that
    is off is not connected; the board starts all the same, and labnode tries again, every 5 s at
    least. Its value is whether it is connected.

    Example::

        supply: {driver: instrument, tcp: 192.168.1.20:5025, idn: DP832, access: system}
    """

    widget: ClassVar[Widget] = "lamp"
    script: ClassVar[type | None] = InstrumentScript
    requires: ClassVar[Requires] = Requires(groups=("plugdev",))  # of /dev/usbtmc0

    tcp: Annotated[HostPort | None, Doc("Its host and TCP port, often 5025.")] = None
    serial: Annotated[SerialRef | None, Doc("The serial device of the board that it is on.")] = None
    usbtmc: Annotated[
        UsbtmcMatch | str | None, Doc("Its file, /dev/usbtmc0, or vid, pid and serial number.")
    ] = None
    visa: Annotated[
        Phrase | None, Doc("Its VISA name; needs the extra visa (PyVISA with pyvisa-py).")
    ] = None
    idn: Annotated[
        str | None, Doc("A part of its answer to *IDN?, without which it is not used.")
    ] = None
    on_connect: Annotated[list[Phrase], Doc("What is sent when it is connected, such as *CLS.")] = (
        field(default_factory=list)
    )
    errors: Annotated[
        str, Doc("The question for the next error, after each command; empty where it has none.")
    ] = "SYST:ERR?"
    timeout: Annotated[Duration, Between(0.1, 10), Doc("How long to wait for an answer.")] = 2.0
    line_ending: Annotated[Literal["lf", "cr", "crlf"], Doc("What ends its lines.")] = "lf"

    def __post_init__(self) -> None:
        super().__post_init__()
        ways = [name for name in ("tcp", "serial", "usbtmc", "visa") if getattr(self, name)]
        if len(ways) != 1:
            hint = Message("driver.not-given", names=all_of(ways)) if ways else ""
            raise ValueError(Message("driver.one-connection", hint=hint))

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._connection: Conversation | None = None
        self._own: Speaker | None = None

    def claims(self) -> list[Claim]:
        way = str(self.tcp or self.serial or self.usbtmc or self.visa)
        called = Message("driver.claim-instrument", way=way)
        return [*super().claims(), Claim("instrument at", way, called=called)]

    def extras(self) -> Collection[str]:
        return ["visa"] if self.visa else []

    def open(self) -> None:
        if not self.services.simulated:
            self._connection = Conversation(
                self.name, self.services, self._open_wire, self._greet, self.services.publish
            )
            self._own = self.speaker(self.name, lambda: None, lambda: None)
            self._own.start()
            self._connection.start()
        self.opened()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.stop()

    def make_safe(self) -> None:
        """A connection has no level; its outputs are devices of their own."""

    def speaker(
        self,
        name: str,
        changed: Callable[[], None],
        lost: Callable[[], None],
        *,
        first: bool = False,
    ) -> Speaker:
        """A place on the connection for a device called `name`; see Speaker."""
        if self._connection is None:
            raise DeviceGone(f"'{self.name}' is not open")
        clock = self.services.clock
        return Speaker(self._connection, name, clock, changed=changed, lost=lost, first=first)

    @property
    def status(self) -> InstrumentStatus:
        """How the connection is, any thread."""
        return (
            InstrumentStatus(connected=True)
            if self._connection is None
            else self._connection.status
        )

    @property
    def value(self) -> bool:
        return self.status.connected

    def state(self) -> dict[str, Any]:
        status = self.status
        optional: Mapping[str, Any] = {"identity": status.identity, "error": status.error}
        given = {name: text for name, text in optional.items() if text is not None}
        return {"value": status.connected, "connected": status.connected, **given}

    @private_command
    def write(self, text: str) -> None:
        """Send a line, past the limits of its devices; DeviceError with what it complains of."""

        def write() -> None:
            self._dialogue.write(text)
            self._dialogue.confirm()

        self._converse(write, None)

    @private_command
    def query(self, text: str) -> str:
        """The line that it answers to a question."""
        answers: dict[str, str] = {} if self.scripted is None else self.scripted.answers
        return self._converse(lambda: self._dialogue.query(text), answers.get(text, "0"))

    @property
    def _dialogue(self) -> Dialogue:
        assert self._own is not None
        return self._own.dialogue

    def _converse(self, job: Callable[[], T], simulated: T) -> T:
        """Have the io thread do something, and let others use the hardware thread meanwhile."""
        if self._connection is None:
            return simulated
        assert self._own is not None
        results: list[T] = []
        errors: list[Exception] = []
        self._own.submit(job, results.append, errors.append)
        self.services.wait(_LONGEST_WAIT, lambda: bool(results or errors))
        if errors:
            raise errors[0]
        if not results:
            raise TooLate(f"'{self.name}' did not answer.")
        return results[0]

    def _open_wire(self, io: IoLoop) -> TextWire:
        clock = self.services.clock
        if self.tcp is not None:
            return TcpWire(*self.tcp.address, io, clock, self.timeout)
        if self.serial is not None:
            port = self.services.device(self.serial)
            assert isinstance(port, Serial)
            return LineWire(port.line, io, clock)
        if self.visa is not None:
            return VisaWire(self.visa, self.timeout)
        path = self.usbtmc.find() if isinstance(self.usbtmc, UsbtmcMatch) else self.usbtmc
        assert path is not None
        return UsbtmcWire(path, self.timeout)

    def _greet(self, wire: TextWire) -> tuple[Dialogue, str | None]:
        dialogue = Dialogue(
            wire,
            self.services.clock,
            seconds=self.timeout,
            ending=_ENDINGS[self.line_ending],
            errors=self.errors or None,
        )
        identity = None
        if self.idn is not None:
            identity = dialogue.query("*IDN?")
            if self.idn.lower() not in identity.lower():
                raise DeviceGone(f"it says that it is {identity[:80]!r}, not {self.idn!r}")
        for phrase in self.on_connect:
            dialogue.write(phrase)
        dialogue.take_errors()  # what happened before is nobody's command
        return dialogue, identity


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
