"""The student's side: the generated page, its API, and the lab's own views."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import bottle
from bottle import Bottle, HTTPError, request

from labnode.clock import Clock
from labnode.errors import NotFound
from labnode.http.replies import App, Errors, OwnViews, json_reply, wants_json
from labnode.lab import Lab, Node
from labnode.settings import Settings
from labnode.web import html
from labnode.web.auth import Access, viewer
from labnode.web.board_api import BoardApi
from labnode.web.camera import Streams
from labnode.web.console import Consoles
from labnode.web.entry import Entry
from labnode.web.files import send_page, serve_files
from labnode.web.lab_websockets import WebSockets
from labnode.web.page_state import OWN_PAGE_HEADERS, PageState
from labnode.web.program_keys import serve_program_keys
from labnode.web.texts import refusal, told
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
    app.default_error_handler = partial(_error, settings, access)
    for routes in (app, lab.app):
        for plugin in (Errors, OwnViews, type(access)):  # of a runtime that had this lab before
            routes.uninstall(plugin)
        routes.install(Errors(lambda error: refusal(error, access.language)))
        routes.install(access)
    own_headers = {
        **OWN_PAGE_HEADERS,
        "Content-Security-Policy": html.content_security_policy(settings, lab.page_sources),
    }
    lab.app.install(OwnViews(own_headers))
    _look_for_templates(node.board.file.path.absolute().parent / "templates")
    uploads.serve(app)  # first: programming is no ordinary command of a device
    page = PageState(lab, node, settings, clock, access)
    BoardApi(lab, node, page).serve(app)
    Consoles(node, websockets).serve(app)
    streams.serve(app)
    serve_program_keys(app, settings)
    Entry(node.sessions, settings, access, lab, page).serve(app)
    picture = node.board.file.picture
    serve_files(app, node.board.file.path, None if picture is None else picture.file)
    websockets.serve(app, lab, page)
    app.merge(lab.app)  # before the page: a lab may have its own
    if not any(r.rule == "/" and r.method in ("GET", "ANY") for r in lab.app.routes):
        app.get("/", callback=lambda: send_page(*page.page(viewer())))
    return app


def _look_for_templates(folder: Path) -> None:
    """Have Bottle's `template()` look there first."""
    if str(folder) in bottle.TEMPLATE_PATH:
        bottle.TEMPLATE_PATH.remove(str(folder))
    bottle.TEMPLATE_PATH.insert(0, str(folder))
    bottle.TEMPLATES.clear()  # those of the runtime before


def _error(settings: Settings, access: Access, error: HTTPError) -> Any:
    """The answer to what Bottle refuses, and to a bug: a page for people, JSON for programs."""
    language = access.language
    if error.status_code >= 500:
        cause = error.exception
        why = error.body if cause is None else f"{type(cause).__name__}: {cause}"
        log.error("%s %s failed: %s", request.method, request.path, why, exc_info=cause)
        message = language.texts["site.failed:text"]
    else:
        code = NotFound.code if error.status_code == NotFound.status else "http"
        message = told(f"{error.body}", code, language)
    if wants_json() or request.method != "GET":
        reply = json_reply({"error": True, "code": "http", "message": message})
        bottle.response.content_type = "application/json"
        return reply.body
    bottle.response.content_type = "text/html; charset=utf-8"
    return html.render_error(
        language, status=error.status_code, message=message, root=f"{settings.base_path}/"
    )
