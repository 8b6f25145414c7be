"""HTTP Basic, as a client sends it."""

from __future__ import annotations

from base64 import b64encode


def basic(pair: str, encoding: str = "utf-8") -> str:
    """The header's value for `user:password`."""
    return "Basic " + b64encode(pair.encode(encoding)).decode()
