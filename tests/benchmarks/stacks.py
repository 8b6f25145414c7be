"""The two stacks that are compared, each with the same lab, and what one does with either."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from tests.benchmarks import proc
from tests.benchmarks.client import Client, good
from tests.kit.basic_auth import basic
from tests.kit.waiting import PATIENCE
from tests.process.machine import PASSWORD, ROOT, USERNAME
from tests.web.sockets import Page

HERE = Path(__file__).parent
SWITCHES = ("switch", "second", "third")
SERVER = f"Authorization: {basic(f'{USERNAME}:{PASSWORD}')}"


class Stack:
    """A lab in processes of its own, with its files in `home`; it listens on a free port."""

    name: ClassVar[str]
    switch: ClassVar[str]  # where a switch is set by a POST of [true], with its name for {}
    tasks: ClassVar[str]

    def __init__(self, home: Path) -> None:
        self.home = home
        self.home.mkdir(parents=True, exist_ok=True)
        self.address = ("127.0.0.1", free_port())
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it and wait for its first answer."""
        self.start_helpers()
        self.start_app()

    def start_helpers(self) -> None:
        """Start what the lab's own process needs."""

    def start_app(self) -> None:
        self._run(self.command(), **self.environment())
        self._answered()

    def command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def end(self) -> None:
        """End it in order; it can be started again, with the files that it has."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = []

    def save(self) -> None:
        """Bring to the disk what would go there later by itself."""

    def pids(self) -> list[int]:
        return [pid for process in self._processes for pid in proc.family(process.pid)]

    def server(self, *, keep: bool = True) -> Client:
        """The central server's client."""
        return Client(self.address, SERVER, keep=keep)

    def session(self) -> Session:
        """A student who is on the page."""
        session = Session(self, self.server())
        session.enter()
        return session

    def open_page(self, session: Session) -> OpenPage:
        """The student's page as it stays open."""
        return OpenPage(session)

    def _run(self, command: Sequence[str | Path], **more: str) -> None:
        given = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.home,
                env={**given, "HOME": str(self.home), **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)

    def _answered(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            client = self.server(keep=False)
            try:
                if client.ask("GET", "/weblab/sessions/api").status == 200:
                    return
            except OSError:
                pass
            finally:
                client.close()
            self._check(deadline)
            time.sleep(0.001)

    def _check(self, deadline: float) -> None:
        ended = any(process.poll() is not None for process in self._processes)
        if ended or time.monotonic() > deadline:
            raise SystemExit(f"{self.name} did not start:\n{(self.home / 'log').read_text()}")


class Session:
    """A session by the central server's protocol, and its student."""

    def __init__(self, stack: Stack, server: Client) -> None:
        self.stack = stack
        self._server = server
        self.id, url = start_session(server)
        self._callback = urlsplit(url).path
        self.status_path = f"/weblab/sessions/{self.id}/status"
        self.student = Client(stack.address)

    def enter(self) -> None:
        """What a browser does with the address that it was given."""
        reply = self.student.get(self._callback)
        cookie = reply.header(b"set-cookie").partition(";")[0]
        self.student.headers.append(f"Cookie: {cookie}")
        self._page = urlsplit(reply.header(b"location")).path
        self.load()

    def load(self) -> None:
        """The page, without what it loads."""
        self.student.get(self._page)

    def another(self) -> Client:
        """One more connection of the same browser."""
        client = Client(self.stack.address)
        client.headers = list(self.student.headers)
        return client

    @property
    def cookie(self) -> str:
        return self.student.headers[-1].partition(": ")[2]

    def poll(self) -> None:
        """What a page says that polls."""
        self.student.get(f"{self._callback}/poll")

    def status(self) -> None:
        self._server.get(self.status_path)

    def set(self, name: str, on: bool) -> None:
        self.student.post(self.stack.switch.format(name), [on])

    def delete(self) -> None:
        self._server.post(f"/weblab/sessions/{self.id}", {"action": "delete"})
        self._server.close()
        self.student.close()


class OpenPage:
    """A page that polls."""

    pause = 7.5  # seconds between two signs of life

    def __init__(self, session: Session) -> None:
        self._session = session

    def alive(self) -> None:
        self._session.poll()

    def close(self) -> None:
        """Leave no connection behind."""


class LivePage(OpenPage):
    """labnode's own page, which has a WebSocket."""

    pause = 5.0

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        host, port = session.stack.address
        self._page = Page((host, port), "/api/live", f"http://{host}:{port}", session.cookie)
        self._page.ask()
        assert self._page.read_head() == 101
        self._page.json()
        self.socket = self._page.socket

    def alive(self) -> None:
        self._page.send("here").json()

    def close(self) -> None:
        self._page.close()


def start_session(server: Client) -> tuple[str, str]:
    """A new session's id and the student's URL."""
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
    data = {
        "client_initial_data": {},
        "server_initial_data": {
            "priority.queue.slot.length": "3000",
            "priority.queue.slot.start": f"{local}.0",
            "priority.queue.slot.start.timestamp": str(time.time()),
            "priority.queue.slot.initialization_in_accounting": True,
            "request.username": "john.smith",
            "request.username.unique": "john.smith",
            "request.full_name": "John Smith",
            "request.locale": "en",
            "request.experiment_id.experiment_name": "bench",
            "request.experiment_id.category_name": "Tests",
        },
        "back": "",
    }
    answer = good(server.ask("POST", "/weblab/sessions/", data)).json
    return answer["session_id"], answer["url"]


class Incumbent(Stack):
    """weblablib as its manual deploys it: one worker of gunicorn, and Redis as it comes."""

    name = "weblablib"
    switch = "/switches/{}"
    tasks = "/tasks"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._python = environment_of_weblablib() / "bin" / "python"
        self._redis = ("127.0.0.1", free_port())

    def start_helpers(self) -> None:
        port = str(self._redis[1])
        here = ["--bind", "127.0.0.1", "--port", port, "--dir", self.home]
        self._run(["redis-server", *here])
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._ask_redis("PING")
                return
            except OSError:
                self._check(deadline)
                time.sleep(0.001)

    def command(self) -> Sequence[str | Path]:
        bind = f"{self.address[0]}:{self.address[1]}"
        lab = ["--chdir", HERE, "weblablib_lab:app"]
        return [self._python, "-m", "gunicorn", "-w", "1", "--bind", bind, *lab]

    def environment(self) -> dict[str, str]:
        return {"REDIS_URL": f"redis://127.0.0.1:{self._redis[1]}/0"}

    def save(self) -> None:
        self._ask_redis("SAVE")

    def _ask_redis(self, command: str) -> bytes:
        with socket.create_connection(self._redis, PATIENCE) as sock:
            sock.sendall(f"{command}\r\n".encode())
            return sock.recv(1000)


class Labnode(Stack):
    """This checkout's labnode with a simulated board. `entry` starts it, by default -m labnode."""

    name = "labnode"
    switch = "/api/devices/{}/set"
    tasks = "/api/tasks"
    entry: Sequence[str | Path] = (sys.executable, "-m", "labnode")
    board: Path = HERE / "bench.yaml"

    def command(self) -> Sequence[str | Path]:
        where = ["--port", str(self.address[1]), "--state-dir", self.home / "state"]
        return [*self.entry, "run", self.board, "--simulate", *where]

    def environment(self) -> dict[str, str]:
        pair = {"LABNODE_WEBLAB_USERNAME": USERNAME, "LABNODE_WEBLAB_PASSWORD": PASSWORD}
        return {**pair, "PYTHONPATH": str(ROOT)}

    def open_page(self, session: Session) -> OpenPage:
        return LivePage(session)


def environment_of_weblablib() -> Path:
    """A virtual environment with weblablib and what it works with, made once and kept."""
    if not shutil.which("redis-server"):
        raise SystemExit(
            "weblablib needs redis-server, which is not installed: apt-get install redis-server"
        )
    wanted = HERE / "weblablib.txt"
    version = hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "labnode-benchmarks" / f"weblablib-{version}-{sys.version_info[1]}"
    if not (directory / "complete").exists():
        print(f"Installing weblablib into {directory} …", file=sys.stderr, flush=True)
        venv.create(directory, clear=True, with_pip=True)
        pip = [directory / "bin" / "python", "-m", "pip", "install", "-q", "-r", wanted]
        subprocess.run(pip, check=True)
        (directory / "complete").touch()
    return directory


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
