"""What the page asks for: the board and its devices, tasks, and the session, as JSON."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from bottle import Bottle, HTTPResponse, request

from labnode import context
from labnode.errors import AlreadyRunningError, BadInput, NotFound, TooLittleTime
from labnode.http.replies import json_reply
from labnode.lab import Lab, Node
from labnode.lab.pages import locales
from labnode.lab.recordings import Recording
from labnode.sessions import User
from labnode.tasks import Task
from labnode.web.page_state import Picture, asking

_REFUSALS = (AlreadyRunningError.code, TooLittleTime.code)


class BoardApi:
    """The routes under `/api`, each for the active user, some for an observer's eyes too."""

    def __init__(self, lab: Lab, node: Node, picture: Picture) -> None:
        self._lab = lab
        self._node = node
        self._picture = picture

    def serve(self, app: Bottle) -> None:
        look = partial(app.get, access="observer")
        look("/api/page", callback=lambda: json_reply(self._picture.boot(asking())))
        look("/api/session", callback=lambda: json_reply(self._picture.session(asking())))
        look("/api/board", callback=lambda: json_reply(self.board()))
        look("/api/state", callback=lambda: json_reply(self._picture.state(asking())))
        app.post("/api/devices/<device>/<command>", callback=self.command)
        app.post("/api/tasks/<name>", callback=self.start_task)
        app.get("/api/tasks/<task_id>", callback=self.task, access="observer")
        app.post("/api/tasks/<task_id>/stop", callback=self.stop_task)

    def board(self) -> dict[str, Any]:
        """What there is, and what the devices show now."""
        picture = self._picture
        return {**picture.board(locales(asking())), "snapshot": picture.devices()["devices"]}

    def command(self, device: str, command: str) -> HTTPResponse:
        """Let a device do something: the arguments are the JSON body, a list or an object."""
        spec = self._node.board.file.devices.get(device)
        if spec is not None and spec.access != "user":
            raise NotFound(f"There is no device {device!r} for students.")
        if spec is not None and command in spec.commands and not spec.commands[command].students:
            raise NotFound(f"'{device}' has no command {command!r} for students.")
        result = self._lab.devices[device].command(command, _body())
        return json_reply({"result": result, **self._picture.devices()})

    def start_task(self, name: str) -> HTTPResponse:
        """Start a task that the page offers: the arguments are the JSON body, an object."""
        function = self._lab.functions.get(name)
        if function is None or function.label is None:
            raise NotFound(f"There is no task {name!r} for students.")
        arguments = _body()
        if arguments is not None and not isinstance(arguments, dict):
            raise BadInput("The arguments of a task are a JSON object.")
        task = function.delay(**(arguments or {}))
        refused = task.error is not None and task.error["code"] in _REFUSALS
        return json_reply(task.to_json(), 409 if refused else 200)

    def task(self, task_id: str) -> HTTPResponse:
        """One of this session's tasks."""
        return json_reply(self._my_task(task_id).to_json())

    def stop_task(self, task_id: str) -> HTTPResponse:
        """Ask one of this session's tasks to stop."""
        task = self._my_task(task_id)
        task.stop()
        return json_reply(task.retrieve().to_json())

    def _my_task(self, task_id: str) -> Task:
        task = self._lab.get_task(task_id)
        if task is None or task.task_id != task_id:
            raise NotFound(f"There is no task {task_id!r} in this session.")
        return task


def _body() -> Any:
    """The JSON of the request's body, None without one."""
    raw = request.environ["wsgi.input"].read()
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise BadInput("The body must be JSON.") from None


def serve_recordings(app: Bottle, node: Node) -> None:
    """`/api/recording.csv` and `/api/recording.json`, for the student alone."""

    def recording() -> Recording:
        user = context.current_user.get()
        assert isinstance(user, User)
        found = node.recordings.of(user.session)
        if found is None:
            raise NotFound("Nothing was recorded in this session.")
        return found

    def as_csv() -> HTTPResponse:
        return _file(HTTPResponse(recording().csv(), content_type="text/csv; charset=UTF-8"), "csv")

    def as_json() -> HTTPResponse:
        return _file(json_reply(recording().to_json()), "json")

    def _file(response: HTTPResponse, suffix: str) -> HTTPResponse:
        name = f"{node.board.file.lab.name}.{suffix}".replace('"', "")
        safe = "".join(c if c.isascii() and c.isprintable() else "_" for c in name)
        response.set_header("Content-Disposition", f'attachment; filename="{safe}"')
        response.set_header("Cache-Control", "no-store")
        return response

    app.get("/api/recording.csv", callback=as_csv, access="login")
    app.get("/api/recording.json", callback=as_json, access="login")
