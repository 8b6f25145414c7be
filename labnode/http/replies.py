"""Replies in JSON, redirects, and the Bottle plugins that make them of what a view does."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from bottle import Bottle, BottleException, HTTPError, HTTPResponse, request, response

from labnode.errors import Busy, LabnodeError
from labnode.jsondata import refuse_deep

logger = logging.getLogger(__name__)


def json_reply(value: Any, status: int = 200) -> HTTPResponse:
    """`value` as JSON, never kept by a cache."""
    reply = HTTPResponse(json.dumps(value), status)
    reply.content_type = "application/json"
    reply.set_header("Cache-Control", "no-store")
    return reply


def error_reply(
    error: LabnodeError, message: str | None = None, detail: str | None = None
) -> HTTPResponse:
    """An error that was raised on purpose, for a program; `message` instead of its own."""
    said = {"error": True, "code": error.code, "message": message or error.message}
    if detail is not None:
        said["detail"] = detail
    reply = json_reply(said, error.status)
    if isinstance(error, Busy):
        reply.set_header("Retry-After", f"{error.retry_after:.0f}")
    return reply


def redirect(url: str) -> HTTPResponse:
    """302 to `url` exactly as it is: Bottle's own would believe X-Forwarded headers."""
    return HTTPResponse("", 302, Location=_header_safe(url))


def wants_json() -> bool:
    """Whether the request is a program's, not for a page."""
    if request.path.startswith("/api/") or is_upgrade():
        return True
    accept = request.get_header("Accept", "")
    return "application/json" in accept and "text/html" not in accept


def is_upgrade() -> bool:
    """Does the request want to become a WebSocket?"""
    return str(request.get_header("Upgrade", "")).strip().lower() == "websocket"


class App(Bottle):  # type: ignore[misc]
    """A Bottle application that keeps nothing of a request once it is answered.

    A reply that is raised refers, through its traceback, to the frame in which Bottle keeps it, and
    the headers that Bottle keeps in the environ refer to that. Such circles would hold the body and
    the connection until Python looks for them.
    """

    def _cast(self, out: Any, peek: Any = None) -> Any:
        if isinstance(out, HTTPResponse):
            out.__traceback__ = None
        pieces = super()._cast(out, peek)
        request.environ.pop("bottle.request.headers", None)
        return pieces


class Errors:
    """A Bottle plugin: what a view raises on purpose becomes a `reply` with one sentence.

    A bug becomes an HTTPError for the application's error handler, which logs it; Bottle would
    also write it to the standard error.
    """

    name = "labnode-errors"
    api = 2

    def __init__(self, reply: Callable[[LabnodeError], HTTPResponse] = error_reply) -> None:
        self._reply = reply

    def apply(self, view: Callable[..., Any], _route: Any) -> Callable[..., Any]:
        reply = self._reply

        def answer(*args: Any, **kwargs: Any) -> Any:
            try:
                return view(*args, **kwargs)
            except LabnodeError as error:
                if error.status >= 500 and not isinstance(error, Busy):  # anybody may click fast
                    logger.warning("%s %s: %s", request.method, request.path, error)
                return reply(error)
            except BottleException:
                raise
            except Exception as error:  # noqa: BLE001 - the boundary of a request
                raise HTTPError(500, "Internal Server Error", error) from None

        return answer


class OwnViews:
    """A Bottle plugin for a lab's own views.

    A body that Bottle cannot read is refused before the view. A list is JSON, as a dictionary is,
    unless it is one of texts, which Bottle joins. The answers get those of `headers` that the view
    has not set.
    """

    name = "labnode-own-views"
    api = 2

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def apply(self, view: Callable[..., Any], _route: Any) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            _check_body()
            reply = view(*args, **kwargs)
            whole = isinstance(reply, HTTPResponse)
            headed, body = (reply, reply.body) if whole else (response, reply)
            if isinstance(body, list) and not (body and isinstance(body[0], str | bytes)):
                headed.content_type = "application/json"
                body = json.dumps(body)
            for name, value in self._headers.items():
                if name not in headed.headers:
                    headed.set_header(name, value)
            if not whole:
                return body
            reply.body = body
            return reply

        return answer


def _check_body() -> None:
    """Raise HTTPError where reading the body would fail in the view; Bottle keeps what it reads."""
    kind = str(request.content_type).lower()
    try:
        if kind.startswith("multipart/"):
            _ = request.POST
        elif kind.startswith("application/json") and request.content_length <= request.MEMFILE_MAX:
            refuse_deep(request.body.read().decode("utf-8", "replace"))
    except (ValueError, LookupError) as error:
        raise HTTPError(400, f"The body cannot be read: {ascii(str(error))[:100]}.") from None


def _header_safe(url: str) -> str:
    """A URL for a header: what is not printable ASCII is percent-encoded."""
    return "".join(
        c if "!" <= c <= "~" else "".join(f"%{b:02X}" for b in c.encode("utf8", "replace"))
        for c in url
    )
