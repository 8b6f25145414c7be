"""The student's side as one WSGI application, with the central server's protocol beside it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

import bottle
from bottle import Bottle, HTTPError, HTTPResponse, request, static_file

from labnode import context
from labnode.lab import Lab
from labnode.lab.lab import Node
from labnode.sessions import User
from labnode.settings import Settings
from labnode.web import pages
from labnode.web.access import Access
from labnode.web.board_api import BoardApi
from labnode.web.callback import Callback
from labnode.web.replies import Errors, is_for_programs, json_reply, locales

_log = logging.getLogger(__name__)

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def student_app(lab: Lab, node: Node, settings: Settings, secret: bytes) -> Bottle:
    """The generated page, its API, the lab's own views; every route denies by default."""
    access = Access(node.sessions, settings, secret, node.board.file.lab.name)
    app = Bottle()
    app.default_error_handler = _error
    for routes in (app, lab.app):
        routes.install(Errors())
        routes.install(access)
    Callback(node.sessions, settings, access, lab).serve(app)
    api = BoardApi(lab, node, access)
    api.serve(app)
    app.get("/static/<path:path>", callback=_static, access="public")
    app.merge(lab.app)  # after our own addresses, before the page: a lab may have its own
    if not any(r.rule == "/" and r.method in ("GET", "ANY") for r in lab.app.routes):
        app.get("/", callback=lambda: _page(api))
    return app


def site(student: Wsgi, protocol: Wsgi, settings: Settings) -> Wsgi:
    """Both sides behind one door: the base path taken off, `//` collapsed, the right app called.

    A proxy may have taken the base path off already.
    """
    base = settings.base_path
    headers = _security_headers(settings)
    protocol_base = settings.weblab_base if settings.weblab_base is not None else base

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = re.sub("/{2,}", "/", environ.get("PATH_INFO") or "/")

        def start(status: str, given: list[tuple[str, str]], *error: Any) -> Any:
            present = {name.lower() for name, _ in given}
            added = [(name, value) for name, value in headers if name.lower() not in present]
            return start_response(status, given + added, *error)

        for prefix in (protocol_base, "" if settings.weblab_base is None else None):
            if prefix is not None and path.startswith((f"{prefix}/weblab/", f"{prefix}/ldl/")):
                return protocol(_at(environ, prefix, path), start)
        prefix = base if path == base or path.startswith(f"{base}/") else ""
        return student(_at(environ, prefix, path), start)

    return serve


def _at(environ: dict[str, Any], prefix: str, path: str) -> dict[str, Any]:
    rest = path.removeprefix(prefix) or "/"
    return {**environ, "SCRIPT_NAME": prefix, "PATH_INFO": rest}


def _page(api: BoardApi) -> HTTPResponse:
    user = context.current_user.get()
    assert isinstance(user, User)
    html = pages.render_page(
        api.board(), api.session(), token=user.session.token, locales=locales(user)
    )
    return HTTPResponse(html, **{"Cache-Control": "no-store"})


def _static(path: str) -> HTTPResponse:
    response = static_file(path, root=str(pages.STATIC))
    response.set_header("Cache-Control", "no-cache")  # asked again each time, answered with 304
    return response


def _security_headers(settings: Settings) -> list[tuple[str, str]]:
    ancestors = ["'self'"]
    if settings.embed:
        ancestors += settings.allowed_back_origins or ["https:"]
    policy = (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        f"form-action 'self'; frame-ancestors {' '.join(ancestors)}"
    )
    return [
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        # Not no-referrer, which turns the Origin of our own forms and beacons into "null".
        ("Referrer-Policy", "same-origin"),
    ]


def _error(error: HTTPError) -> Any:
    """What Bottle itself refuses, and what a view did not expect."""
    if error.status_code >= 500:
        log_request = f"{request.method} {request.path}"
        _log.error("%s failed.", log_request, exc_info=error.exception)
        message = "Something went wrong in the lab; it was written to its log."
    else:
        message = f"{error.body}"
    if is_for_programs() or request.method != "GET":
        reply = json_reply({"error": True, "code": "http", "message": message})
        bottle.response.content_type = "application/json"
        return reply.body
    bottle.response.content_type = "text/plain; charset=utf-8"
    return message
