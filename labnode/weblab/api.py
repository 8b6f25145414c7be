"""The central server's protocol over HTTP: credentials, operations, and replies in JSON."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import bottle

from labnode.clock import Clock
from labnode.errors import BadInput, Busy, LabnodeError
from labnode.http.basic_auth import BasicAuth, Denied, RememberedAddresses
from labnode.http.replies import App, Errors
from labnode.sessions import Deletion, Sessions
from labnode.settings import Settings
from labnode.weblab import lde, messages
from labnode.weblab.bodies import MAX_BODY, read_body
from labnode.weblab.rejections import Rejections

log = logging.getLogger(__name__)

_EXTENSION = r"\.[A-Za-z0-9_]+"  # api.php: WebLab-Deusto's http_experiment_extension
_ID = rf"(?!(?:api|test|new|status|action)(?:{_EXTENSION})?$)[^/]+"
_PUBLIC = re.compile(rf"/weblab/(health|sessions/api({_EXTENSION})?)|/ldl/sessions/api")


@dataclass(frozen=True)
class Dialect:
    """How the kinds of central servers differ; they share the sessions."""

    prefix: str
    parse_start: messages.StartParser
    deletion: Callable[[Deletion], dict[str, Any]]
    refusal: Callable[[str, int], dict[str, Any]]  # the message and the HTTP status
    extensions: bool  # also as new.php, status.php?session_id=...


WEBLAB = Dialect(
    "/weblab/sessions",
    messages.parse_start,
    messages.deletion,
    lambda message, _status: messages.failure(message),
    extensions=True,
)
LDE = Dialect("/ldl/sessions", lde.parse_start, lde.deletion, lde.refusal, extensions=False)


def protocol_app(
    sessions: Sessions, settings: Settings, *, clock: Clock, known: RememberedAddresses
) -> bottle.Bottle:
    """The routes under /weblab and /ldl; all but `api` and `health` need a client's credentials.

    `known` are the addresses that have shown them.
    """
    app = App()
    app.default_error_handler = _own_error
    protocol = ServerApi(sessions, settings, clock, known)
    app.add_hook("before_request", protocol.authenticate)
    app.add_hook("after_request", protocol.note_rejection)
    app.install(Errors(lambda error: _failure(error.status, error)))
    app.get("/weblab/health", callback=protocol.health)
    for dialect in (WEBLAB, LDE):
        protocol.serve(app, dialect)
    return app


class ServerApi:
    def __init__(
        self, sessions: Sessions, settings: Settings, clock: Clock, known: RememberedAddresses
    ) -> None:
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._credentials = BasicAuth(settings.all_clients, clock, known)
        self._rejections = Rejections(clock)

    def serve(self, app: bottle.Bottle, dialect: Dialect) -> None:
        """Add the operations of one dialect."""
        start = partial(self.start, dialect)
        action = partial(self.action, dialect)
        prefix, session = dialect.prefix, f"{dialect.prefix}/<session_id:re:{_ID}>"
        app.get(f"{prefix}/api", callback=self.api)
        app.get(f"{prefix}/test", callback=self.test)
        app.post(f"{prefix}/", callback=start)
        app.post(f"{prefix}/status/multiple", callback=self.multiple)
        app.get(f"{session}/status", callback=self.status)
        app.post(session, callback=action)
        app.delete(session, callback=partial(self.delete, dialect))
        if dialect.extensions:
            extension = f"<:re:{_EXTENSION}>"
            app.get(f"{prefix}/api{extension}", callback=self.api)
            app.get(f"{prefix}/test{extension}", callback=self.test)
            app.post(f"{prefix}/new{extension}", callback=start)
            app.get(f"{prefix}/status{extension}", callback=self.status)
            app.post(f"{prefix}/action{extension}", callback=action)

    def authenticate(self) -> None:
        """Refuse requests without credentials, whatever the address, except public ones."""
        environ = bottle.request.environ
        path = environ["bottle.raw_path"]
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") and _PUBLIC.fullmatch(path):
            return
        client = self._client()
        if isinstance(client, Denied):
            raise _denial(client, path)
        if not (path.isascii() and path.isprintable()):
            # Bottle drops bytes that it cannot decode: the rest could be another address.
            raise bottle.HTTPError(404)
        environ["labnode.client"] = client

    def _client(self) -> str | Denied:
        environ = bottle.request.environ
        address = environ.get("REMOTE_ADDR", "")
        return self._credentials.check(environ.get("HTTP_AUTHORIZATION"), address)

    def note_rejection(self) -> None:
        """Log a reply that is an error; called for all requests, also without a route."""
        environ, response = bottle.request.environ, bottle.response
        if response.status_code >= 400:
            address, client = environ.get("REMOTE_ADDR", ""), environ.get("labnode.client")
            busy = "Retry-After" in response.headers
            self._rejections.note(response.status_code, busy, address, client)

    def api(self) -> bottle.HTTPResponse:
        return _reply(messages.API_VERSION)

    def test(self) -> bottle.HTTPResponse:
        sessions = self._sessions
        return _reply(messages.validity([*sessions.obstacles(), *sessions.doubts()]))

    def health(self) -> bottle.HTTPResponse:
        obstacles = self._sessions.obstacles(details=False)
        asked = obstacles and "HTTP_AUTHORIZATION" in bottle.request.environ
        if asked and not isinstance(self._client(), Denied):
            obstacles = self._sessions.obstacles()
        return _reply(messages.health(obstacles, in_use=bool(self._sessions.live())))

    def start(self, dialect: Dialect) -> bottle.HTTPResponse:
        client = bottle.request.environ["labnode.client"]
        request, skew = dialect.parse_start(_fields(), client, self._clock.wall())
        base = self._settings.external_url(self._host(), bottle.request.environ["wsgi.url_scheme"])
        if skew:
            log.warning("The slot of %s began %.0f s ago by this node's clock", client, skew)
        # A failure must be an HTTP error: after a 200 the student is sent to a dead link.
        try:
            session = self._sessions.start(request)
        except BadInput:
            raise
        except LabnodeError as error:
            raise _failure(503, error) from None
        except Exception:  # hooks of a lab may raise anything
            log.exception("A session could not be started")
            raise _failure(503, "The laboratory could not be started.") from None
        return _reply({"url": f"{base}/callback/{session.token}", "session_id": session.id})

    def status(self, session_id: str | None = None) -> bottle.HTTPResponse:
        return _reply(messages.status(self._sessions.status(session_id or _queried_id())))

    def multiple(self) -> bottle.HTTPResponse:
        deadline = self._clock.now()
        asked = messages.parse_multiple(_fields())
        if asked is None:
            return _reply(messages.MISSING_IDS)
        session_ids, limit = asked
        deadline += limit
        statuses = {}
        for session_id in session_ids:
            statuses[session_id] = self._sessions.status(session_id)
            if self._clock.now() >= deadline:
                break
        return _reply(messages.statuses(statuses))

    def action(self, dialect: Dialect, session_id: str | None = None) -> bottle.HTTPResponse:
        if not messages.is_delete(_fields()):
            return _reply(messages.UNKNOWN_OPERATION)
        return self.delete(dialect, session_id or _queried_id())

    def delete(self, dialect: Dialect, session_id: str) -> bottle.HTTPResponse:
        # Never an HTTP error: WebLab-Deusto would take the session for finished and send the next
        # student to a board that is not clean.
        try:
            state = self._sessions.delete(session_id)
        except Exception:
            log.exception("A session could not be deleted")
            state = Deletion.PENDING
        return _reply(dialect.deletion(state))

    def _host(self) -> str | None:
        """The host for the student's URL, from this request; BadInput if it is not allowed."""
        host: str | None = bottle.request.environ.get("HTTP_HOST")
        if self._settings.public_origin or not host:
            return None
        if not self._settings.allows_host(host):
            raise BadInput(f"Host is {host[:100]!a}, which is not a host of this node.")
        return host


