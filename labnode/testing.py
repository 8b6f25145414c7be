"""LabClient: a lab in a test, with a simulated board and without a web server."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from http.cookies import SimpleCookie
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

from labnode.board import load_board
from labnode.clock import Clock
from labnode.lab.loader import load_lab
from labnode.node.agent import Agent
from labnode.sessions import Reason
from labnode.settings import load_settings

_CREDENTIALS = {"weblab": {"username": "weblab", "password": "weblab"}}
_AUTHORIZATION = "Basic d2VibGFiOndlYmxhYg=="


class Reply:
    """What the node answered: `status`, `headers` (lower case), `text` and `json`.

    `cookies` are the values of all Set-Cookie headers.
    """

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.cookies = [value for name, value in headers if name.lower() == "set-cookie"]
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Reply {self.status} {self.body[:200]!r}>"


class Browser:
    """Somebody's browser: keeps its cookie between requests and follows no redirects."""

    def __init__(self, client: LabClient) -> None:
        self._client = client
        self._cookies: SimpleCookie = SimpleCookie()

    def get(self, path: str, **headers: str) -> Reply:
        """`headers` in WSGI's spelling, such as HTTP_ACCEPT."""
        return self.request("GET", path, b"", **headers)

    def post(self, path: str, data: Any = None, **headers: str) -> Reply:
        """POST with `data` as JSON."""
        headers = {"CONTENT_TYPE": "application/json", **headers}
        return self.request("POST", path, json.dumps(data).encode(), **headers)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in self._cookies.items())
        reply = self._client.request(method, path, body, HTTP_COOKIE=cookie, **headers)
        for cookie in reply.cookies:
            self._cookies.load(cookie.replace("; Partitioned", ""))
        return reply


class Student(Browser):
    """A student whose turn it is, already on the lab's page."""

    def __init__(self, client: LabClient, session_id: str, url: str) -> None:
        super().__init__(client)
        self.session_id = session_id
        self.url = url
        self.callback = urlsplit(url).path
        self.entered = self.get(self.callback)

    def leave(self) -> Reply:
        """Press the Leave button."""
        return self.post(f"{self.callback}/logout")


class LabClient:
    """A node with the board of a file, its devices simulated, for the tests of a lab.

    Example::

        with LabClient("boards/demo.yaml") as lab:
            student = lab.student(full_name="Ada")
            student.post("/api/devices/switch/on")
            assert lab.value("lamp") is True
            lab.finish(student)
    """

    def __init__(
        self,
        board: str | Path,
        *,
        state_dir: Path | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        file = load_board(Path(board))
        self.lab = load_lab(file)
        with contextlib.ExitStack() as undo:
            if state_dir is None:
                state_dir = Path(undo.enter_context(tempfile.TemporaryDirectory()))
            options = {**_CREDENTIALS, "state_dir": str(state_dir), "port": 0, **settings}
            self.agent = Agent(
                file,
                self.lab,
                load_settings(None, {}, options),
                simulate=True,
                listen=False,
                clock=clock,
            )
            undo.callback(self.agent.stop)
            self._undo = undo.pop_all()

    def __enter__(self) -> LabClient:
        with self._undo:
            self.agent.start()
            self._undo = self._undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    def request(self, method: str, path: str, body: bytes = b"", **environ: str) -> Reply:
        """One request, as the web server would hand it over."""
        path, _, query = path.partition("?")
        given: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "HTTP_HOST": "lab.test",
            "REMOTE_ADDR": "127.0.0.1",
            **environ,
        }
        setup_testing_defaults(given)
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_error: Any) -> Any:
            answer[:] = int(status[:3]), headers

        chunks = self.agent.app(given, start_response)
        try:
            content = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return Reply(answer[0], answer[1], content)

    def server(self, method: str, path: str, data: Any = None) -> Reply:
        """A request of the central server's, `path` below /weblab/sessions."""
        body = b"" if data is None else json.dumps(data).encode()
        path = f"/weblab/sessions{path}"
        return self.request(method, path, body, HTTP_AUTHORIZATION=_AUTHORIZATION)

    def start(self, seconds: float = 60, **server_data: Any) -> Reply:
        """The central server starts a session; `server_data` adds keys such as full_name."""
        data = {
            "priority.queue.slot.length": seconds,
            "request.username": "student",
            **{f"request.{key}": value for key, value in server_data.items() if key != "back"},
        }
        body = {"client_initial_data": {}, "server_initial_data": data}
        return self.server("POST", "/", {**body, "back": server_data.get("back")})

    def student(self, seconds: float = 60, **server_data: Any) -> Student:
        """A student whose session has been started and who has opened the URL."""
        reply = self.start(seconds, **server_data)
        assert reply.status == 200, reply
        return Student(self, reply.json["session_id"], reply.json["url"])

    def browser(self) -> Browser:
        """Somebody who is nobody yet."""
        return Browser(self)

    def finish(self, student: Student) -> Any:
        """The central server ends the session; returns its answer."""
        return self.server("POST", f"/{student.session_id}", {"action": "delete"}).json

    def value(self, device: str) -> Any:
        """What a device was last seen to be."""
        return self.agent.board.snapshot[device]["value"]

    def end_all(self) -> bool:
        """End all sessions; False when one was not clean after 10 s."""
        return self.agent.sessions.end_all(Reason.DELETED, 10.0)
