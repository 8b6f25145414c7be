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
    """What the node answered.

    `status` is the HTTP status, `headers` a dictionary with names in lower case, `cookies` a list
    with the values of all Set-Cookie headers, `body` the bytes.
    """

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.cookies = [value for name, value in headers if name.lower() == "set-cookie"]
        self.body = body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body, read as JSON; ValueError if it is none."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Reply {self.status} {self.body[:200]!r}>"


class Browser:
    """A browser: it keeps its cookies between requests, and follows no redirects.

    `path` is below the lab's address, such as `/api/board`, with its query.
    """

    def __init__(self, client: LabClient) -> None:
        self._client = client
        self._cookies: SimpleCookie = SimpleCookie()

    def get(self, path: str, **headers: str) -> Reply:
        """GET; `headers` are in WSGI's spelling, such as `HTTP_ACCEPT="text/html"`."""
        return self.request("GET", path, b"", **headers)

    def post(self, path: str, data: Any = None, **headers: str) -> Reply:
        """POST with `data` as JSON; `headers` as in `get`."""
        headers = {"CONTENT_TYPE": "application/json", **headers}
        return self.request("POST", path, json.dumps(data).encode(), **headers)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """Any request with this browser's cookies; `headers` as in `get`."""
        cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in self._cookies.items())
        reply = self._client.request(method, path, body, HTTP_COOKIE=cookie, **headers)
        for cookie in reply.cookies:
            self._cookies.load(cookie.replace("; Partitioned", ""))
        return reply


class Student(Browser):
    """The browser of a student whose turn it is; `LabClient.student` makes it.

    `session_id` is the session's id, `url` what the central server was answered, `callback` the
    path of it, and `entered` the Reply to opening it.
    """

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
    """A node with the board of a file, whose devices are simulated, for the tests of a lab.

    In `with` it runs. `board` is the path of the board file, and `settings` are those of a node, by
    name. `state_dir` keeps the node's state for the next LabClient; by default it is thrown away.
    With a ManualClock as `clock`, time passes when the test says so. ConfigError if the board file
    or a setting is wrong. `lab` is the Lab of the board's module, `agent` the node.

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
        """One request without cookies, as the web server hands it to the node.

        `environ` are more keys of WSGI's environment, such as `HTTP_ACCEPT`.
        """
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
        """A request of the central server with `data` as JSON; `path` is below /weblab/sessions."""
        body = b"" if data is None else json.dumps(data).encode()
        path = f"/weblab/sessions{path}"
        return self.request(method, path, body, HTTP_AUTHORIZATION=_AUTHORIZATION)

    def start(self, seconds: float = 60, **server_data: Any) -> Reply:
        """The central server starts a session of so many `seconds`; returns the node's Reply.

        `server_data` is what the server says about the student, such as `username`, `full_name`,
        `locale` and `back`; also `**{"username.unique": "ada@example.org"}`.
        """
        data = {
            "priority.queue.slot.length": seconds,
            "request.username": "student",
            **{f"request.{key}": value for key, value in server_data.items() if key != "back"},
        }
        body = {"client_initial_data": {}, "server_initial_data": data}
        return self.server("POST", "/", {**body, "back": server_data.get("back")})

    def student(self, seconds: float = 60, **server_data: Any) -> Student:
        """Start a session and open its address; AssertionError if the node refuses the start.

        The arguments are those of `start`.
        """
        reply = self.start(seconds, **server_data)
        assert reply.status == 200, reply
        return Student(self, reply.json["session_id"], reply.json["url"])

    def browser(self) -> Browser:
        """A browser without a session."""
        return Browser(self)

    def finish(self, student: Student) -> Any:
        """The central server ends the session; returns the node's answer as JSON."""
        return self.server("POST", f"/{student.session_id}", {"action": "delete"}).json

    def value(self, device: str) -> Any:
        """The last known value of a device."""
        return self.agent.board.snapshot[device]["value"]

    def end_all(self) -> bool:
        """End all sessions; returns False if the board was not clean after 10 s."""
        return self.agent.sessions.end_all(Reason.DELETED, 10.0)
