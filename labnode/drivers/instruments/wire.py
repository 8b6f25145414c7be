"""The ways to an instrument: a TCP port, a serial port of the board, USBTMC, a VISA name."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from contextlib import suppress
from typing import Any, Protocol

from labnode.clock import Clock
from labnode.drivers.framework.driver import adding_extra
from labnode.drivers.framework.io_thread import IoLoop
from labnode.drivers.serial.line import Line
from labnode.errors import DeviceGone

_PIECE = 1 << 16  # bytes taken at once
_SET_TIMEOUT = 0x40045B0A  # USBTMC_IOCTL_SET_TIMEOUT of linux/usb/tmc.h, in milliseconds
_CLEAR = 0x00005B02  # USBTMC_IOCTL_CLEAR


class TextWire(Protocol):
    """An open way to an instrument, used by one io thread; every method may raise DeviceGone."""

    def send(self, data: bytes, seconds: float) -> None:
        """Send all of it within that time, else DeviceGone."""

    def receive(self, seconds: float) -> bytes:
        """Some bytes, as soon as there are any; b"" when none came within that time."""

    def resume(self) -> bool:
        """Forget an answer that may still come; False where only a new connection does that."""

    def close(self) -> None: ...


class TcpWire:
    """A TCP port without any protocol around the text, as most instruments have it: 5025."""

    def __init__(self, host: str, port: int, io: IoLoop, clock: Clock, seconds: float) -> None:
        self._where = f"{host}:{port}"
        self._io = io
        self._clock = clock
        try:
            # Looking up a name waits for the network; an address in numbers waits for nobody.
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )[0]
            self._socket = socket.socket(family, kind, protocol)
        except OSError as error:
            raise DeviceGone(f"{host} is not known ({error.strerror})") from error
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            number = self._socket.connect_ex(address)
            if number == errno.EINPROGRESS and self._until(seconds, writing=True):
                number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                slow = number == errno.EINPROGRESS
                failure = "no answer" if slow else os.strerror(number)
                raise DeviceGone(f"{self._where} cannot be reached ({failure})")
        except BaseException:
            self._socket.close()
            raise

    def send(self, data: bytes, seconds: float) -> None:
        deadline = self._clock.now() + seconds
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                if not self._until(deadline - self._clock.now(), writing=True):
                    raise DeviceGone(f"{self._where} takes nothing any more") from None
            except OSError as error:
                raise DeviceGone(f"{self._where} is gone ({error.strerror})") from error

    def receive(self, seconds: float) -> bytes:
        if not self._until(seconds):
            return b""
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise DeviceGone(f"{self._where} is gone ({error.strerror})") from error
        if not data:
            raise DeviceGone(f"{self._where} has closed the connection")
        return data

    def resume(self) -> bool:
        return False

    def close(self) -> None:
        self._socket.close()

    def _until(self, seconds: float, *, writing: bool = False) -> bool:
        """Wait for the socket; False after that time, or when the thread is to stop."""
        deadline = self._clock.now() + seconds
        number = [self._socket.fileno()]
        while (left := deadline - self._clock.now()) > 0 and not self._io.stopping:
            if any(self._io.wait(left, () if writing else number, number if writing else ())):
                return True
        return False


class LineWire:
    """A serial port of the board, which its own driver opens, again after it was unplugged."""

    def __init__(self, line: Line, io: IoLoop, clock: Clock) -> None:
        self._line = line
        self._io = io
        self._clock = clock
        line.check()
        self._offset = line.received.end
        line.listen(io.wake)

    def send(self, data: bytes, seconds: float) -> None:
        self._line.check()
        left, lost = len(data), False

        def written(number: int) -> None:
            nonlocal left, lost
            left -= number
            lost = lost or not number
            self._io.wake()

        self._line.write(data, written)
        deadline = self._clock.now() + seconds
        while left and not lost and not self._io.stopping:
            if (rest := deadline - self._clock.now()) <= 0:
                break
            self._io.wait(rest)
        if left:
            raise DeviceGone("its serial port takes nothing any more")

    def receive(self, seconds: float) -> bytes:
        deadline = self._clock.now() + seconds
        while not self._io.stopping:
            self._line.check()
            self._offset, data = self._line.received.read(self._offset, _PIECE)
            self._offset += len(data)
            rest = deadline - self._clock.now()
            if data or rest <= 0:
                return data
            self._io.wait(rest)
        return b""

    def resume(self) -> bool:
        self._offset = self._line.received.end
        return True

    def close(self) -> None:
        self._line.unlisten(self._io.wake)


class UsbtmcWire:
    """A file of the kernel's driver for USB instruments, /dev/usbtmc0."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceGone(f"{path} cannot be opened ({error.strerror})") from error
        self._seconds = 0.0
        self._limit(seconds)

    def send(self, data: bytes, seconds: float) -> None:
        self._limit(seconds)
        while data:
            try:
                data = data[os.write(self._file, data) :]
            except OSError as error:
                raise DeviceGone(f"{self._path} takes nothing ({error.strerror})") from error

    def receive(self, seconds: float) -> bytes:
        self._limit(seconds)
        try:
            return os.read(self._file, _PIECE)
        except TimeoutError:
            return b""
        except OSError as error:
            raise DeviceGone(f"{self._path} is gone ({error.strerror})") from error

    def resume(self) -> bool:
        try:
            fcntl.ioctl(self._file, _CLEAR)
        except OSError:
            return False
        return True

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._file)

    def _limit(self, seconds: float) -> None:
        """Let the kernel wait at most so long; before Linux 4.20 it always waits 5 s."""
        if seconds != self._seconds:
            self._seconds = seconds
            with suppress(OSError):
                milliseconds = struct.pack("I", max(500, int(seconds * 1000)))
                fcntl.ioctl(self._file, _SET_TIMEOUT, milliseconds)


