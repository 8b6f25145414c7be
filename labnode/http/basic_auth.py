"""Who is calling: Basic credentials, and how often strangers may guess."""

from __future__ import annotations

import logging
import math
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from labnode.clock import Clock
from labnode.errors import Busy
from labnode.http.guesses import GuessLimit, source_of
from labnode.http.passwords import Passwords
from labnode.settings import Client

_log = logging.getLogger(__name__)

_WRONG = "Wrong user name or password."


class RememberedAddresses(Protocol):
    """The addresses that have shown right credentials. Any thread."""

    def __contains__(self, address: object, /) -> bool: ...

    def add(self, address: str, /) -> None: ...


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


class BasicAuth:
    """The clients that may call.

    An address in `known` is always compared, whatever else is guessed from there, so no guesser
    behind the same proxy can lock a server out; every other address has at most 60 comparisons an
    hour. Nobody waits for a guesser, who has an answer at once.
    """

    def __init__(self, clients: Iterable[Client], clock: Clock, known: RememberedAddresses) -> None:
        self._passwords = Passwords(clients, clock)
        self._guesses = GuessLimit(clock)
        self._known = known

    def check(self, authorization: str | None, address: str) -> str | Denied:
        """The name of the client whose credentials these are; the address is known from then on."""
        pair = _presented(authorization)
        if pair is None:
            return Denied("Credentials are needed: HTTP Basic, with this node's user name.")
        name = self.compare(pair, address)
        if not isinstance(name, Denied):
            self.remember(address)
        return name

    def compare(self, pair: bytes, address: str) -> str | Denied:
        """The name of the client with the credentials "user:password".

        `remember` the address once the caller is let in, which may need more than a password.
        """
        source = source_of(address)
        known = source in self._known
        # Counted before it is compared: many requests at once get no more than one after the other.
        wait = 0.0 if known else self._guesses.take(source)
        if wait:
            return _too_many(wait)
        try:
            name = self._passwords.client_of(pair, patient=known)
        except Busy as busy:
            if not known:
                self._guesses.give_back(source)
            return Denied(busy.message, math.ceil(busy.retry_after))
        if name is not None:
            return name
        if known:  # counted for the log and the answer alone
            wait = self._guesses.take(source)
        if self._guesses.taken(source) == 1:
            _log.warning("Wrong credentials from %s", source)
        return _too_many(wait) if wait else Denied(_WRONG)

    def known_source(self, address: str) -> str | None:
        """The address, or its network, if somebody has been let in from there."""
        return source if (source := source_of(address)) in self._known else None

    def remember(self, address: str) -> None:
        """The address has been let in."""
        if (source := source_of(address)) not in self._known:
            self._known.add(source)
            self._guesses.give_back(source)


def _too_many(wait: float) -> Denied:
    seconds = max(1, math.ceil(wait))
    return Denied(f"Too many wrong passwords from your address: wait {seconds} s.", seconds)


def _presented(authorization: str | None) -> bytes | None:
    """The `user:password` of an Authorization header."""
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(encoded.strip(), validate=True) or None
    except ValueError:
        return None
