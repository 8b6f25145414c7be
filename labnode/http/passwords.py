"""Whose credentials these are: compared in constant time, and hashed ones once."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from labnode.clock import Clock
from labnode.errors import Busy
from labnode.settings import Client
from labnode.settings.passwords import HashedPassword, is_hashed

_PATIENCE = 10.0  # seconds that a known caller waits for its turn
_QUEUE = 4  # known callers that wait: the others' threads belong to the students
_REST = 2  # times as long as a check took nothing is checked: guesses cost a third of one core
_OCCUPIED = "Other credentials are being checked; try again in a moment."


class Passwords:
    """The user names and passwords of `clients`.

    A hashed password is computed until it has been shown for the first time; from then on a digest
    with a key of this process knows it, as it does clear ones. So the central server's polls cost
    nothing, and neither do guesses.
    """

    def __init__(self, clients: Iterable[Client], clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._digests: list[tuple[str, bytes]] = []  # the clients' names, and their credentials
        self._hashed: list[tuple[Client, HashedPassword]] = []  # not shown yet
        for client in clients:
            for password in client.passwords:
                if is_hashed(password):
                    self._hashed.append((client, HashedPassword.parse(password)))
                else:
                    self._digests += self._digests_of(client, password)
        self._turn = threading.Lock()
        self._queue = threading.BoundedSemaphore(_QUEUE)
        self._rest_until = clock.now()

    def client_of(self, pair: bytes, *, patient: bool) -> str | None:
        """The name of the client with these credentials, "user:password".

        Busy where a hash has to be computed and others are at it; only a `patient` caller waits.
        """
        # All are compared, always: how long it takes tells nothing.
        digest = self._digest(pair)
        names = [name for name, known in self._digests if hmac.compare_digest(known, digest)]
        if names or not self._hashed:
            return names[0] if names else None
        with self._my_turn(patient):
            return self._compute(pair)

    def _compute(self, pair: bytes) -> str | None:
        digest = self._digest(pair)
        for name, known in self._digests:  # shown by somebody else meanwhile
            if hmac.compare_digest(known, digest):
                return name
        username, _, password = _text(pair).partition(":")
        right = [
            (client, hashed)
            for client, hashed in self._hashed
            if hashed.matches(password) and client.username == username
        ]
        if not right:
            return None
        client, _ = right[0]
        self._digests = [*self._digests, *self._digests_of(client, password)]
        self._hashed = [each for each in self._hashed if each not in right]
        return client.name

    @contextmanager
    def _my_turn(self, patient: bool) -> Iterator[None]:
        """One at a time, with rests between: guesses must not take the processor from the lab."""
        if patient and not self._queue.acquire(blocking=False):
            raise Busy(_OCCUPIED)
        try:
            if not self._turn.acquire(timeout=_PATIENCE if patient else 0):
                raise Busy(_OCCUPIED)
            try:
                rest = self._rest_until - self._clock.now()
                if rest > 0:
                    if not patient:
                        raise Busy(_OCCUPIED)
                    self._clock.event().wait(min(rest, _PATIENCE))
                began = self._clock.now()
                yield
                now = self._clock.now()
                self._rest_until = now + _REST * (now - began)
            finally:
                self._turn.release()
        finally:
            if patient:
                self._queue.release()

    def _digests_of(self, client: Client, password: str) -> list[tuple[str, bytes]]:
        pairs = _encodings(f"{client.username}:{password}")
        return [(client.name, self._digest(pair)) for pair in pairs]

    def _digest(self, pair: bytes) -> bytes:
        return hmac.digest(self._key, pair, "sha256")


def _encodings(pair: str) -> set[bytes]:
    """UTF-8 and, where possible, Latin-1, which Python's requests library writes."""
    encodings = {pair.encode()}
    with suppress(UnicodeEncodeError):
        encodings.add(pair.encode("latin-1"))
    return encodings


def _text(pair: bytes) -> str:
    try:
        return pair.decode()
    except UnicodeDecodeError:
        return pair.decode("latin-1")
