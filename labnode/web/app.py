"""The student's side: the generated page, its API, and the lab's own views."""

from __future__ import annotations

import logging
from typing import Any

import bottle
from bottle import Bottle, HTTPError, request

from labnode.clock import Clock
from labnode.http.replies import App, Errors, OwnPages, json_reply, wants_json
from labnode.lab import Lab, Node
from labnode.settings import Settings
from labnode.web.auth import viewer
from labnode.web.board_api import BoardApi
from labnode.web.camera import Streams
from labnode.web.console import Consoles
from labnode.web.entry import Entry
from labnode.web.files import send_page, serve_files
from labnode.web.lab_websockets import WebSockets
from labnode.web.page_state import PageState
from labnode.web.uploads import Uploads

log = logging.getLogger(__name__)


def student_app(
    lab: Lab,
    node: Node,
    settings: Settings,
    uploads: Uploads,
    *,
    clock: Clock,
    websockets: WebSockets,
    streams: Streams,
) -> Bottle:
    """All routes of the student's side; each denies by default."""
    access = uploads.access
    app = App()
    app.default_error_handler = _error
    for routes in (app, lab.app):
        for plugin in (Errors, OwnPages, type(access)):  # of a runtime that had this lab before
            routes.uninstall(plugin)
        routes.install(Errors())
        routes.install(access)
    lab.app.install(OwnPages())
    uploads.serve(app)  # first: programming is no ordinary command of a device
    page = PageState(lab, node, clock, access)
    BoardApi(lab, node, page).serve(app)
    Consoles(node, websockets).serve(app)
    streams.serve(app)
    Entry(node.sessions, settings, access, lab, page).serve(app)
    serve_files(app, node.board.file.path)
    websockets.serve(app, lab, page)
    app.merge(lab.app)  # before the page: a lab may have its own
    if not any(r.rule == "/" and r.method in ("GET", "ANY") for r in lab.app.routes):
        app.get("/", callback=lambda: send_page(*page.page(viewer())))
    return app


def _error(error: HTTPError) -> Any:
    """The answer to what Bottle refuses, and to a bug."""
    if error.status_code >= 500:
        log.error("%s %s failed.", request.method, request.path, exc_info=error.exception)
        message = "Something went wrong in the lab; it was written to its log."
    else:
        message = f"{error.body}"
    if wants_json() or request.method != "GET":
        reply = json_reply({"error": True, "code": "http", "message": message})
        bottle.response.content_type = "application/json"
        return reply.body
    bottle.response.content_type = "text/plain; charset=utf-8"
    return message
