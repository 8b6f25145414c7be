"""Lab: hooks, tasks, views and devices, as a lab's Python module declares and uses them."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, Unpack, get_args, overload

from bottle import Bottle

from labnode import context
from labnode.errors import LabnodeError
from labnode.lab import hooks, pages
from labnode.lab.devices import Devices
from labnode.lab.node import Level, Node
from labnode.sessions import ANONYMOUS, AnonymousUser, Reason, Session, User
from labnode.tasks import Task, TaskFunction
from labnode.tasks.api import TaskOptions

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


class Lab:
    """One in a board's module: `lab = Lab()`.

    `app` is a plain bottle.Bottle for the lab's own views. Each needs an active user unless its
    route says `access="login"` (also after the time is up) or `access="public"`.
    """

    def __init__(self) -> None:
        self.app = Bottle()
        self.functions: dict[str, TaskFunction[..., Any]] = {}
        self.websockets: dict[str, tuple[Callable[..., Any], Level]] = {}
        self._on_start: list[Callable[[dict[str, Any], dict[str, Any]], Any]] = []
        self._on_dispose: list[Callable[[], Any]] = []
        self._user_loader: Callable[[str], Any] = lambda _: None
        self._initial_url: Callable[[], str] | None = None
        self._running: Node | None = None

    # ------------------------------------------------------------------ declaring

    def on_start(self, function: F) -> F:
        """Call `function(client_data, server_data)` on the hardware thread before a session.

        What it raises fails the start. It may run again after a restart (`lab.restarted`).
        """
        hooks.check("on_start", function, "client_data", "server_data")
        self._on_start.append(function)
        return function

    def on_dispose(self, function: F) -> F:
        """Call `function()` on the hardware thread after a session; then the devices are reset."""
        hooks.check("on_dispose", function)
        self._on_dispose.append(function)
        return function

    @overload
    def task(self, function: Callable[..., Any], /) -> TaskFunction[..., Any]: ...
    @overload
    def task(
        self, **options: Unpack[TaskOptions]
    ) -> Callable[[Callable[..., Any]], TaskFunction[..., Any]]: ...
    def task(
        self, function: Callable[..., Any] | None = None, **options: Unpack[TaskOptions]
    ) -> Any:
        """Make a function a task; the options are those of TaskFunction."""
        if function is not None and not callable(function):
            raise LabnodeError(f"@lab.task takes its options by name (unique={function!r}?).")

        def declare(function: Callable[..., Any]) -> TaskFunction[..., Any]:
            if function.__name__ in self.functions:
                raise LabnodeError(f"There are two tasks called {function.__name__!r}.")
            declared = TaskFunction(function, **options)
            self.functions[declared.name] = declared
            if self._running is not None:
                declared.bind(self._running.tasks)
            return declared

        return declare if function is None else declare(function)

    def user_loader(self, function: F) -> F:
        """Have `function(username_unique)` load what `lab.user.user` is."""
        hooks.check("user_loader", function, "username_unique")
        self._user_loader = function
        return function

    def initial_url(self, function: F) -> F:
        """Have `function()` say where a student goes first, instead of the generated page."""
        hooks.check("initial_url", function)
        self._initial_url = function
        return function

    def websocket(self, path: str, access: Level = "active") -> Callable[[F], F]:
        """Have `function(ws)` called, in a thread of its own, for each WebSocket opened at `path`.

        `for message in ws` ends when the page closes it, or the session ends; see WebSocket.
        """
        if not path.startswith("/") or path in self.websockets:
            raise LabnodeError(f"@lab.websocket needs a path of its own, with a slash: {path!r}.")
        if access not in get_args(Level):
            raise LabnodeError(f"{path}: access is active, login or public, not {access!r}.")

        def declare(function: F) -> F:
            hooks.check("websocket", function, "ws", *re.findall(r"<([^\W\d]\w*)", path))
            self.websockets[path] = (function, access)
            return function

        return declare

    # ------------------------------------------------------------------ using

    @property
    def user(self) -> User | AnonymousUser:
        """Who asks: the student of this request, hook or task, or the anonymous user."""
        return context.current_user.get() or ANONYMOUS

    @property
    def devices(self) -> Devices:
        """The board's devices by name."""
        node = self._node
        return Devices(node.board, node.worker, node.programming)

    @property
    def restarted(self) -> bool:
        """Has the node gone down in the middle of this session and taken it up again?"""
        return isinstance(self.user, User) and self.user.session.restarted

    @property
    def current_task(self) -> Task | None:
        """The task that this code runs in, or None."""
        task: Task | None = context.current_task.get()
        return task

    @property
    def current_task_stopping(self) -> bool:
        """Was the task that this code runs in asked to stop?"""
        return self.current_task is not None and self.current_task.stopping

    @property
    def tasks(self) -> list[Task]:
        """This session's tasks, oldest first."""
        return self._node.tasks.of_session(self.user.session_id)

    @property
    def running_tasks(self) -> list[Task]:
        """This session's tasks that are submitted or running, oldest first."""
        return self._node.tasks.of_session(self.user.session_id, unfinished=True)

    def get_tasks(self, which: str | TaskFunction[..., Any]) -> list[Task]:
        """This session's tasks of one function (or its name), oldest first."""
        name = which if isinstance(which, str) else which.name
        return [task for task in self.tasks if task.name == name]

    def get_task(self, which: str | TaskFunction[..., Any]) -> Task | None:
        """This session's task with an id, or its latest one of a function (or its name)."""
        if isinstance(which, str) and which not in self.functions:
            row = self._node.tasks.look(which)
            mine = row is not None and row["session_id"] == self.user.session_id
            return self._node.tasks.get(which) if mine else None
        return next(reversed(self.get_tasks(which)), None)

    def get_running_task(self, which: str | TaskFunction[..., Any]) -> Task | None:
        """This session's latest task of a function that is not finished, or None."""
        return next((t for t in reversed(self.get_tasks(which)) if not t.finished), None)

    def get_running_tasks(self, which: str | TaskFunction[..., Any]) -> list[Task]:
        """This session's tasks of a function that are not finished, oldest first."""
        return [task for task in self.get_tasks(which) if not task.finished]

    def join_tasks(
        self, which: str | TaskFunction[..., Any], timeout: float | None = None, stop: bool = False
    ) -> None:
        """Wait for this session's tasks of a function, having asked them to stop if `stop`."""
        tasks = self.get_running_tasks(which)
        for task in tasks if stop else ():
            task.stop()
        for task in tasks:
            task.join(timeout)

    def wait(self, seconds: float) -> bool:
        """Let `seconds` pass; False as soon as the task, the hook or the session shall end.

        On the hardware thread, devices and other requests are served meanwhile: never time.sleep.
        """
        return self._node.tasks.pause(seconds)

    def poll(self) -> None:
        """The student is there (as every request of the student says by itself)."""
        if isinstance(self.user, User):
            self._node.sessions.poll(self.user.session)

    def logout(self) -> None:
        """End the student's session."""
        if isinstance(self.user, User):
            self._node.sessions.end(self.user.session, Reason.EXITED)

    def observer_link(self) -> str:
        """An address for a teacher, who sees there what the student does, and can do nothing."""
        if not isinstance(self.user, User):
            raise LabnodeError("Nobody is logged in, so there is no session to be observed.")
        return self._node.observer_link(self.user.session)

    def push(self, event: str, data: Any = None) -> None:
        """Send `{"event": event, "data": data}` to all WebSockets of the current user's session.

        Where there is no current user, to those of all sessions. Never waits: a page that reads too
        slowly loses its WebSocket.
        """
        self._node.push(self.user.session_id, event, data)

    def record(self, action: str, /, **data: Any) -> None:
        """Write down what the current user does, with JSON data (up to 4 KiB) about it."""
        user = self.user
        self._node.sessions.actions.record(
            user.session_id, user.username_unique or None, action, data
        )

    def actions(
        self, session_id: str | None = None, username_unique: str | None = None
    ) -> list[dict[str, Any]]:
        """What was recorded in one session, or of one user, or at all, oldest first.

        Each has `session_id`, `username_unique`, `at` (seconds since 1970), `action` and `data`.
        """
        return list(self._node.sessions.actions.find(session_id, username_unique))

    @property
    def locales(self) -> list[str]:
        """The languages to speak to whoever asks, the best first ("es", "en-GB")."""
        return pages.locales(self.user)

    def text(self, texts: str | Mapping[str, str]) -> str:
        """The text for whoever asks, of one for each language: `{"en": ..., "es": ...}`."""
        return pages.text(texts, self.locales)

    def poll_script(self) -> str:
        """HTML for a template of the lab's own that keeps the session while the page is open."""
        return pages.poll_script(self.user) if isinstance(self.user, User) else ""

    def create_token(self, size: int = 32) -> str:
        """A random name of `size` bytes that fits into URLs and file names."""
        return secrets.token_urlsafe(size)

    # ------------------------------------------------------------------ the node's side

    def bind(self, node: Node) -> None:
        """Belong to a running node from now on."""
        self._running = node
        self.functions |= node.turnover.buttons(node.tasks)
        for function in self.functions.values():
            function.bind(node.tasks)

    def prepare(self, session: Session, alone: bool) -> None:
        """Make the board ready for a session, if it is alone on it; then on_start."""
        if alone:
            self._node.turnover.prepare(session.id)
        with context.acting(user=session.user):
            for hook in self._on_start:
                if session.reason is not None:  # it ends already: what is left would be in vain
                    return
                hooks.run(
                    hook, dict(session.request.client_data), dict(session.request.server_data)
                )

    def clean(self, session: Session, alone: bool) -> None:
        """Make it clean again: on_dispose, then the board; one LabnodeError if any failed."""
        failures: list[Exception] = []
        with context.acting(user=session.user):
            for hook in self._on_dispose:
                try:
                    hooks.run(hook)
                except Exception as error:
                    log.exception("A lab's on_dispose failed; the clean-up goes on.")
                    failures.append(error)
        session.sealed = True
        self._node.programming.forget(session.id)
        if alone:
            failures += self._node.turnover.clean(session.id)
        if failures:
            raise LabnodeError("; ".join(str(f) or type(f).__name__ for f in failures))

    def load_user(self, username_unique: str) -> Any:
        """What the lab's user_loader returns, None without one."""
        return self._user_loader(username_unique)

    def first_url(self) -> str | None:
        """Where the current user goes first, None for the generated page."""
        return None if self._initial_url is None else self._initial_url()

    @property
    def _node(self) -> Node:
        if self._running is None:
            raise LabnodeError("The lab belongs to no running node yet.")
        return self._running


def json_lines(actions: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Each of `lab.actions()` as a line of JSON, its newline included.

    Example::

        with open("actions.jsonl", "w") as file:
            file.writelines(json_lines(lab.actions()))
    """
    for action in actions:
        yield json.dumps(action) + "\n"
