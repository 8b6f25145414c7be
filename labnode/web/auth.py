"""Who may see what on the student's side: cookie to user, and routes that deny by default."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import bottle
from bottle import HTTPResponse, request

from labnode import context
from labnode.clock import Clock
from labnode.errors import BadInput, Busy, Forbidden
from labnode.http.cookies import cookie_value
from labnode.http.replies import is_upgrade, json_reply, redirect, wants_json
from labnode.lab.node import Level
from labnode.lab.pages import locales
from labnode.locale import Catalogues, Language, Message
from labnode.sessions import ANONYMOUS, AnonymousUser, Observer, Session, Sessions, User
from labnode.settings import Settings
from labnode.web import html
from labnode.web.observers import Observers
from labnode.web.texts import refusal
from labnode.worker import check_in_time

Audience = Level | Literal["observer"]
"""Who a route is for: "observer" is the active user or, to look only, an observer."""

Viewer = User | Observer
"""Who looks at a session."""

_AUDIENCES = (*get_args(Level), "observer")
_SAFE = ("GET", "HEAD", "OPTIONS")  # the methods of requests that change nothing
_DRIFT = 5.0  # seconds, how far a page's idea of the node's clock may be ahead of it


def viewer() -> Viewer:
    """Who the current request is from, where its route is for students and observers."""
    user = context.current_user.get()
    assert isinstance(user, User | Observer)
    return user


def student() -> User:
    """The student whom the current request is from, where its route is not for others."""
    user = context.current_user.get()
    assert isinstance(user, User)
    return user


def deadline() -> float:
    """Until when, by the node's clock, the page waits for what the current request asks for.

    BadInput when its header Labnode-Deadline is no number.
    """
    return _seconds("Labnode-Deadline")


def asked_at(now: float) -> float:
    """When, by the node's clock, the student asked for what the page asks for; inf: just now.

    BadInput when its header Labnode-Asked is no number.
    """
    asked = _seconds("Labnode-Asked")
    before_a_reboot = math.isfinite(asked) and asked > now + _DRIFT
    return -math.inf if before_a_reboot else asked


def _seconds(header: str) -> float:
    try:
        return float(request.get_header(header, "inf"))
    except ValueError:
        raise BadInput(f"{header} must be a number of seconds.") from None


class Access:
    """A Bottle plugin: every route needs an active user unless its `access` says otherwise."""

    name = "labnode-access"
    api = 2

    def __init__(
        self,
        sessions: Sessions,
        settings: Settings,
        secret: bytes,
        lab: str,
        *,
        clock: Clock,
        catalogues: Catalogues,
        recording: bool = False,
    ) -> None:
        """`recording`: what a session has recorded can be downloaded after it."""
        self._catalogues = catalogues
        self._sessions = sessions
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._recording = recording
        self._cookie = settings.cookie_name or _default_cookie(lab)
        self.observer_cookie = f"{self._cookie}_observer"
        self.observers = Observers(sessions, settings, secret)

    def apply(self, callback: Callable[..., Any], route: bottle.Route) -> Callable[..., Any]:
        """Bottle calls this for each route: `callback` with the checks before it."""
        level = route.config.get("access", "active")
        if level not in _AUDIENCES:
            names = f"{', '.join(_AUDIENCES[:-1])} or {_AUDIENCES[-1]}"
            raise ValueError(f"{route.rule}: access is {names}, not {level!r}")

        def guarded(*args: Any, **kwargs: Any) -> Any:
            check_origin(self._settings)
            user = self.identify()
            if level == "observer" and not user.active and request.method in _SAFE:
                observer = self.observers.identify(self.observer_cookie)
                if observer is not None and (observer.active or isinstance(user, AnonymousUser)):
                    user = observer
            request.environ["labnode.viewer"] = user
            if level != "public" and (refusal := self._refusal(user, level)) is not None:
                return refusal
            check_in_time(deadline(), self._clock.now())
            try:
                with context.acting(user=user):
                    return callback(*args, **kwargs)
            finally:
                if isinstance(user, User):
                    user.store_changes()

        return guarded

    @property
    def language(self) -> Language:
        """That of the current request: `?locale=`, else the student's, else the browser's."""
        return self._catalogues.best(locales(request.environ.get("labnode.viewer")))

    # ------------------------------------------------------------------ the cookie

    def identify(self) -> User | AnonymousUser:
        """The user whom the request's cookie, or the key of a program, belongs to."""
        if "HTTP_AUTHORIZATION" in request.environ:
            session = self._holder_of_key(request.environ["HTTP_AUTHORIZATION"])
            return ANONYMOUS if session is None else self._sessions.user(session)
        session, nonce = self._named_by(
            cookie_value(request.environ.get("HTTP_COOKIE", ""), self._cookie)
        )
        if session is None or not self._sessions.bind(session, nonce):
            return ANONYMOUS
        return self._sessions.user(session)

    def holder(self, environ: Mapping[str, Any]) -> Session | None:
        """The session that a request belongs to, without binding or polling it."""
        if "HTTP_AUTHORIZATION" in environ:
            return self._holder_of_key(environ["HTTP_AUTHORIZATION"])
        session, nonce = self._named_by(cookie_value(environ.get("HTTP_COOKIE", ""), self._cookie))
        if session is None:
            return None
        known = session.cookie is None or hmac.compare_digest(session.cookie, nonce)
        return session if known else None

    def _holder_of_key(self, authorization: str) -> Session | None:
        """The session that `Bearer KEY` is for; see web/program_keys.py."""
        scheme, _, token = authorization.partition(" ")
        handle, _, key = token.partition(".")
        session = self._sessions.by_handle(handle) if scheme.lower() == "bearer" else None
        if session is None or session.program_key is None:
            return None
        return session if hmac.compare_digest(session.program_key.encode(), key.encode()) else None

    def _named_by(self, cookie: str) -> tuple[Session | None, str]:
        """The session of a genuine cookie, and the hash that identifies the browser."""
        handle, _, rest = cookie.partition(".")
        nonce, _, mac = rest.partition(".")
        session = self._sessions.by_handle(handle)
        if session is None or not hmac.compare_digest(mac.encode(), self._mac(handle, nonce)):
            return None, ""
        return session, hashlib.sha256(nonce.encode()).hexdigest()

    def cookie_for(self, session: Session) -> str:
        """A Set-Cookie header for a browser that may become the one of `session`."""
        nonce = secrets.token_urlsafe(18)
        mac = self._mac(session.handle, nonce).decode()
        return self.set_cookie(self._cookie, f"{session.handle}.{nonce}.{mac}")

    def set_cookie(self, name: str, value: str) -> str:
        """A Set-Cookie header with the attributes that the settings ask for."""
        path = self._settings.cookie_path or self._settings.base_path or "/"
        parts = [f"{name}={value}", "HttpOnly", f"Path={path}"]
        if self._settings.embed:
            parts += ["SameSite=None", "Secure", "Partitioned"]
        else:
            secure = self._settings.secure or request.environ["wsgi.url_scheme"] == "https"
            parts += ["SameSite=Lax", *(["Secure"] if secure else [])]
        return "; ".join(parts)

    def _mac(self, handle: str, nonce: str) -> bytes:
        text = f"browser:{handle}:{nonce}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest().encode()

    # ------------------------------------------------------------------ refusals

    def forbidden(self) -> HTTPResponse:
        """The answer to somebody without a session."""
        if wants_json():
            message = self.language.say(Message("error.log-in"))
            return json_reply({"error": True, "code": "forbidden", "message": message}, 403)
        if self._settings.unauthorized_link:
            return redirect(self._settings.unauthorized_link)
        template = self._settings.unauthorized_template
        page = html.render_forbidden(self.language, root=self._root, template=template)
        return HTTPResponse(page, 403)

    def over(self, user: Viewer) -> HTTPResponse:
        """The answer to a student, or an observer, whose session is over."""
        back = self.back(user)
        reason = "observed" if user.read_only else user.session.reason
        if wants_json():
            message = self.language.say(Message("error.session-over"))
            reply = {"error": True, "code": "session-over", "message": message}
            return json_reply({**reply, "back": back, "reason": reason}, 403)
        if back is not None:
            return redirect(back)
        recording = self._recording and not user.read_only
        language = self._catalogues.best(locales(user))
        return HTTPResponse(
            html.render_farewell(language, reason=reason, recording=recording, root=self._root)
        )

    def back(self, user: Viewer) -> str | None:
        """Where the student came from, if a redirect there is allowed."""
        if not user.back:
            return None
        try:
            url = urlsplit(user.back)
        except ValueError:
            return None
        allowed = self._settings.allowed_back_origins
        origin = f"{url.scheme}://{url.netloc}".lower()
        if url.scheme not in ("http", "https") or not url.netloc:
            return None
        return user.back if not allowed or origin in [a.lower() for a in allowed] else None

    def _refusal(self, user: User | AnonymousUser, level: Audience) -> HTTPResponse | None:
        if isinstance(user, Observer):
            return None if user.active else self.over(user)
        if isinstance(user, AnonymousUser):
            return self.forbidden()
        try:
            if level != "login" and not self._sessions.ready(user.session):
                return self.over(user)
        except Busy as busy:
            return self._not_ready(busy)
        self._sessions.poll(user.session)
        return None

    def _not_ready(self, busy: Busy) -> HTTPResponse:
        """The answer while a session is being resumed after a restart of the node."""
        if wants_json():
            return refusal(busy, self.language)
        return HTTPResponse(html.render_loading(self.language, root=self._root), 503)

    @property
    def _root(self) -> str:
        return f"{self._settings.base_path}/"


def check_origin(settings: Settings) -> None:
    """Forbidden where another site makes a browser do something here.

    Scripts may omit the origin, except of a WebSocket, where every browser sends it.
    """
    if request.method in _SAFE and not is_upgrade():
        return
    site = request.get_header("Sec-Fetch-Site")
    origin = request.get_header("Origin")
    own = not is_upgrade() if origin is None else _is_own(origin, settings)
    if site not in (None, "same-origin") or not own:
        raise Forbidden(Message("error.origin"))


def _is_own(origin: str, settings: Settings) -> bool:
    if settings.public_origin is not None:
        return origin == settings.public_origin
    scheme, _, host = origin.partition("://")
    # A proxy may speak https for us and not say so.
    schemes = ("https",) if settings.secure else ("http", "https")
    return scheme in schemes and bool(host == request.get_header("Host"))


def _default_cookie(lab: str) -> str:
    """A cookie's name for a lab: ASCII alone goes through HTTP, and labs may share a host.

    What is no letter or digit becomes "_", in the name of "lab 1" as in that of "lab_1".
    """
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in lab)
    digest = "" if plain.isalnum() else f"_{hashlib.sha256(lab.encode()).hexdigest()[:8]}"
    return f"labnode_{plain}{digest}"
