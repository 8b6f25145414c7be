"""A LabDiscoveryEngine of PyPI with its Redis, its web and its worker, all on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labnode.weblab.config import Registration, lab_discovery_engine
from tests.kit.waiting import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-real"
PACKAGES = ("labdiscoveryengine==0.6.0", "labdiscoverylib==0.6.0", "pymongo<4.9")  # motor wants it
LABORATORY = "thermal"
OVER = ("finished", "broken")
USER, PASSWORD = "moodle", "a password of moodle"
HASH = """\
from werkzeug.security import generate_password_hash
print(generate_password_hash({!r}, "pbkdf2:sha256:1"))
"""


def make_venv() -> Path:
    """The directory of the programs of LabDiscoveryEngine, in a virtual environment of its own.

    LABNODE_TEST_LDE_PYTHON is the Python to make it with: the versions of its libraries have
    wheels up to Python 3.12.
    """
    programs = VENV / "bin"
    stamp = VENV / "stamp"
    if not stamp.exists() or stamp.read_text() != str(PACKAGES):
        shutil.rmtree(VENV, ignore_errors=True)
        python = os.environ.get("LABNODE_TEST_LDE_PYTHON", sys.executable)
        subprocess.run([python, "-m", "venv", VENV], check=True)
        pip = [programs / "python", "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(pip, check=True)
        stamp.write_text(str(PACKAGES))
    return programs


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Program:
    """A program of the server's side; its output goes to NAME.log."""

    def __init__(self, directory: Path, name: str, *command: str | Path, **env: str) -> None:
        self._log = directory / f"{name}.log"
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                command,
                cwd=directory,
                env={"PATH": os.environ["PATH"], "HOME": str(directory), **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def said(self, text: str) -> bool:
        assert self._popen.poll() is None, self._log.read_text()[-3000:]
        return text in self._log.read_text()

    def end(self, number: int = signal.SIGTERM) -> None:
        if self._popen.poll() is None:
            self._popen.send_signal(number)
        self._popen.wait(PATIENCE)


class Engine:
    """A deployment whose one laboratory has the `nodes` as its resources.

    Its configuration is what `labnode weblab-config --server labdiscoveryengine` prints.
    """

    def __init__(self, directory: Path, nodes: Iterable[Registration]) -> None:
        self._directory = directory
        self._programs = make_venv()
        self._reservations: list[str] = []
        redis = free_port()
        nodes = list(nodes)
        files = {part.file: [part.text] for part in lab_discovery_engine(nodes[0])}
        for node in nodes[1:]:  # as its comments say: of identical boards only the resource
            resource, laboratory = lab_discovery_engine(node)
            files[resource.file].append(resource.text)
            files[laboratory.file].append(laboratory.text.splitlines()[-1] + "\n")
        said = subprocess.run(
            [self._programs / "python", "-c", HASH.format(PASSWORD)],
            check=True,
            capture_output=True,
            text=True,
        )
        account = {"password": said.stdout.strip(), "laboratories": "all"}
        files["credentials.yml"] = [json.dumps({"administrators": {}, "external": {USER: account}})]
        self.redis_url = url = f"redis://127.0.0.1:{redis}/0"
        files["configuration.yml"] = [json.dumps({"SECRET_KEY": "of a test", "REDIS_URL": url})]
        for name, texts in files.items():
            (directory / name).write_text("".join(texts), "utf-8")
        self._redis_port = redis
        self._running: list[Program] = []

    def start(self) -> None:
        """It answers when this returns."""
        server = shutil.which("redis-server")
        assert server, "these tests need Debian's redis-server"
        options = ("--port", str(self._redis_port), "--bind", "127.0.0.1", "--save", "")
        self._run("redis", "Ready to accept connections", server, *options)
        self.start_worker()
        address = f"127.0.0.1:{free_port()}"
        self._url = f"http://{address}/external/v1/reservations/"
        application = "labdiscoveryengine:create_app('production')"
        gunicorn = (self._programs / "gunicorn", "--bind", address, "--threads", "8")
        self._run("web", "Booting worker", *gunicorn, application)
        eventually(self._answers, "its API")

    def _run(self, name: str, ready: str, *command: str | Path) -> None:
        program = Program(self._directory, name, *command)
        self._running.append(program)
        eventually(lambda: program.said(ready), name)

    def start_worker(self) -> None:
        """The scheduler, which has the sessions."""
        worker = Program(
            self._directory,
            "worker",
            *(self._programs / "lde", "worker", "run"),
            FLASK_CONFIG="production",
            LDE_RUNNING_MODE="worker",
        )
        self._running.append(worker)
        self._worker = worker

    def kill_worker(self) -> None:
        self._worker.end(signal.SIGKILL)

    def end(self) -> None:
        for program in reversed(self._running):
            program.end()

    def reserve(self, username: str, resource: str = "", seconds: float = 600) -> str:
        """The id of a new reservation, of any resource or of this one."""
        asked = {
            "laboratory": LABORATORY,
            "resources": [resource] if resource else [],
            "userIdentifier": username,
            "userFullName": f"{username} Ünïcode",
            "backUrl": "http://127.0.0.1/back",
            "maxTime": seconds,
        }
        reservation: str = self._ask("", "POST", asked)["reservation_id"]
        self._reservations.append(reservation)
        return reservation

    def cancel(self, reservation: str) -> None:
        assert self._ask(reservation, "DELETE")["cancelled"]

    def cancel_all(self) -> None:
        """Cancel what is not over, and wait for that."""
        for reservation in self._reservations:
            if self.status(reservation)["status"] not in OVER:
                self.cancel(reservation)
        for reservation in self._reservations:
            self.wait_for(reservation, *OVER)
        self._reservations.clear()

    def status(self, reservation: str) -> dict[str, Any]:
        """Its state; between the queue and the board the API says "broken" of it for a moment."""
        answer = self._ask(reservation)
        if answer["status"] == "broken":
            answer["status"] = self._stored_status(reservation)
        return answer

    def _stored_status(self, reservation: str) -> str:
        with socket.create_connection(("127.0.0.1", self._redis_port), PATIENCE) as redis:
            redis.sendall(f"HGET lde:reservations:{reservation} status\r\n".encode())
            with redis.makefile() as answer:
                answer.readline()
                return answer.readline().strip()

    def wait_for(self, reservation: str, *wanted: str) -> dict[str, Any]:
        """The reservation once its status is one of these."""

        def found() -> dict[str, Any] | None:
            answer = self.status(reservation)
            done = answer["status"] in wanted
            assert done or answer["status"] not in OVER, answer
            return answer if done else None

        answer: dict[str, Any] = eventually(found, f"{reservation} {wanted}")
        return answer

    def _answers(self) -> bool:
        try:
            return "message" in self._ask("")
        except (OSError, ValueError):
            return False

    def _ask(self, path: str, method: str = "GET", fields: Any = None) -> dict[str, Any]:
        body = None if fields is None else json.dumps(fields).encode()
        request = urllib.request.Request(self._url + path, body, method=method)
        pair = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
