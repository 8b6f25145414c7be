"""The buffer of a device that the kernel drives: many samples, taken when its trigger says so.

Documentation/iio/iio_devbuf.rst and the buffers' part of sysfs-bus-iio in the kernel's sources.
"""

from __future__ import annotations

import errno
import os
import re
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from labnode.drivers.framework.samples import Samples
from labnode.errors import DeviceError, DeviceGone

_TYPE = re.compile(r"(le|be):([su])(\d+)/(\d+)>>(\d+)")
_SILENT = 2.0  # seconds without a sample, more than its period: nothing triggers
_LOOK = 0.2  # seconds between two looks at whether it should end
_TRIES = 500  # a millisecond apart, while somebody only looks whether the buffer is free
_TIMESTAMP = "in_timestamp"


@dataclass(frozen=True)
class Element:
    """One number in a record: `le:s12/16>>4` is 12 bits of 16, signed, shifted by 4."""

    order: str  # "little" or "big"
    signed: bool
    bits: int
    size: int  # bytes
    shift: int

    @classmethod
    def of(cls, text: str) -> Element:
        found = _TYPE.fullmatch(text)
        if found is None:
            raise DeviceError(f"the kernel's buffer has numbers of an unknown form, {text!r}")
        order = "little" if found[1] == "le" else "big"
        return cls(order, found[2] == "s", int(found[3]), int(found[4]) // 8, int(found[5]))

    def number(self, data: bytes) -> int:
        value = int.from_bytes(data, "little" if self.order == "little" else "big") >> self.shift
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if self.signed and value >> (self.bits - 1) else value


@dataclass(frozen=True)
class Buffer:
    """The buffer of one device, for one channel; io thread only."""

    root: Path
    folder: Path
    channel: str  # "in_voltage0"
    trigger: str | None

    @classmethod
    def of(cls, root: Path, folder: Path, channel: str, trigger: str | None) -> Buffer | None:
        """None where the device or the channel has no buffer."""
        here = (folder / "buffer" / "enable", folder / "scan_elements" / f"{channel}_en")
        return cls(root, folder, channel, trigger) if all(map(Path.exists, here)) else None

    def read(self, count: int, rate: float, ended: threading.Event) -> Samples:
        """So many raw numbers, at a rate as near to `rate` as the device can.

        The step is that of the kernel's timestamps, where there are any. The buffer is off at the
        end. DeviceGone when nothing comes; DeviceError for anything else, also when the buffer is
        somebody else's.
        """
        try:
            with _held(self.root, self.folder, _TRIES, ended) as descriptor:
                elements = self._choose()
                set_rate = self._set_rate(rate)
                self._write("buffer/length", str(count))
                self._write("buffer/watermark", "1")  # poll() is to wake for the last record, too
                self._begin()
                record = _layout(elements)
                data = _read(descriptor, record.size * count, 1 / set_rate, ended)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise DeviceError(f"its buffer cannot be used: {error.strerror}{where}") from error
        pieces = [data[i : i + record.size] for i in range(0, len(data), record.size)]
        y = [float(record.number(self.channel, piece)) for piece in pieces]
        times = [record.number(_TIMESTAMP, p) for p in pieces] if _TIMESTAMP in elements else []
        took = (times[-1] - times[0]) / 1e9 if times else 0.0
        return Samples(y, took / (count - 1) if took > 0 else 1 / set_rate)

    def _choose(self) -> dict[str, Element]:
        """Have only our channel and the time in the buffer; what there is, in its order.

        The others first: there are devices that refuse a second channel beside one that is on.
        """
        scan = self.folder / "scan_elements"
        for path in scan.glob("*_en"):
            path.write_text("0")
        wanted = {self.channel, _TIMESTAMP}
        names = sorted(
            (name for name in wanted if (scan / f"{name}_en").exists()),
            key=lambda name: int((scan / f"{name}_index").read_text()),
        )
        for name in names:
            (scan / f"{name}_en").write_text("1")
        if (self.folder / "current_timestamp_clock").exists():
            self._write("current_timestamp_clock", "monotonic")  # the wall clock may be set
        return {name: Element.of((scan / f"{name}_type").read_text().strip()) for name in names}

    def _set_rate(self, rate: float) -> float:
        """Set the rate where there is a place for it; returns what it is then."""
        places = [self.folder]
        if self.trigger is not None:
            places.insert(0, self._trigger_folder(self.trigger))
            self._write("trigger/current_trigger", self.trigger)
        for place in places:
            path = place / "sampling_frequency"
            if path.exists():
                path.write_text(f"{rate:.10g}")  # the kernel takes no exponent
                return float(path.read_text().split()[0]) or rate
        return rate

    def _begin(self) -> None:
        try:
            _enable(self.folder, "1")
        except OSError as error:
            file = self.folder / "trigger" / "current_trigger"
            if error.errno == errno.EINVAL and file.exists() and not file.read_text().strip():
                raise DeviceError("its buffer needs a trigger, and none is set") from error
            raise

    def _trigger_folder(self, name: str) -> Path:
        for folder in self.root.glob("trigger*"):
            if (folder / "name").read_text().strip() == name:
                return folder
        raise DeviceError(f"there is no IIO trigger {name!r}")

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)


