"""What labs use of tasks: TaskFunction, which `@lab.task` makes of a function, and Task."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial, update_wrapper
from inspect import BoundArguments, Parameter, signature
from math import inf
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypedDict, TypeVar

from labnode.clock.schedules import wall_seconds
from labnode.errors import BadInput, LabnodeError, TooLittleTime
from labnode.jsondata import JsonDict, Sealed, plain
from labnode.locale import Message
from labnode.tasks.queues import DueTime
from labnode.tasks.runs import Lane, Run
from labnode.tasks.timers import Recurrence, Timers

_MOST_LOG = 50  # lines of a program's output that a task's data keeps
_LONGEST = 10 * 365.25 * 86400  # seconds that a task can be delayed

P = ParamSpec("P")
R = TypeVar("R")

Unique = Literal["global", "user"]


class TaskService(Protocol):
    """The node's tasks, as far as these classes need them; see Tasks."""

    def register(self, function: TaskFunction[..., Any]) -> None: ...
    def submit(self, invocation: Invocation, when: DueTime | None = None) -> Task: ...

    @property
    def timers(self) -> Timers: ...

    def run_directly(self, invocation: Invocation) -> Any: ...
    def run_sync(self, invocation: Invocation, timeout: float | None) -> Task: ...
    def stop(self, task_id: str) -> None: ...
    def wait(self, run: Run, seconds: float) -> bool: ...
    def join(self, task_id: str, timeout: float | None, error_on_timeout: bool) -> None: ...
    def look(self, task_id: str) -> dict[str, Any] | None: ...
    def set_data(self, run: Run, data: dict[str, Any]) -> None: ...


class TaskOptions(TypedDict, total=False):
    """The options of `@lab.task`; see TaskFunction."""

    unique: Unique | None
    label: str | dict[str, str] | None
    estimated_time: float | None
    max_runtime: float | None
    retries: int
    retry_delay: float
    priority: int
    expires: float | None
    during_sessions: bool
    idempotent: bool


