"""A real labnode process, the central server and the student that talk to it over HTTP."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from labnode.clock import Clock
from labnode.weblab.fake import CentralServer
from tests.kit.programs import ran
from tests.kit.waiting import PATIENCE

HERE = Path(__file__).parent
ROOT = HERE.parents[1]  # whose labnode is tested, wherever another one is installed
PROBE = HERE / "probe.yaml"
SAFE = {"GPIO17": "0.0", "GPIO24": "1.0", "GPIO25": "0.0", "GPIO18": "1.0"}
USERNAME, PASSWORD = "weblab", "a password"
HAND_OVER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="labnode.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""
P = TypeVar("P", bound="Process")


def environment(home: Path, **more: str | None) -> dict[str, str]:
    """What a process of a test gets: a home of its own, nothing of this session's settings."""
    given = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    whole = {
        **given,
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "error",
        "LABNODE_WEBLAB_USERNAME": USERNAME,
        "LABNODE_WEBLAB_PASSWORD": PASSWORD,
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None}


class Lines:
    """The lines that come out of a pipe; the descriptor is closed at its end."""

    def __init__(self, descriptor: int) -> None:
        self.seen: list[str] = []
        self._descriptor = descriptor
        self._rest = b""
        self._open = True

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The match of the next line that fits; lines before it are only remembered."""
        deadline = Clock().now() + PATIENCE
        while True:
            line = self._next(deadline)
            assert line is not None, f"{pattern!r} did not come; there was {self.seen}"
            if match := re.search(pattern, line):
                return match

    def so_far(self) -> list[str]:
        """Every line that has come; waits for none."""
        while b"\n" in self._rest or (
            self._open and select.select([self._descriptor], [], [], 0)[0]
        ):
            self._next(Clock().now() + PATIENCE)
        return self.seen

    def all(self) -> list[str]:
        """Every line until the pipe is closed."""
        deadline = Clock().now() + PATIENCE
        while self._next(deadline) is not None:
            pass
        return self.seen

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._descriptor)

    def _next(self, deadline: float) -> str | None:
        while b"\n" not in self._rest and self._open:
            left = max(0.0, deadline - Clock().now())
            ready, _, _ = select.select([self._descriptor], [], [], left)
            assert ready, f"nothing more came for {PATIENCE:g} s after {self.seen}"
            part = os.read(self._descriptor, 65536)
            self._rest += part
            if not part:
                self.close()
        line, end, self._rest = self._rest.partition(b"\n")
        if not end:
            return None
        self.seen.append(line.decode())
        return self.seen[-1]


class Process:
    """A command that goes on; what it says comes line by line, its errors when it has ended.

    `under` is a command that becomes this one, such as strace -D. A `listener` is handed over as
    systemd does it.
    """

    entry: ClassVar[Path] = HERE / "traced.py"

    def __init__(
        self,
        home: Path,
        *arguments: str | Path,
        under: Sequence[str] = (),
        listener: socket.socket | None = None,
        **env: str | None,
    ) -> None:
        read, write = os.pipe()
        self.home = home
        handed_over = [] if listener is None else [listener.fileno()]
        if listener is not None:
            under = [sys.executable, "-c", HAND_OVER, str(listener.fileno()), *under]
        self.trace = Lines(read)
        self._errors = home / "stderr"
        with self._errors.open("ab") as errors:
            self.popen = subprocess.Popen(
                [*under, sys.executable, self.entry, *map(str, arguments)],
                cwd=home,
                env=environment(home, LABNODE_TEST_TRACE=str(write), **env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=[write, *handed_over],
                start_new_session=True,  # without a terminal, as a service
            )
        os.close(write)
        assert self.popen.stdout is not None
        self.output = Lines(os.dup(self.popen.stdout.fileno()))
        self.popen.stdout.close()

    @property
    def errors(self) -> str:
        """What is on its standard error, those of the processes before it too."""
        return self._errors.read_text()

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self) -> int:
        """Its exit code, when it ends."""
        return self.popen.wait(PATIENCE)

    def stop(self) -> None:
        """End it as systemd does, in order."""
        self.send(signal.SIGTERM)
        assert self.wait() == 0

    def levels(self) -> dict[str, str]:
        """What the pins were driven to in the end."""
        return _levels(self.trace.all())

    def levels_so_far(self) -> dict[str, str]:
        """What the pins are driven to now."""
        return _levels(self.trace.so_far())

    def __enter__(self: P) -> P:
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()

    def end(self) -> None:
        """Leave nothing of it behind."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE)
        self.trace.close()
        self.output.close()


