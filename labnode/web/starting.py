"""What a node answers before it is ready."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

_MESSAGE = "The lab is just starting; ask again in a moment."


def starting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application that asks for patience; health checks get the truth, and 200 as ever."""
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    if environ.get("PATH_INFO", "").endswith("/weblab/health"):
        start_response("200 OK", headers)
        return [json.dumps({"found": True, "success": False, "message": _MESSAGE}).encode()]
    headers += [("Retry-After", "2"), ("Refresh", "2")]
    start_response("503 Service Unavailable", headers)
    return [json.dumps({"error": True, "code": "busy", "message": _MESSAGE}).encode()]
