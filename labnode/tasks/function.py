"""TaskFunction: what `@lab.task` makes of a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from inspect import BoundArguments, signature
from math import inf
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypedDict, TypeVar

from labnode.errors import BadInput, LabnodeError
from labnode.jsondata import plain
from labnode.tasks.run import Lane

if TYPE_CHECKING:
    from labnode.tasks.task import Task
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
