"""The user as labs see it: the student of a session, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from labnode.clock import Clock
from labnode.errors import LabnodeError, SessionOver
from labnode.jsondata import JsonDict, Sealed
from labnode.sessions.returning import Belongings, ReturningUsers
from labnode.sessions.session import Reason, Session, State


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
