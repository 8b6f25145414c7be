"""For a lab's own pages: the student's language, and a script that keeps the session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any, TypedDict

from bottle import request

from labnode.errors import LabnodeError
from labnode.locale import Message
from labnode.schema import Text
from labnode.sessions import AnonymousUser, User

_SIGN_OF_LIFE = 5.0  # seconds
_FUNCTION = re.compile(r"[\w$]+(\.[\w$]+)*", re.ASCII)
_SOURCES = re.compile(r"[!-+\--:<-~]+( [!-+\--:<-~]+)*")  # printable, neither "," nor ";"


class PageSources(TypedDict, total=False):
    """From where pages may load what; see `Lab.content_security_policy`."""

    script_src: str
    style_src: str
    img_src: str
    font_src: str
    connect_src: str
    media_src: str
    frame_src: str
    worker_src: str
    form_action: str


def by_directive(sources: Mapping[str, Any]) -> dict[str, str]:
    """PageSources by the policy's directives; LabnodeError for what is none."""
    for name, given in sources.items():
        if name not in PageSources.__annotations__:
            known = ", ".join(PageSources.__annotations__)
            raise LabnodeError(Message("board.no-page-source", known=known, name=repr(name)))
        if not isinstance(given, str) or not _SOURCES.fullmatch(given):
            raise LabnodeError(Message("board.page-sources", name=name, value=repr(given)))
    return {name.replace("_", "-"): given for name, given in sources.items()}


def locales(user: User | AnonymousUser | None = None) -> list[str]:
    """The languages for this request, the best first.

    `?locale=`, then the user's language at the central server, then the browser's. Outside of a
    request only the user's.
    """
    own = [user.locale or ""] if user is not None else []
    try:
        asked, browser = request.query.get("locale", ""), request.get_header("Accept-Language", "")
    except RuntimeError:  # a hook or a task: this thread serves no request
        asked, browser = "", ""
    return [language for language in (asked, *own, *accepted(browser)) if language]


def text(texts: str | Mapping[str, str], languages: list[str]) -> str:
    """The text in the first of `languages` that it has, else in English."""
    return Text(texts if isinstance(texts, str) else dict(texts)).pick(*languages)


def poll_script(
    user: User, timeout: float, *, logout_on_close: bool = False, callback: str | None = None
) -> str:
    """What `Lab.poll_script` returns, where a session's timeout is that many seconds."""
    if callback is not None and not _FUNCTION.fullmatch(callback):
        raise LabnodeError(
            f"poll_script(): callback is the name of a function in the page, not {callback!r}."
        )
    base = request.environ.get("labnode.base", "")
    attributes = {
        "src": f"{base}/static/poll.js",
        "data-callback": f"{base}/callback/{user.session.token}",
        "data-over": f"{base}/",
        "data-every": f"{1000 * sign_of_life(timeout):.0f}",
        "data-close": "logout" if logout_on_close else "leaving",
        "data-ended": callback or "",
    }
    described = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    return f"<script {described} defer></script>"


def sign_of_life(timeout: float) -> float:
    """Seconds between two polls of a page; `timeout` is a session's, 0 or -1 for never."""
    return min(_SIGN_OF_LIFE, timeout / 3) if timeout > 0 else _SIGN_OF_LIFE


def accepted(header: str) -> list[str]:
    """The languages of an Accept-Language header, the best first; those with q=0 are left out."""
    weighted = []
    for part in header.split(",")[:20]:
        language, _, weight = part.partition(";")
        number = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight)
        weighted.append((float(number[1]) if number else 1.0, language.strip()))
    return [language for q, language in sorted(weighted, key=lambda w: -w[0]) if q > 0]
