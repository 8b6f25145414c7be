"""Replies of the student's side: JSON, redirects and errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from bottle import HTTPResponse, request

from labnode.errors import Busy, LabnodeError

log = logging.getLogger(__name__)


def json_reply(value: Any, status: int = 200) -> HTTPResponse:
    """`value` as JSON, never kept by a cache."""
    response = HTTPResponse(json.dumps(value), status)
    response.content_type = "application/json"
    response.set_header("Cache-Control", "no-store")
    return response


def error_reply(error: LabnodeError) -> HTTPResponse:
    """An error that was raised on purpose, for a program."""
    reply = {"error": True, "code": error.code, "message": error.message}
    response = json_reply(reply, error.status)
    if isinstance(error, Busy):
        response.set_header("Retry-After", f"{error.retry_after:.0f}")
    return response


def redirect(url: str) -> HTTPResponse:
    """302 to `url` exactly as it is: Bottle's own would believe X-Forwarded headers."""
    return HTTPResponse("", 302, Location=_header_safe(url))


def is_for_programs() -> bool:
    """Does the request want JSON rather than a page?"""
    if request.path.startswith("/api/") or is_upgrade():
        return True
    accept = request.get_header("Accept", "")
    return "application/json" in accept and "text/html" not in accept


def is_upgrade() -> bool:
    """Does the request want to become a WebSocket?"""
    return str(request.get_header("Upgrade", "")).strip().lower() == "websocket"


class Errors:
    """A Bottle plugin: what a route raises on purpose becomes its status and one sentence."""

    name = "labnode-errors"
    api = 2

    def apply(self, callback: Callable[..., Any], _route: Any) -> Callable[..., Any]:
        def answered(*args: Any, **kwargs: Any) -> Any:
            try:
                return callback(*args, **kwargs)
            except LabnodeError as error:
                if error.status >= 500:
                    log.warning("%s %s: %s", request.method, request.path, error)
                return error_reply(error)

        return answered


def _header_safe(url: str) -> str:
    """A URL for a header: what is not printable ASCII is percent-encoded."""
    return "".join(
        c if "!" <= c <= "~" else "".join(f"%{b:02X}" for b in c.encode("utf8", "replace"))
        for c in url
    )
