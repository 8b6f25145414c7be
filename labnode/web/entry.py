"""The addresses with a token in them: how a browser enters a session, polls it, and leaves."""

from __future__ import annotations

from urllib.parse import urljoin

from bottle import Bottle, HTTPResponse, request

from labnode import context
from labnode.http.replies import json_reply, redirect
from labnode.lab import Lab
from labnode.sessions import AnonymousUser, Reason, Session, Sessions, State, User
from labnode.settings import Settings
from labnode.web.auth import Access, viewer
from labnode.web.files import send_page
from labnode.web.page_state import PageState


class Entry:
    """`/callback/<token>` makes a browser the student's, `/observe/<token>` an observer's."""

    def __init__(
        self, sessions: Sessions, settings: Settings, access: Access, lab: Lab, page: PageState
    ) -> None:
        self._sessions = sessions
        self._settings = settings
        self._access = access
        self._lab = lab
        self._page = page

    def serve(self, app: Bottle) -> None:
        app.get("/callback/<token>", callback=self.enter, access="public")
        app.route("/callback/<token>/poll", ["GET", "POST"], self.poll, access="public")
        app.post("/callback/<token>/leaving", callback=self.leaving, access="public")
        app.post("/callback/<token>/logout", callback=self.logout, access="public")
        app.get("/observe/<token>", callback=self.enter_to_observe, access="public")
        app.get("/observe", callback=self.observe, access="observer")

    def enter(self, token: str) -> HTTPResponse:
        """Set a cookie; the first browser that comes back with its own has the session."""
        session = self._sessions.by_token(token)
        if session is None:
            return self._access.forbidden()
        if _is_prefetch():
            status = 200 if request.method == "HEAD" else 503
            return HTTPResponse("", status, **{"Cache-Control": "no-store"})
        if session.state in (State.DISPOSING, State.DISPOSED):
            return self._access.over(self._sessions.user(session))
        user = self._access.identify()
        known = isinstance(user, User) and user.session is session
        if not known and session.cookie is not None:
            return self._access.forbidden()
        response = redirect(self._first_page(session))
        response.set_header("Cache-Control", "no-store")
        if not known:
            response.add_header("Set-Cookie", self._access.cookie_for(session))
        self._sessions.poll(session)
        return response

    def poll(self, token: str) -> HTTPResponse:
        """The student is there."""
        session = self._mine(token)
        self._sessions.poll(session)
        time_left = self._sessions.user(session).time_left
        return json_reply({"success": True, "time_left": time_left})

    def leaving(self, token: str) -> HTTPResponse:
        """The page closes or reloads; the next 10 s show which."""
        session = self._mine(token)
        self._sessions.leaving(session)
        return json_reply({"success": True})

    def logout(self, token: str) -> HTTPResponse:
        """The student leaves."""
        session = self._mine(token)
        self._sessions.end(session, Reason.EXITED)
        return json_reply({"success": True})

    def enter_to_observe(self, token: str) -> HTTPResponse:
        """Set the observer's cookie for this session, in place of one for another."""
        observer = self._access.observers.find(token)
        if observer is None:
            return self._access.forbidden()
        if not observer.active:
            return self._access.over(observer)
        response = redirect(f"{self._settings.base_path}/observe")
        response.set_header("Cache-Control", "no-store")
        cookie = self._access.set_cookie(self._access.observer_cookie, token)
        response.add_header("Set-Cookie", cookie)
        return response

    def observe(self) -> HTTPResponse:
        """The student's page, read-only."""
        return send_page(*self._page.page(viewer()))

    def _mine(self, token: str) -> Session:
        """The session if it is active and this browser's; else raises the reply that says why."""
        user = self._access.identify()
        session = self._sessions.by_token(token)
        if session is None or isinstance(user, AnonymousUser) or user.session is not session:
            raise json_reply({"success": False, "reason": "forbidden"}, 403)
        if not session.active:
            raise json_reply({"success": False, "reason": session.reason or "starting"})
        return session

    def _first_page(self, session: Session) -> str:
        with context.acting(user=self._sessions.user(session)):
            url = self._lab.first_url() or ""
        home = f"{self._settings.base_path}/"
        if url.startswith("/") and not f"{url}/".startswith(home):
            return f"{self._settings.base_path}{url}"
        return urljoin(home, url)


def _is_prefetch() -> bool:
    """HEAD requests, prefetches and previews must not bind a session to a browser."""
    purposes = (request.get_header(h, "") for h in ("Sec-Purpose", "Purpose", "X-Moz"))
    return request.method == "HEAD" or any("fetch" in p or "preview" in p for p in purposes)
