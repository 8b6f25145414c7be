"""The users of sessions as labs see them, and what is kept of students who return."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from labnode.clock import Clock
from labnode.errors import Forbidden, LabnodeError, SessionOver, StorageError
from labnode.jsondata import JsonDict, Sealed, plain
from labnode.locale import Message
from labnode.sessions.expiry import Reaper
from labnode.sessions.session import Reason, Session, State, legible
from labnode.store import Store, Work

_READ_ONLY = "The start request is read only."
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two writes; each doubles the pause
_SEEN = """
INSERT INTO users (username_unique, first_seen, last_seen, secret, folder)
VALUES (:username_unique, :now, :now, :secret, :folder)
ON CONFLICT (username_unique) DO UPDATE SET last_seen = excluded.last_seen
"""


class LabHooks(Protocol):
    """The lab, as far as sessions need it.

    `prepare` and `clean` run on the hardware thread; `alone`: no other session is on the board.
    """

    def prepare(self, user: User, alone: bool) -> None:
        """Make the board ready for a session."""

    def clean(self, user: User, alone: bool) -> None:
        """Clean the board after a session; if it raises, the board is quarantined."""

    def load_user(self, username_unique: str) -> Any:
        """The lab's own object for a user, or None."""


class Users:
    """The users of all sessions: their data, and the table `users` of those who return.

    The lab's data about a session (`user.data`) is stored soon after it was written; after
    `close()`, immediately. Folders are in the directory `users` beside the database.
    """

    def __init__(self, store: Store, clock: Clock, lab: LabHooks, reaper: Reaper) -> None:
        self.lab = lab
        self._store = store
        self._clock = clock
        self._reaper = reaper
        self._folders = store.path.parent / "users"
        self._users: dict[str, User] = {}
        self._closed = False

    def add(self, session: Session) -> None:
        self._users[session.id] = User(session, self, self._clock)

    def of(self, session: Session) -> User:
        """The user of a session."""
        return self._users.get(session.id) or User(session, self, self._clock)

    def forget(self, session: Session) -> None:
        self._users.pop(session.id, None)

    def sent(self, session: Session, column: str) -> dict[str, Any]:
        """`client_data` or `server_data` of the request for a session.

        Of one that is over only the store has it; empty where it does not answer.
        """
        if session.state is not State.DISPOSED:
            found: dict[str, Any] = getattr(session.request, column)
            return found
        with suppress(StorageError):
            for row in self._store.select("sessions", "id = ?", session.id):
                return legible(row)[column] or {}
        return {}

    # ------------------------------------------------------------------ user.data

    def data_written(self, session: Session) -> None:
        """The lab has written to the session's data."""
        session.unsaved = True
        if self._closed:
            self._save(session)
        self._reaper.wake()

    def save_if_due(self, session: Session) -> float | None:
        """Store the data if that is due; returns when it will be (monotonic), None if stored."""
        if not session.unsaved:
            return None
        now = self._clock.now()
        due = session.saved_at + session.save_pause
        if now < due:
            return due
        calm = now >= due + session.save_pause
        session.save_pause = _FIRST_PAUSE if calm else min(2 * session.save_pause, _LONGEST_PAUSE)
        self._save(session)
        return None

    def changed_data(self, session: Session) -> dict[str, Any]:
        """The column `data` if it has changed, for a caller that stores other columns anyway."""
        return self._column(session) if session.unsaved else {}

    def close(self, sessions: list[Session]) -> None:
        """The node stops: store all changes now, and later ones immediately."""
        self._closed = True
        for session in sessions:
            if session.unsaved:
                self._save(session)

    def _save(self, session: Session) -> None:
        self._store.update("sessions", session.id, self._column(session))

    def _column(self, session: Session) -> dict[str, Any]:
        session.unsaved, session.saved_at = False, self._clock.now()
        return {"data": dict(session.data)}

    # ------------------------------------------------------------------ returning users

    def seen(self, username_unique: str) -> Work[None] | None:
        """The database change for a user whose session starts; None without a name."""
        if not username_unique:
            return None
        values = {
            "username_unique": username_unique,
            "now": self._clock.wall(),
            "secret": secrets.token_urlsafe(32),
            "folder": secrets.token_hex(16),  # not the name, which may be "../../etc"
        }

        def change(db: Any) -> None:
            db.execute(_SEEN, values)

        return change

    def belongings(self, username_unique: str) -> tuple[str, Path]:
        """The secret and the folder of a user; LabnodeError without a name."""
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
        return rows[0]["secret"], self._folders / rows[0]["folder"]


