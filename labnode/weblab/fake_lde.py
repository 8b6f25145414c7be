"""A fake LabDiscoveryEngine: starts, polls and ends sessions as its scheduler does."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import quote

from labnode.clock import Clock, Event, utc
from labnode.errors import LabnodeError
from labnode.weblab.caller import Caller
from labnode.weblab.fake import SessionEnd

_LONGEST_PAUSE = 10.0  # seconds between two polls, whatever the lab says
_POLLS = 3  # times that a failing poll is tried before the board counts as broken
_POLL_AGAIN = 1.0  # seconds
_DELETES = 60
_LONGEST_DELETE_PAUSE = 30.0  # seconds


class DiscoveryEngine:
    """A server that calls the node at `url`, with its settings' credentials.

    `api` is that of the resource in its resources.yml: "weblablib" makes it speak WebLab-Deusto's
    dialect, with its own ways. It never ends a session at the end of the slot: the node has to.
    `release` "0.6.0" is that of PyPI, which reads replies whatever their HTTP status; "later" is
    what its repository has since: an error is an error, and three failed polls are too many.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        api: Literal["labdiscoverylib", "weblablib"] = "labdiscoverylib",
        release: Literal["0.6.0", "later"] = "0.6.0",
        timeout: float = 30.0,
        start_timeout: float = 300.0,
        clock: Clock | None = None,
    ) -> None:
        self._own_dialect = api == "labdiscoverylib"
        self._later = release == "later"
        prefix = "/ldl/sessions/" if self._own_dialect else "/weblab/sessions/"
        self._caller = Caller(url, username, password, prefix=prefix)
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._clock = clock or Clock()

    def new(
        self,
        *,
        name: str | None = None,
        username: str = "john.smith",
        username_unique: str = "",
        assigned_time: float = 300.0,
        back: str = "",
        locale: str | None = None,
        experiment_name: str = "mylab",
        category_name: str | None = None,
        client_initial_data: Mapping[str, Any] | None = None,
        reservation_id: str | None = None,
    ) -> tuple[str, str]:
        """Start a session of `assigned_time` seconds: its id and the student's URL.

        Raises what `Caller.ask` does. It is not repeated: the board counts as broken then.
        In its own dialect the real one has no `client_initial_data` to send; this one has.
        """
        now = utc(self._clock.wall())
        reservation_id = reservation_id or str(uuid.uuid4())
        data = dict(client_initial_data or {})
        unique = username_unique or username
        body: dict[str, Any]
        if self._own_dialect:
            body = {
                "request": {
                    "locale": locale,
                    "ldeReservationId": reservation_id,
                    "user": data,
                    "server": {},
                    "backUrl": back,
                },
                "laboratory": {"name": experiment_name, "category": category_name},
                "user": {"username": username, "unique": unique, "fullName": name},
                "schedule": {"start": now.isoformat(), "length": assigned_time},
            }
        else:
            server = {
                "request.locale": locale,
                "request.username": username,
                "request.username.unique": unique,
                "request.full_name": name,
                "request.experiment_id.experiment_name": experiment_name,
                "request.experiment_id.category_name": category_name,
                "reservation_id": reservation_id,
                "priority.queue.slot.length": assigned_time,
                "priority.queue.slot.start": now.isoformat(),
                "priority.queue.slot.start.utc": now.isoformat(),
                "priority.queue.slot.start.timestamp": now.timestamp(),
            }
            body = {
                "client_initial_data": {"back": back, **data},
                "server_initial_data": server,
                "back": back,
            }
        return self._caller.start("", body, timeout=self._start_timeout)

    def status(self, session_id: str) -> float:
        """`should_finish`: negative when over, else seconds until the next poll."""
        answer = self._ask(f"{quote(session_id, safe='')}/status")
        return float(answer.get("should_finish") or 0)

    def watch(
        self, session_id: str, on_status: Callable[[float | LabnodeError], None], stop: Event
    ) -> None:
        """Poll until the session is over, too many polls in a row fail, or `stop` is set."""
        failed = 0
        while not stop.is_set():
            try:
                answer = self.status(session_id)
            except LabnodeError as error:
                on_status(error)
                failed += 1
                if failed == (_POLLS if self._later else 1):
                    return
                stop.wait(_POLL_AGAIN)
                continue
            failed = 0
            on_status(answer)
            if answer < 0:
                return
            stop.wait(min(answer or math.inf, _LONGEST_PAUSE))

    def delete(self, session_id: str, stop: Event | None = None) -> SessionEnd:
        """End the session: ask until `should_finish` is negative; give up after the 60th answer.

        Any other answer leaves the board out of use, with a person to look after it. 0.6.0 takes
        the board for clean where `should_finish` is missing or 0, and asks again without a pause.
        """
        stop = stop or self._clock.event()
        message = ""
        for asked in range(1, _DELETES + 1):
            try:
                answer = self._delete(session_id)
            except LabnodeError as error:
                return SessionEnd(error.words, asked, clean=False)
            message = str(answer.get("message", ""))
            again = self._told(answer)
            if again is None or again < 0:
                return SessionEnd(message, asked, clean=again is not None)
            pause = min(again or 1.0, _LONGEST_DELETE_PAUSE) if self._later else 0.0
            if stop.wait(pause):
                return SessionEnd(message, asked, clean=False)
        return SessionEnd(message, _DELETES, clean=False)

    def _told(self, answer: dict[str, Any]) -> float | None:
        """When to delete again; negative: the board is clean; None: a person has to look."""
        again = answer.get("should_finish")
        if not self._later:
            return again or -1
        if again is None and answer.get("message") == "Deleted":
            return -1
        is_number = isinstance(again, int | float) and not isinstance(again, bool)
        return again if is_number and not answer.get("error") else None

    def _delete(self, session_id: str) -> dict[str, Any]:
        path = quote(session_id, safe="")
        if self._own_dialect:
            return self._ask(path, method="DELETE")
        return self._ask(path, {"action": "delete"})

    def _ask(
        self, path: str, fields: dict[str, Any] | None = None, method: str | None = None
    ) -> dict[str, Any]:
        return self._caller.ask(
            path, fields, timeout=self._timeout, method=method, any_status=not self._later
        )
