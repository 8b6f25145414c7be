"""What the kernel's own drivers measure and drive: converters and sensors of Linux's IIO.

The files and their units are those of Documentation/ABI/testing/sysfs-bus-iio in the kernel's
sources: a value is (raw + offset) * scale.
"""

from __future__ import annotations

import errno
import math
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from labnode.drivers.buses import iio_buffer
from labnode.drivers.framework.driver import Claim, Driver
from labnode.drivers.framework.output import NumberOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.samples import Samples
from labnode.drivers.framework.slow import SlowOutput, SlowSensor
from labnode.errors import DeviceError, DeviceGone
from labnode.locale import Joined, Message
from labnode.schema import Between, Doc, Duration, unlike

ROOT = Path("/sys/bus/iio/devices")

_MILLI = 0.001
_UNITS = {  # of a kind of channel: its unit here, and how much of it the kernel's unit is
    "accel": ("m/s²", 1.0),
    "altvoltage": ("V", _MILLI),
    "angl": ("rad", 1.0),
    "anglvel": ("rad/s", 1.0),
    "capacitance": ("nF", 1.0),
    "concentration": ("%", 1.0),
    "current": ("A", _MILLI),
    "distance": ("m", 1.0),
    "electricalconductivity": ("S/m", 1.0),
    "energy": ("J", 1.0),
    "gravity": ("m/s²", 1.0),
    "humidityrelative": ("%", _MILLI),
    "illuminance": ("lx", 1.0),
    "incli": ("°", 1.0),
    "magn": ("G", 1.0),
    "massconcentration": ("µg/m³", 1.0),
    "power": ("W", _MILLI),
    "pressure": ("kPa", 1.0),
    "resistance": ("Ω", 1.0),
    "temp": ("°C", _MILLI),
    "velocity": ("m/s", 1.0),
    "voltage": ("V", _MILLI),
}
_OVERLAY = re.compile(r"[A-Za-z0-9][\w.-]*(,[\w.+-]+(=[\w.,:+-]+)?)*")


class IioChannel(str):
    """A channel of an IIO device: voltage0, voltage0-voltage1, temp, accel_x."""

    pattern = r"[a-z]+[0-9]*(-[a-z]+[0-9]+)?(_[a-z0-9_]+)?"
    json_schema: ClassVar[dict[str, object]] = {"type": "string", "pattern": f"^{pattern}$"}

    @classmethod
    def from_yaml(cls, value: object) -> IioChannel:
        if isinstance(value, str) and re.fullmatch(cls.pattern, value):
            for part in ("in_", "out_"):
                if value.startswith(part):
                    raise ValueError(_without(part, value.removeprefix(part)))
            for part in ("_raw", "_input", "_scale"):
                if value.endswith(part):
                    raise ValueError(_without(part, value.removesuffix(part)))
            return cls(value)
        expected, hint = Message("driver.an-iio-channel"), Message("driver.iio-files")
        raise ValueError(Joined(unlike(expected, value), hint))

    @property
    def kind(self) -> str:
        return re.split(r"[^a-z]", self)[0]

    @property
    def shared(self) -> str:
        """The name of what all channels like it have in common: "voltage", "voltage-voltage"."""
        plain = re.sub(r"_[a-z0-9_]+$", "", self)
        return re.sub(r"[0-9]", "", plain)


def _without(part: str, rest: str) -> Message:
    return Message("driver.without", expected=repr(rest), part=repr(part))


def _overlay(text: str) -> str:
    text = text.removeprefix("dtoverlay=")
    if not _OVERLAY.fullmatch(text):
        expected = Message("driver.an-overlay")
        raise ValueError(Message("yaml.unlike", expected=expected, value=repr(text)))
    return text


class _DeviceBusy(DeviceError):
    """It gives no single readings now, as while its buffer is read."""


