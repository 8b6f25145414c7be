"""The picture that a student's page shows: what there is in the lab, and how it is now."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from labnode import context
from labnode.board.config.page import describe_page
from labnode.clock import Clock
from labnode.lab import Lab, Node
from labnode.lab.pages import locales
from labnode.schema import Text
from labnode.sessions import Observer, User
from labnode.tasks import Task, TaskFunction
from labnode.web import html

_SIGN_OF_LIFE = 5.0  # seconds between two of a page's, where the session waits that long

Asking = User | Observer
"""Whoever looks at a session."""


def asking() -> Asking:
    """Who looks in the current request, whose route is for students and observers."""
    user = context.current_user.get()
    assert isinstance(user, User | Observer)
    return user


class Picture:
    """Made anew for each who asks, from what is in memory: it never waits for the hardware.

    `back` says where a student may be sent after the session.
    """

    def __init__(
        self, lab: Lab, node: Node, clock: Clock, back: Callable[[Asking], str | None]
    ) -> None:
        self._lab = lab
        self._node = node
        self._clock = clock
        self._back = back
        self._run = secrets.token_urlsafe(6)  # tells a page that the node was started again

    def boot(self, asking: Asking) -> dict[str, Any]:
        """All that a page starts from."""
        languages = locales(asking)
        token = asking.session.token if isinstance(asking, User) else None
        timeout = self._node.board.file.session.timeout
        return html.boot(
            self.board(languages),
            self.state(asking),
            token=token,
            locales=languages,
            sign_of_life=min(_SIGN_OF_LIFE, timeout / 3) if timeout > 0 else _SIGN_OF_LIFE,
        )

    def page(self, asking: Asking) -> tuple[str, bool]:
        """The page, and is it the lab's own: templates/page.html beside the board."""
        own = self._node.board.file.path.absolute().parent / "templates" / "page.html"
        template = own if own.is_file() else None
        return html.render_page(self.boot(asking), template=template), template is not None

    def board(self, languages: list[str]) -> dict[str, Any]:
        """What there is: it stays the same as long as the node runs."""
        file = self._node.board.file
        return {
            "title": file.title.pick(*languages),
            "devices": self._node.board.describe(languages),
            "page": None if file.page is None else describe_page(file.page, languages),
            "record": None if file.record is None else {"devices": file.record.devices},
            "tasks": [
                self._describe(function, languages)
                for function in self._lab.functions.values()
                if function.label is not None
            ],
        }

    def state(self, asking: Asking) -> dict[str, Any]:
        """How everything is now. What changes is told in the same shape, with the changed parts."""
        return {
            **self.devices(),
            "tasks": [task.to_json() for task in self._tasks(asking)],
            "session": self.session(asking),
            "faults": self.faults(),
            "notices": self.notices(asking),
        }

    def devices(self, changed_since: dict[str, Any] | None = None) -> dict[str, Any]:
        """The states of the devices that students may see, or of those that are not as given.

        `version` grows with each change, in one run of the node; `now` is the clock that the times
        in the states are of.
        """
        specs = self._node.board.file.devices
        version, snapshot = self._node.board.versioned()
        before = changed_since or {}
        devices = {
            name: state
            for name, state in snapshot.items()
            if specs[name].access == "user" and before.get(name) is not state
        }
        now = round(self._clock.now(), 3)
        return {"run": self._run, "version": version, "now": now, "devices": devices}

    def tasks(self, task_ids: Iterable[str]) -> list[dict[str, Any]]:
        """These tasks as they are now; those that nobody knows any more are left out."""
        rows = ((task_id, self._node.tasks.look(task_id)) for task_id in task_ids)
        return [Task(self._node.tasks, row).to_json() for _, row in rows if row is not None]

    def faults(self) -> list[dict[str, Any]]:
        """The interlocks that act or are latched; the message in all languages that it has."""
        return [
            {
                "name": fault.name,
                "message": fault.message.words,
                "latched": fault.latched,
                "active": fault.active,
            }
            for fault in self._node.board.faults
        ]

    def notices(self, asking: Asking) -> list[dict[str, Any]]:
        """What sequences have told the student; their numbers rise."""
        return list(asking.session.notices)

    def session(self, asking: Asking) -> dict[str, Any]:
        """The student, and how much time is left; `read_only`: an observer asks."""
        user = self._node.sessions.user(asking.session)
        return {
            "read_only": asking.read_only,
            "active": user.active,
            "username": user.username,
            "full_name": user.full_name,
            "locale": user.locale,
            "time_left": round(user.time_left, 3),
            "back": self._back(asking),
            "experiment_name": user.experiment_name,
            "category_name": user.category_name,
            "restarted": user.session.restarted,
            "reason": user.session.reason,
        }

    def _tasks(self, asking: Asking) -> list[Task]:
        """The session's unfinished tasks, and the last one of each name."""
        tasks = self._node.tasks.of_session(asking.session_id)
        last = {task.name: task.task_id for task in tasks}
        return [t for t in tasks if not t.finished or last[t.name] == t.task_id]

    def _describe(self, function: TaskFunction[..., Any], languages: list[str]) -> dict[str, Any]:
        return {
            "name": function.name,
            "label": Text(function.label or function.name).pick(*languages),
            "unique": function.unique,
        }
