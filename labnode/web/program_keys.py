"""Keys for the programs of students: who has one may do what the session's page may do."""

from __future__ import annotations

import secrets
from pathlib import Path

from bottle import Bottle, HTTPResponse, request

from labnode.errors import Forbidden, NotFound
from labnode.http.replies import json_reply
from labnode.locale import Message
from labnode.sessions import Session
from labnode.settings import Settings
from labnode.web.auth import student
from labnode.web.observers import host_of_links

_CLIENT = Path(__file__).parents[1] / "client.py"
_NAME = "labnode_client.py"


def serve_program_keys(app: Bottle, settings: Settings) -> None:
    """`api/program-key`: a student makes a key, withdraws it, or downloads the client with it."""

    def make() -> HTTPResponse:
        session = _of_a_page()
        session.program_key = session.program_key or secrets.token_urlsafe(24)
        return json_reply({"url": _url(settings, session)})

    def withdraw() -> HTTPResponse:
        _of_a_page().program_key = None
        return json_reply({})

    def download() -> HTTPResponse:
        session = _of_a_page()
        if session.program_key is None:
            raise NotFound(Message("error.no-key"))
        url = f'URL = "{_url(settings, session)}"'
        text = _CLIENT.read_text(encoding="utf-8").replace('URL = ""', url, 1)
        reply = HTTPResponse(text, content_type="text/x-python; charset=UTF-8")
        reply.set_header("Content-Disposition", f'attachment; filename="{_NAME}"')
        reply.set_header("Cache-Control", "no-store")
        return reply

    app.post("/api/program-key", callback=make)
    app.delete("/api/program-key", callback=withdraw)
    app.get(f"/api/{_NAME}", callback=download)


def _of_a_page() -> Session:
    """The session of the current request, which has to come from a page."""
    if request.get_header("Authorization"):
        raise Forbidden(Message("error.keys-on-page"))
    return student().session


def _url(settings: Settings, session: Session) -> str:
    scheme = request.environ["wsgi.url_scheme"]
    root = settings.external_url(host_of_links(settings), scheme)
    return f"{root}/#{session.handle}.{session.program_key}"
