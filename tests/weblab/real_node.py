"""A node in a process of its own, with a lab that is slow or fails as the central server wishes."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

from labnode.clock import Event
from labnode.weblab.caller import Caller
from tests.kit.waiting import PATIENCE, eventually

BOARD = """\
schema: 1
lab: {{name: thermal, category: Control}}
session: {{{rules}}}
devices:
  heater: {{driver: relay, pin: GPIO17, safe: false}}
module: lab.py
"""
RULES = "timeout: -1, dispose_wait: 5, start_wait: 10, poll_interval: 5"

# client data: {"start": how, "dispose": how}; how is "fail", "fail once" or "until NAME": until
# there is a file of this name. What happens is written to the file `log`, line by line.
LAB = """\
from pathlib import Path
from labnode import Lab

lab = Lab()
HERE = Path(__file__).parent

def note(what):
    with (HERE / "log").open("a") as log:
        log.write(f"{what} {lab.user.username}\\n")

def obey(how):
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
    obey(client_data.get("start"))
    lab.devices.heater.on()
    note("ready")

@lab.on_dispose
def dispose():
    note("dispose")
    obey(lab.user.data.get("dispose"))
    note("clean")
"""


class RealNode:
    """`labnode run --simulate`, again and again with the same settings and state directory."""

    def __init__(self, directory: Path, *, rules: str = RULES, **settings: Any) -> None:
        self.directory = directory
        self.base_url = settings.get("base_url", "")
        (directory / "board.yaml").write_text(BOARD.format(rules=rules))
        (directory / "lab.py").write_text(LAB, "utf-8")
        self.settings = {
            "weblab": {"username": "weblab", "password": "secret"},
            "state_dir": str(directory / "state"),
            **settings,
        }
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Run it; it answers when this returns."""
        settings = self.directory / "settings.yaml"
        settings.touch(mode=0o600)
        settings.write_text(json.dumps(self.settings))
        command = [sys.executable, "-m", "labnode", "run", str(self.directory / "board.yaml")]
        command += ["--settings", str(settings), "--simulate", "--port", str(self._port)]
        with (self.directory / "stderr").open("a") as stderr:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={name: value for name, value in os.environ.items() if "LABNODE" not in name},
            )
        line = self._first_line()
        address = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert address, f"{line!r}\n{(self.directory / 'stderr').read_text()}"
        self._port = int(address[1])
        self.origin = address[0]
        self.url = self.origin + self.base_url

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it: with SIGTERM as systemd does, with SIGKILL as a bug or no memory does."""
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(number)
            process.wait(PATIENCE)
            assert process.stdout is not None
            process.stdout.close()

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
        for name in ("log", "failed", "a"):
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

    def _first_line(self) -> str:
        assert self._process is not None
        stdout, lines = self._process.stdout, queue.Queue[str]()
        assert stdout is not None
        reader = threading.Thread(target=lambda: lines.put(stdout.readline()), name="first-line")
        reader.start()
        try:
            return lines.get(timeout=PATIENCE)
        except queue.Empty:
            self.stop(signal.SIGKILL)
            raise
        finally:
            reader.join(PATIENCE)


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


class Visitor:
    """A student's browser, as far as a central server can tell."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._cookie = ""
        self.page = self._ask(url)

    def leave(self) -> Any:
        """Press the Leave button."""
        return json.loads(self._ask(f"{self._url}/logout", b""))

    def _ask(self, url: str, body: bytes | None = None) -> str:
        class Stay(urllib.request.HTTPRedirectHandler):
            def http_error_302(self, request: Any, response: Any, *_: Any) -> Any:
                return response

        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)
        request = urllib.request.Request(url, data=body, headers={"Cookie": self._cookie})
        with opener.open(request, timeout=PATIENCE) as response:
            if cookie := response.headers["Set-Cookie"]:
                self._cookie = cookie.partition(";")[0]
            if location := response.headers["Location"]:
                origin = re.match(r"http://[^/]*", url)
                assert origin is not None
                return self._ask(location if "://" in location else origin[0] + location)
            return str(response.read().decode())
