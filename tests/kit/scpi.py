"""An instrument that is spoken to in SCPI, on TCP or on a pty: a supply with an oscilloscope."""

from __future__ import annotations

import math
import os
import socket
import struct
import threading
import tty
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.kit.waiting import PATIENCE

OHMS = 10.0  # of what the supply feeds


class Supply:
    """A bench supply of 30 V that feeds a resistor, with an oscilloscope on it.

    It does what its lines say, keeps a queue of errors, and says nothing to what it does not know.
    """

    def __init__(self) -> None:
        self.volts = 0.0
        self.on = False
        self.offset = 0.0  # by how much it misses what it is told
        self.errors: deque[str] = deque()
        self.heard: list[str] = []
        self.dead = False  # it hears and says nothing
        self.points = 100

    def answer(self, line: str) -> bytes:
        """What it answers to a line, b"" for nothing."""
        self.heard.append(line)
        if self.dead:
            return b""
        words = line.split()
        if line.endswith("?"):
            said = self._said(line)
            if said is None:
                self.errors.append('-113,"Undefined header"')
                return b""
            return said + b"\n"
        self._obey(words)
        return b""

    def _obey(self, words: list[str]) -> None:
        match words:
            case ["VOLT", value]:
                if 0 <= float(value) <= 30:
                    self.volts = float(value) + self.offset
                else:
                    self.errors.append('-222,"Data out of range"')
            case ["OUTP", ("ON" | "OFF") as word]:
                self.on = word == "ON"
            case ["*CLS"]:
                self.errors.clear()
            case _:
                self.errors.append('-113,"Undefined header"')

    def _said(self, question: str) -> bytes | None:
        seen = self.volts if self.on else 0.0
        wave = [seen * math.sin(2 * math.pi * i / self.points) for i in range(self.points)]
        answers: dict[str, Callable[[], str]] = {
            "*IDN?": lambda: "LABNODE,SUPPLY 30,7,1.0",
            "SYST:ERR?": lambda: self.errors.popleft() if self.errors else '0,"No error"',
            "VOLT?": lambda: f"{self.volts:.4E}",
            "OUTP?": lambda: str(int(self.on)),
            "MEAS:VOLT?": lambda: f"{seen:+.5E}",
            "MEAS:CURR?": lambda: f"{seen / OHMS:+.5E}",
            "MEAS:RES?": lambda: "9.91E+37",
            "WAV:CSV?": lambda: ",".join(f"{value:.4f}" for value in wave),
            "WAV:XINC?": lambda: "1.0E-5",
        }
        if question == "WAV:DATA?":
            data = struct.pack(f">{len(wave)}h", *(round(value * 1000) for value in wave))
            return b"#%d%d" % (len(str(len(data))), len(data)) + data
        return answers[question]().encode() if question in answers else None


class Plug:
    """What an instrument is plugged into; `serve` reads its lines until the way is gone."""

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        self._thread: threading.Thread | None = None

    def _start(self, target: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=target, name="supply", daemon=True)
        self._thread.start()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _serve(self, read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
        unread = b""
        with suppress(OSError):
            while data := read(4096):
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    if said := self.supply.answer(line.decode().strip()):
                        write(said)


class TcpPlug(Plug):
    """A TCP port on loopback, which can be unplugged and plugged in again."""

    def __init__(self, supply: Supply) -> None:
        super().__init__(supply)
        self.connections = 0
        self._address = ("127.0.0.1", 0)
        self._clients: list[socket.socket] = []
        self.plug()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._address[1]}"

    def plug(self) -> None:
        self._listener = socket.create_server(self._address)
        self._address = self._listener.getsockname()
        self._start(self._accept)

    def unplug(self) -> None:
        for each in [self._listener, *self._clients]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self._clients = [client]
                with client:
                    self._serve(client.recv, client.sendall)


class PtyPlug(Plug):
    """A pty; `path` is its near end."""

    def __init__(self, supply: Supply) -> None:
        super().__init__(supply)
        self._far, self._near = os.openpty()
        tty.setraw(self._near)
        self.path = os.ttyname(self._near)
        self._start(lambda: self._serve(self._read, lambda data: os.write(self._far, data)))

    def unplug(self) -> None:
        os.write(self._near, b"\x04\n")  # the end of what it hears
        self._join()
        os.close(self._near)
        os.close(self._far)

    def _read(self, most: int) -> bytes:
        data = os.read(self._far, most)
        return b"" if b"\x04" in data else data


@contextmanager
def plugged(plug: TcpPlug | PtyPlug) -> Iterator[TcpPlug | PtyPlug]:
    try:
        yield plug
    finally:
        plug.unplug()
