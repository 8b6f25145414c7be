"""The beginning of a WebSocket: what its HTTP request must say, and the answer that ends HTTP."""

from __future__ import annotations

import base64
import binascii

import h11
from bottle import HTTPResponse, request
from wsproto.utilities import generate_accept_token

from labnode.http.connection import Connection
from labnode.http.replies import is_upgrade, json_reply

_VERSION = "13"  # RFC 6455's, the only one


def check() -> None:
    """Raise the refusal of the current request, if it cannot become a WebSocket."""
    if not is_upgrade():
        raise _upgrade_required("There is a WebSocket at this address; open it as one.")
    if request.get_header("Sec-WebSocket-Version") != _VERSION:
        raise _upgrade_required(f"Only version {_VERSION} of WebSockets is spoken here.")
    problem = None
    if request.environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        problem = "A WebSocket begins with HTTP/1.1."
    elif "upgrade" not in _tokens(request.get_header("Connection", "")):
        problem = "The header 'Connection: Upgrade' is missing (behind a proxy: pass it on)."
    elif not _is_key(request.get_header("Sec-WebSocket-Key", "")):
        problem = "The header Sec-WebSocket-Key is not 16 bytes in base64."
    elif "labnode.connection" not in request.environ:
        problem = "There are no WebSockets without the web server."
    if problem is not None:
        raise _reply(problem, 400)


def accept(connection: Connection) -> tuple[bytes, bytes]:
    """End HTTP on the connection of the current request, which `check` lets pass.

    Returns the answer, to be sent first, and what the client has sent since its request.
    """
    token = generate_accept_token(request.get_header("Sec-WebSocket-Key").encode())
    headers = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", token),
    ]
    http = connection.reader.http
    early, _ = http.trailing_data
    return http.send(h11.InformationalResponse(status_code=101, headers=headers)), early


def _upgrade_required(message: str) -> HTTPResponse:
    response = _reply(message, 426)
    response.set_header("Upgrade", "websocket")
    response.set_header("Sec-WebSocket-Version", _VERSION)
    return response


def _reply(message: str, status: int) -> HTTPResponse:
    return json_reply({"error": True, "code": "websocket", "message": message}, status)


def _tokens(header: str) -> list[str]:
    return [token.strip().lower() for token in header.split(",")]


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
