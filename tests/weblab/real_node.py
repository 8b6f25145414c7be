"""A node in a process of its own, with a lab that is slow or fails as the central server wishes."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from labnode.clock import Event
from labnode.weblab.caller import Caller
from tests.kit.waiting import eventually
from tests.process.machine import Node

BOARD = """\
schema: 1
lab: {{name: thermal, category: Control}}
session: {{{rules}}}
devices:
  heater: {{driver: relay, pin: GPIO17, safe: false}}
module: lab.py
"""
RULES = "timeout: -1, dispose_wait: 5, start_wait: 10, poll_interval: 5"

# The client data say how its hooks behave: {"start": how, "dispose": how}; so does a file "start"
# or "dispose" beside it. That is "fail", "fail once" or "until NAME": until there is a file of this
# name. What happens is written to the file `log`, line by line.
LAB = """\
from pathlib import Path
from labnode import Lab

lab = Lab()
HERE = Path(__file__).parent

def note(what):
    with (HERE / "log").open("a") as log:
        log.write(f"{what} {lab.user.username}\\n")

def obey(step, asked):
    how = (HERE / step).read_text() if (HERE / step).exists() else asked
    if how == "fail" or (how == "fail once" and not (HERE / "failed").exists()):
        (HERE / "failed").touch()
        raise RuntimeError("The heater does not answer.")
    if how and how.startswith("until "):
        while not (HERE / how.removeprefix("until ")).exists() and lab.wait(0.01):
            pass

@lab.on_start
def start(client_data, server_data):
    note("restart" if lab.restarted else "start")
    lab.user.data["dispose"] = client_data.get("dispose")
    obey("start", client_data.get("start"))
    lab.devices.heater.on()
    note("ready")

@lab.on_dispose
def dispose():
    note("dispose")
    obey("dispose", lab.user.data.get("dispose"))
    note("clean")
"""


class RealNode:
    """`labnode run --simulate`, again and again with the same settings and state directory.

    A `listener` at the `port` of the settings outlives each of its processes.
    """

    def __init__(
        self,
        directory: Path,
        *,
        rules: str = RULES,
        listener: socket.socket | None = None,
        **settings: Any,
    ) -> None:
        self.directory = directory
        self.base_url = settings.get("base_url", "")
        (directory / "board.yaml").write_text(BOARD.format(rules=rules))
        (directory / "lab.py").write_text(LAB, "utf-8")
        self.settings = {
            "weblab": {"username": "weblab", "password": "secret"},
            "state_dir": str(directory / "state"),
            **settings,
        }
        self._listener = listener
        self._port = settings.get("port", 0)
        self._node: Node | None = None

    def start(self) -> None:
        """Run it; it answers when this returns."""
        settings = self.directory / "settings.yaml"
        settings.touch(mode=0o600)
        settings.write_text(json.dumps(self.settings))
        self._node = Node(
            self.directory,
            *("--settings", str(settings), "--port", str(self._port)),
            board=self.directory / "board.yaml",
            listener=self._listener,
            LABNODE_WEBLAB_USERNAME=None,  # they are in the settings
            LABNODE_WEBLAB_PASSWORD=None,
        )
        self.url = self._node.url
        self.origin = self.url.removesuffix(self.base_url)
        self._port = int(self.origin.rpartition(":")[2])

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it: with SIGTERM as systemd does, with SIGKILL as a bug or no memory does."""
        if self._node is not None:
            with self._node as node:
                self._node = None
                node.send(number)
                node.wait()

    def restart(self, number: int = signal.SIGTERM) -> None:
        self.stop(number)
        self.start()

    def open_gate(self, name: str) -> None:
        """Let hooks go on that wait "until NAME"."""
        (self.directory / name).touch()

    def log(self) -> list[str]:
        """What the lab's hooks did."""
        log = self.directory / "log"
        return log.read_text().splitlines() if log.exists() else []

    def close_gate(self, name: str) -> None:
        (self.directory / name).unlink()

    def tidy(self) -> None:
        """Forget what happened, close all gates."""
        for name in ("log", "failed", "a", "gate", "start", "dispose"):
            (self.directory / name).unlink(missing_ok=True)

    def wait_for_log(self, line: str) -> None:
        """Wait until a hook has written `line`."""
        eventually(lambda: line in self.log(), line)

    def wait_for_stored(self, state: str) -> None:
        """Wait until the node has stored that a session is in `state`: it survives a crash."""

        def states() -> list[str]:
            with closing(sqlite3.connect(self.directory / "state" / "labnode.db")) as store:
                return [row[0] for row in store.execute("select state from sessions")]

        eventually(lambda: state in states(), state)


class Hurried(Event):
    """An event for stand-ins: notes how long they want to wait, and hardly waits."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return super().wait(0.005)


def recorded(server: Any) -> list[Any]:
    """All that `server` is going to get: the answers, and in their place the errors."""
    caller: Caller = server._caller
    ask, answers = caller.ask, list[Any]()

    def note(*args: Any, **kwargs: Any) -> Any:
        try:
            answer = ask(*args, **kwargs)
        except Exception as error:
            answers.append(error)
            raise
        answers.append(answer)
        return answer

    caller.ask = note  # type: ignore[method-assign]
    return answers
