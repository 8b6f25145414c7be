"""A fake central server: starts, polls and ends sessions as WebLab-Deusto does."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from labnode.clock import Clock, Event, utc
from labnode.errors import Busy, LabnodeError
from labnode.locale import Wording
from labnode.weblab.caller import Caller

_RETRY = 5.0  # seconds until a failing status is asked again
_ASK_AGAIN = 0.5  # seconds until an unfinished delete is repeated that does not say when
_RESOURCE_CHECK = 30.0  # seconds until a reservation whose start failed is sent again


@dataclass(frozen=True)
class SessionEnd:
    """How a session ended for the central server."""

    message: str | Wording  # the lab's last, or the words of the error that counted as the end
    asked: int  # how many times the node was asked
    clean: bool  # False: the lab never said that it has finished


class CentralServer:
    """A server that calls the node at `url`, with its settings' credentials.

    `extension` (".php"), `request_format` and `api` ("0": before /api and /test existed) are
    WebLab-Deusto's own options http_experiment_extension, _request_format and _api. Unlike
    WebLab-Deusto it does not wait forever: `start_timeout` and `timeout` are in seconds.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        extension: str = "",
        request_format: Literal["json", "form"] = "json",
        api: Literal["0", "1"] = "1",
        timeout: float = 30.0,
        start_timeout: float = 300.0,
        clock: Clock | None = None,
    ) -> None:
        self._caller = Caller(url, username, password, form=request_format == "form")
        self._texts = request_format == "form" or api == "0"  # initial data as JSON texts
        self._extension = extension
        self._api = api
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._clock = clock or Clock()
        self._slots: dict[str, float] = {}  # when each session's slot ends

    def check(self) -> None:
        """What WebLab-Deusto asks when it begins: `api` and `test`; raises what is wrong."""
        if self._api == "0":
            return
        if "api_version" not in self._ask(f"api{self._extension}"):
            raise self._caller.not_a_labnode()
        answer = self._ask(f"test{self._extension}")
        if not answer.get("valid"):
            reasons = answer.get("error_messages") or ["it does not say why"]
            raise Busy(f"The laboratory cannot be used: {' '.join(map(str, reasons))}")

    def new(
        self,
        *,
        name: str = "John Smith",
        username: str = "john.smith",
        username_unique: str = "",
        assigned_time: float = 300.0,
        back: str = "",
        locale: str = "en",
        experiment_name: str = "mylab",
        category_name: str = "Lab experiments",
        client_initial_data: Mapping[str, Any] | None = None,
        reservation_id: str | None = None,
    ) -> tuple[str, str]:
        """Start a session of `assigned_time` seconds: its id and the student's URL.

        Raises Busy or StartFailed where the lab says so, Forbidden for the credentials, BadInput
        for what the node does not accept, NoAnswer for the rest.
        """
        now = utc(self._clock.wall())
        client = dict(client_initial_data or {})
        server = {
            "priority.queue.slot.length": str(assigned_time),
            "priority.queue.slot.start": str(now.astimezone().replace(tzinfo=None)),
            "priority.queue.slot.start.utc": str(now.replace(tzinfo=None)),
            "priority.queue.slot.start.timestamp": str(now.timestamp()),
            "priority.queue.slot.initialization_in_accounting": True,
            "request.username": username,
            "request.username.unique": username_unique or username,
            "request.full_name": name,
            "request.locale": locale,
            "request.experiment_id.experiment_name": experiment_name,
            "request.experiment_id.category_name": category_name,
            "weblab_reservation_id": reservation_id or str(uuid.uuid4()),
        }
        body = {
            "client_initial_data": json.dumps(client) if self._texts else client,
            "server_initial_data": json.dumps(server) if self._texts else server,
            "back": back,
        }
        path = f"new{self._extension}" if self._extension else ""
        session_id, url = self._caller.start(path, body, timeout=self._start_timeout)
        self._slots[session_id] = self._clock.now() + assigned_time
        return session_id, url

    def reserve(self, stop: Event, **reservation: Any) -> tuple[str, str]:
        """`new` with these arguments, again and again with the same reservation until it works.

        Raises the last error when `stop` is set.
        """
        reservation = {"reservation_id": str(uuid.uuid4()), **reservation}
        while True:
            try:
                return self.new(**reservation)
            except LabnodeError:
                if stop.wait(_RESOURCE_CHECK):
                    raise

    def status(self, session_id: str) -> float:
        """`should_finish`: negative when over, 0 for never ask again, else seconds until then."""
        should_finish = self._ask(self._path("status", session_id)).get("should_finish")
        if not isinstance(should_finish, int | float):
            raise self._caller.not_a_labnode()
        return should_finish

    def watch(
        self,
        session_id: str,
        on_status: Callable[[float | LabnodeError], None],
        stop: Event,
        clock: Clock | None = None,
    ) -> None:
        """Poll until the session is over, its slot has ended or `stop` is set.

        `on_status` gets each answer, or the error instead of it, which is no reason to give up.
        """
        clock = clock or self._clock
        slot_end = self._slots.get(session_id, math.inf)
        while not stop.is_set():
            answer: float | LabnodeError
            try:
                answer = wait = self.status(session_id)
            except LabnodeError as error:
                answer, wait = error, _RETRY
            on_status(answer)
            left = max(0.0, slot_end - clock.now())
            pause = min(wait or math.inf, left)
            if wait >= 0:
                stop.wait(None if pause == math.inf else pause)
            if wait < 0 or pause == left:
                return

    def delete(self, session_id: str, stop: Event | None = None, *, limit: int = 300) -> SessionEnd:
        """End the session: ask until the lab has finished, at most `limit` times, or until `stop`.

        Any error counts as finished, as it does for WebLab-Deusto.
        """
        stop = stop or self._clock.event()
        self._slots.pop(session_id, None)
        message = ""
        for asked in range(1, limit + 1):
            try:
                answer = self._ask(self._path("action", session_id), {"action": "delete"})
            except LabnodeError as error:
                return SessionEnd(error.words, asked, clean=False)
            message = str(answer.get("message", ""))
            # WebLab-Deusto takes `data` for `finished` where there is one, and nothing for True.
            said = [answer[key] for key in ("data", "finished") if answer.get(key) is not None]
            if not said or said[0]:
                return SessionEnd(message, asked, clean=True)
            again = answer.get("ask_again")
            if stop.wait(again if isinstance(again, int | float) else _ASK_AGAIN):
                return SessionEnd(message, asked, clean=False)
        return SessionEnd(message, limit, clean=False)

    def _path(self, operation: Literal["status", "action"], session_id: str) -> str:
        name = quote(session_id, safe="")
        if self._extension:
            return f"{operation}{self._extension}?session_id={name}"
        return f"{name}/status" if operation == "status" else name

    def _ask(self, path: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._caller.ask(path, fields, timeout=self._timeout)
