"""A node's protocol without a board: sessions in memory, settings in hand, requests by WSGI."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.headers import Headers
from wsgiref.validate import validator

import pytest

from labnode.clock import ManualClock
from labnode.errors import Busy
from labnode.sessions import Deletion, StartRequest
from labnode.settings import Client, Credentials, Settings
from labnode.weblab.api import protocol_app
from tests.kit.basic_auth import basic

WALL = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC


@dataclass
class BoardSession:
    id: str
    token: str
    request: StartRequest
    state: str = "active"


class BoardSessions:
    """One board of one student, whose clean-up takes as many deletes as `deletes_needed`."""

    def __init__(self) -> None:
        self.all: dict[str, BoardSession] = {}
        self.deletes_needed = 1
        self.trouble: Exception | None = None
        self.quarantine: list[str] = []
        self.polls: list[str] = []

    def start(self, request: StartRequest) -> BoardSession:
        if self.quarantine:
            raise Busy(self.quarantine[0], retry_after=30)
        if self.trouble is not None:
            raise self.trouble
        for session in self.all.values():
            if session.state == "disposed":
                continue
            if request.reservation_id and session.request.reservation_id == request.reservation_id:
                return session
            if session.request.client != request.client:
                raise Busy("Another student has the board.", retry_after=1.2)
            session.state = "disposed"
        number = len(self.all) + 1
        session = BoardSession(f"session-{number}", f"token-{number}", request)
        self.all[session.id] = session
        return session

    def doubts(self) -> list[str]:
        return []  # no start of this board has failed

    def status(self, session_id: str) -> float:
        self.polls.append(session_id)
        session = self.all.get(session_id)
        if session is None or session.state == "disposed":
            return -1
        return 2 if session.state == "disposing" else 5.0

    def delete(self, session_id: str) -> Deletion:
        if self.trouble is not None:
            raise self.trouble
        session = self.all.get(session_id)
        if session is None:
            return Deletion.UNKNOWN
        self.deletes_needed -= 1
        session.state = "disposing" if self.deletes_needed > 0 else "disposed"
        return Deletion.PENDING if session.state == "disposing" else Deletion.DONE

    def live(self) -> list[BoardSession]:
        return [session for session in self.all.values() if session.state != "disposed"]

    def obstacles(self, *, details: bool = True) -> list[str]:
        return (
            self.quarantine if details else ["The board is in quarantine."][: len(self.quarantine)]
        )

    @property
    def started(self) -> list[StartRequest]:
        return [session.request for session in self.all.values()]


@dataclass
class Reply:
    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json"
        assert self.headers["Cache-Control"] == "no-store"
        return json.loads(self.body)


class Node:
    """The protocol's WSGI application with all around it; `call` is one request to it."""

    right = basic("weblab:secret")
    wrong = basic("weblab:guess")
    wall = WALL

    def __init__(self) -> None:
        self.sessions = BoardSessions()
        self.settings = Settings(
            base_url="/lab1",
            weblab=Credentials(username="weblab", password=["secret", "next-secret"]),
            clients=[Client(name="ecole", username="école", password="señal")],
        )
        self.clock = ManualClock(wall=WALL)
        self._app: Any = None

    @property
    def app(self) -> Any:
        if self._app is None:
            self._app = protocol_app(self.sessions, self.settings, clock=self.clock, known=set())
        return self._app

    def call(
        self,
        method: str,
        target: str,
        body: Any = b"",
        *,
        authorization: str | None = right,
        content_type: str = "application/json",
        address: str = "192.0.2.1",
        headers: dict[str, str] | None = None,
        **environ: str,
    ) -> Reply:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        path, _, query = target.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8080",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": address,
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_HOST": "lab.example:8080",
            **({"HTTP_AUTHORIZATION": authorization} if authorization else {}),
            **{f"HTTP_{name.upper().replace('-', '_')}": v for name, v in (headers or {}).items()},
            **environ,
        }
        wsgi = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        answer: list[Any] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            answer[:] = [int(status[:3]), Headers(headers)]
            return answer.append

        chunks = validator(self.app)({**environ, **wsgi}, start_response)
        try:
            content = b"".join(chunks)
        finally:
            chunks.close()
        assert wsgi["wsgi.errors"].getvalue() == ""
        return Reply(*answer, content)


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def start_body() -> dict[str, Any]:
    """What WebLab-Deusto sends, in its own types."""
    return {
        "client_initial_data": {"back": "https://weblab.example/labs/thermal"},
        "server_initial_data": {
            "request.experiment_id.experiment_name": "thermal",
            "request.experiment_id.category_name": "Control",
            "priority.queue.slot.length": "300",
            "priority.queue.slot.start": "2026-09-21 14:13:15.500000",
            "priority.queue.slot.start.timezone": "0",
            "priority.queue.slot.start.utc": "2026-09-21 14:13:15.500000",
            "priority.queue.slot.start.timestamp": "1789999995.5",
            "priority.queue.slot.initialization_in_accounting": True,
            "request.username": "ada",
            "request.username.unique": "ada@weblab",
            "request.full_name": "Ada Lovelace",
            "request.locale": "es",
            "weblab_reservation_id": "9f1c7a52-reservation",
        },
        "back": "https://weblab.example/labs/thermal",
    }
