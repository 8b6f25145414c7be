"""A stand-in for the agent: the routes that the page asks for, on a board that tests play with."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import bottle

from labnode.locale import BUILT_IN
from labnode.web import html
from labnode.web.files import send

from . import bench

BASE = "/lab1"
PICTURE = next(Path(html.__file__).parents[1].glob("drivers/camera/pictures/*.jpg"))
TOKEN = "t0ken"
POLICY = f"default-src 'self'; style-src 'self' '{html.STYLE_HASH}'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
SETTABLE = [{"name": "set", "parameters": [{"name": "value", "type": "bool"}]}]

DEVICES: list[dict[str, Any]] = [
    {"name": "switch", "label": "Switch", "widget": "switch", "commands": SETTABLE},
    {"name": "lamp", "label": "Lamp", "widget": "lamp", "commands": []},
    {
        "name": "dimmer",
        "label": "Dimmer",
        "widget": "slider",
        "min": 0,
        "max": 1,
        "step": 0.01,
        "commands": SETTABLE,
    },
    {
        "name": "motor",
        "label": "Motor",
        "widget": "switch",
        "confirm": "Is the lid closed?",
        "commands": [*SETTABLE, {"name": "brake", "parameters": []}],
    },
    {"name": "temp", "label": "Temperature", "widget": "value", "unit": "°C", "commands": []},
]


class StandIn:
    """A lab under `/lab1` with one student on it; tests change its fields as they like."""

    def __init__(self) -> None:
        self.title = "Demo board"
        self.locales = ["en"]
        self.time_left = 600.0
        self.back: str | None = None
        self.over: str | None = None  # why the session is over
        self.restarted = False
        self.knows_browser = True  # False: its cookie is not good any more
        self.values: dict[str, Any] = {
            "switch": False,
            "lamp": False,
            "dimmer": 0.25,
            "motor": False,
            "temp": 21.5,
        }
        self.devices = [dict(device) for device in DEVICES]
        self.page: list[list[Any]] | None = None
        self.picture: dict[str, Any] | None = None  # of the board
        self.stage: dict[str, Any] | None = None
        self.refusal: tuple[int, str, str] | None = None  # of the next device command
        self.task: dict[str, Any] | None = None
        self.starts_tasks = True
        self.parameters: list[dict[str, Any]] = []  # of the task
        self.given: Any = None  # … its last arguments
        self.commands: list[tuple[str, str, Any]] = []
        self.uploads: list[tuple[str, str, bytes]] = []
        self.files: list[dict[str, Any]] = []  # that were sent before the page was opened
        self.deadlines: list[str | None] = []  # of uploads
        self.recording: dict[str, Any] | None = None
        self.read_only = False  # an observer looks
        self.hand_raised = False
        self.deeds: list[dict[str, Any]] = []  # what an observer is told
        self.looks = 0
        self.states: dict[str, dict[str, Any]] = {}  # what devices show beside their values
        self.faults: list[dict[str, Any]] = []
        self.notices: list[dict[str, Any]] = []
        self._version = 0
        self.left: list[str | None] = []  # the Origin of each "leaving"
        self.viewers = 0  # of a camera
        self.pictures = threading.Event()  # closed: a camera sends nothing
        self.pictures.set()
        self.taken: list[float] = []  # how many seconds old each picture of a camera is
        self.gate = threading.Event()  # closed: commands wait
        self.gate.set()
        self._port = 0
        self.answer()

    def show_all_widgets(self) -> None:
        """Have one device of each kind, and one whose use is refused, and one that is silent."""
        self.devices = [dict(device) for device in bench.DEVICES]
        self.values = dict(bench.VALUES)
        self.states = {
            "motor": {"locked": {"en": "The lid is open.", "es": "La tapa está abierta."}},
            "humidity": {"stale": True, "sampled": time.monotonic() - 12},
        }
        self.page = bench.PAGE

    @property
    def time_left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    @time_left.setter
    def time_left(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{BASE}/"

    @property
    def after(self) -> str:
        """A page of "the central server" for students who come back."""
        return f"http://127.0.0.1:{self._port}/campus"

    def answer(self) -> None:
        """Listen, as an agent that has (re)started."""
        self._server = _Server(("127.0.0.1", self._port), _Quiet)
        self._server.set_app(self._app())
        self._port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), name="stand-in"
        )
        self._thread.start()

    def fall_silent(self) -> None:
        """Be gone, as an agent whose Pi lost its power."""
        self.gate.set()
        self.pictures.set()
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def _app(self) -> bottle.Bottle:
        app = bottle.Bottle()
        app.route(f"{BASE}/", callback=self._page)
        app.route(f"{BASE}/static/<name>", callback=self._static)
        app.route(f"{BASE}/api/state", callback=self._guarded(self._ask_state))
        app.route(f"{BASE}/api/board", callback=self._guarded(self._board))
        app.post(f"{BASE}/api/devices/<device>/program", callback=self._guarded(self._program))
        app.get(f"{BASE}/api/picture", callback=_svg)
        app.get(f"{BASE}/api/recording.json", callback=self._guarded(lambda: self.recording))
        app.get(f"{BASE}/api/devices/<device>/stream", callback=self._stream)
        command = self._guarded(self._command)
        app.post(f"{BASE}/api/devices/<device>/<command>", callback=command)
        app.post(f"{BASE}/api/session/hand", callback=self._guarded(self._raise_hand))
        app.post(f"{BASE}/api/tasks/<name>", callback=self._guarded(self._start_task))
        app.get(f"{BASE}/api/tasks/<task_id>", callback=self._guarded(self._task))
        app.post(f"{BASE}/api/tasks/<task_id>/stop", callback=self._guarded(self._stop_task))
        app.post(f"{BASE}/callback/{TOKEN}/<action>", callback=self._callback)
        app.route("/favicon.ico", callback=lambda: bottle.HTTPResponse(status=204))
        app.route("/campus", callback=lambda: "<title>Campus</title>Welcome back")
        return app

    def _guarded(self, view: Any) -> Any:
        def guarded(**arguments: str) -> Any:
            if self.over is not None:
                over = {"code": "session-over", "message": "The session is over."}
                return _json(403, error=True, reason=self.over, back=self.back, **over)
            if not self.knows_browser:
                return _json(403, error=True, code="forbidden", message="Who are you?")
            return view(**arguments)

        return guarded

    def _page(self) -> bottle.HTTPResponse:
        language = BUILT_IN.best(self.locales)
        boot = html.boot(self._board(), self._state(), token=TOKEN, language=language)
        body = html.render_page(boot, language)
        policy = f"{POLICY}; script-src 'self' '{html.script_hash(boot['board'])}'"
        headers = {**HEADERS, "Content-Security-Policy": policy}
        return bottle.HTTPResponse(
            body, 200, {**headers, "Content-Type": "text/html; charset=utf-8"}
        )

    def _static(self, name: str) -> bottle.HTTPResponse:
        reply = send(name, html.STATIC)
        for header, value in HEADERS.items():
            reply.set_header(header, value)
        return reply

    def _session(self) -> dict[str, Any]:
        return {
            "read_only": self.read_only,
            "active": True,
            "username": "ada",
            "full_name": "Ada Lovelace",
            "locale": self.locales[0],
            "time_left": self.time_left,
            "back": self.back,
            "restarted": self.restarted,
            "reason": None,
            "hand_raised": self.hand_raised,
        }

    def _raise_hand(self) -> dict[str, Any]:
        self.hand_raised = json.loads(bottle.request.body.read())["raised"]
        return self._session()

    def _devices(self) -> dict[str, Any]:
        self._version += 1
        devices = {
            name: {"value": value} | self.states.get(name, {})
            for name, value in self.values.items()
        }
        return {"run": "1", "version": self._version, "now": time.monotonic(), "devices": devices}

    def _state(self) -> dict[str, Any]:
        tasks = [self.task] if self.task else []
        return {
            **self._devices(),
            "tasks": tasks,
            "session": self._session(),
            "faults": self.faults,
            "notices": self.notices,
            "files": self.files,
            **({"deeds": self.deeds} if self.read_only else {}),
        }

    def _ask_state(self) -> dict[str, Any]:
        self.looks += 1
        return self._state()

    def _board(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "devices": self.devices,
            "page": self.page,
            "picture": self.picture,
            "stage": self.stage,
            "record": self.recording and {"devices": self.recording["devices"]},
            "tasks": [
                {
                    "name": "blink",
                    "label": "Blink the lamp",
                    "unique": "global",
                    "parameters": self.parameters,
                }
            ],
        }

    def _command(self, device: str, command: str) -> Any:
        arguments = json.loads(bottle.request.body.read() or b"[]")
        self.commands.append((device, command, arguments))
        self.gate.wait(10)
        if self.refusal is not None:
            (status, code, message), self.refusal = self.refusal, None
            return _json(status, error=True, code=code, message=message)
        if command == "set_bit":
            bit, value = arguments
            self.values[device] = self.values[device] & ~(1 << bit) | value << bit
        if command == "set":
            self.values[device] = arguments[0]
            self.values["lamp"] = self.values["switch"]
        return {"result": None, **self._devices()}

    def _stream(self, device: str) -> Any:
        self.viewers += 1
        if self.taken:
            kind = "multipart/x-mixed-replace; boundary=b"
            return bottle.HTTPResponse(self._pictures(), content_type=kind)
        self.pictures.wait(30)
        return bottle.HTTPResponse(status=204)

    def _pictures(self) -> Any:
        jpeg = PICTURE.read_bytes()
        yield b"--b\r\n"
        for age in self.taken:
            head = f"Content-Length: {len(jpeg)}\r\nLabnode-Taken: {time.monotonic() - age:.3f}"
            yield head.encode() + b"\r\n\r\n" + jpeg + b"\r\n--b\r\n"
        self.pictures.wait(30)

    def _program(self, device: str) -> Any:
        body = bottle.request.body.read()
        self.deadlines.append(bottle.request.get_header("Labnode-Deadline"))
        if self.refusal is not None:
            (status, code, message), self.refusal = self.refusal, None
            return _json(status, error=True, code=code, message=message)
        self.uploads.append((device, bottle.request.query.getunicode("name"), body))
        return self.starts(f"{device}.program")

    def _start_task(self, name: str) -> Any:
        self.given = json.loads(bottle.request.body.read() or b"null")
        if not self.starts_tasks:
            error = {
                "code": "already-running",
                "class": "AlreadyRunningError",
                "message": "Blink runs.",
            }
            task = {"task_id": "x", "name": name, "status": "failed", "data": {}, "error": error}
            return _json(409, **task)
        return self.starts(name)

    def starts(self, name: str) -> dict[str, Any]:
        """A task is submitted."""
        self.task = {
            "task_id": f"{name}-1",
            "name": name,
            "status": "submitted",
            "data": {},
            "result": None,
            "error": None,
            "stopping": False,
        }
        return self.task

    def change_task(self, **changes: Any) -> None:
        """The task goes on."""
        assert self.task is not None
        self.task = {**self.task, **changes}

    def _task(self, task_id: str) -> Any:
        assert self.task is not None
        assert self.task["task_id"] == task_id
        return self.task

    def _stop_task(self, task_id: str) -> Any:
        self.change_task(stopping=True)
        return self.task

    def _callback(self, action: str) -> Any:
        bottle.request.body.read()  # a connection closed with bytes unread looks broken
        if action == "leaving":
            self.left.append(bottle.request.get_header("Origin"))
        elif action == "logout":
            self.over = "exited"
        return {"success": True}


class _Server(ThreadingMixIn, WSGIServer):
    """Knows its connections: a browser keeps some open on which it asks nothing."""

    def __init__(self, *arguments: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is not worth a word."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def _json(http_status: int, /, **body: Any) -> bottle.HTTPResponse:
    headers = {"Content-Type": "application/json"}
    return bottle.HTTPResponse(json.dumps(body), http_status, headers)


def _svg() -> bottle.HTTPResponse:
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 400"></svg>'
    return bottle.HTTPResponse(drawing, 200, {"Content-Type": "image/svg+xml"})
