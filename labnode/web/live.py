"""The live state of the lab for open pages: all of it at first, then what changes."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from typing import Any, Protocol

from bottle import Bottle

from labnode.clock import Clock, Turn
from labnode.events import (
    Bus,
    DeviceChanged,
    FaultChanged,
    HandRaised,
    Notice,
    SessionChanged,
    TaskChanged,
)
from labnode.http import handshake
from labnode.http.websocket import SESSION_OVER, Channel, Receiver
from labnode.locale import Language
from labnode.sessions import Sessions, User
from labnode.web.auth import Viewer, viewer
from labnode.web.page_state import PageState

logger = logging.getLogger(__name__)

# Between two looks for changes: 50 a second are enough for an eye, and many pages cost more.
_PAUSE = 0.02
_PAUSE_PER_PAGE = 0.001
_PING_EVERY = 1.0  # seconds, while an output is on that has a dead man


class Channels(Protocol):
    """Where a page's WebSocket is opened; see lab_websockets.WebSockets."""

    def open(self, receiver: Receiver, session_id: str | None) -> None: ...


class Live:
    """Tells all open pages what changes, from one thread, "live".

    It sleeps while nothing changes, and never waits for a page: one that reads too slowly is
    closed. A page says something every few seconds, and hears how much time is left: that keeps its
    session, and both ends know that the other one is there. One that says "hidden" hears nothing
    else until it says anything else, and all of the state then.
    """

    def __init__(self, channels: Channels, sessions: Sessions, bus: Bus) -> None:
        self._state: PageState  # given by `serve`
        self._channels = channels
        self._sessions = sessions
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy = Turn(Clock(), "live")
        # Only that something has changed is of interest: what, the board says.
        self._devices = bus.subscribe(DeviceChanged, wake=self._wake.set, limit=1)
        self._faults = bus.subscribe(FaultChanged, wake=self._wake.set, limit=1)
        self._tasks = bus.subscribe(TaskChanged, wake=self._wake.set)
        self._session_changes = bus.subscribe(SessionChanged, HandRaised, wake=self._wake.set)
        self._notices = bus.subscribe(Notice, wake=self._wake.set)
        self._new: deque[Page] = deque()
        self._asking: deque[Page] = deque()
        self._pages: list[Page] = []  # the thread's own, as is what follows
        self._shown: dict[str, Any] = {}  # the states of devices that all pages have
        self._pings = False  # pages are asked every second whether they are there

    def serve(self, app: Bottle, state: PageState) -> None:
        self._state = state
        app.get("/api/live", callback=self._open, access="observer")

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def fault(self) -> str | None:
        """Why pages get no news any more, or None; any thread may ask."""
        dead = self._thread is not None and not self._thread.is_alive()
        return "the thread of the live state has died" if dead else self._busy.fault()

    def stop(self, timeout: float) -> None:
        self._stopping.set()
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout)

    def _open(self) -> str:
        """The view of the WebSocket that every page has."""
        handshake.check()
        page = Page(viewer(), self, self._state.language)
        self._channels.open(page, page.viewer.session_id)
        self.answered(page)
        self._new.append(page)
        self._wake.set()
        return ""

    # ------------------------------------------------------------------ the reactor's thread

    def heard(self, page: Page) -> None:
        """A page says that it is there."""
        if isinstance(page.viewer, User):  # one who only looks keeps nobody's session
            self._sessions.poll(page.viewer.session)
        self._asking.append(page)
        self._wake.set()

    def shown(self, page: Page) -> None:
        """A page was hidden, and is looked at again."""
        self._new.append(page)

    def answered(self, page: Page) -> None:
        """Something has come from a page, at least the answer to a ping."""
        if isinstance(page.viewer, User):
            self._sessions.answered(page.viewer.session)

    def left(self) -> None:
        """A page has gone."""
        self._wake.set()

    # ------------------------------------------------------------------ the live thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()  # before looking: what changes from here on wakes again
            with self._busy:
                try:
                    self._turn()
                except Exception:
                    logger.exception("A turn of the live state failed.")
            self._stopping.wait(_PAUSE + _PAUSE_PER_PAGE * len(self._pages))

    def _turn(self) -> None:
        self._pages = [page for page in self._pages if page.channel.ending is None]
        if not self._anybody_looks():
            self._shown = {}
        self._ping_pages()
        self._tell_devices()
        self._tell_faults()
        self._tell_tasks()
        self._tell_sessions()
        self._tell_notices()
        self._tell_deeds()
        while self._new:  # last: they begin with all that the others have
            page = self._new.popleft()
            if page.channel.ending is not None:  # it left before this thread saw it
                continue
            if page not in self._pages:
                self._pages.append(page)
                if self._pings:
                    page.ping_every(_PING_EVERY)
            page.tell(self._state.state(page.viewer, page.language))
        while self._asking:
            page = self._asking.popleft()
            if page in self._pages:
                page.tell_time()

    def _ping_pages(self) -> None:
        """Pages are pinged every second while something with a dead man is on, else hardly ever."""
        pings = self._state.guarded
        if pings is not self._pings:
            self._pings = pings
            for page in self._pages:
                page.ping_every(_PING_EVERY if pings else None)

    def _tell_devices(self) -> None:
        self._devices.drain()
        if not self._anybody_looks():
            return
        news = self._state.devices(changed_since=self._shown)
        if news["devices"]:
            self._shown.update(news["devices"])
            message = _text(news)
            for page in self._pages:
                page.send(message)

    def _tell_faults(self) -> None:
        if self._faults.drain() and self._anybody_looks():
            message = _text({"faults": self._state.faults()})
            for page in self._pages:
                page.send(message)

    def _tell_tasks(self) -> None:
        changed: dict[str, dict[str, None]] = {}  # by session: ids in their order, each once
        for event in self._tasks.drain():
            if event.session_id is not None:
                changed.setdefault(event.session_id, {})[event.task_id] = None
        for session_id, task_ids in changed.items():
            for page in self._of(session_id):
                page.tell({"tasks": self._state.tasks(task_ids, page.language)})

    def _tell_sessions(self) -> None:
        for session_id in {event.session_id for event in self._session_changes.drain()}:
            for page in self._of(session_id):
                page.tell({"session": self._state.session(page.viewer)})

    def _tell_notices(self) -> None:
        for notice in self._notices.drain():
            for page in self._pages if notice.session_id is None else self._of(notice.session_id):
                page.tell({"notices": self._state.notices(page.viewer)})

    def _tell_deeds(self) -> None:
        """An observer sees what the student does, within the second in which the page speaks."""
        for page in self._pages:
            if page.viewer.read_only and page.deeds is not page.viewer.session.deeds:
                page.deeds = page.viewer.session.deeds
                page.tell({"deeds": list(page.deeds)})

    def _anybody_looks(self) -> bool:
        return bool(self._new) or not all(page.hidden for page in self._pages)

    def _of(self, session_id: str) -> list[Page]:
        return [page for page in self._pages if page.viewer.session_id == session_id]


