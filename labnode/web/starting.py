"""What a node answers before it is ready."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from labnode.lab.pages import accepted
from labnode.web import pages

_MESSAGE = "The lab is just starting; ask again in a moment."


def starting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application that asks for patience, of a browser with a page that asks again.

    Health checks get the truth, and 200 as ever.
    """
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    if environ.get("PATH_INFO", "").endswith("/weblab/health"):
        start_response("200 OK", headers)
        return [json.dumps({"found": True, "success": False, "message": _MESSAGE}).encode()]
    headers += [("Retry-After", "2")]
    if "text/html" in environ.get("HTTP_ACCEPT", ""):
        headers[0] = ("Content-Type", "text/html; charset=UTF-8")
        start_response("503 Service Unavailable", headers)
        return [pages.render_loading(accepted(environ.get("HTTP_ACCEPT_LANGUAGE", ""))).encode()]
    start_response("503 Service Unavailable", headers)
    return [json.dumps({"error": True, "code": "busy", "message": _MESSAGE}).encode()]
