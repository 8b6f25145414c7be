"""A simulated Arduino behind a pty: its STK500v1 bootloader, its flash, and the program in it.

The protocol is that of Atmel's application note AVR061 as far as Optiboot speaks it, in words of
the ATmega328P: addresses count 16-bit words, pages have 128 bytes.

A real one starts its bootloader when the port's DTR line falls. A pty has no such line, so here the
program is left as soon as somebody asks for synchronisation.
"""

from __future__ import annotations

import os
import select
import struct
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FLASH = 32 * 1024
SIGNATURE = bytes((0x1E, 0x95, 0x0F))
TEXT = b"SAYS:"  # what follows in the flash, up to a 0, is what the program sends

_OK, _IN_SYNC, _NO_SYNC, _END = b"\x10", b"\x14", b"\x15", 0x20
_LENGTHS = {
    0x30: 0,
    0x41: 1,
    0x42: 20,
    0x45: 5,
    0x50: 0,
    0x51: 0,
    0x55: 2,
    0x56: 4,
    0x74: 3,
    0x75: 0,
}


class Arduino:
    """`fault`: "silent", "garbage", "verify" (a bit of the flash is dead) or "signature".

    With `unplug_after` it is unplugged when that many pages have been written. `link` is a
    symbolic link to its port, as /dev/serial/by-id has them, which stays the same when it is
    plugged in again. With `every` its program says its text again every so many seconds.
    """

    def __init__(self, link: Path | None = None, every: float | None = None) -> None:
        self.link = link
        self.flash = bytearray(b"\xff" * FLASH)
        self.fault = ""
        self.unplug_after: int | None = None
        self.pages = 0  # that were written
        self.visits = 0  # how often somebody asked for synchronisation
        self.on_page: Callable[[int], None] = lambda _pages: None
        self._every = every
        self._address = 0
        self._buffer = b""
        self._text = b""  # of the program, while it runs
        self._awake, self._wake = os.pipe()
        self._sockets = [os.openpty(), os.openpty()]  # it can be plugged in twice
        self._master = self._slave = -1
        self.plug_in()
        self._thread = threading.Thread(target=self._live, name="arduino")
        self._thread.start()

    def plug_in(self) -> None:
        """A port like the last one, with another number; its program starts."""
        self._master, self._slave = self._sockets.pop()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        if self.link is not None:
            self.link.unlink(missing_ok=True)
            self.link.symlink_to(self.port)
        os.write(self._wake, b"p")

    def rest(self) -> None:
        """Let a moment pass, or less if it is closed."""
        select.select([self._awake], [], [], 0.01)

    def burn(self, data: bytes) -> None:
        """Put an image into the flash past the bootloader."""
        self.flash[:] = data.ljust(FLASH, b"\xff")

    @property
    def image(self) -> bytes:
        return bytes(self.flash).rstrip(b"\xff")

    def close(self) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        for descriptor in (self._awake, self._wake):
            os.close(descriptor)
        self._unplug()
        for pair in self._sockets:
            for descriptor in pair:
                os.close(descriptor)

    def _unplug(self) -> None:
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._slave = -1

    def _live(self) -> None:
        while True:
            plugged = [] if self._master < 0 else [self._master]
            ready, _, _ = select.select([*plugged, self._awake], [], [], self._every)
            if self._awake in ready:
                if os.read(self._awake, 1) == b"x":
                    return
                self._reset()
            elif ready:
                self._take(os.read(self._master, 4096))
            else:
                self._send(self._text)

    def _send(self, data: bytes) -> None:
        if self._master >= 0:
            with suppress(BlockingIOError):  # nobody listens
                os.write(self._master, data)

    def _reset(self) -> None:
        """The program in the flash starts, and says what it has to say."""
        self._buffer = b""
        _, _, rest = bytes(self.flash).partition(TEXT)
        self._text = rest.partition(b"\0")[0]
        self._send(self._text)

    def _take(self, data: bytes) -> None:
        if self.fault == "silent":
            return
        if self.fault == "garbage":
            self._send(bytes(b ^ 0x5A for b in data) * 3)
            return
        self._buffer += data
        while self._buffer and (size := self._size()) and len(self._buffer) >= size:
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            if message[-1] == _END:
                self._answer(message[0], message[1:-1])
            else:
                self._send(_NO_SYNC)
                self._buffer = b""

    def _size(self) -> int:
        """Of the message at the beginning of the buffer; 0: not known yet."""
        kind = self._buffer[0]
        if kind == 0x64:
            return 0 if len(self._buffer) < 3 else 5 + int.from_bytes(self._buffer[1:3], "big")
        return _LENGTHS.get(kind, 0) + 2

    def _answer(self, kind: int, data: bytes) -> None:
        answer = b""
        match kind:
            case 0x30:
                self.visits += 1
                self._text = b""  # the bootloader runs, and no program
            case 0x41:
                answer = {0x81: b"\x04", 0x82: b"\x04"}.get(data[0], b"\x03")
            case 0x55:
                self._address = 2 * struct.unpack("<H", data)[0]
            case 0x56:
                answer = b"\0"
            case 0x64:
                self._write(data[3:])
            case 0x74:
                answer = self._read(int.from_bytes(data[:2], "big"))
            case 0x75:
                answer = b"\x1e\x94\x06" if self.fault == "signature" else SIGNATURE
        self._send(_IN_SYNC + answer + _OK)
        if kind == 0x51:
            self._reset()

    def _write(self, data: bytes) -> None:
        self.flash[self._address : self._address + len(data)] = data
        self.pages += 1
        self.on_page(self.pages)
        if self.pages == self.unplug_after:
            self._unplug()

    def _read(self, size: int) -> bytes:
        data = bytearray(self.flash[self._address : self._address + size])
        if self.fault == "verify":
            data[0] ^= 0x01
        return bytes(data)


def image(text: str, size: int = 1024) -> bytes:
    """A program that says `text`: some code, then the text."""
    code = bytes(range(64)) * 2
    return (code + TEXT + text.encode() + b"\0").ljust(size, b"\xa5")


def intel_hex(data: bytes, start: int = 0) -> str:
    """`data` as an Intel HEX file, with an address record for each 64 KiB."""

    def record(kind: int, address: int, payload: bytes) -> str:
        raw = bytes((len(payload),)) + address.to_bytes(2, "big") + bytes((kind,)) + payload
        return f":{(raw + bytes((-sum(raw) & 0xFF,))).hex().upper()}"

    lines, high = [], 0
    for at in range(0, len(data), 16):
        address = start + at
        if address >> 16 != high:
            high = address >> 16
            lines.append(record(4, 0, high.to_bytes(2, "big")))
        lines.append(record(0, address & 0xFFFF, data[at : at + 16]))
    return "\n".join([*lines, record(1, 0, b"")]) + "\n"
