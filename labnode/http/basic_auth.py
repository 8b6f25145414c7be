"""Who is calling: Basic credentials in constant time, guesses slowed down."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import threading
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from labnode.clock import Clock
from labnode.http.addresses import source_of
from labnode.settings import Client

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_WINDOW = 60.0  # seconds
_PATIENCE = 20  # wrong credentials per address and window; those beyond are told to wait
_LIMIT = 120  # those beyond are not even compared, so that guessing has a speed limit
_MAX_ADDRESSES = 1000


@dataclass(frozen=True)
class Denied:
    """Why a caller is not let in, and the seconds it should wait if it has guessed too often."""

    message: str
    retry_after: int | None = None

    def answer(self, realm: str) -> tuple[int, dict[str, str]]:
        """The status of the HTTP answer, and the headers that it needs."""
        if self.retry_after is None:
            return 401, {"WWW-Authenticate": f'Basic realm="{realm}", charset="UTF-8"'}
        return 429, {"Retry-After": str(self.retry_after)}


@dataclass
class _Failures:
    since: float
    count: int = 0


class BasicAuth:
    """The clients that may call, and the addresses that guessed wrong lately.

    A guesser has an answer at once, never a thread that waits. An address that has shown right
    credentials is always listened to, so no guesser behind the same proxy can lock a server out.
    """

    def __init__(self, clients: Iterable[Client], clock: Clock) -> None:
        self._pairs = [
            (client.name, _digest(pair))
            for client in clients
            for password in client.passwords
            for pair in _encodings(f"{client.username}:{password}")
        ]
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()  # addresses of right credentials

    def check(self, authorization: str | None, address: str) -> str | Denied:
        """The name of the client whose credentials these are."""
        presented = _presented(authorization)
        if presented is None:
            return Denied("Credentials are needed: HTTP Basic, with this node's user name.")
        digest = _digest(presented)
        # All are compared, always: how long it takes tells nothing.
        names = [name for name, pair in self._pairs if hmac.compare_digest(pair, digest)]
        source = source_of(address)
        with self._lock:
            failures = self._recent(source)
            if names and (source in self._known or failures.count < _LIMIT):
                _put(self._known, source, None)
                return names[0]
            failures.count += 1
            _put(self._failures, source, failures)
            count, until = failures.count, failures.since + _WINDOW
        if count in (1, _PATIENCE + 1):
            _log.warning("Wrong credentials from %s, %d in a minute", source, count)
        if count <= _PATIENCE:
            return Denied("Wrong user name or password.")
        wait = max(1, math.ceil(until - self._clock.now()))
        return Denied(f"Too many wrong passwords from your address: wait {wait} s.", wait)

    def _recent(self, source: str) -> _Failures:
        failures = self._failures.get(source)
        now = self._clock.now()
        return failures if failures and now < failures.since + _WINDOW else _Failures(now)


def _put(table: OrderedDict[str, _T], address: str, value: _T) -> None:
    """Keep the addresses that were heard of last."""
    table[address] = value
    table.move_to_end(address)
    if len(table) > _MAX_ADDRESSES:
        table.popitem(last=False)


def _digest(pair: bytes) -> bytes:
    return hashlib.sha256(pair).digest()


def _encodings(pair: str) -> set[bytes]:
    """UTF-8 and, where possible, Latin-1, which Python's requests library writes."""
    encodings = {pair.encode()}
    with suppress(UnicodeEncodeError):
        encodings.add(pair.encode("latin-1"))
    return encodings


def _presented(authorization: str | None) -> bytes | None:
    """The `user:password` of an Authorization header."""
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(encoded.strip(), validate=True) or None
    except ValueError:
        return None
