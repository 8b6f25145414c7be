"""What a student's page shows: the board, its devices and tasks, and their state now."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from bottle import request

from labnode.board.config.page import describe_page
from labnode.clock import Clock
from labnode.drivers.framework.commands import parameters_of
from labnode.errors import DeviceError
from labnode.files import lies_in
from labnode.lab import Lab, Node
from labnode.lab.pages import sign_of_life
from labnode.locale import Language, Retold
from labnode.schema import Text
from labnode.sessions import User
from labnode.settings import Settings
from labnode.tasks import Task, TaskFunction
from labnode.web import html
from labnode.web.auth import Access, Viewer
from labnode.web.texts import is_for_students, told

_OWN_PAGE = "templates/page.html"
# With `no-referrer`, browsers say `Origin: null` of a form, which could be anybody's.
OWN_PAGE_HEADERS = {"Referrer-Policy": "same-origin"}


class PageState:
    """Made for each request from what is in memory: it never waits for the hardware."""

    def __init__(
        self, lab: Lab, node: Node, settings: Settings, clock: Clock, access: Access
    ) -> None:
        self._lab = lab
        self._node = node
        self._clock = clock
        self._access = access
        self._settings = settings
        self._hidden: dict[str, tuple[Any, dict[str, Any]]] = {}  # states, and what students see
        self._run = secrets.token_urlsafe(6)  # a page sees by it that the node was restarted

    def boot(self, viewer: Viewer) -> dict[str, Any]:
        """The data that a page starts with."""
        language = self.language
        token = viewer.session.token if isinstance(viewer, User) else None
        return html.boot(
            self.board(language),
            self.state(viewer, language),
            token=token,
            language=language,
            asked=request.query.get("locale", ""),
            sign_of_life=sign_of_life(self._node.board.file.session.timeout),
        )

    @property
    def language(self) -> Language:
        """That of the current request."""
        return self._access.language

    def page(self, viewer: Viewer) -> tuple[str, Mapping[str, str], tuple[str, ...]]:
        """The page, its headers, and the parts that all pages have in common (`send_page`).

        templates/page.html beside the board is the lab's own.
        """
        folder = self._node.board.file.path.absolute().parent
        own = folder / _OWN_PAGE
        template = own if own.is_file() and lies_in(folder, _OWN_PAGE) else None
        boot = self.boot(viewer)
        policy = html.content_security_policy(
            self._settings,
            self._lab.page_sources if template else None,
            script=html.script_hash(boot["board"]),
        )
        headers = {**(OWN_PAGE_HEADERS if template else {}), "Content-Security-Policy": policy}
        page = html.render_page(boot, self.language, template=template)
        return page, headers, html.lasting(boot["board"])

    def board(self, language: Language) -> dict[str, Any]:
        """What does not change as long as the node runs."""
        file = self._node.board.file
        return {
            "title": language.say(file.title),
            "devices": self._node.board.describe(language.locales),
            "page": None if file.page is None else describe_page(file.page, language.locales),
            "stage": None if file.stage is None else file.stage.describe(language.locales),
            "picture": None if file.picture is None else file.picture.describe(language.locales),
            "record": None if file.record is None else {"devices": file.record.devices},
            "tasks": [
                self._describe(function, language)
                for function in self._lab.functions.values()
                if function.label is not None
            ],
        }

    def state(self, viewer: Viewer, language: Language) -> dict[str, Any]:
        """What changes. Updates have the same shape, with the changed parts only."""
        return {
            **self.devices(),
            "tasks": [task_json(task, language) for task in self._tasks(viewer)],
            "session": self.session(viewer),
            "faults": self.faults(),
            "notices": self.notices(viewer),
            "files": list(viewer.session.files),
            **({"deeds": list(viewer.session.deeds)} if viewer.read_only else {}),
        }

    def devices(self, changed_since: dict[str, Any] | None = None) -> dict[str, Any]:
        """The states of the devices that students may see, or only of those that have changed.

        `version` grows with each change, in one run of the node; times in the states are on the
        same clock as `now`.
        """
        specs = self._node.board.file.devices
        version, snapshot = self._node.board.versioned()
        before = changed_since or {}
        devices = {
            name: state
            for name, state in ((n, self._for_students(n, s)) for n, s in snapshot.items())
            if specs[name].access == "user" and before.get(name) is not state
        }
        now = round(self._clock.now(), 3)
        return {"run": self._run, "version": version, "now": now, "devices": devices}

    @property
    def guarded(self) -> bool:
        """Whether an output is on whose dead man has to hear from the page that switched it."""
        return self._node.board.guarded_since is not None

    def tasks(self, task_ids: Iterable[str], language: Language) -> list[dict[str, Any]]:
        """The current states of these tasks, without those that no longer exist."""
        rows = ((task_id, self._node.tasks.look(task_id)) for task_id in task_ids)
        return [
            task_json(Task(self._node.tasks, row), language) for _, row in rows if row is not None
        ]

    def faults(self) -> list[dict[str, Any]]:
        """The interlocks that act or are latched; the message in all its languages."""
        faults = self._node.board.faults
        return [{**vars(fault), "message": fault.message.words} for fault in faults]

    def notices(self, viewer: Viewer) -> list[dict[str, Any]]:
        """What sequences have shown to the student, with rising numbers."""
        return list(viewer.session.notices)

    def session(self, viewer: Viewer) -> dict[str, Any]:
        """The student and the time left; `read_only` for an observer."""
        user = self._node.sessions.user(viewer.session)
        return {
            "read_only": viewer.read_only,
            "active": user.active,
            "username": user.username,
            "full_name": user.full_name,
            "locale": user.locale,
            "time_left": round(user.time_left, 3),
            "back": self._access.back(viewer),
            "experiment_name": user.experiment_name,
            "category_name": user.category_name,
            "restarted": user.session.restarted,
            "reason": user.session.reason,
            "hand_raised": user.session.hand_raised,
            "programs": viewer.session.program_key is not None,
        }

    def _for_students(self, name: str, state: dict[str, Any]) -> dict[str, Any]:
        """A device's state with the code "device" for an error that is not for students."""
        if "error" not in state or is_for_students(state["error"]):
            return state
        known = self._hidden.get(name)
        if known is None or known[0] is not state:  # the same object tells that it is no news
            self._hidden[name] = known = (state, {**state, "error": DeviceError.code})
        return known[1]

    def _tasks(self, viewer: Viewer) -> list[Task]:
        """The session's unfinished tasks, and the last one of each name."""
        tasks = self._node.tasks.of_session(viewer.session_id)
        last = {task.name: task.task_id for task in tasks}
        return [t for t in tasks if not t.finished or last[t.name] == t.task_id]

    def _describe(self, function: TaskFunction[..., Any], language: Language) -> dict[str, Any]:
        return {
            "name": function.name,
            "label": language.say(Text(function.label or function.name)),
            "unique": function.unique,
            "parameters": [each.describe() for each in parameters_of(function.function)],
        }


def task_json(task: Task, language: Language) -> dict[str, Any]:
    """A task as its student sees it."""
    shown = task.to_json()
    if shown["error"] is not None:
        error = shown["error"]
        words = error["message"] if task.words is None else Retold(task.words)
        shown["error"] = {**error, "message": told(words, error["code"], language)}
    return shown
