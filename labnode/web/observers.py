"""Links to observe a session, and the cookies of observers."""

from __future__ import annotations

import hmac
import socket

from bottle import request

from labnode.http.cookies import cookie_value
from labnode.sessions import Observer, Session, Sessions
from labnode.sessions.session import derive
from labnode.settings import Settings

_MAC = 22  # characters of 6 bits: nobody guesses them


class Observers:
    """Whoever has a session's link may observe it, in any number of browsers."""

    def __init__(self, sessions: Sessions, settings: Settings, secret: bytes) -> None:
        self._sessions = sessions
        self._settings = settings
        self._secret = secret

    def link(self, session: Session) -> str:
        """The link to the session's page, read-only, until the session ends."""
        root = self._settings.external_url(host_of_links(self._settings))
        return f"{root}/observe/{self._token(session)}"

    def find(self, token: str) -> Observer | None:
        """The observer that a link's token makes, also for a while after the session's end."""
        session = self._sessions.by_handle(token.partition(".")[0])
        if session is None:
            return None
        known = hmac.compare_digest(self._token(session).encode(), token.encode())
        return Observer(self._sessions.user(session)) if known else None

    def identify(self, cookie: str) -> Observer | None:
        """The observer of the request's cookie."""
        return self.find(cookie_value(request.environ.get("HTTP_COOKIE", ""), cookie))

    def _token(self, session: Session) -> str:
        return f"{session.handle}.{derive(self._secret, 'observer', session.id)[:_MAC]}"


def host_of_links(settings: Settings) -> str | None:
    """The host of the current request, if links may have it."""
    try:
        if "labnode.admin_site" in request.environ:  # not where the students come
            host = f"{socket.gethostname()}:{settings.port}"
        else:
            host = str(request.get_header("Host", "")).lower()
    except RuntimeError:  # a hook or a task: this thread serves no request
        return None
    return host if settings.allows_host(host) else None