class VisaWire:
    """A VISA name, by PyVISA with pyvisa-py, which need no program of a vendor."""

    def __init__(self, name: str, seconds: float) -> None:
        try:
            import pyvisa  # noqa: PLC0415  (only boards with such a name need it)
        except ImportError:
            advice = adding_extra("visa")
            raise DeviceGone(f"the extra visa (PyVISA) is not installed: {advice}") from None
        self._error: type[Exception] = pyvisa.Error
        self._name = name
        self._manager = pyvisa.ResourceManager("@py")
        try:
            resource: Any = self._manager.open_resource(name, open_timeout=_in_ms(seconds))
            if name.upper().endswith("::SOCKET"):  # or each `receive` would last its whole time
                resource.read_termination = "\n"
        except Exception as error:  # whatever library is behind that kind of name
            self._manager.close()
            raise DeviceGone(f"{name} cannot be opened ({_one_line(error)})") from error
        self._resource = resource

    def send(self, data: bytes, seconds: float) -> None:
        self._resource.timeout = _in_ms(seconds)
        try:
            self._resource.write_raw(data)
        except (self._error, OSError) as error:
            raise DeviceGone(f"{self._name} takes nothing ({_one_line(error)})") from error

    def receive(self, seconds: float) -> bytes:
        self._resource.timeout = _in_ms(seconds)
        try:
            return bytes(self._resource.read_raw())
        except (self._error, OSError) as error:
            if getattr(error, "abbreviation", "") == "VI_ERROR_TMO":
                return b""
            raise DeviceGone(f"{self._name} is gone ({_one_line(error)})") from error

    def resume(self) -> bool:
        try:
            self._resource.clear()
        except Exception:  # noqa: BLE001 - some kinds of names cannot do it: a new connection can
            return False
        return True

    def close(self) -> None:
        for each in (self._resource, self._manager):
            with suppress(Exception):
                each.close()


def _in_ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
