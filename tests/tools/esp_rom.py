"""A simulated ESP32 behind a pty: the serial protocol of its ROM bootloader, and its flash.

https://docs.espressif.com/projects/esptool/en/latest/esp32/advanced-topics/serial-protocol.html
"""

from __future__ import annotations

import hashlib
import os
import select
import struct
import threading
import tty
from collections.abc import Iterator

FLASH = 4 << 20
_MAGIC_REGISTER, _CLOCK, _COMMAND, _WORD = 0x40001000, 0x3FF40014, 0x3FF42000, 0x3FF42080
_REGISTERS = {
    _CLOCK: 347,  # 115200 baud of 40 MHz
    _WORD: 0x164020,  # what the flash says that it is: 4 MB
}


class Esp32:
    """`magic` is what chip it is; `fault`: "silent", or "flash" (what is written is lost)."""

    def __init__(self, magic: int = 0x00F01D83) -> None:
        self.flash = bytearray(b"\xff" * FLASH)
        self.fault = ""
        self._registers = {**_REGISTERS, _MAGIC_REGISTER: magic}
        self._at = 0
        self._received = b""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._awake, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._live, name="esp32")
        self._thread.start()

    def close(self) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        for descriptor in (self._awake, self._wake, self._master, self._slave):
            os.close(descriptor)

    def _live(self) -> None:
        while True:
            ready, _, _ = select.select([self._master, self._awake], [], [])
            if self._awake in ready:
                return
            self._received += os.read(self._master, 65536)
            for packet in self._packets():
                if self.fault != "silent" and len(packet) >= 8 and packet[0] == 0:
                    self._answer(packet[1], packet[8:])

    def _packets(self) -> Iterator[bytes]:
        """What stands between two ends (SLIP, RFC 1055)."""
        *packets, self._received = self._received.split(b"\xc0")
        for packet in packets:
            if packet:
                yield packet.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")

    def _answer(self, operation: int, data: bytes) -> None:
        value, result = 0x20120707, b""
        match operation:
            case 0x02:  # flash: begin
                _, _, _, self._at = struct.unpack("<IIII", data[:16])
            case 0x03:  # flash: a block
                block = data[16:]
                if self.fault != "flash":
                    self.flash[self._at : self._at + len(block)] = block
                self._at += len(block)
            case 0x09:  # a register is written
                register, written = struct.unpack("<II", data[:8])
                if register not in _REGISTERS and register != _COMMAND:
                    self._registers[register] = written
            case 0x0A:  # a register is read
                (register,) = struct.unpack("<I", data[:4])
                value = self._registers.get(register, 0)
            case 0x13:  # MD5 of a part of the flash
                at, size = struct.unpack("<II", data[:8])
                result = hashlib.md5(self.flash[at : at + size]).hexdigest().encode()
        for _ in range(8 if operation == 0x08 else 1):  # synchronisation is answered 8 times
            self._send(operation, value, result)

    def _send(self, operation: int, value: int, result: bytes) -> None:
        payload = result + bytes(4)
        packet = struct.pack("<BBHI", 1, operation, len(payload), value) + payload
        escaped = packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        os.write(self._master, b"\xc0" + escaped + b"\xc0")
