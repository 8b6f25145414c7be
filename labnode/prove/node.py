"""The node that is put to the proof: its board and settings, and who looks after its process."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labnode.drivers.gpio.pin import Pin
from labnode.locale import Message
from labnode.weblab.fake import CentralServer

USERNAME = "prove"
OUTPUT = "out"  # the name of its only device
LIMIT = 1.0  # seconds that it may be on where the lab hangs

_HANGING_LAB = '''\
"""A lab whose clean-up never ends."""

from labnode import Lab

lab = Lab()


@lab.on_dispose
def hang():
    while True:
        pass
'''


@dataclass(frozen=True)
class NodeFiles:
    """What a node is started with."""

    out: Pin
    port: int
    password: str
    hangs: bool = False  # whether the lab's clean-up does, with a limit for the output

    @property
    def board(self) -> str:
        limit = f", max_on_time: {LIMIT:g}" if self.hangs else ""
        return (
            "schema: 1\n"
            "title: labnode prove\n"
            "session: {timeout: -1}\n"
            f"devices: {{{OUTPUT}: {{driver: digital_output, pin: {self.out.name}{limit}}}}}\n"
            + ("module: prove.py\n" if self.hangs else "")
        )

    def write_board(self, directory: Path) -> Path:
        """Write the board, and its lab where it has one; returns the board's file."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "prove.yaml"
        path.write_text(self.board, encoding="utf-8")
        lab = directory / "prove.py"
        lab.unlink(missing_ok=True)
        if self.hangs:
            lab.write_text(_HANGING_LAB, encoding="utf-8")
        return path

    def settings(self, board: Path, **more: str) -> str:
        """The text of a settings file; JSON is YAML."""
        credentials = {"username": USERNAME, "password": self.password}
        whole = {"board": str(board), "port": self.port, "weblab": credentials, **more}
        return json.dumps(whole) + "\n"

    def server(self) -> CentralServer:
        """The central server that calls this node."""
        return CentralServer(f"http://127.0.0.1:{self.port}", USERNAME, self.password)


class Keeper(Protocol):
    """Looks after the process of a node, as systemd does."""

    @property
    def watchdog(self) -> float:
        """After how many seconds without a sign of life a node that runs is ended."""

    @property
    def sentence(self) -> Message:
        """Who that is, for the report."""

    def start(self, files: NodeFiles) -> None:
        """Start a node in the place of the last one; LabnodeError when it does not get ready."""

    def signal(self, number: int) -> None:
        """Send a signal to the node's process."""

    def recover(self) -> None:
        """Return when the process is dead, its outputs are safe, and another one is ready."""

    def close(self) -> None:
        """End the node, whatever it does, and leave nothing of it."""


def free_port() -> int:
    """A port of this machine where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
