"""One session of a student: the request for it, its state, and why it ends."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum, StrEnum
from typing import Any

from labnode.audit import session_tag
from labnode.clock import Event
from labnode.worker import Hook


@dataclass(frozen=True, kw_only=True, slots=True)
class StartRequest:
    """A central server's request to start a session, for the student whose turn it is."""

    client: str  # the name of the central server's credentials
    length: float  # seconds
    reservation_id: str | None = None
    elapsed: float = 0.0  # seconds of the slot that have already passed
    counts_start: bool = True  # False: the time counts from the end of on_start
    username: str = ""
    username_unique: str = ""
    full_name: str = ""
    locale: str | None = None
    back: str | None = None
    experiment_name: str | None = None
    category_name: str | None = None
    client_data: dict[str, Any] = field(default_factory=dict)
    server_data: dict[str, Any] = field(default_factory=dict)


class Deletion(Enum):
    """The answer to a request to delete a session."""

    DONE = "done"
    PENDING = "pending"
    UNKNOWN = "unknown"


class State(StrEnum):
    STARTING = "starting"
    ACTIVE = "active"
    DISPOSING = "disposing"
    DISPOSED = "disposed"


class Reason(StrEnum):
    """Why a session ends."""

    EXITED = "exited"
    TIME = "time"
    INACTIVITY = "inactivity"
    NEVER_CONNECTED = "never-connected"
    DELETED = "deleted"
    SUPERSEDED = "superseded"
    START_FAILED = "start-failed"
    RESTART = "restart"
    ESTOP = "estop"

    @classmethod
    def _missing_(cls, _value: object) -> Reason:
        return cls.RESTART  # stored by another version of labnode


_ALREADY_SET = Event()  # what waits for something of a session that is over
_ALREADY_SET.set()
_IN_STORE: dict[str, Any] = {}  # what the central server has sent with a session that is over
_MOST_NOTICES = 10
_MOST_DEEDS = 5
_MOST_FILES = 20
_REQUEST_COLUMNS = [f.name for f in fields(StartRequest) if f.name != "elapsed"]
_KINDS: dict[str, Any] = {  # of the columns that are not texts
    **dict.fromkeys(("length", "deadline", "created_at", "ended_at"), int | float),
    **dict.fromkeys(("counts_start", "resumed"), int),
    **dict.fromkeys(("client_data", "server_data", "data"), dict),
}
_EMPTY = {"client": "", "length": 0.0, "counts_start": 1, "resumed": 0, "created_at": 0.0}


@dataclass(eq=False, kw_only=True, slots=True)
class Session:
    """Changed under the lock of the state machine; times are by the monotonic clock."""

    id: str
    token: str  # identifies it in the student's URL
    handle: str  # identifies it in the student's cookie
    request: StartRequest
    length: float  # seconds
    created_at: float  # by the wall clock
    started: Event  # it is active, or its start has failed, or the node stops
    disposed: Event  # it is disposed, or the node stops
    state: State = State.STARTING
    reason: Reason | None = None  # set when it has to end, also while it still starts
    failure: str | None = None  # why its start failed
    deadline: float | None = None  # None until on_start has ended, if the time counts from then
    active_since: float = 0.0
    stored: bool = False  # the store keeps that it is active
    last_poll: float = 0.0
    heard_at: float = 0.0  # the last sign of the student's browser
    has_websocket: bool = False  # its page can be asked whether it is there
    last_status: float = 0.0
    connected: bool = False
    leaving_at: float | None = None
    over_at: float = 0.0
    ended_at: float | None = None  # by the wall clock
    cookie: str | None = None  # the hash of the cookie of the only browser that may use it
    program_key: str | None = None  # of the student's own programs; see web/program_keys.py
    data: dict[str, Any] = field(default_factory=dict)
    unsaved: bool = False  # `data` has changes that are not stored yet
    saved_at: float = 0.0
    save_pause: float = 1.0  # seconds until its data may be stored again
    resumed: int = 0  # times it was resumed after a restart
    on_board: bool = False  # from before on_start to on_dispose; hardware thread only
    on_start_began: bool = False  # on_dispose relies on what it has done; hardware thread only
    clean_by: float = 0.0  # when its clean-up begins at the latest
    cleaning: bool = False  # its clean-up is queued or has begun
    cleaned: bool = False
    sealed: bool = False  # its devices are safe: not even its tasks may use them any more
    hook: Hook | None = None
    notices: tuple[dict[str, Any], ...] = ()  # messages to its student; any thread reads
    hand_raised: bool = False  # its student asks for help
    deeds: tuple[dict[str, Any], ...] = ()  # what its student did last, for who observes
    files: tuple[dict[str, Any], ...] = ()  # that its student has sent: their names, not they

    def shrink(self) -> None:
        """It is over: keep what its farewell and a late delete need.

        What the central server has sent is read from the store; see `Users.sent`.
        """
        self.request = replace(self.request, client_data=_IN_STORE, server_data=_IN_STORE)
        self.hook = None
        self.notices = self.deeds = self.files = ()
        self.started = self.disposed = _ALREADY_SET

    def notify(self, text: str | Mapping[str, str]) -> None:
        """Add a message to its student, who may open the page later (hardware thread)."""
        number = self.notices[-1]["number"] + 1 if self.notices else 1
        self.notices = (*self.notices[1 - _MOST_NOTICES :], {"number": number, "text": text})

    def did(self, at: float, **what: Any) -> None:
        """Its student has done something: a `device` and its `command`, or a `task`, or a `file`.

        What is done again and again is one deed, the last one. Any thread; of two at the same
        moment one may be missing.
        """
        same = self.deeds and all(
            self.deeds[-1].get(key) == what.get(key) for key in ("device", "command", "task")
        )
        before = self.deeds[:-1] if same else self.deeds[1 - _MOST_DEEDS :]
        self.deeds = (*before, {"at": round(at, 3), **what})

    def sent(self, at: float, device: str, name: str, size: int) -> None:
        """Its student has sent a file to a device."""
        self.did(at, device=device, file=name)
        sent = {"at": round(at, 3), "device": device, "name": name, "size": size}
        self.files = (*self.files[1 - _MOST_FILES :], sent)

    @property
    def tag(self) -> str:
        """What the logs call it."""
        return session_tag(self.id)

    @property
    def active(self) -> bool:
        """The student may use the lab."""
        return self.state is State.ACTIVE

    @property
    def restarted(self) -> bool:
        """The node was restarted in the middle of it."""
        return self.resumed > 0

    def time_left(self, now: float) -> float:
        """Seconds until it ends, 0 when it is over."""
        if self.reason is not None:
            return 0.0
        if self.deadline is None:
            return self.length
        return max(0.0, self.deadline - now)

    def row(self, boot_id: str) -> dict[str, Any]:
        """The columns of the table `sessions`."""
        return {
            "id": self.id,
            "boot_id": boot_id,
            "created_at": self.created_at,
            "cookie": self.cookie,
            "data": dict(self.data),
            **{name: getattr(self.request, name) for name in _REQUEST_COLUMNS},
            **self.progress(),
        }

    def progress(self) -> dict[str, Any]:
        """The columns that change during the session."""
        return {
            "state": str(self.state),
            "reason": self.reason and str(self.reason),
            "deadline": self.deadline,
            "resumed": self.resumed,
            "ended_at": self.ended_at,
        }