def _own_error(error: bottle.HTTPError) -> bottle.HTTPResponse:
    """The reply where Bottle refuses (no such route or method), and to a bug."""
    match error.status_code:
        case 404:
            message = "There is nothing at this address."
        case 405:
            message = f"{bottle.request.environ['REQUEST_METHOD']} is not possible at this address."
        case _:
            log.error("A request of a central server failed", exc_info=error.exception)
            message = "Something went wrong in the laboratory; its log says what."
    allow = error.headers.get("Allow")
    return _refusal(message, error.status_code, {"Allow": allow} if allow else {})


def _fields() -> dict[str, Any]:
    """The fields of this request's body, JSON or form."""
    environ = bottle.request.environ
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdecimal()):
        raise BadInput(f"Content-Length is {length[:40]!a}; expected a number of bytes.")
    if len(length) > 12 or int(length) > MAX_BODY:
        raise _failure(413, f"The body is too large: at most {MAX_BODY} bytes are read.")
    return read_body(environ["wsgi.input"].read(int(length)))


def _queried_id() -> str:
    """The session id in the query, in the style with extensions."""
    query: str = bottle.request.environ.get("QUERY_STRING", "")
    ids = [value for key, value in parse_qsl(query, keep_blank_values=True) if key == "session_id"]
    if len(ids) != 1:
        raise BadInput("session_id is expected once in the query.")
    return ids[0]


def _denial(denied: Denied, path: str) -> bottle.HTTPResponse:
    status, headers = denied.answer("labnode")
    if re.search(rf"/sessions/test({_EXTENSION})?$", path):
        return _reply(messages.validity([denied.message]), status, headers)
    return _refusal(denied.message, status, headers)


def _failure(status: int, error: LabnodeError | str) -> bottle.HTTPResponse:
    wait = {"Retry-After": str(math.ceil(error.retry_after))} if isinstance(error, Busy) else {}
    return _refusal(str(error), status, wait)


def _refusal(message: str, status: int, headers: dict[str, str]) -> bottle.HTTPResponse:
    path: str = bottle.request.environ["bottle.raw_path"]
    dialect = LDE if path.startswith("/ldl/") else WEBLAB
    return _reply(dialect.refusal(message, status), status, headers)


def _reply(
    data: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> bottle.HTTPResponse:
    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **(headers or {}),
    }
    return bottle.HTTPResponse(json.dumps(data), status, headers)
