"""Where pictures come from: an MJPEG server on this machine, or a test picture."""

from __future__ import annotations

import http.client
import io
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from importlib import resources
from typing import Protocol

from labnode.drivers.framework.io_thread import IoLoop
from labnode.errors import DeviceGone

_PATIENCE = 10.0  # seconds that a server may send nothing
_LARGEST = 8 << 20  # bytes of a picture
_LONGEST_LINE = 1 << 16  # bytes of a header, and of all headers of a picture
_JPEG = b"\xff\xd8"


class Source(Protocol):
    def pictures(self, thread: IoLoop) -> Iterator[bytes]:
        """JPEGs; waits in `thread`, ends when it stops, DeviceGone when there are no more."""


@dataclass(frozen=True)
class TestPicture:
    """A moving test picture, `rate` times per second."""

    rate: float

    def pictures(self, thread: IoLoop) -> Iterator[bytes]:
        folder = resources.files(__package__) / "pictures"
        files = sorted((f for f in folder.iterdir() if f.name.endswith(".jpg")), key=str)
        while not thread.stopping:
            for file in files:
                yield file.read_bytes()
                thread.wait(1 / self.rate)
                if thread.stopping:
                    return


@dataclass(frozen=True)
class MjpegServer:
    """A server that answers GET `path` with multipart/x-mixed-replace."""

    connect: Callable[[IoLoop], socket.socket]
    host: str  # in the request
    path: str

    def pictures(self, thread: IoLoop) -> Iterator[bytes]:
        try:
            with closing(self.connect(thread)) as sock:
                sock.setblocking(False)
                yield from self._read(_Incoming(sock, thread), sock)
        except _Stopped:
            return
        except (OSError, http.client.HTTPException) as error:
            raise DeviceGone(f"the camera's server does not answer: {_reason(error)}") from error

    def _read(self, incoming: _Incoming, sock: socket.socket) -> Iterator[bytes]:
        request = f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n"
        sock.sendall(request.encode())
        response = http.client.HTTPResponse(_AsSocket(incoming))  # type: ignore[arg-type]
        response.begin()
        kind = Message()
        kind["Content-Type"] = response.getheader("Content-Type", "")
        boundary = str(kind.get_boundary() or "")
        if response.status != 200:
            raise DeviceGone(f"the camera's server answers {response.status} {response.reason}")
        if kind.get_content_type() != "multipart/x-mixed-replace" or not boundary.strip("-"):
            said = kind.get_content_type()
            raise DeviceGone(f"the camera's server sends {said}, not multipart/x-mixed-replace")
        # Some servers write the dashes before a boundary into its name, some do not.
        mark = re.compile(rb"--+" + re.escape(boundary.strip("-").encode()) + rb"(--)?\s*")
        _until(response, mark)
        while True:
            yield _picture(response, mark)


def _picture(response: http.client.HTTPResponse, mark: re.Pattern[bytes]) -> bytes:
    """The picture after a boundary; reads the next boundary, too."""
    head = bytearray()
    while (line := _line(response)).strip():
        head += line
        if len(head) > _LONGEST_LINE:
            raise DeviceGone("the camera's server sends endless headers")
    headers = BytesParser().parsebytes(bytes(head))
    length = headers.get("Content-Length", "")
    if length.isascii() and length.isdigit():
        if int(length) > _LARGEST:
            raise DeviceGone(f"the camera's server sends a picture of {length} bytes")
        picture = response.read(int(length))
        _until(response, mark)
    else:
        picture = _until(response, mark).removesuffix(b"\n").removesuffix(b"\r")
    if not picture.startswith(_JPEG):
        raise DeviceGone("the camera's server sends something that is no JPEG")
    if headers.get("X-UStreamer-Online") == "false":  # it sends a picture of these words
        raise DeviceGone("ustreamer gets no pictures from the camera")
    return picture


def _until(response: http.client.HTTPResponse, mark: re.Pattern[bytes]) -> bytes:
    """Everything up to the next boundary, which is read, too."""
    data = bytearray()
    while not mark.fullmatch(line := _line(response)):
        data += line
        if len(data) > _LARGEST:
            raise DeviceGone("the camera's server sends a picture without an end")
    return bytes(data)


def _line(response: http.client.HTTPResponse) -> bytes:
    line = response.readline(_LONGEST_LINE)
    if not line:
        raise DeviceGone("the camera's server has closed the connection")
    return line


class _Stopped(Exception):
    """The io thread has to end."""


class _Incoming(io.RawIOBase):
    """A socket as a file; it waits on the io thread, which can be woken."""

    def __init__(self, sock: socket.socket, thread: IoLoop) -> None:
        self._socket = sock
        self._thread = thread

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        waited_until = self._thread.clock.now() + _PATIENCE
        while True:
            try:
                return self._socket.recv_into(buffer)
            except BlockingIOError:
                pass
            left = waited_until - self._thread.clock.now()
            if left <= 0:
                raise DeviceGone(f"the camera's server says nothing for {_PATIENCE:g} s")
            self._thread.wait(left, [self._socket.fileno()])
            if self._thread.stopping:
                raise _Stopped


@dataclass(frozen=True)
class _AsSocket:
    """As much of a socket as http.client wants."""

    incoming: _Incoming

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.incoming, 1 << 16)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
