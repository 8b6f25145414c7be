"""Cookies as browsers send them, whatever else shares the host."""

from __future__ import annotations


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