def _levels(trace: list[str]) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in trace if line.startswith("GPIO"))


class Node(Process):
    """`labnode run` with the probe, ready for sessions; `home`/state is its state directory."""

    def __init__(self, home: Path, *arguments: str, board: Path = PROBE, **options: Any) -> None:
        self.state = home / "state"
        port = [] if "--port" in arguments else ["--port", "0"]
        state = ["--state-dir", self.state]
        super().__init__(home, "run", board, "--simulate", *port, *state, *arguments, **options)
        try:
            self.url = self.output.wait_for(r" at (http://\S+)/$")[1]
        except AssertionError:
            self.end()
            raise AssertionError(f"it did not start: {self.errors}") from None
        self.server = CentralServer(self.url, USERNAME, PASSWORD, timeout=15)

    def student(self, **client_data: Any) -> Student:
        """A student whose session has begun and whose browser is on the page."""
        session_id, url = self.server.new(client_initial_data=client_data)
        return Student(session_id, url)

    def kill(self) -> None:
        """SIGKILL, as a power cut of the process."""
        self.popen.kill()
        self.popen.wait(PATIENCE)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What its database has, once the process has ended."""
        with sqlite3.connect(self.state / "labnode.db") as db:
            rows = db.execute(query).fetchall()
        db.close()
        return rows


class Answer:
    def __init__(self, status: int, url: str, body: bytes) -> None:
        self.status = status
        self.url = url
        self.text = body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    def __repr__(self) -> str:
        return f"<{self.status} {self.url} {self.text[:300]}>"


class Student:
    """A browser with its cookie, that went to the student's address."""

    def __init__(self, session_id: str, url: str) -> None:
        self.session_id = session_id
        self.url = url
        self._base = url.partition("/callback/")[0]
        self._jar = CookieJar()
        cookies = urllib.request.HTTPCookieProcessor(self._jar)
        self._opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))
        self.page = self.get(url)

    @property
    def cookie(self) -> str:
        """What the browser sends as its Cookie header."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)

    def get(self, path: str) -> Answer:
        return self._ask(path, None)

    def post(self, path: str, data: Any = None) -> Answer:
        """POST with `data` as JSON, or bytes as they are."""
        return self._ask(path, data if isinstance(data, bytes) else json.dumps(data).encode())

    def leave(self) -> Answer:
        """Press the Leave button."""
        return self.post(f"{self.url}/logout")

    def start_task(self, name: str, **arguments: Any) -> str:
        """The id of a task that has been started."""
        answer = self.post(f"/api/tasks/{name}", arguments)
        assert answer.status == 200, answer
        task_id: str = answer.json["task_id"]
        return task_id

    def _ask(self, path: str, body: bytes | None) -> Answer:
        url = path if path.startswith("http") else self._base + path
        headers = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(url, body, headers)
        try:
            with self._opener.open(request, timeout=PATIENCE) as reply:
                return Answer(reply.status, reply.url, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.url or "", error.read())


class Machine:
    """Where processes run; `end` leaves none of them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._processes: list[Process] = []

    def node(self, *arguments: str, **options: Any) -> Node:
        return self.keep(Node(self.home, *arguments, **options))

    def again(self, node: Node, **options: Any) -> Node:
        """A node at the same port with the same state directory; the first one has ended."""
        assert node.popen.returncode is not None
        return self.node("--port", node.url.rpartition(":")[2], **options)

    def crashed(self, node: Node, **options: Any) -> Node:
        """The node as it is started again after SIGKILL."""
        node.kill()
        return self.again(node, **options)

    def process(self, *arguments: str | Path, **env: str) -> Process:
        return self.keep(Process(self.home, *arguments, **env))

    def board(self, *change: str) -> Path:
        """A board of this machine's own: the probe with one text changed."""
        board = self.home / "own.yaml"
        board.write_text(PROBE.read_text().replace(*change))
        shutil.copy(PROBE.with_suffix(".py"), self.home)
        return board

    def labnode(self, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [sys.executable, "-m", "labnode", *map(str, arguments)]
        environ = environment(self.home, **env)
        return ran(command, cwd=self.home, env=environ, timeout=PATIENCE)

    def end(self) -> None:
        for process in self._processes:
            process.end()

    def keep(self, process: P) -> P:
        """Remember to end a process."""
        self._processes.append(process)
        return process
