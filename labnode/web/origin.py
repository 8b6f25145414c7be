"""Requests that change something must come from the node's own pages."""

from __future__ import annotations

from bottle import request

from labnode.errors import Forbidden
from labnode.http.replies import is_upgrade
from labnode.settings import Settings

SAFE = ("GET", "HEAD", "OPTIONS")
"""The methods of requests that change nothing."""


def check_origin(settings: Settings) -> None:
    """Forbidden where another site has a browser do something here.

    Scripts may leave the origin out, but not of a WebSocket, where every browser sends it.
    """
    if request.method in SAFE and not is_upgrade():
        return
    site = request.get_header("Sec-Fetch-Site")
    origin = request.get_header("Origin")
    own = not is_upgrade() if origin is None else _is_own(origin, settings)
    if site not in (None, "same-origin") or not own:
        raise Forbidden(
            "WebSockets, and requests that change something, must come from the lab's own page "
            "(behind a proxy, base_url in the settings says where that is)."
        )


def _is_own(origin: str, settings: Settings) -> bool:
    if settings.public_origin is not None:
        return origin == settings.public_origin
    # Without the scheme: a proxy may speak https for us and not say so.
    return bool(origin.partition("://")[2] == request.get_header("Host"))