@dataclass(kw_only=True)
class IioPart(Driver):
    """A channel of a device that the kernel drives."""

    direction = "in"  # without an annotation: not an option

    device: Annotated[
        str, Doc("The name of the device, its label, or the end of its path in the device tree.")
    ]
    channel: Annotated[IioChannel, Doc("The channel: voltage0, temp, accel_x.")]
    overlay: Annotated[
        str | None, _overlay, Doc("The overlay that labnode bootconfig prints for it.")
    ] = None

    root: ClassVar[Path] = ROOT

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._folder: Path | None = None  # of the device, once it was found (io thread)
        self._connected = True

    def claims(self) -> list[Claim]:
        channel = f"{self.direction}_{self.channel}"
        called = Message("driver.claim-iio", channel=channel, device=self.device)
        claim = Claim("IIO channel", f"{channel} of {self.device}", called=called)
        return [*super().claims(), claim]

    def boot_config(self) -> list[str]:
        return [] if self.overlay is None else [f"dtoverlay={self.overlay}"]

    def state(self) -> dict[str, Any]:
        state = super().state()
        return state if self._connected else {**state, "connected": False}

    def folder(self) -> Path:
        """The device's folder in /sys (io thread); DeviceGone when there is none, or several."""
        if self._folder is None or not (self._folder / "name").exists():
            self._folder = find(self.root, self.device)
        return self._folder

    def text(self, name: str) -> str | None:
        """What is in a file of the device, None when there is no such file; DeviceError."""
        try:
            return (self.folder() / name).read_text().strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            kind = _DeviceBusy if error.errno == errno.EBUSY else DeviceGone
            raise kind(f"{self.device} does not answer ({error.strerror})") from error

    def attribute(self, name: str) -> float | None:
        """The channel's `scale` or `offset`, its own or that of all like it, None without one."""
        for owner in (self.channel, self.channel.shared, self.channel.kind):
            text = self.text(f"{self.direction}_{owner}_{name}")
            if text is not None:
                return _number(text)
        return None

    def in_use(self) -> bool:
        """Whether somebody reads the buffer of the device (io thread); DeviceGone."""
        return iio_buffer.in_use(self.root, self.folder())

    def factor(self) -> float:
        """How much of our unit one of the kernel's is, after its scale."""
        return _UNITS.get(self.channel.kind, ("", 1.0))[1]

    def missing(self) -> DeviceError:
        """That the device has no such channel, and which ones it has."""
        there = channels(self.folder(), self.direction)
        what = "input" if self.direction == "in" else "output"
        known = ", ".join(there) or f"no {what}s"
        return DeviceError(f"{self.device} has no {what} {self.channel}; it has {known}")


def find(root: Path, name: str) -> Path:
    """The folder of the only IIO device of a name, a label or a path; DeviceGone."""
    folders = sorted(root.glob("iio:device*"))
    found = [folder for folder in folders if name in (_read(folder / "name"), _label(folder))]
    found = found or [folder for folder in folders if _node(folder).endswith(f"/{name}")]
    if not found:
        there = ", ".join(filter(None, (_read(folder / "name") for folder in folders)))
        raise DeviceGone(f"there is no IIO device {name!r}; there {_are(there)}")
    if len(found) > 1:
        nodes = ", ".join(_label(folder) or _node(folder) or folder.name for folder in found)
        raise DeviceGone(f"{len(found)} IIO devices are called {name!r}; name one of {nodes}")
    return found[0]


def channels(folder: Path, direction: str) -> list[str]:
    """The channels of a device that can be read, or written."""
    names = (path.name for path in folder.glob(f"{direction}_*"))
    found = (re.fullmatch(rf"{direction}_(.+)_(raw|input)", name) for name in names)
    return sorted({match[1] for match in found if match})


