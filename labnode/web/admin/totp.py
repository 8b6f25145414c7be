"""One-time codes of an authenticator app (TOTP, RFC 6238)."""

from __future__ import annotations

import hmac
import threading
from base64 import b32decode
from typing import Any, Protocol
from urllib.parse import quote

from labnode.clock import Clock

_STEP = 30  # seconds; with SHA-1 and six digits, what every app does
_DIGITS = 6
_USED = "admin-totp-step"


class Memory(Protocol):
    """What the node keeps over restarts; the store."""

    def recall(self, key: str) -> Any: ...

    def remember_soon(self, key: str, value: Any) -> None: ...


class Totp:
    """The codes that belong to `key` (base 32); each is accepted once, also over a restart."""

    def __init__(self, key: str, clock: Clock, memory: Memory) -> None:
        self._key = _bytes(key)
        self._clock = clock
        self._memory = memory
        self._lock = threading.Lock()
        used = memory.recall(_USED)
        self._used = used if isinstance(used, int) else 0  # the last step whose code was accepted

    def accept(self, code: str) -> bool:
        """Whether it is the code of now, or of the 30 s before or after, and still unused."""
        now = int(self._clock.wall() // _STEP)
        given = code.replace(" ", "").encode()
        with self._lock:
            # All are compared, always: how long it takes tells nothing.
            right = [
                step
                for step in (now - 1, now, now + 1)
                if hmac.compare_digest(_code(self._key, step).encode(), given)
            ]
            unused = [step for step in right if step > self._used]
            if not unused:
                return False
            self._used = unused[0]
            self._memory.remember_soon(_USED, self._used)
            return True


def code_at(key: str, wall: float) -> str:
    """The code of `key` at a time in seconds since 1970."""
    return _code(_bytes(key), int(wall // _STEP))


def app_uri(key: str, account: str) -> str:
    """What an authenticator app reads, as text or in a QR code."""
    return f"otpauth://totp/labnode:{quote(account)}?secret={key}&issuer=labnode"


def _code(key: bytes, step: int) -> str:
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}d}"


def _bytes(key: str) -> bytes:
    return b32decode(key + "=" * (-len(key) % 8))
