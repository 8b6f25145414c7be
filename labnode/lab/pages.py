"""What a lab's own pages need: the student's language, and a script that keeps the session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from bottle import request

from labnode.schema import Text
from labnode.sessions import AnonymousUser, User


def locales(user: User | AnonymousUser | None = None) -> list[str]:
    """The languages to speak in this request, the best first.

    Asked for by `?locale=`, then the user's as the central server has it, then the browser's.
    Outside a request, the user's alone.
    """
    own = [user.locale or ""] if user is not None else []
    try:
        asked, browser = request.query.get("locale", ""), request.get_header("Accept-Language", "")
    except RuntimeError:  # a hook or a task: this thread serves no request
        asked, browser = "", ""
    return [language for language in (asked, *own, *accepted(browser)) if language]


def text(texts: str | Mapping[str, str], languages: list[str]) -> str:
    """The text for the first of `languages` that there is one for, else the English one."""
    return Text(texts if isinstance(texts, str) else dict(texts)).pick(*languages)


def poll_script(user: User) -> str:
    """A script element for a page of the lab's own; it needs no other script.

    It says every 5 s that the student is there, also while the page is hidden, and when the page
    is closed. When the session is over it leads to where the lab sends its students then.
    """
    base = request.environ.get("labnode.base", "")
    callback = f"{base}/callback/{user.session.token}"
    return (
        f'<script src="{escape(base)}/static/poll.js" data-callback="{escape(callback)}" '
        f'data-over="{escape(base)}/" defer></script>'
    )


def accepted(header: str) -> list[str]:
    """The languages of an Accept-Language header, the best first; those with q=0 are left out."""
    weighted = []
    for part in header.split(",")[:20]:
        language, _, weight = part.partition(";")
        number = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight)
        weighted.append((float(number[1]) if number else 1.0, language.strip()))
    return [language for q, language in sorted(weighted, key=lambda w: -w[0]) if q > 0]