@register("iio")
@dataclass(kw_only=True)
class IioInput(IioPart, SlowSensor):
    """An input of any converter or sensor that the kernel drives: voltage, current, temperature,
    light, distance, acceleration and more, hundreds of parts.

    The kernel's scale and offset apply, and its milli-units become V, A, W, °C and %; the others
    are as it has them (kPa, lx, m/s², G, rad/s). With `overlay`, `labnode bootconfig` prints the
    line for config.txt. A device that is not there is not connected, and read as soon as it is.

    Example::

        pressure: {driver: iio, device: bmp280, channel: pressure, overlay: "i2c-sensor,bmp280"}
    """

    sample_every: Annotated[Duration, Between(0.05)] = 1.0
    digits: int = 6
    trigger: Annotated[
        str | None, Doc("The trigger of its buffer, for bursts; by default the one that it has.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.unit = self.unit or _UNITS.get(self.channel.kind, ("", 1.0))[0]

    def read(self) -> float | None:
        """None while a burst or another program reads the buffer of the device."""
        try:
            return self._single()
        except _DeviceBusy:
            return None if self.in_use() else self._single()

    def converted(self, raw: Sequence[float]) -> list[float]:
        """Raw numbers in our unit."""
        scale, offset = self.attribute("scale"), self.attribute("offset") or 0.0
        scale = (1.0 if scale is None else scale) * self.factor()
        return [(number + offset) * scale for number in raw]

    def _single(self) -> float:
        processed = self.text(f"in_{self.channel}_input")
        if processed is not None:
            return _number(processed) * self.factor()
        raw = self.text(f"in_{self.channel}_raw")
        if raw is None:
            raise self.missing()
        return self.converted([_number(raw)])[0]

    def burst_source(self, ended: threading.Event) -> _IioSource:  # noqa: ARG002
        return _IioSource(self)

    def _took(self, value: Any) -> None:
        self._connected = True
        super()._took(value)

    def _missed(self, error: Exception) -> None:
        self._connected = not isinstance(error, DeviceGone)
        super()._missed(error)


class _IioSource:
    """A channel for one burst: from the buffer of the device, where it has one."""

    def __init__(self, part: IioInput) -> None:
        self._part = part

    def read(self) -> float | None:
        return self._part.read()

    def burst(self, count: int, rate: float, ended: threading.Event, /) -> Samples | None:
        part = self._part
        buffer = iio_buffer.Buffer.of(part.root, part.folder(), f"in_{part.channel}", part.trigger)
        if buffer is None:
            return None
        found = buffer.read(count, rate, ended)
        return Samples(part.converted(found.y), found.step)

    def close(self) -> None: ...


@register("iio_output")
@dataclass(kw_only=True)
class IioOutput(IioPart, NumberOutput, SlowOutput):
    """An output of any digital-to-analog converter that the kernel drives, within its limits.

    `safe` is set when labnode starts and stops, and before and after every student. What is set is
    read back. While the converter is not there it is not connected, and made safe as soon as it is.

    Example::

        drive:
          driver: iio_output
          device: mcp4725
          channel: voltage0
          min: 0
          max: 3
          safe: 0
          overlay: "i2c-dac,mcp4725"
    """

    direction = "out"
    lowest, highest = -math.inf, math.inf

    min: Annotated[float, Doc("The lowest value that commands may set, besides safe.")]
    max: Annotated[float, Doc("The highest value that commands may set.")]
    safe: float = field()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.unit = self.unit or _UNITS.get(self.channel.kind, ("", 1.0))[0]

    @property
    def answers_within(self) -> float:
        return 1.0

    def transmit(self, value: float) -> float | None:
        raw = round(value / self._step() - (self.attribute("offset") or 0.0))
        self._write("raw", str(raw))
        if self.text(f"out_{self.channel}_powerdown") == "1":
            self._write("powerdown", "0")
        return self._shown(value)

    def look(self) -> float | None:
        return self._shown(self._wanted)

    def describe(self) -> dict[str, Any]:
        step = (self.max - self.min) / 100 if self.step is None else self.step
        return {**super().describe(), "step": step}

    def _shown(self, wanted: float) -> float | None:
        """What the converter is at: `wanted`, where that is the nearest it can be.

        None while somebody reads the buffer of its device, which may not say it then.
        """
        try:
            return self._read_back(wanted)
        except _DeviceBusy:
            return None if self.in_use() else self._read_back(wanted)

    def _read_back(self, wanted: float) -> float:
        raw = self.text(f"out_{self.channel}_raw")
        if raw is None:
            raise self.missing()
        step = self._step()
        value = (_number(raw) + (self.attribute("offset") or 0.0)) * step
        return wanted if abs(value - wanted) <= abs(step) else value

    def _step(self) -> float:
        """How much the smallest step of the converter is."""
        scale = self.attribute("scale")
        return (scale or 1.0) * self.factor()

    def _write(self, name: str, text: str) -> None:
        path = self.folder() / f"out_{self.channel}_{name}"
        if not path.exists():
            raise self.missing()
        try:
            try:
                path.write_text(text)
            except OSError as error:  # what an output has to be comes before a burst
                if error.errno != errno.EBUSY or not iio_buffer.end(self.folder()):
                    raise
                path.write_text(text)
        except OSError as error:
            why = error.strerror
            raise DeviceError(f"{self.device} does not take {text} ({why})") from error

    def _confirmed(self, value: Any) -> None:
        self._connected = True
        super()._confirmed(value)

    def _failed(self, error: Exception, what: str = "") -> None:
        self._connected = not isinstance(error, DeviceGone)
        super()._failed(error, what)


def _number(text: str) -> float:
    try:
        return float(text.split(maxsplit=1)[0])  # "12.5 dB"
    except (ValueError, IndexError):
        raise DeviceError(f"the kernel says {text!r} where a number is expected") from None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _label(folder: Path) -> str:
    return _read(folder / "label")


def _node(folder: Path) -> str:
    """Its path in the device tree, such as /soc/i2c@7e804000/ads1015@48; "" without one."""
    node = folder / "of_node"
    return str(node.resolve()).partition("/base")[2] if node.exists() else ""


def _are(names: str) -> str:
    return f"are {names}" if names else "are none: see labnode bootconfig"
