"""The API of the page: the board, its devices, tasks and recordings, as JSON."""

from __future__ import annotations

from functools import partial
from typing import Any

from bottle import Bottle, HTTPResponse, request

from labnode.drivers.framework.commands import parameters_of
from labnode.drivers.framework.services import Arrayed
from labnode.errors import AlreadyRunningError, BadInput, NotFound, TooLittleTime
from labnode.events import HandRaised
from labnode.http.replies import json_reply
from labnode.jsondata import parse
from labnode.lab import Lab, Node
from labnode.locale import Language, Message
from labnode.tasks import Task
from labnode.web.auth import asked_at, deadline, student, viewer
from labnode.web.page_state import PageState, task_json

_CSV = "text/csv; charset=UTF-8"


class BoardApi:
    """The routes under `/api`: for the active user, to look at also for observers."""

    def __init__(self, lab: Lab, node: Node, page: PageState) -> None:
        self._lab = lab
        self._node = node
        self._page = page

    def serve(self, app: Bottle) -> None:
        page, look = self._page, partial(app.get, access="observer")
        look("/api/page", callback=lambda: json_reply(page.boot(viewer())))
        look("/api/session", callback=lambda: json_reply(page.session(viewer())))
        app.post("/api/session/hand", callback=self.raise_hand)
        look("/api/board", callback=lambda: json_reply(self.board()))
        look("/api/state", callback=lambda: json_reply(page.state(viewer(), page.language)))
        app.post("/api/devices/<device>/<command>", callback=self.command)
        look("/api/devices/<device>/samples.<kind:re:csv|json>", callback=self.samples)
        app.post("/api/tasks/<name>", callback=self.start_task)
        look("/api/tasks/<task_id>", callback=self.task)
        app.post("/api/tasks/<task_id>/stop", callback=self.stop_task)
        app.get("/api/recording.csv", callback=lambda: self.recording("csv"), access="login")
        app.get("/api/recording.json", callback=lambda: self.recording("json"), access="login")

    def board(self) -> dict[str, Any]:
        """What the page shows, and the devices' states now."""
        board = self._page.board(self._page.language)
        return {**board, "snapshot": self._page.devices()["devices"]}

    def command(self, device: str, command: str) -> HTTPResponse:
        """Run a device's command; its arguments are the JSON body, a list or an object."""
        spec = self._node.board.file.devices.get(device)
        if spec is None or spec.access != "user":
            raise NotFound(Message("error.no-device", device=device))
        if command in spec.commands and not spec.commands[command].students:
            raise NotFound(Message("error.no-command", device=device, command=command))
        arguments = _body()
        result = self._lab.devices[device].command(
            command,
            arguments,
            deadline=deadline(),
            asked_at=asked_at(self._node.board.clock.now()),
        )
        self._did(device=device, command=command, arguments=arguments)
        return json_reply({"result": result, **self._page.devices()})

    def samples(self, device: str, kind: str) -> HTTPResponse:
        """The whole array of a device as it is now, as a file of the `kind` csv or json."""
        driver = self._node.board.file.devices.get(device)
        if driver is None or driver.access != "user" or not isinstance(driver, Arrayed):
            raise NotFound(f"There is no device {device!r} with samples for students.")
        content = driver.csv() if kind == "csv" else driver.to_json()
        if content is None:
            raise NotFound(f"'{device}' has no samples yet.")
        if isinstance(content, str):
            return _download(HTTPResponse(content, content_type=_CSV), f"{device}.csv")
        return json_reply(content)

    def start_task(self, name: str) -> HTTPResponse:
        """Start a task of the page; its arguments are the JSON body, an object."""
        function = self._lab.functions.get(name)
        if function is None or function.label is None:
            raise NotFound(Message("error.no-task", name=name))
        arguments = _body()
        if arguments is not None and not isinstance(arguments, dict):
            raise BadInput(Message("error.task-arguments"))
        given = dict(arguments or {})
        for parameter in parameters_of(function.function):
            if parameter.name in given:
                try:
                    given[parameter.name] = parameter.accept(given[parameter.name])
                except ValueError as error:
                    raise BadInput(f"{name}: {error}") from None
        self._did(task=name)
        return task_reply(function.delay(**given), self._page.language)

    def raise_hand(self) -> HTTPResponse:
        """The student asks for help, or no longer does: who observes and the staff see it."""
        session, body = student().session, _body()
        if not isinstance(body, dict) or not isinstance(body.get("raised"), bool):
            raise BadInput('Say {"raised": true} or {"raised": false}.')
        session.hand_raised = body["raised"]
        self._node.board.bus.publish(HandRaised(session.id))
        return json_reply(self._page.session(viewer()))

    def task(self, task_id: str) -> HTTPResponse:
        """One of this session's tasks."""
        return json_reply(task_json(self._my_task(task_id), self._page.language))

    def stop_task(self, task_id: str) -> HTTPResponse:
        """Ask one of this session's tasks to stop."""
        task = self._my_task(task_id)
        task.stop()
        return json_reply(task_json(task.retrieve(), self._page.language))

    def recording(self, kind: str) -> HTTPResponse:
        """What the session has recorded, as a file of the `kind` csv or json."""
        recording = self._node.recordings.of(student().session)
        if recording is None:
            raise NotFound(Message("error.no-recording"))
        if kind == "csv":
            reply = HTTPResponse(recording.csv(), content_type=_CSV)
        else:
            reply = json_reply(recording.to_json())
        return _download(reply, f"{self._node.board.file.lab.name}.{kind}")

    def _did(self, **what: Any) -> None:
        student().session.did(self._node.board.clock.now(), **what)

    def _my_task(self, task_id: str) -> Task:
        task = self._lab.get_task(task_id)
        if task is None or task.task_id != task_id:
            raise NotFound(Message("error.no-task-id", task=task_id))
        return task


def _download(reply: HTTPResponse, name: str) -> HTTPResponse:
    """The reply as a file of this name."""
    safe = "".join(c if c.isascii() and c.isprintable() and c != '"' else "_" for c in name)
    reply.set_header("Content-Disposition", f'attachment; filename="{safe}"')
    reply.set_header("Cache-Control", "no-store")
    return reply


def _body() -> Any:
    """The request's body as JSON, None without one."""
    raw = request.environ["wsgi.input"].read()
    if not raw.strip():
        return None
    try:
        return parse(raw)
    except ValueError:
        raise BadInput(Message("error.no-json")) from None


def task_reply(task: Task, language: Language, accepted: int = 200) -> HTTPResponse:
    """A task that was just started, with status 409 where it was refused."""
    refusals = (AlreadyRunningError.code, TooLittleTime.code)
    refused = task.error is not None and task.error["code"] in refusals
    return json_reply(task_json(task, language), 409 if refused else accepted)
