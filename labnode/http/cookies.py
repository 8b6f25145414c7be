"""Cookies as browsers send them, whatever else shares the host."""

from __future__ import annotations

import re

# Not possessive ("*+"): Debian 12's Python 3.11.2 matches that wrongly.
_PAIR = re.compile(
    r"""([\w!#%&'*+.^`|~:-][\w!#$%&'*+.^`|~:-]*)="""
    r"""([\w!#$%&'()*+,./:<=>?@^`{|}~\[\]-]*|"""
    r""""(?:[ !#-\[\]-~]|\\(?!0[0-3][0-7]|177)[ -~])*")""",
    re.ASCII,
)
# Attributes of a Set-Cookie header: as names of cookies they end what `http.cookies` reads.
_ATTRIBUTES = re.compile(
    "comment|domain|expires|httponly|max-age|partitioned|path|samesite|secure|version",
    re.IGNORECASE,
)
_LONGEST = 4096  # characters of one cookie, as in browsers
_MOST = 300  # cookies; browsers send fewer than 200
_ESCAPES = 100  # backslashes in all values: what each costs grows with its value's length


def cookie_value(header: str, name: str) -> str:
    """The value of a cookie in a Cookie header; empty where there is none.

    The time grows with the length of the header, and what other applications on the host have put
    there does not matter; `http.cookies` of the standard library has neither (CVE-2024-7592).
    Browsers send the cookie of the longest path first (RFC 6265, 5.4), so the first one counts.
    """
    for part in header.split(";"):
        key, _, value = part.partition("=")
        if key.strip() == name:
            return value.strip()
    return ""


def well_formed(header: str) -> str:
    """A Cookie header without what browsers would not send, which is safe for `http.cookies`.

    A lab's own views read cookies with that: it stops at, fails on, or takes a second for what is
    dropped here. Newer versions fail on control characters, which are written as "\\014".
    """
    kept: list[str] = []
    escapes = 0
    for part in header.split(";"):
        match = _PAIR.fullmatch(part.strip()) if len(part) <= _LONGEST else None
        if match is None or _ATTRIBUTES.fullmatch(match[1]):
            continue
        escapes += match[2].count("\\")
        if escapes <= _ESCAPES and len(kept) < _MOST:
            kept.append(match[0])
    return "; ".join(kept)