class AnonymousUser:
    """Somebody without a session: the attributes of a User, all empty."""

    is_anonymous = True
    read_only = False
    active = False
    exited = False
    session_id = None
    username = username_unique = full_name = ""
    locale = back = experiment_name = category_name = experiment_id = user = None
    time_left = time_without_polling = last_poll = start_date = max_date = 0.0
    data = Sealed({}, "Nobody is logged in, so there is no user data to write.")
    request_client_data = request_server_data = data

    def check_may_act(self, *, in_task: bool) -> None:
        """A public view may use the devices."""

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
    """The student of a session, also after its end.

    These attributes are what the central server sent: `username`, `username_unique` and `full_name`
    ("" if it sent none); `locale` (a language such as "es"), `back` (where the student goes
    afterwards), `experiment_name` and `category_name` (None if it sent none); `experiment_id`
    ("NAME@CATEGORY"); `request_client_data` and `request_server_data`, dictionaries that cannot be
    changed. `session_id` identifies the session, and `session` is the session as labnode keeps it.
    `is_anonymous` and `read_only` are False.
    """

    is_anonymous = False
    read_only = False

    def __init__(self, session: Session, users: Users, clock: Clock) -> None:
        self.session = session
        self._users = users
        self._clock = clock
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

    @cached_property
    def request_client_data(self) -> Sealed:
        """What the student's client sent with the start, which cannot be changed."""
        return Sealed(self._users.sent(self.session, "client_data"), _READ_ONLY)

    @cached_property
    def request_server_data(self) -> Sealed:
        """What the central server sent with the start, which cannot be changed."""
        return Sealed(self._users.sent(self.session, "server_data"), _READ_ONLY)

    @property
    def active(self) -> bool:
        """Whether the student may use the lab, or it is being made ready for that."""
        return self.session.state in (State.STARTING, State.ACTIVE) and not self.session.reason

    @property
    def exited(self) -> bool:
        """Whether the student left before the time was up."""
        return self.session.reason is Reason.EXITED

    @property
    def time_left(self) -> float:
        """Seconds until the session ends, 0 when it is over."""
        return self.session.time_left(self._clock.now())

    @property
    def time_without_polling(self) -> float:
        """Seconds since the last request of the student's browser."""
        return self._clock.now() - self.session.last_poll

    @property
    def last_poll(self) -> float:
        """When the student's browser made its last request, in seconds since 1970."""
        return self._clock.wall() - self.time_without_polling

    @property
    def start_date(self) -> float:
        """When the student's time began, in seconds since 1970."""
        return self.session.created_at - self.session.request.elapsed

    @property
    def max_date(self) -> float:
        """When the student's time ends, in seconds since 1970."""
        if self.session.deadline is None:
            return self._clock.wall() + self.session.length
        return self._clock.wall() + self.session.deadline - self._clock.now()

    @property
    def data(self) -> JsonDict:
        """The lab's own JSON data about this session, a dictionary that is stored after changes.

        Assigned keys are stored soon after; what changes inside a value is stored at the end of the
        view or hook, or by `data.store()`. BadInput for what is no JSON data, SessionOver for a
        change after the session's clean-up.
        """
        return self._data

    @data.setter
    def data(self, data: Mapping[str, Any]) -> None:
        self._data.replace(data)

    @property
    def user(self) -> Any:
        """What the lab's `@lab.user_loader` returns for `username_unique`; None without one."""
        return self._users.lab.load_user(self.username_unique)

    @property
    def secret(self) -> str:
        """A random text of 43 URL-safe characters, the same in all sessions of this student.

        LabnodeError without a `username_unique`.
        """
        return self._belongings[0]

    @property
    def folder(self) -> Path:
        """A directory for this student's files, the same in all their sessions.

        LabnodeError without a `username_unique`, StorageError if it cannot be created.
        """
        folder = self._belongings[1]
        try:
            for directory in (folder.parent, folder):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"A user's folder cannot be made: {error}.") from error
        return folder

    @cached_property
    def _belongings(self) -> tuple[str, Path]:
        return self._users.belongings(self.username_unique)

    def store_changes(self) -> None:
        """Store what has changed inside the values of `data`; BadInput if it is no JSON data."""
        if self.session.state is not State.DISPOSED and self._data != self.session.data:
            self._data.store()

    def check_may_act(self, *, in_task: bool) -> None:
        """SessionOver if this user may not use the devices any more.

        A view may use them while the session is active, a task until they are made safe.
        """
        if self.session.sealed or not (in_task or self.session.active):
            raise SessionOver(Message("error.session-over"))

    def _stored_data(self) -> JsonDict:
        return JsonDict("user.data", deepcopy(self.session.data), self._save)

    def _save(self) -> None:
        try:
            if self.session.state is State.DISPOSED:
                raise SessionOver("The session is over; its user data can only be read.")
            self.session.data = plain(self._data, "user.data")
        except LabnodeError:
            self._data = self._stored_data()  # without what has just been written
            raise
        self._users.data_written(self.session)

    def __str__(self) -> str:
        return f"{self.full_name or self.username} ({self.session.state})"


class Observer(AnonymousUser):
    """Somebody who watches a session while it is active; elsewhere an anonymous user."""

    read_only = True

    def __init__(self, student: User) -> None:
        self.session = student.session
        self._student = student

    @property
    def active(self) -> bool:  # type: ignore[override]  # a constant of AnonymousUser
        """Whether the session may still be watched."""
        return self._student.active

    @property
    def session_id(self) -> str:  # type: ignore[override]
        return self.session.id

    @property
    def time_left(self) -> float:  # type: ignore[override]
        """Seconds, 0 when the session is over."""
        return self._student.time_left

    def check_may_act(self, *, in_task: bool) -> None:  # noqa: ARG002 - a User's needs it
        raise Forbidden(Message("error.observer"))

    def __str__(self) -> str:
        return f"observer of session {self.session.tag}"
