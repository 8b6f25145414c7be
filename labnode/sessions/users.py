"""The user as labs see it: the student of a session, or nobody."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labnode.clock import Clock
from labnode.errors import Forbidden, LabnodeError, SessionOver, StorageError
from labnode.jsondata import JsonDict, Sealed
from labnode.sessions.session import Reason, Session, State
from labnode.store import Store, Work

_SEEN = """
INSERT INTO users (username_unique, first_seen, last_seen, secret, folder)
VALUES (:username_unique, :now, :now, :secret, :folder)
ON CONFLICT (username_unique) DO UPDATE SET last_seen = excluded.last_seen
"""


@dataclass(frozen=True)
class Belongings:
    """What is one student's own."""

    secret: str
    path: Path

    def folder(self) -> Path:
        """The directory, made if it is not there; StorageError when it cannot be."""
        try:
            for directory in (self.path.parent, self.path):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"A user's folder cannot be made: {error}.") from error
        return self.path


class ReturningUsers:
    """The table `users`, by `username_unique`, and the directory `users` beside the database."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._folders = store.path.parent / "users"

    def seen(self, username_unique: str) -> Work[None] | None:
        """The change of the database when a session of this user starts; None without a name."""
        if not username_unique:
            return None
        values = {
            "username_unique": username_unique,
            "now": self._clock.wall(),
            "secret": secrets.token_urlsafe(32),
            "folder": secrets.token_hex(16),  # no name in a path: it may be "../../etc"
        }

        def change(db: Any) -> None:
            db.execute(_SEEN, values)

        return change

    def find(self, username_unique: str) -> Belongings:
        """What is this user's own; LabnodeError without a name."""
        change = self.seen(username_unique)
        if change is None:
            raise LabnodeError(
                "The central server sent no unique name of this user (request.username.unique), so "
                "nothing can be kept for them."
            )
        rows = self._store.select("users", "username_unique = ?", username_unique)
        if not rows:  # the session was started by a labnode that did not keep users yet
            self._store.run(change)
            rows = self._store.select("users", "username_unique = ?", username_unique)
        return Belongings(rows[0]["secret"], self._folders / rows[0]["folder"])


class AnonymousUser:
    """Somebody without a session: has what a User has, with nothing in it."""

    is_anonymous = True
    read_only = False
    active = False
    exited = False
    session_id = None
    username = username_unique = full_name = ""
    locale = back = experiment_name = category_name = experiment_id = user = None
    time_left = time_without_polling = start_date = max_date = 0.0
    data: Mapping[str, Any] = Sealed({}, "Nobody is logged in, so there is no user data to write.")
    request_client_data = request_server_data = data

    def check_may_act(self, *, in_task: bool) -> None:
        """A view that is for anybody may use the devices."""

    @property
    def secret(self) -> str:
        raise LabnodeError("Nobody is logged in, so there is no secret of a user.")

    @property
    def folder(self) -> Path:
        raise LabnodeError("Nobody is logged in, so there is no folder of a user.")

    def __str__(self) -> str:
        return "anonymous user"


ANONYMOUS = AnonymousUser()


class User:
    """The student of a session, now or, once it is over, as it was.

    Names and keys are those that the central server sent.
    """

    is_anonymous = False
    read_only = False

    def __init__(
        self,
        session: Session,
        clock: Clock,
        data_written: Callable[[Session], None],
        load: Callable[[str], Any],
        returning: ReturningUsers,
    ) -> None:
        self.session = session
        self._clock = clock
        self._load = load
        self._returning = returning
        self._data_written = data_written
        self._data = self._stored_data()
        request = session.request
        self.session_id = session.id
        self.username = request.username
        self.username_unique = request.username_unique
        self.full_name = request.full_name
        self.locale = request.locale
        self.back = request.back
        self.experiment_name = request.experiment_name
        self.category_name = request.category_name
        parts = [part for part in (request.experiment_name, request.category_name) if part]
        self.experiment_id = "@".join(parts) or None
        self.request_client_data = Sealed(request.client_data, "The start request is read only.")
        self.request_server_data = Sealed(request.server_data, "The start request is read only.")

    @property
    def active(self) -> bool:
        """May the student use the lab (or is it being made ready for that)?"""
        return self.session.state in (State.STARTING, State.ACTIVE) and not self.session.reason

    @property
    def exited(self) -> bool:
        """Did the student leave before the time was up?"""
        return self.session.reason is Reason.EXITED

    @property
    def time_left(self) -> float:
        """Seconds, 0 when the session is over."""
        return self.session.time_left(self._clock.now())

    @property
    def time_without_polling(self) -> float:
        """Seconds since the student's browser was last heard of."""
        return self._clock.now() - self.session.last_poll

    @property
    def start_date(self) -> float:
        """When the slot began, in seconds since 1970."""
        return self.session.created_at - self.session.request.elapsed

    @property
    def max_date(self) -> float:
        """When the slot ends, in seconds since 1970."""
        if self.session.deadline is None:
            return self._clock.wall() + self.session.length
        return self._clock.wall() + self.session.deadline - self._clock.now()

    @property
    def data(self) -> dict[str, Any]:
        """The lab's own JSON data about this session; it is stored soon after it is written."""
        return self._data

    @data.setter
    def data(self, data: Mapping[str, Any]) -> None:
        self._data.replace(data)

    @property
    def user(self) -> Any:
        """What the lab's `@lab.user_loader` returns for `username_unique`, else None."""
        return self._load(self.username_unique)

    @property
    def secret(self) -> str:
        """A random text of this student's own, the same in all their sessions; fits into URLs.

        LabnodeError without a `username_unique`.
        """
        return self._belongings.secret

    @property
    def folder(self) -> Path:
        """A directory of this student's own, the same in all their sessions.

        LabnodeError without a `username_unique`, StorageError when it cannot be made.
        """
        return self._belongings.folder()

    @cached_property
    def _belongings(self) -> Belongings:
        return self._returning.find(self.username_unique)

    def check_may_act(self, *, in_task: bool) -> None:
        """SessionOver when what this user has asked for may not reach the hardware any more.

        A task may finish what it does until the devices are made safe; a view may not.
        """
        if self.session.sealed or not (in_task or self.session.active):
            raise SessionOver("The session is over.")

    def _stored_data(self) -> JsonDict:
        return JsonDict("user.data", self.session.data, self._save)

    def _save(self) -> None:
        if self.session.state is State.DISPOSED:
            self._data = self._stored_data()  # what has just been written into it is void
            raise SessionOver("The session is over; its user data can only be read.")
        self.session.data = dict(self._data)
        self._data_written(self.session)

    def __str__(self) -> str:
        return f"{self.full_name or self.username} ({self.session.state})"


class Observer(AnonymousUser):
    """Sees a session as long as it is active; for whatever is not meant for observers, nobody."""

    read_only = True

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def active(self) -> bool:  # type: ignore[override]  # of nobody it is always the same
        """May the session still be looked at?"""
        return self.session.user.active

    @property
    def session_id(self) -> str:  # type: ignore[override]
        return self.session.id

    @property
    def time_left(self) -> float:  # type: ignore[override]
        """Seconds, 0 when the session is over."""
        return self.session.user.time_left

    def check_may_act(self, *, in_task: bool) -> None:  # noqa: ARG002 - a User's needs it
        raise Forbidden("Whoever observes a session can do nothing in it.")

    def __str__(self) -> str:
        return f"observer of session {self.session.tag}"
