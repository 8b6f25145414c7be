"""A serial port of this machine, opened exclusively; whatever fails is a DeviceGone."""

from __future__ import annotations

import errno
import fcntl
import os
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

import serial

from labnode.errors import DeviceGone

_PIECE = 1 << 16  # bytes read at once


@dataclass(frozen=True)
class Frame:
    """The settings of a port besides its baud rate, by pyserial's names."""

    bytesize: Literal[5, 6, 7, 8] = 8
    parity: Literal["N", "E", "O", "M", "S"] = "N"
    stopbits: float = 1
    xonxoff: bool = False
    rtscts: bool = False
    dtr_on_open: bool = True


class Port(Protocol):
    """An open port, used by its line's io thread only; every method may raise DeviceGone."""

    path: str

    @property
    def descriptor(self) -> int | None:
        """What to poll; None for a port whose `due` says when there is something to read."""

    def due(self) -> float | None:
        """Seconds until `read` has something, without a descriptor."""

    def read(self) -> bytes:
        """What has come, without waiting."""

    def write(self, data: memoryview) -> int:
        """Write what can be written without waiting; how many bytes that is."""

    def set_baudrate(self, baudrate: int) -> None: ...

    def set_line(self, line: Literal["dtr", "rts", "break"], active: bool) -> None: ...

    def drop_output(self) -> None:
        """Discard what was written and not transmitted yet."""

    def close(self) -> None: ...


class TtyPort:
    """A port that no other program can open; pyserial sets it up, bytes do not go through it."""

    def __init__(self, path: str, baudrate: int, frame: Frame) -> None:
        self.path = path
        self._port = port = serial.Serial(exclusive=True, timeout=0, write_timeout=0)
        port.port = path
        port.baudrate = baudrate
        port.bytesize = frame.bytesize
        port.parity = frame.parity
        port.stopbits = frame.stopbits
        port.xonxoff = frame.xonxoff
        port.rtscts = frame.rtscts
        port.dtr = frame.dtr_on_open
        try:
            with _device_gone():
                port.open()
                # flock keeps out who asks for it too; this keeps out everybody but root.
                fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
                self.descriptor = port.fileno()
        except (DeviceGone, ValueError) as error:
            self.close()
            raise DeviceGone(f"{path} cannot be opened: {error}") from error

    def due(self) -> None:
        return None

    def read(self) -> bytes:
        """DeviceGone also for one that is readable and empty: that is how a hangup looks."""
        try:
            data = os.read(self.descriptor, _PIECE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise DeviceGone(f"{self.path} is unplugged ({_reason(error)})") from error
        if not data:
            raise DeviceGone(f"{self.path} is unplugged")
        return data

    def write(self, data: memoryview) -> int:
        try:
            return os.write(self.descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise DeviceGone(f"{self.path} is unplugged ({_reason(error)})") from error

    def set_baudrate(self, baudrate: int) -> None:
        with _device_gone():
            self._port.baudrate = baudrate

    def set_line(self, line: Literal["dtr", "rts", "break"], active: bool) -> None:
        with _device_gone():
            setattr(self._port, "break_condition" if line == "break" else line, active)

    def drop_output(self) -> None:
        with _device_gone():
            self._port.reset_output_buffer()

    def close(self) -> None:
        with suppress(OSError, termios.error, TypeError):
            if self._port.is_open:
                fcntl.ioctl(self._port.fileno(), termios.TIOCNXCL)  # or a pty stays closed for all
        with suppress(OSError, TypeError):
            self._port.close()


@contextmanager
def _device_gone() -> Iterator[None]:
    """Raise as DeviceGone what pyserial raises for an unplugged device.

    A TypeError, because its descriptor is None then.
    """
    try:
        yield
    except (serial.SerialException, OSError, termios.error, TypeError) as error:
        raise DeviceGone(_reason(error)) from error


def _reason(error: Exception) -> str:
    number = next((arg for arg in error.args if isinstance(arg, int)), None)
    if number in (errno.EAGAIN, errno.EBUSY):
        return "another program is using it"
    if number in (errno.EACCES, errno.EPERM):
        return "this user may not, the group dialout may"
    return os.strerror(number) if number else " ".join(str(error).split())
