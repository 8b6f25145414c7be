"""Lab: hooks, tasks, views and devices, as a lab's Python module declares and uses them."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar, Unpack, get_args, overload

from bottle import Bottle

from labnode import context
from labnode.clock.schedules import Schedule
from labnode.errors import LabnodeError
from labnode.lab import hooks, pages
from labnode.lab.devices import Devices
from labnode.lab.node import Level, Node
from labnode.locale import Message
from labnode.sessions import ANONYMOUS, AnonymousUser, Reason, User
from labnode.tasks import Task, TaskFunction
from labnode.tasks.api import TaskOptions
from labnode.tasks.timers import Recurrence

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_NO_NODE = "The lab belongs to no running node yet."


class Lab:
    """What a board's Python module is written with: `lab = Lab()`, once in the module.

    `app` is a plain bottle.Bottle for the lab's own views. A view needs an active user, unless its
    route has `access="login"` (also after the time is up) or `access="public"`.

    Hooks, tasks and views run once the board is on a running node. Before that, `devices`, `tasks`
    and the other members that need a node raise LabnodeError.

    Example::

        lab = Lab()

        @lab.app.post("/toast")
        def toast():
            lab.devices.heater.set(True)
            return {"left": lab.user.time_left}
    """

    def __init__(self) -> None:
        self.app = Bottle()
        self.functions: dict[str, TaskFunction[..., Any]] = {}
        self.websockets: dict[str, tuple[Callable[..., Any], Level]] = {}
        self.page_sources: dict[str, str] = {}
        self._on_start: list[Callable[[dict[str, Any], dict[str, Any]], Any]] = []
        self._on_dispose: list[Callable[[], Any]] = []
        self._user_loader: Callable[[str], Any] | None = None
        self._initial_url: Callable[[], str] | None = None
        self._running: Node | None = None
        self._devices: Devices | None = None

    # ------------------------------------------------------------------ declaring

    def on_start(self, function: F) -> F:
        """Call `function(client_data, server_data)` on the hardware thread before a session.

        Both arguments are dictionaries of the central server's request. If the function raises an
        exception, the start of the session fails. If it returns a dictionary, that becomes
        `lab.user.data`. Several hooks run in the order of their declaration. They run again when
        the node restarts during a session (`lab.restarted`); the data then stays what it was.
        """
        hooks.check("on_start", function, "client_data", "server_data")
        self._on_start.append(function)
        return function

    def on_dispose(self, function: F) -> F:
        """Call `function()` on the hardware thread after a session, before the devices are reset.

        Several hooks run in the order of their declaration, even if one of them raises an
        exception. An exception quarantines the board: no session starts until somebody has looked.
        """
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
        """Make a function a task: `@lab.task`, or with options `@lab.task(unique="user")`.

        The options are those of TaskFunction. LabnodeError if the lab has a task of that name,
        ValueError for an option that has no such value.
        """
        if function is not None and not callable(function):
            raise LabnodeError(Message("board.task-options", value=repr(function)))

        def declare(function: Callable[..., Any]) -> TaskFunction[..., Any]:
            return self._declare(function, options)

        return declare if function is None else declare(function)

    def periodic_task(
        self, schedule: Schedule, *, catch_up: bool = False, **options: Unpack[TaskOptions]
    ) -> Callable[[Callable[..., Any]], TaskFunction[..., Any]]:
        """Make a function a task that the lab runs by itself, by a `schedule` such as `crontab`.

        The function has no arguments. Runs that were missed while the node was off are left out;
        with `catch_up` there is one run afterwards. A run is left out while the previous one is
        unfinished. The other options are those of `task`. LabnodeError for what is no schedule.
        """
        if not callable(getattr(schedule, "next", None)):
            raise LabnodeError(Message("board.no-schedule", value=repr(schedule)))

        def declare(function: Callable[..., Any]) -> TaskFunction[..., Any]:
            hooks.check("periodic_task", function)
            return self._declare(function, options, Recurrence(schedule, catch_up))

        return declare

    def _declare(
        self,
        function: Callable[..., Any],
        options: TaskOptions,
        periodic: Recurrence | None = None,
    ) -> TaskFunction[..., Any]:
        if function.__name__ in self.functions:
            raise LabnodeError(Message("board.two-tasks", name=repr(function.__name__)))
        declared = TaskFunction(function, periodic=periodic, **options)
        self.functions[declared.name] = declared
        if self._running is not None:
            declared.bind(self._running.tasks)
        return declared

    def user_loader(self, function: F) -> F:
        """Make `lab.user.user` what `function(username_unique)` returns.

        It is called each time that `lab.user.user` is read. A lab has one at most.
        """
        hooks.check("user_loader", function, "username_unique")
        hooks.check_only("user_loader", self._user_loader)
        self._user_loader = function
        return function

    def initial_url(self, function: F) -> F:
        """Send students first to the address that `function()` returns.

        Without it they go to the generated page. A path gets the path of the setting `base_url` in
        front, unless it begins with that. A lab has one such function at most.
        """
        hooks.check("initial_url", function)
        hooks.check_only("initial_url", self._initial_url)
        self._initial_url = function
        return function

    def websocket(self, path: str, access: Level = "active") -> Callable[[F], F]:
        """Call `function(ws)` in a thread of its own for each WebSocket opened at `path`.

        `ws` is a WebSocket; `for message in ws` ends when the page closes it or the session ends.
        Parts of the path in `<...>` are further arguments. `access` is that of a view: "active",
        "login" or "public". LabnodeError for a path that has a function already or has no slash.
        """
        if not path.startswith("/") or path in self.websockets:
            raise LabnodeError(Message("board.websocket-path", path=repr(path)))
        if access not in get_args(Level):
            raise LabnodeError(Message("board.websocket-access", path=path, access=repr(access)))

        def declare(function: F) -> F:
            hooks.check("websocket", function, "ws", *re.findall(r"<([^\W\d]\w*)", path))
            self.websockets[path] = (function, access)
            return function

        return declare

    def content_security_policy(self, **sources: Unpack[pages.PageSources]) -> None:
        """Allow the lab's own pages to load more than what labnode serves.

        The sources are written as in the header, with spaces between them, and are added to those
        that are allowed anyway:
        `lab.content_security_policy(script_src="'unsafe-inline' https://cdn.example.org")`.
        """
        self.page_sources |= pages.by_directive(sources)

    # ------------------------------------------------------------------ using

    @property
    def user(self) -> User | AnonymousUser:
        """The student of this request, hook or task.

        Without one it is the anonymous user: `is_anonymous` and False, "", None or 0 for the
        rest. An observer is anonymous, too, and has `read_only`.
        """
        return context.current_user.get() or ANONYMOUS

    @property
    def devices(self) -> Devices:
        """The board's devices: `lab.devices.heater`, or `lab.devices["heater"]`."""
        if self._devices is None:
            raise LabnodeError(_NO_NODE)
        return self._devices

    @property
    def restarted(self) -> bool:
        """Whether the node was restarted during this session."""
        return isinstance(self.user, User) and self.user.session.restarted

    @property
    def current_task(self) -> Task | None:
        """The task that this code runs in, or None."""
        task: Task | None = context.current_task.get()
        return task

    @property
    def current_task_stopping(self) -> bool:
        """Whether the task that this code runs in was asked to stop; False outside a task."""
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
        """This session's task with an id, or its latest run of a function (or its name).

        None if there is none, or if it belongs to another session.
        """
        if isinstance(which, str) and which not in self.functions:
            row = self._node.tasks.look(which)
            mine = row is not None and row["session_id"] == self.user.session_id
            return self._node.tasks.get(which) if mine else None
        return next(reversed(self.get_tasks(which)), None)

    def get_running_task(self, which: str | TaskFunction[..., Any]) -> Task | None:
        """This session's latest task of a function (or its name) that is not finished, or None."""
        return next((t for t in reversed(self.get_tasks(which)) if not t.finished), None)

    def get_running_tasks(self, which: str | TaskFunction[..., Any]) -> list[Task]:
        """This session's tasks of a function (or its name) that are not finished, oldest first."""
        return [task for task in self.get_tasks(which) if not task.finished]

    def join_tasks(
        self, which: str | TaskFunction[..., Any], timeout: float | None = None, stop: bool = False
    ) -> None:
        """Wait for this session's tasks of a function (or its name).

        With `stop`, ask all of them to stop first. `timeout` is in seconds, for each task; TooLate
        and Deadlock as in Task.join.
        """
        tasks = self.get_running_tasks(which)
        for task in tasks if stop else ():
            task.stop()
        for task in tasks:
            task.join(timeout)

    def wait(self, seconds: float) -> bool:
        """Wait `seconds`; returns False as soon as the task, the hook or the session has to end.

        Use it instead of time.sleep: on the hardware thread it serves devices and requests
        meanwhile.
        """
        return self._node.tasks.pause(seconds)

    def poll(self) -> None:
        """Count as a sign of the student, so that the session does not end for inactivity.

        Every request of the student does that by itself. Without a session it does nothing.
        """
        if isinstance(self.user, User):
            self._node.sessions.poll(self.user.session, by_lab=True)

    def logout(self) -> None:
        """End the student's session, as its Leave button does; nothing without a session."""
        if isinstance(self.user, User):
            self._node.sessions.end(self.user.session, Reason.EXITED)

    def observer_link(self) -> str:
        """An address where a teacher can watch the session, without controlling anything.

        LabnodeError without a session.
        """
        if not isinstance(self.user, User):
            raise LabnodeError("Nobody is logged in, so there is no session to be observed.")
        return self._node.observers.link(self.user.session)

    def push(self, event: str, data: Any = None) -> None:
        """Send `{"event": event, "data": data}` to all pages of the current user's session.

        Without a current user, it goes to all sessions. `data` is JSON data. This never waits: a
        page that reads too slowly loses its WebSocket.
        """
        self._node.pages.push(self.user.session_id, event, data)

    def record(self, action: str, /, **data: Any) -> None:
        """Store an action of the current user, with JSON data (up to 4 KiB) about it.

        Example::

            lab.record("measured", volts=lab.devices.meter.value)
        """
        user = self.user
        self._node.sessions.actions.record(
            user.session_id, user.username_unique or None, action, data
        )

    def actions(
        self, session_id: str | None = None, username_unique: str | None = None
    ) -> list[dict[str, Any]]:
        """The recorded actions of one session, of one user, or all, oldest first.

        Each has `session_id`, `username_unique`, `at` (seconds since 1970), `action` and `data`.
        """
        return list(self._node.sessions.actions.find(session_id, username_unique))

    @property
    def locales(self) -> list[str]:
        """The languages of the current request, the best first ("es", "en-GB")."""
        return pages.locales(self.user)

    def text(self, texts: str | Mapping[str, str]) -> str:
        """The text in the student's best language, of one per language: `{"en": ..., "es": ...}`.

        A text without languages is returned as it is.
        """
        return pages.text(texts, self.locales)

    def poll_script(self, logout_on_close: bool = False, callback: str | None = None) -> str:
        """HTML for the lab's own pages: a script that keeps the session while the page is open.

        When the page is closed, the session ends 10 s later unless another page is opened; with
        `logout_on_close` it ends at once. At the end of the session, the page goes to where the
        lab sends its students; with `callback`, the page's function of that name runs instead.
        Returns "" without a session.
        """
        if not isinstance(self.user, User):
            return ""
        timeout = self._node.board.file.session.timeout
        return pages.poll_script(
            self.user, timeout, logout_on_close=logout_on_close, callback=callback
        )

    def create_token(self, size: int = 32) -> str:
        """A random text for URLs and file names; `size` is in bytes, and 32 are 43 characters."""
        return secrets.token_urlsafe(size)

    # ------------------------------------------------------------------ the node's side

    def bind(self, node: Node) -> None:
        """Join a running node: its devices, tasks and sequences are the lab's from now on."""
        self._running = node
        self._devices = Devices(node.board, node.worker, node.programming)
        self.functions |= node.sequences.task_functions()
        for function in self.functions.values():
            function.bind(node.tasks)

    def prepare(self, user: User, alone: bool) -> None:
        """Make the board ready for a session that is `alone` on it, then run on_start."""
        session, request = user.session, user.session.request
        if alone:
            self._node.board.reset()
            with context.acting(user=user):
                self._node.board.prepare()
            self._node.sequences.run("on_start", session.id)
        if session.reason is not None:  # it has ended meanwhile
            return
        session.on_start_began = True
        with context.acting(user=user):
            for hook in self._on_start:
                data = hooks.run(hook, dict(request.client_data), dict(request.server_data))
                if isinstance(data, dict) and data and not session.restarted:
                    user.data = data
                user.store_changes()
                if session.reason is not None:
                    return

    def clean(self, user: User, alone: bool) -> None:
        """Run on_dispose if on_start began; clean the board if the session was `alone` on it.

        A failure skips nothing; one LabnodeError names all of them.
        """
        session, board = user.session, self._node.board
        failures: list[Exception] = []

        def attempt(function: Callable[[], object], failed: str) -> None:
            try:
                function()
            except Exception as error:
                log.exception(failed)
                failures.append(error)

        with context.acting(user=user):
            for hook in self._on_dispose if session.on_start_began else ():
                attempt(
                    partial(hooks.run, hook), "A lab's on_dispose failed; the clean-up goes on."
                )
            attempt(user.store_changes, "The user's data could not be stored.")
        session.sealed = True
        self._node.programming.spool.empty(session.id)
        if alone:
            on_dispose = partial(self._node.sequences.run, "on_dispose", session.id)
            for part in (on_dispose, board.clean, board.reset):
                attempt(part, "A part of the clean-up failed; it goes on.")
        if failures:
            raise LabnodeError("; ".join(str(f) or type(f).__name__ for f in failures))

    def load_user(self, username_unique: str) -> Any:
        """The result of the lab's user_loader, None without one."""
        return None if self._user_loader is None else self._user_loader(username_unique)

    def first_url(self) -> str | None:
        """Where the current user goes first, None for the generated page."""
        return None if self._initial_url is None else self._initial_url()

    @property
    def _node(self) -> Node:
        if self._running is None:
            raise LabnodeError(_NO_NODE)
        return self._running


def json_lines(actions: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Each of `lab.actions()` as a line of JSON, its newline included.

    Example::

        with open("actions.jsonl", "w") as file:
            file.writelines(json_lines(lab.actions()))
    """
    for action in actions:
        yield json.dumps(action) + "\n"
