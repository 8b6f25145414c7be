"""Passwords as they stand in the settings: in clear, or hashed with scrypt (RFC 7914)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace

from labnode.locale import Joined, Message

SHORTEST = 12
"""Characters of a password that nobody should need to be warned of."""

_FORM = re.compile(r"scrypt\$(\d{1,6})\$(\d{1,2})\$(\d{1,2})\$([\w-]{16,86})\$([\w-]{22,86})", re.A)
_EXPECTED = Message("setting.hashed")
_COST, _BLOCK, _LANES = 1 << 14, 8, 1  # 16 MB, and 0.1 s on a Raspberry Pi 4
_MEMORY = 64 << 20  # bytes that a check may take


@dataclass(frozen=True, repr=False)
class HashedPassword:
    """What is kept of a password, which cannot be got back from it."""

    cost: int
    block: int
    lanes: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> HashedPassword:
        """Of "scrypt$N$r$p$SALT$HASH"; ValueError says what is expected."""
        parts = _FORM.fullmatch(text)
        if parts is None:
            raise ValueError(_EXPECTED)
        cost, block, lanes = (int(number) for number in parts.groups()[:3])
        if cost < _COST or cost & (cost - 1) or block < _BLOCK or not 1 <= lanes <= 4:
            costs = Message("setting.hash-costs", n=_COST, r=_BLOCK, p=_LANES)
            raise ValueError(Joined(_EXPECTED, costs))
        if 128 * cost * block > _MEMORY // 2:
            raise ValueError(Joined(_EXPECTED, Message("setting.hash-memory")))
        return cls(cost, block, lanes, _bytes(parts[4]), _bytes(parts[5]))

    @classmethod
    def of(cls, password: str) -> HashedPassword:
        empty = cls(_COST, _BLOCK, _LANES, secrets.token_bytes(16), bytes(32))
        return replace(empty, digest=empty._digest_of(password))

    def matches(self, password: str) -> bool:
        """Whether it is this password; takes 16 MB and a part of a second."""
        return hmac.compare_digest(self._digest_of(password), self.digest)

    def _digest_of(self, password: str) -> bytes:
        return hashlib.scrypt(
            password.encode(),
            salt=self.salt,
            n=self.cost,
            r=self.block,
            p=self.lanes,
            maxmem=_MEMORY,
            dklen=len(self.digest),
        )

    def __str__(self) -> str:
        salt, digest = (urlsafe_b64encode(part).decode() for part in (self.salt, self.digest))
        head = f"scrypt${self.cost}${self.block}${self.lanes}"
        return f"{head}${salt.rstrip('=')}${digest.rstrip('=')}"


def is_hashed(password: str) -> bool:
    """Whether a password of the settings is a hash; no clear password may begin like one."""
    return password.startswith("scrypt$")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