def in_use(root: Path, folder: Path) -> bool:
    """Whether somebody reads the buffer of a device, which gives no single readings meanwhile.

    One that is on without a reader was left by a process that was killed, and is turned off.
    """
    if not _enabled(folder):
        return False
    try:
        with _held(root, folder, 1, threading.Event()):
            return False
    except _HeldElsewhere:
        return True
    except OSError:
        return False


def end(folder: Path) -> bool:
    """Turn the buffer of a device off, also while it is read; False when it was not on."""
    if not _enabled(folder):
        return False
    with suppress(OSError):
        _enable(folder, "0")
    return True


def _enabled(folder: Path) -> bool:
    try:
        return (folder / "buffer" / "enable").read_text().strip() == "1"
    except OSError:
        return False


def _enable(folder: Path, text: str) -> None:
    (folder / "buffer" / "enable").write_text(text)


class _HeldElsewhere(DeviceError):
    """Somebody else has the device's file open, which only one may."""


@contextmanager
def _held(root: Path, folder: Path, tries: int, ended: threading.Event) -> Iterator[int]:
    """The device's file, and its buffer off before and after; `tries` are a millisecond apart."""
    path = root.parents[3] / "dev" / folder.name  # beside the tree of a test, which has its own
    descriptor = _open(path, tries, ended)
    try:
        _enable(folder, "0")
        yield descriptor
    finally:
        with suppress(OSError):
            _enable(folder, "0")
        os.close(descriptor)


def _open(path: Path, tries: int, ended: threading.Event) -> int:
    for _ in range(tries):
        try:
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        ended.wait(0.001)
    raise _HeldElsewhere("another burst or program reads its buffer")


@dataclass(frozen=True)
class _Record:
    size: int
    places: dict[str, tuple[int, Element]]

    def number(self, name: str, data: bytes) -> int:
        begin, element = self.places[name]
        return element.number(data[begin : begin + element.size])


def _layout(elements: dict[str, Element]) -> _Record:
    """Each number at a multiple of its size, and a record at one of the largest."""
    end, places = 0, {}
    for name, element in elements.items():
        begin = -(-end // element.size) * element.size
        places[name] = (begin, element)
        end = begin + element.size
    largest = max(element.size for element in elements.values())
    return _Record(-(-end // largest) * largest, places)


def _read(descriptor: int, size: int, period: float, ended: threading.Event) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data, silent = bytearray(), 0.0
    while len(data) < size:
        if ended.is_set():
            raise DeviceError("the burst was ended")
        if not poll.poll(_LOOK * 1000):
            silent += _LOOK
            if silent > _SILENT + period:
                raise DeviceGone("nothing comes into its buffer: does its trigger run?")
            continue
        piece = os.read(descriptor, size - len(data))
        if not piece:
            raise DeviceGone("its buffer has ended")
        data += piece
        silent = 0.0
    return bytes(data)
