"""What was recorded in a session, to download, also after the session has ended."""

from __future__ import annotations

from bottle import Bottle, HTTPResponse

from labnode import context
from labnode.errors import NotFound
from labnode.http.replies import json_reply
from labnode.lab import Node
from labnode.lab.recordings import Recording
from labnode.sessions import User


def serve_recordings(app: Bottle, node: Node) -> None:
    """`/api/recording.csv` and `/api/recording.json`, for the student alone."""

    def recording() -> Recording:
        user = context.current_user.get()
        assert isinstance(user, User)
        found = node.recordings.of(user.session)
        if found is None:
            raise NotFound("Nothing was recorded in this session.")
        return found

    def as_csv() -> HTTPResponse:
        return _file(HTTPResponse(recording().csv(), content_type="text/csv; charset=UTF-8"), "csv")

    def as_json() -> HTTPResponse:
        return _file(json_reply(recording().to_json()), "json")

    def _file(response: HTTPResponse, suffix: str) -> HTTPResponse:
        name = f"{node.board.file.lab.name}.{suffix}".replace('"', "")
        safe = "".join(c if c.isascii() and c.isprintable() else "_" for c in name)
        response.set_header("Content-Disposition", f'attachment; filename="{safe}"')
        response.set_header("Cache-Control", "no-store")
        return response

    app.get("/api/recording.csv", callback=as_csv, access="login")
    app.get("/api/recording.json", callback=as_json, access="login")