class TaskFunction(Generic[P, R]):
    """A function that can run as a task. `@lab.task` makes it and takes the same options.

    `unique` allows one run at a time, on the whole node ("global") or in each session ("user"), and
    runs it on the hardware thread; other tasks run in the background. `label` (a text, or one per
    language) adds a button to the page. Students who have less than `estimated_time` seconds left
    cannot start it. After `max_runtime` seconds it is asked to stop. If a task does not stop within
    5 s after it was asked to, its child processes are killed.

    A queued run that fails is run again up to `retries` times, `retry_delay` seconds later. Among
    waiting runs, the one with the highest `priority` starts first. A run that does not start within
    `expires` seconds fails.

    A run that was not started in a session belongs to the lab: it waits while a student is on the
    board, and is asked to stop when one comes, unless `during_sessions`. A run that is interrupted
    by that, or by the end of the node, has failed; with `idempotent` and `retries` it starts again.
    `periodic` is the schedule of `@lab.periodic_task`.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        unique: Unique | None = None,
        label: str | dict[str, str] | None = None,
        estimated_time: float | None = None,
        max_runtime: float | None = None,
        retries: int = 0,
        retry_delay: float = 0,
        priority: int = 0,
        expires: float | None = None,
        during_sessions: bool = False,
        idempotent: bool = False,
        periodic: Recurrence | None = None,
    ) -> None:
        if unique not in (None, "global", "user"):
            raise ValueError(f"unique is 'global', 'user' or None, not {unique!r}")
        update_wrapper(self, function)  # first: it copies the function's attributes, too
        self.function = function
        self.name = function.__name__
        self.unique = unique
        self.label = label
        self.estimated_time = _seconds("estimated_time", estimated_time)
        self.max_runtime = _seconds("max_runtime", max_runtime)
        self.of_message = {  # what Huey's messages keep
            "retries": _whole("retries", retries, least=0),
            "retry_delay": _seconds("retry_delay", retry_delay or None) or 0.0,
            "priority": _whole("priority", priority),
        }
        self.expires = _seconds("expires", expires)
        self.during_sessions = during_sessions
        self.idempotent = idempotent
        self.periodic = periodic
        self.lane = Lane.BACKGROUND if unique is None else Lane.HARDWARE
        self._tasks: TaskService | None = None

    @property
    def needs_arguments(self) -> bool:
        """Whether it cannot be called without."""
        parameters = signature(self.function).parameters.values()
        optional = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        return any(p.default is Parameter.empty and p.kind not in optional for p in parameters)

    def bind(self, tasks: TaskService) -> None:
        """Run on a node from now on."""
        self._tasks = tasks
        tasks.register(self)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function in this thread and return its result.

        AlreadyRunningError if `unique` forbids it, TooLittleTime if `estimated_time` does. What the
        function raises reaches the caller.
        """
        invocation = replace(  # with the caller's own arguments, as in any other call
            self._invocation(args, kwargs), call=partial(self.function, *args, **kwargs)
        )
        result: R = self._bound().run_directly(invocation)
        return result

    def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> Task:
        """Queue a run and return its task at once.

        The arguments are JSON data and are copied; BadInput for others, or if the function does not
        take them. If `unique` or `estimated_time` forbids the run, or the session is over, the
        returned task has already failed, with the reason in its `error`.
        """
        return self._bound().submit(self._invocation(args, kwargs))

    def schedule(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        delay: float | timedelta | None = None,
        eta: datetime | None = None,
    ) -> Task:
        """Queue a run for later and return its task: in `delay` seconds, or at `eta`.

        `args` and `kwargs` are the function's arguments. `delay` (seconds or a timedelta, up to ten
        years) counts from now, whatever the wall clock does. `eta` is a time of the wall clock:
        local time if it has no time zone. It waits until that clock is confirmed. BadInput for
        both or neither, and for a time in the past.
        """
        if (delay is None) == (eta is None):
            raise BadInput(f"Task {self.name!r} is scheduled with either delay= or eta=.")
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if seconds is not None and not (_is_number(seconds) and 0 <= seconds <= _LONGEST):
            raise BadInput(
                f"Task {self.name!r}: delay is a number of seconds from 0 to {_LONGEST:.0f} (ten "
                f"years), not {delay!r}."
            )
        if eta is not None and not isinstance(eta, datetime):
            raise BadInput(f"Task {self.name!r}: eta is a datetime, not {eta!r}.")
        try:
            date = None if eta is None else wall_seconds(eta)
        except (ValueError, OverflowError):  # the year 1
            raise BadInput(f"Task {self.name!r}: eta is a time of our days, not {eta}.") from None
        invocation = self._invocation(tuple(args), dict(kwargs or {}))
        when = self._bound().timers.when(self.name, seconds, date)
        return self._bound().submit(invocation, when)

    def run_sync(self, /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Task:
        """Queue a run and wait until it is finished, at most `timeout` seconds; returns the task.

        If it takes longer, the task that is returned is not `finished`. In a hook or task it runs
        in the same thread at once, because that thread cannot wait for itself.
        """
        return self._bound().run_sync(self._invocation(args, kwargs), timeout)

    def check_time_left(self, user: Any) -> None:
        """TooLittleTime if a student has less than `estimated_time` seconds left.

        It does not matter in a clean-up, when the user is not active.
        """
        if self.estimated_time is not None and getattr(user, "active", False):
            left: float = user.time_left
            if left < self.estimated_time:
                takes = f"{self.estimated_time:g}"
                raise TooLittleTime(
                    Message("error.too-little-time", name=self.name, takes=takes, left=int(left))
                )

    def invocation(self) -> Invocation:
        """A call without arguments."""
        return self._invocation((), {})

    def call(self, arguments: Mapping[str, Any]) -> R:
        """Call the function in this thread, with arguments by name as those of a message."""
        bound = BoundArguments(signature(self.function), OrderedDict(arguments))
        return self.function(*bound.args, **bound.kwargs)

    def _invocation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Invocation:
        try:
            bound: BoundArguments = signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            raise BadInput(f"Task {self.name!r}: {error}.") from None
        named = plain(dict(bound.arguments), f"The arguments of task {self.name!r}")
        bound.arguments.update(named)
        return Invocation(self, partial(self.function, *bound.args, **bound.kwargs), named)

    def _bound(self) -> TaskService:
        if self._tasks is None:
            raise LabnodeError(f"Task {self.name!r} runs on a node only; none has been started.")
        return self._tasks


@dataclass(frozen=True)
class Invocation:
    """One call of a task function; `arguments` are a copy of them as JSON data, by name."""

    function: TaskFunction[..., Any]
    call: Callable[[], Any]
    arguments: dict[str, Any]


def _seconds(option: str, value: float | None) -> float | None:
    if value is None:
        return None
    if not _is_number(value) or not 0 < value < inf:
        raise ValueError(f"{option} is a number of seconds above 0, not {value!r}")
    return float(value)


def _whole(option: str, value: int, least: float = -inf) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        wanted = "a whole number" if least == -inf else f"a whole number from {least} on"
        raise ValueError(f"{option} is {wanted}, not {value!r}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Task:
    """One run of a task function, as it was when it was last retrieved.

    `retrieve()` updates it. Inside the task itself (`lab.current_task`) `data` can be written, and
    everybody sees it at once; `stopping` is always up to date, and `wait()` lets time pass.

    Example::

        @lab.task(unique="global")
        def heat(seconds):
            task = lab.current_task
            for second in range(seconds):
                task.data["percent"] = 100 * second / seconds
                if not task.wait(1):
                    return "stopped"
            return "finished"
    """

    def __init__(
        self, tasks: TaskService, row: Mapping[str, Any], inside: Run | None = None
    ) -> None:
        self.inside = inside  # the run, in the task that is seen from inside
        self._tasks = tasks
        self._row = row
        self._data: dict[str, Any]
        if inside is None:
            self._update(row)
        else:
            self._data = JsonDict("task.data", inside.data, self._publish_data)

    def _update(self, row: Mapping[str, Any]) -> None:
        self._row = row
        if self.inside is None:  # inside, `data` is the one that is written to
            data = deepcopy(row["data"] or {})
            self._data = Sealed(data, "A task's data is written inside the task only.")

    @property
    def task_id(self) -> str:
        """The run's id, a random URL-safe text."""
        return str(self._row["id"])

    @property
    def name(self) -> str:
        """The name of the task's function."""
        return str(self._row["name"])

    @property
    def session_id(self) -> str | None:
        """The id of the session that started it; None if it belongs to the lab."""
        session_id: str | None = self._row["session_id"]
        return session_id

    @property
    def status(self) -> str:
        """`submitted`, `running`, `done` or `failed`."""
        return str(self._row["status"])

    @property
    def submitted(self) -> bool:
        """Whether it is still waiting to run."""
        return self.status == "submitted"

    @property
    def running(self) -> bool:
        """Whether it is running now."""
        return self.status == "running"

    @property
    def done(self) -> bool:
        """Whether the function has returned."""
        return self.status == "done"

    @property
    def failed(self) -> bool:
        """Whether the function has raised an exception, or could not run; see `error`."""
        return self.status == "failed"

    @property
    def finished(self) -> bool:
        """Whether it is done or failed."""
        return self.done or self.failed

    @property
    def result(self) -> Any:
        """What the function returned (JSON data), once it is done; None before and if it failed."""
        return deepcopy(self._row["result"])

    @property
    def error(self) -> dict[str, str] | None:
        """Why it failed: a dictionary with `code`, `class` and `message`; None unless it failed."""
        error: dict[str, str] | None = self._row["error"]
        return error and {name: text for name, text in error.items() if name != "words"}

    @property
    def words(self) -> Any:
        """The message of `error` in several languages, as JSON (see `labnode.locale`), or None."""
        return (self._row["error"] or {}).get("words")

    @property
    def data(self) -> dict[str, Any]:
        """The task's progress: a dictionary of JSON data, which the page gets too.

        Only the task itself can write it; elsewhere it is a TypeError.
        """
        return self._data

    @data.setter
    def data(self, data: Mapping[str, Any]) -> None:
        if not isinstance(self._data, JsonDict):
            raise TypeError("A task's data is written inside the task only.")
        self._data.replace(data)

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        if self.inside is not None:
            return self.inside.stop.is_set()
        return bool(self._row.get("stopping"))

    def stop(self) -> None:
        """Ask it to stop; if it has not started, it is cancelled. Returns at once."""
        self._tasks.stop(self.task_id)

    def wait(self, seconds: float) -> bool:
        """Inside the task: wait `seconds`; returns False as soon as it is asked to stop.

        On the hardware thread, commands and sensors are served meanwhile. Raises Stopped if the
        task goes on waiting long after it was asked to stop, and TypeError outside the task.
        """
        if self.inside is None:
            raise TypeError("Only the task itself can wait(); use join() to wait for a task.")
        return self._tasks.wait(self.inside, seconds)

    def join(self, timeout: float | None = None, error_on_timeout: bool = True) -> Task:
        """Wait until it is finished, at most `timeout` seconds; returns the task, updated.

        TooLate (a TimeoutError) if it takes longer, unless `error_on_timeout` is False. Deadlock if
        this wait would keep it from finishing. SessionOver in a view whose session ends.
        """
        self._tasks.join(self.task_id, timeout, error_on_timeout)
        return self.retrieve()

    def retrieve(self) -> Task:
        """Update this object; returns it."""
        row = self._tasks.look(self.task_id)
        if row is not None:
            self._update(row)
        return self

    def report(self, percent: float | None = None, line: str | None = None) -> None:
        """Inside the task: set `percent` of its data, and append output of its program to `log`.

        `log` keeps the last 50 lines.
        """
        news: dict[str, Any] = {} if percent is None else {"percent": percent}
        if line is not None:
            log_before = self.data.get("log")
            before = log_before if isinstance(log_before, list) else []
            news["log"] = [*before, *line.splitlines()][-_MOST_LOG:]
        if any(self.data.get(key) != value for key, value in news.items()):
            self.data.update(news)

    def store(self) -> Task:
        """Inside the task: publish `data`; only needed after a change inside one of its values."""
        if self.inside is None:
            raise TypeError("A task's data is stored inside the task only.")
        self._publish_data()
        return self

    def _publish_data(self) -> None:
        assert self.inside is not None
        self._tasks.set_data(self.inside, self._data)

    def to_json(self) -> dict[str, Any]:
        """What the page gets."""
        return {
            "task_id": self.task_id,
            "name": self.name,
            "status": self.status,
            "data": dict(self.data),
            "result": self.result,
            "error": self.error,
            "stopping": self.stopping,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and other.task_id == self.task_id

    def __hash__(self) -> int:
        return hash(self.task_id)

    def __repr__(self) -> str:
        return f"<Task {self.name} {self.task_id} {self.status}>"
