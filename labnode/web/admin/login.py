"""Who may use the administration: a form and sessions for browsers, HTTP Basic for scripts."""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import threading
from dataclasses import dataclass
from urllib.parse import parse_qsl

from bottle import Bottle, HTTPResponse, request

from labnode.clock import Clock
from labnode.http.basic_auth import BasicAuth, Denied, RememberedAddresses
from labnode.http.cookies import cookie_value
from labnode.http.guesses import GuessLimit
from labnode.http.replies import json_reply, redirect
from labnode.lab.pages import locales
from labnode.locale import Catalogues, Language, fill
from labnode.settings import AdminAccess, Client, Settings
from labnode.web import html
from labnode.web.admin.totp import Memory, Totp

log = logging.getLogger(__name__)

IDLE = 1800.0  # seconds without a request, after which a session ends; an open page asks repeatedly
LONGEST = 43200.0  # seconds of a session at most
_MOST = 20  # sessions at once
_LONGEST_FORM = 4096  # bytes
_PUBLIC = ("/admin/login", *(f"/admin/static/{n}" for n in ("icon.svg", "page.css", "admin.css")))
_STRANGERS = "strangers who have the password and no code"


@dataclass
class _Login:
    since: float
    seen: float


class LoginSessions:
    """The browsers that have logged in, by their tokens; a restart ends all of them. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._logins: dict[bytes, _Login] = {}  # by the digest of the token, oldest first

    def begin(self) -> str:
        """The token of a new session; the oldest one ends where there are too many."""
        token = secrets.token_urlsafe(32)
        now = self._clock.now()
        with self._lock:
            if len(self._logins) >= _MOST:
                del self._logins[next(iter(self._logins))]
            self._logins[_digest(token)] = _Login(now, now)
        return token

    def goes_on(self, token: str) -> bool:
        """Whether it is the token of a session; the session is in use then."""
        now = self._clock.now()
        with self._lock:
            login = self._logins.get(_digest(token))
            if login is None:
                return False
            if now >= min(login.seen + IDLE, login.since + LONGEST):
                del self._logins[_digest(token)]
                return False
            login.seen = now
            return True

    def end(self, token: str) -> None:
        with self._lock:
            self._logins.pop(_digest(token), None)


class Login:
    """Lets administrators in, and refuses everybody else.

    `known` are the addresses that were let in; `memory` keeps which code was used last.
    """

    def __init__(
        self,
        access: AdminAccess,
        settings: Settings,
        clock: Clock,
        known: RememberedAddresses,
        *,
        memory: Memory,
        catalogues: Catalogues,
    ) -> None:
        self._catalogues = catalogues
        client = Client(name="admin", username=access.username, password=access.password)
        self._auth = BasicAuth([client], clock, known)
        self._totp = Totp(access.totp, clock, memory) if access.totp else None
        self._codes = GuessLimit(clock)
        self._sessions = LoginSessions(clock)
        self._settings = settings
        node = hashlib.sha256(str(settings.state_dir.absolute()).encode()).hexdigest()[:8]
        self._cookie = f"labnode_admin_{node}"  # cookies ignore ports: a host may have several labs
        self._home = f"{settings.base_path}/admin"

    def serve(self, app: Bottle) -> None:
        """Add the form and its answers."""
        app.get("/admin/login", callback=self.page)
        app.post("/admin/login", callback=self.log_in)
        app.post("/admin/logout", callback=self.log_out)

    @property
    def by_browser(self) -> bool:
        """Whether the current request belongs to a session, which can be logged out."""
        return self._sessions.goes_on(self._token())

    def refusal(self) -> HTTPResponse | None:
        """The reply to a request of somebody who is not let in; None for an administrator's."""
        if request.path in _PUBLIC or self.by_browser:
            return None
        authorization = request.get_header("Authorization")
        if authorization is None and _is_browsers():
            return self._to_form()
        if self._totp is not None:
            return _refused("A code is needed: log in with a browser.", 403)
        who = self._auth.check(authorization, _address())
        if not isinstance(who, Denied):
            return None
        status, headers = who.answer("labnode administration")
        reply = _refused(who.message, status)
        reply.headers.update(headers)
        return reply

    @property
    def _language(self) -> Language:
        return self._catalogues.best(locales())

    def page(self, message: str = "", status: int = 200) -> HTTPResponse:
        """The form."""
        language = self._language
        page = html.render_admin_login(
            language,
            words=language.section("admin"),
            message=message,
            code=self._totp is not None,
        )
        return HTTPResponse(page, status, **{"Cache-Control": "no-store"})

    def log_in(self) -> HTTPResponse:
        """Begin a session with a token of its own, whatever the browser had before."""
        text = request.environ["wsgi.input"].read(_LONGEST_FORM).decode("utf-8", "replace")
        fields = dict(parse_qsl(text, keep_blank_values=True))
        pair = f"{fields.get('username', '')}:{fields.get('password', '')}".encode()
        who = self._auth.compare(pair, _address())
        denied = who if isinstance(who, Denied) else self._check_code(fields.get("code", ""))
        if denied is not None:
            return self._again(denied)
        self._auth.remember(_address())
        self._sessions.end(self._token())
        log.info("The administrator has logged in from %s.", _address())
        return self._with_cookie(_see_other(self._home), self._sessions.begin())

    def log_out(self) -> HTTPResponse:
        """End the session, in all its windows."""
        self._sessions.end(self._token())
        wants_page = "text/html" in request.get_header("Accept", "")
        form = f"{self._home}/login"
        return self._with_cookie(
            _see_other(form) if wants_page else json_reply({"success": True}), None
        )

    def _again(self, denied: Denied) -> HTTPResponse:
        """The form, and why it was not enough: not whether it was the password or the code."""
        words = self._language.section("admin")
        if denied.retry_after is None:
            return self.page(words["login:wrong:code" if self._totp else "login:wrong"], 403)
        reply = self.page(fill(words["login:wait"], {"seconds": denied.retry_after}), 429)
        reply.set_header("Retry-After", str(denied.retry_after))
        return reply

    def _check_code(self, code: str) -> Denied | None:
        if self._totp is None:
            return None
        # A code has a million values only: strangers share one budget, and have no part in that of
        # an address that was let in.
        source = self._auth.known_source(_address()) or _STRANGERS
        if wait := self._codes.take(source):
            seconds = math.ceil(wait)
            return Denied(f"Too many wrong codes: wait {seconds} s.", seconds)
        if self._totp.accept(code):
            self._codes.give_back(source)
            return None
        log.warning("The administrator's password with a wrong code, from %s", _address())
        return Denied("Wrong code.")

    def _to_form(self) -> HTTPResponse:
        if "text/html" in request.get_header("Accept", ""):
            return _see_other(f"{self._home}/login")
        # Without WWW-Authenticate: the browser would ask for a password by itself.
        return _refused("Log in first.", 403)

    def _with_cookie(self, response: HTTPResponse, token: str | None) -> HTTPResponse:
        """The response with the cookie of a session; with None, the cookie is forgotten."""
        parts = [f"{self._cookie}={token or ''}", "HttpOnly", f"Path={self._home}"]
        parts += ["SameSite=Strict", *(["Max-Age=0"] if token is None else [])]
        if self._settings.secure or request.environ["wsgi.url_scheme"] == "https":
            parts += ["Secure"]
        response.add_header("Set-Cookie", "; ".join(parts))
        return response

    def _token(self) -> str:
        return cookie_value(request.environ.get("HTTP_COOKIE", ""), self._cookie)


def _is_browsers() -> bool:
    """Whether a browser has sent it, for a page or from one."""
    header = request.get_header
    return "text/html" in header("Accept", "") or any(map(header, ("Origin", "Sec-Fetch-Site")))


def _see_other(url: str) -> HTTPResponse:
    response = redirect(url)
    response.status = 303
    response.set_header("Cache-Control", "no-store")
    return response


def _refused(message: str, status: int) -> HTTPResponse:
    return json_reply({"error": True, "code": "credentials", "message": message}, status)


def _address() -> str:
    return str(request.environ.get("REMOTE_ADDR", ""))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
