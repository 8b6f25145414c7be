"""A simulated FPGA on a JTAG cable: a TAP (IEEE 1149.1) behind openocd's remote_bitbang protocol.

Its instructions are those of Xilinx's 7 series: IDCODE, and CFG_IN, which takes a bitstream.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from pathlib import Path

IDCODE, CFG_IN = 0x09, 0x05
_IR = 6  # bits
_NEXT = {  # state -> after TMS 0, after TMS 1
    "reset": ("idle", "reset"),
    "idle": ("idle", "select-dr"),
    "select-dr": ("capture-dr", "select-ir"),
    "capture-dr": ("shift-dr", "exit1-dr"),
    "shift-dr": ("shift-dr", "exit1-dr"),
    "exit1-dr": ("pause-dr", "update-dr"),
    "pause-dr": ("pause-dr", "exit2-dr"),
    "exit2-dr": ("shift-dr", "update-dr"),
    "update-dr": ("idle", "select-dr"),
    "select-ir": ("capture-ir", "reset"),
    "capture-ir": ("shift-ir", "exit1-ir"),
    "shift-ir": ("shift-ir", "exit1-ir"),
    "exit1-ir": ("pause-ir", "update-ir"),
    "pause-ir": ("pause-ir", "exit2-ir"),
    "exit2-ir": ("shift-ir", "update-ir"),
    "update-ir": ("idle", "select-dr"),
}


class Tap:
    """One chip; `dead`: its output never changes."""

    def __init__(self, idcode: int) -> None:
        self.idcode = idcode
        self.dead = False
        self.configuration = bytearray()  # what came by CFG_IN
        self._state = "reset"
        self._instruction = IDCODE
        self._shift: list[int] = []
        self._tck = 0

    def write(self, tck: int, tms: int, tdi: int) -> None:
        if tck and not self._tck:
            self._rise(tms, tdi)
        self._tck = tck

    def read(self) -> int:
        if self.dead or not self._state.startswith("shift"):
            return 1
        return self._shift[0] if self._shift else 0

    def _rise(self, tms: int, tdi: int) -> None:
        match self._state:
            case "capture-ir":
                self._shift = [1, 0, 0, 0, 0, 0]
            case "capture-dr":
                self._shift = self._captured()
            case "shift-ir" | "shift-dr":
                self._shift.append(tdi)
                if self._state == "shift-ir" or self._instruction != CFG_IN:
                    self._shift.pop(0)
        self._state = _NEXT[self._state][tms]
        if self._state == "reset":
            self._instruction = IDCODE
        elif self._state == "update-ir":
            self._instruction = sum(bit << place for place, bit in enumerate(self._shift[-_IR:]))
        elif self._state == "update-dr" and self._instruction == CFG_IN:
            bits = "".join(map(str, self._shift))
            self.configuration += int(bits or "0", 2).to_bytes((len(bits) + 7) // 8, "big")

    def _captured(self) -> list[int]:
        if self._instruction == IDCODE:
            return [self.idcode >> place & 1 for place in range(32)]
        return [] if self._instruction == CFG_IN else [0]


class Cable:
    """Serves one TAP on a Unix socket at `path`, one client after the other."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._folder = tempfile.TemporaryDirectory(prefix="tap-")  # short: sockets' paths are
        self.path = Path(self._folder.name) / "jtag"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, name="jtag-cable")
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
            last.sendall(b"X")
        self._thread.join()
        self._listener.close()
        self._folder.cleanup()

    def _serve(self) -> None:
        going_on = True
        while going_on:
            client, _ = self._listener.accept()
            with client:
                going_on = self._talk(client)

    def _talk(self, client: socket.socket) -> bool:
        while data := client.recv(65536):
            answers = bytearray()
            for order in data:
                if 0x30 <= order <= 0x37:
                    bits = order - 0x30
                    self._tap.write(bits >> 2 & 1, bits >> 1 & 1, bits & 1)
                elif order == ord("R"):
                    answers.append(0x30 + self._tap.read())
                elif order == ord("X"):
                    return False
            if answers:
                client.sendall(answers)
        return True


def bitstream(part: str = "7a35tcpg236", idcode: int = 0x0362D093, size: int = 2048) -> bytes:
    """A bitstream with the header that Xilinx's tools write."""

    def field(tag: bytes, text: str) -> bytes:
        return tag + (len(text) + 1).to_bytes(2, "big") + text.encode() + b"\0"

    body = b"\xff" * 32 + bytes.fromhex("aa99556620000000 30018001") + idcode.to_bytes(4, "big")
    body = body.ljust(size, b"\x5a")
    head = bytes.fromhex("00090ff00ff00ff00ff0000001") + field(b"a", "top;UserID=0xFFFFFFFF")
    head += field(b"b", part) + field(b"c", "2026/11/22") + field(b"d", "12:00:00")
    return head + b"e" + len(body).to_bytes(4, "big") + body
