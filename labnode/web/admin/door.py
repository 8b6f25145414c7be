"""Who may administer: HTTP Basic with credentials of their own, guesses slowed down."""

from __future__ import annotations

import json

from bottle import HTTPResponse, request

from labnode.clock import Clock
from labnode.errors import LabnodeError
from labnode.http.basic_auth import Credentials, Denied
from labnode.http.replies import error_reply
from labnode.settings import Client, Settings
from labnode.settings import Credentials as Pair
from labnode.web.auth import check_origin

_CHALLENGE = 'Basic realm="labnode administration", charset="UTF-8"'


class Door:
    """Lets nobody in without the credentials, and no other site's browser do anything."""

    def __init__(self, admin: Pair, settings: Settings, clock: Clock) -> None:
        client = Client(name="admin", username=admin.username, password=admin.password)
        self._credentials = Credentials([client], clock)
        self._settings = settings

    def check(self) -> None:
        """Raise the answer that refuses the current request, where it has to be refused."""
        address = request.environ.get("REMOTE_ADDR", "")
        who = self._credentials.check(request.environ.get("HTTP_AUTHORIZATION"), address)
        if isinstance(who, Denied):
            raise _denial(who)
        try:
            check_origin(self._settings)
        except LabnodeError as error:
            raise error_reply(error) from None


def _denial(denied: Denied) -> HTTPResponse:
    reply = {"error": True, "code": "credentials", "message": denied.message}
    if denied.retry_after is None:
        status, header = 401, {"WWW-Authenticate": _CHALLENGE}
    else:
        status, header = 429, {"Retry-After": str(denied.retry_after)}
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", **header}
    return HTTPResponse(json.dumps(reply), status, headers)
