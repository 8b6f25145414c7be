"""TaskFunction: what `@lab.task` makes of a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from inspect import BoundArguments, signature
from math import inf
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypedDict, TypeVar

from labnode.errors import BadInput, LabnodeError
from labnode.jsondata import plain
from labnode.tasks.runs import Lane

if TYPE_CHECKING:
    pass
    from labnode.tasks.tasks import Tasks
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING

from labnode.jsondata import JsonDict, Sealed

if TYPE_CHECKING:
    from labnode.tasks.runs import Run
    from labnode.tasks.tasks import Tasks


P = ParamSpec("P")
R = TypeVar("R")

Unique = Literal["global", "user"]


class TaskOptions(TypedDict, total=False):
    """What `@lab.task` takes; see TaskFunction."""

    unique: Unique | None
    label: str | dict[str, str] | None
    estimated_time: float | None
    max_runtime: float | None


class TaskFunction(Generic[P, R]):
    """A function that can run as a task.

    `unique` lets one run exist at a time, in all ("global") or for each session ("user"), and puts
    it on the hardware thread; others run in the background. `label` (a text, or one for each
    language) offers it on the page. It is refused to students who have less than `estimated_time`
    seconds left, and asked to stop when it has run for `max_runtime` seconds. One that shall stop
    and does not, for whatever reason, has its child processes killed after 5 s.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        unique: Unique | None = None,
        label: str | dict[str, str] | None = None,
        estimated_time: float | None = None,
        max_runtime: float | None = None,
    ) -> None:
        if unique not in (None, "global", "user"):
            raise ValueError(f"unique is 'global', 'user' or None, not {unique!r}")
        update_wrapper(self, function)  # first: it brings the function's own attributes too
        self.function = function
        self.name = function.__name__
        self.unique = unique
        self.label = label
        self.estimated_time = _seconds("estimated_time", estimated_time)
        self.max_runtime = _seconds("max_runtime", max_runtime)
        self.lane = Lane.BACKGROUND if unique is None else Lane.HARDWARE
        self._tasks: Tasks | None = None

    def bind(self, tasks: Tasks) -> None:
        """Belong to a running node from now on."""
        self._tasks = tasks

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run here and now and return the result.

        AlreadyRunningError where unique forbids it, TooLittleTime where estimated_time does.
        """
        _, named = self._take(args, kwargs)
        call = partial(self.function, *args, **kwargs)
        result: R = self._bound().run_directly(self, call, named)
        return result

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Task:
        """Have it run soon, on its own thread; returns the task at once.

        Never raises for what only the moment decides: where unique or estimated_time forbids it, or
        the session is over, the task returned has already failed and says so. BadInput for
        arguments that the function does not take or that are not JSON data; it gets them as they
        are now.
        """
        return self._bound().submit(self, *self._take(args, kwargs))

    def run_sync(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> Task:
        """Run it and wait until it is finished, at most `timeout` seconds; returns the task.

        On a worker thread it runs at once in that thread, so that nothing waits for itself.
        """
        call, named = self._take(args, kwargs)
        return self._bound().run_sync(self, call, named, timeout)

    def _take(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Callable[[], R], dict[str, Any]]:
        """A call with a copy of the arguments, and that copy by name."""
        try:
            bound: BoundArguments = signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            raise BadInput(f"Task {self.name!r}: {error}.") from None
        named = plain(dict(bound.arguments), f"The arguments of task {self.name!r}")
        bound.arguments.update(named)
        return partial(self.function, *bound.args, **bound.kwargs), named

    def _bound(self) -> Tasks:
        if self._tasks is None:
            raise LabnodeError(f"Task {self.name!r} runs on a node only; none has been started.")
        return self._tasks


def _seconds(option: str, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        raise ValueError(f"{option} is a number of seconds above 0, not {value!r}")
    return float(value)


class Task:
    """A view of one task that does not change under your feet.

    Outside the task, `retrieve()` brings what is new. Inside, `data` is written to (everyone who
    looks sees it at once), `stopping` is always fresh and `wait()` lets time pass.
    """

    def __init__(self, tasks: Tasks, row: Mapping[str, Any], inside: Run | None = None) -> None:
        self.inside = inside  # of the task that looks at itself
        self._tasks = tasks
        self._row = row
        self._data: dict[str, Any]
        if inside is None:
            self._look(row)
        else:
            self._data = JsonDict("task.data", inside.data, self._tell)

    def _look(self, row: Mapping[str, Any]) -> None:
        self._row = row
        if self.inside is None:  # inside, `data` is the one that is written to
            data = deepcopy(row["data"] or {})
            self._data = Sealed(data, "A task's data is written inside the task only.")

    @property
    def task_id(self) -> str:
        task_id: str = self._row["id"]
        return task_id

    @property
    def name(self) -> str:
        """The name of the task's function."""
        name: str = self._row["name"]
        return name

    @property
    def session_id(self) -> str | None:
        """The session that started it, or None (the lab itself)."""
        session_id: str | None = self._row["session_id"]
        return session_id

    @property
    def status(self) -> str:
        """`submitted`, `running`, `done` or `failed`."""
        status: str = self._row["status"]
        return status

    @property
    def submitted(self) -> bool:
        return self.status == "submitted"

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def done(self) -> bool:
        return self.status == "done"

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    @property
    def finished(self) -> bool:
        """Done or failed."""
        return self.done or self.failed

    @property
    def result(self) -> Any:
        """What the function returned (JSON data), once done."""
        return deepcopy(self._row["result"])

    @property
    def error(self) -> dict[str, str] | None:
        """`{"code", "class", "message"}` once failed, else None."""
        error: dict[str, str] | None = deepcopy(self._row["error"])
        return error

    @property
    def data(self) -> dict[str, Any]:
        """What the task tells of its progress (JSON data)."""
        return self._data

    @data.setter
    def data(self, data: Mapping[str, Any]) -> None:
        if not isinstance(self._data, JsonDict):
            raise TypeError("A task's data is written inside the task only.")
        self._data.replace(data)

    @property
    def stopping(self) -> bool:
        """Was it asked to stop?"""
        if self.inside is not None:
            return self.inside.stop.is_set()
        return bool(self._row.get("stopping"))

    def stop(self) -> None:
        """Ask it to stop; one that has not begun never will."""
        self._tasks.stop(self.task_id)

    def wait(self, seconds: float) -> bool:
        """Inside the task: let `seconds` pass, False as soon as it is asked to stop.

        On the hardware thread the board lives on meanwhile: calls and sensors are served. Stopped
        is raised when the task goes on waiting long after it was asked to stop.
        """
        if self.inside is None:
            raise TypeError("Only the task itself can wait(); use join() to wait for a task.")
        return self._tasks.wait(self.inside, seconds)

    def join(self, timeout: float | None = None, error_on_timeout: bool = True) -> Task:
        """Wait until it is finished, at most `timeout` seconds; returns it, retrieved.

        TooLate (a TimeoutError) when it takes longer, unless `error_on_timeout` is False. Deadlock
        when it could never finish because of this very wait. SessionOver in a view whose session
        ends meanwhile.
        """
        self._tasks.join(self.task_id, timeout, error_on_timeout)
        return self.retrieve()

    def retrieve(self) -> Task:
        """Bring what is new; returns the task."""
        row = self._tasks.look(self.task_id)
        if row is not None:
            self._look(row)
        return self

    def store(self) -> Task:
        """Inside the task: tell everyone `data`; only needed after a change deep inside it."""
        if self.inside is None:
            raise TypeError("A task's data is stored inside the task only.")
        self._tell()
        return self

    def _tell(self) -> None:
        assert self.inside is not None
        self._tasks.tell(self.inside, self._data)

    def to_json(self) -> dict[str, Any]:
        """What the page gets of a task."""
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