class Page:
    """One open page: a Receiver and an AnswerListener."""

    def __init__(self, viewer: Viewer, live: Live, language: Language) -> None:
        self.viewer = viewer
        self.language = language
        self.channel: Channel  # see `begin`
        self.hidden = False  # nobody looks at it
        self.deeds = viewer.session.deeds  # what it has been told of what the student does
        self._live = live

    def tell(self, news: dict[str, Any]) -> None:
        self.send(_text(news))

    def tell_time(self) -> None:
        self.send(_text({"time_left": round(self.viewer.time_left, 3)}), even_hidden=True)

    def send(self, message: str, *, even_hidden: bool = False) -> None:
        if not self.may_stay():
            self.channel.end(SESSION_OVER)
        elif even_hidden or not self.hidden:
            self.channel.send(message, len(message))

    def ping_every(self, seconds: float | None) -> None:
        if isinstance(self.viewer, User):  # one who only looks operates nothing
            self.channel.ping_every(seconds)

    def begin(self, channel: Channel) -> None:
        self.channel = channel

    def answered(self) -> None:
        self._live.answered(self)

    def may_stay(self) -> bool:
        return self.viewer.session.active

    def full(self) -> bool:
        return False

    def message(self, message: str | bytes) -> None:
        if self.may_stay():
            was_hidden, self.hidden = self.hidden, message == "hidden"
            if was_hidden and not self.hidden:
                self._live.shown(self)
            self._live.heard(self)

    def ended(self) -> None:
        self._live.left()


def _text(news: dict[str, Any]) -> str:
    """News as JSON: ASCII, so its length is its size."""
    try:
        return json.dumps(news, allow_nan=False)
    except ValueError:
        # A driver shows what is no JSON (nan, say). It must not silence the others.
        return json.dumps({**news, "devices": {k: _sane(v) for k, v in news["devices"].items()}})


def _sane(state: Any) -> Any:
    try:
        json.dumps(state, allow_nan=False)
    except ValueError:
        return {"value": None, "error": "the device shows a value that is no number"}
    return state
