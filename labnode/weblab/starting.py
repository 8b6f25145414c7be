"""What a node answers while it starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from labnode.weblab.messages import health

_MESSAGE = "The lab is just starting; ask again in a moment."


def starting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application: health tells that it is not ready, all else is to be asked again."""
    headers = [("Content-Type", "application/json"), ("Retry-After", "2"), ("Refresh", "2")]
    if environ.get("PATH_INFO", "").endswith("/weblab/health"):
        start_response("200 OK", headers[:1])
        return [json.dumps(health([_MESSAGE])).encode()]
    start_response("503 Service Unavailable", headers)
    return [json.dumps({"error": True, "code": "busy", "message": _MESSAGE}).encode()]
