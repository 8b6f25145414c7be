"""A node in a process of its own, whose listening socket outlives it as under systemd."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

from labnode import control
from labnode.settings import Credentials, Settings
from labnode.weblab.config import Registration, registration
from tests.kit.basic_auth import basic
from tests.kit.waiting import PATIENCE, eventually
from tests.weblab.real_node import RealNode

PASSWORD = "pass:w0rd #1"
RULES = "timeout: -1, dispose_wait: 1, start_wait: 30, poll_interval: 1"

ONCE = ["start", "ready", "dispose", "clean"]


def asked(url: str, method: str, fields: Any = None) -> Any:
    """What a central server with the right password is answered by a lab."""
    body = None if fields is None else json.dumps(fields).encode()
    request = urllib.request.Request(url, body, method=method)
    request.add_header("Authorization", basic(f"lde:{PASSWORD}"))
    request.add_header("Content-Type", "application/json")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read())


class Board(RealNode):
    """One of several identical boards."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.kept = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.kept.getsockname()[1]
        super().__init__(
            directory,
            rules=RULES,
            listener=self.kept,
            port=self.port,
            weblab={"username": "lde", "password": PASSWORD},
        )

    @property
    def errors(self) -> str:
        """What its processes have logged."""
        return (self.directory / "stderr").read_text()

    @property
    def registration(self) -> Registration:
        settings = Settings(weblab=Credentials(username="lde", password=PASSWORD))
        return registration(
            settings,
            name="thermal",
            category="Control",
            host=f"127.0.0.1:{self.port}",
            show_password=True,
        )

    def will(self, step: str, how: str) -> None:
        (self.directory / step).write_text(how)

    def restart_with(self, *passwords: str) -> None:
        self.settings["weblab"] = {"username": "lde", "password": list(passwords)}
        self.restart()

    def told(self, command: str) -> dict[str, Any]:
        """What `labnode COMMAND` is answered, as whoever looks after the node gives it."""
        return control.ask(self.directory / "state", command)

    def ask(self, method: str, path: str, fields: Any = None) -> Any:
        return asked(self.url + path, method, fields)

    def healthy(self) -> bool:
        success: bool = self.ask("GET", "/weblab/health")["success"]
        return success

    def story(self, username: str) -> list[str]:
        return [line.split()[0] for line in self.log() if line.endswith(f" {username}")]

    def wait_until_free(self) -> None:
        eventually(lambda: not self.told("status")["sessions"], "a free board")

    def end(self) -> None:
        self.stop(signal.SIGKILL)
        self.kept.close()
