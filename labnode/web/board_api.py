"""What the page asks for: the board and its devices, tasks, and the session, as JSON."""

from __future__ import annotations

import json
from typing import Any

from bottle import Bottle, HTTPResponse, request

from labnode import context
from labnode.errors import AlreadyRunningError, BadInput, NotFound, TooLittleTime
from labnode.lab import Lab, Node
from labnode.lab.pages import locales
from labnode.schema import Text
from labnode.sessions import Observer, User
from labnode.tasks import Task, TaskFunction
from labnode.web.access import Access
from labnode.web.replies import json_reply

_REFUSALS = (AlreadyRunningError.code, TooLittleTime.code)


class BoardApi:
    """The routes under `/api`, each for the active user, some for an observer's eyes too."""

    def __init__(self, lab: Lab, node: Node, access: Access) -> None:
        self._lab = lab
        self._node = node
        self._access = access

    def serve(self, app: Bottle) -> None:
        app.get("/api/session", callback=lambda: json_reply(self.session()), access="observer")
        app.get("/api/board", callback=lambda: json_reply(self.board()), access="observer")
        app.post("/api/devices/<device>/<command>", callback=self.command)
        app.post("/api/tasks/<name>", callback=self.start_task)
        app.get("/api/tasks/<task_id>", callback=self.task, access="observer")
        app.post("/api/tasks/<task_id>/stop", callback=self.stop_task)

    def session(self) -> dict[str, Any]:
        """The student and how much time is left; `read_only`: it is asked by an observer."""
        asking = context.current_user.get()
        assert isinstance(asking, User | Observer)
        user = asking.session.user
        return {
            "read_only": asking.read_only,
            "active": user.active,
            "username": user.username,
            "full_name": user.full_name,
            "locale": user.locale,
            "time_left": round(user.time_left, 3),
            "back": self._access.back(asking),
            "experiment_name": user.experiment_name,
            "category_name": user.category_name,
            "restarted": user.session.restarted,
            "reason": user.session.reason,
        }

    def board(self) -> dict[str, Any]:
        """The board's devices and tasks, and how they are now."""
        user = context.current_user.get()
        board = self._node.board
        languages = locales(user)
        devices = board.describe(languages)
        rows = board.file.page
        return {
            "title": board.file.title.pick(*languages),
            "devices": devices,
            "snapshot": self._visible(),
            "page": None if rows is None else [list(row) for row in rows],
            "tasks": [
                self._describe(function, languages)
                for function in self._lab.functions.values()
                if function.label is not None
            ],
            "problems": [],
        }

    def command(self, device: str, command: str) -> HTTPResponse:
        """Let a device do something: the arguments are the JSON body, a list or an object."""
        spec = self._node.board.file.devices.get(device)
        if spec is not None and spec.access != "user":
            raise NotFound(f"There is no device {device!r} for students.")
        if spec is not None and command in spec.commands and not spec.commands[command].students:
            raise NotFound(f"'{device}' has no command {command!r} for students.")
        result = self._lab.devices[device].command(command, _body())
        return json_reply({"result": result, "snapshot": self._visible()})

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

    def _visible(self) -> dict[str, Any]:
        devices = self._node.board.file.devices
        snapshot = self._node.board.snapshot
        return {name: state for name, state in snapshot.items() if devices[name].access == "user"}

    def _describe(self, function: TaskFunction[..., Any], languages: list[str]) -> dict[str, Any]:
        running = self._lab.get_running_task(function)
        return {
            "name": function.name,
            "label": Text(function.label or function.name).pick(*languages),
            "unique": function.unique,
            "running": running and running.to_json(),
        }


def _body() -> Any:
    """The JSON of the request's body, None without one."""
    raw = request.environ["wsgi.input"].read()
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise BadInput("The body must be JSON.") from None