class SessionIndex:
    """The sessions in memory, by what requests name them with.

    Those that are over are kept apart, so that their number makes no request and no turn of the
    reaper slower. Changed under the lock of the state machine; any thread may look.
    """

    def __init__(self) -> None:
        self._live: dict[str, Session] = {}
        self._over: dict[str, Session] = {}  # in the order in which they ended
        self._by_secret: dict[bytes, Session] = {}

    def add(self, session: Session) -> None:
        self._live[session.id] = session
        for secret in (session.token, session.handle):
            self._by_secret[_digest(secret)] = session

    def get(self, session_id: str) -> Session | None:
        return self._live.get(session_id) or self._over.get(session_id)

    def by_token(self, token: str) -> Session | None:
        found = self._by_secret.get(_digest(token))
        return found if found is not None and _same(found.token, token) else None

    def by_handle(self, handle: str) -> Session | None:
        found = self._by_secret.get(_digest(handle))
        return found if found is not None and _same(found.handle, handle) else None

    def live(self) -> list[Session]:
        """Those that are not disposed, oldest first."""
        return list(self._live.values())

    def oldest_over(self) -> Session | None:
        """The one that has been over for longest."""
        return next(iter(self._over.values()), None)

    def move_to_over(self, session: Session) -> None:
        if self._live.pop(session.id, None) is not None:
            self._over[session.id] = session

    def forget(self, session: Session) -> None:
        self._live.pop(session.id, None)
        self._over.pop(session.id, None)
        for secret in (session.token, session.handle):
            self._by_secret.pop(_digest(secret), None)


def _digest(secret: str) -> bytes:
    """What a secret is looked up by: how long that takes says nothing of the secrets there are."""
    return hashlib.blake2b(secret.encode(errors="replace"), digest_size=16).digest()


def _same(secret: str, presented: str) -> bool:
    return secrets.compare_digest(secret.encode(), presented.encode(errors="replace"))


def legible(row: dict[str, Any]) -> dict[str, Any]:
    """A stored session as far as it can be read: flipped bits may have made anything of a value."""
    known = {
        name: value if isinstance(value, _KINDS.get(name, str)) else _EMPTY.get(name)
        for name, value in row.items()
    }
    return {**known, "id": str(row["id"])}


def request_from_row(row: dict[str, Any]) -> StartRequest:
    """The request of a stored session; columns that are empty get their defaults."""
    values = {name: row[name] for name in _REQUEST_COLUMNS if row[name] is not None}
    values["counts_start"] = bool(row["counts_start"])
    return StartRequest(**values)


def derive(secret: bytes, purpose: str, session_id: str) -> str:
    """A text that identifies a session, cannot be guessed and does not reveal its id."""
    mac = hmac.new(secret, f"{purpose}:{session_id}".encode(), hashlib.sha256).digest()
    return urlsafe_b64encode(mac).decode().rstrip("=")
