"""The addresses with a session's token: the way in, staying, and leaving."""

from __future__ import annotations

from typing import Any

from bottle import Bottle, HTTPResponse, request

from labnode import context
from labnode.http.replies import json_reply, redirect
from labnode.lab import Lab
from labnode.sessions import AnonymousUser, Reason, Session, Sessions, State, User
from labnode.settings import Settings
from labnode.web.auth import Access
from labnode.web.files import send_page
from labnode.web.page_state import Picture, asking


class Callback:
    """`/callback/<token>` makes a browser the student's; below it, poll, leaving and logout."""

    def __init__(self, sessions: Sessions, settings: Settings, access: Access, lab: Lab) -> None:
        self._sessions = sessions
        self._settings = settings
        self._access = access
        self._lab = lab

    def serve(self, app: Bottle) -> None:
        app.get("/callback/<token>", callback=self.enter, access="public")
        app.route("/callback/<token>/poll", ["GET", "POST"], self.poll, access="public")
        app.post("/callback/<token>/leaving", callback=self.leaving, access="public")
        app.post("/callback/<token>/logout", callback=self.logout, access="public")

    def enter(self, token: str) -> HTTPResponse:
        """Give the browser a cookie; the first that comes back with its own has the session."""
        session = self._sessions.by_token(token)
        if session is None:
            return self._access.forbidden()
        if _is_only_looking():  # would be shown instead of the lab, or take its place
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
        session, refusal = self._mine(token)
        if session is None:
            return refusal
        self._sessions.poll(session)
        time_left = self._sessions.user(session).time_left
        return json_reply({"success": True, "time_left": time_left})

    def leaving(self, token: str) -> HTTPResponse:
        """The page closes or is loaded again; 10 s will tell."""
        session, refusal = self._mine(token)
        if session is None:
            return refusal
        self._sessions.leaving(session)
        return json_reply({"success": True})

    def logout(self, token: str) -> HTTPResponse:
        """The student leaves."""
        session, refusal = self._mine(token)
        if session is None:
            return refusal
        self._sessions.end(session, Reason.EXITED)
        return json_reply({"success": True})

    def _mine(self, token: str) -> tuple[Session | None, HTTPResponse]:
        """The session if it is active and this browser's, else the answer that says why not."""
        user = self._access.identify()
        session = self._sessions.by_token(token)
        reply: dict[str, Any] = {"success": False, "reason": "forbidden"}
        if session is None or isinstance(user, AnonymousUser) or user.session is not session:
            return None, json_reply(reply, 403)
        if not session.active:
            reply["reason"] = session.reason or "starting"
            return None, json_reply(reply)
        return session, json_reply(reply)

    def _first_page(self, session: Session) -> str:
        with context.acting(user=self._sessions.user(session)):
            return self._lab.first_url() or f"{self._settings.base_path}/"


def _is_only_looking() -> bool:
    """HEAD requests, prefetches and previews never bind a session to a browser."""
    purposes = (request.get_header(h, "") for h in ("Sec-Purpose", "Purpose", "X-Moz"))
    return request.method == "HEAD" or any("fetch" in p or "preview" in p for p in purposes)


class Observing:
    """`/observe/<token>` makes a browser an observer's, `/observe` is what it sees then."""

    def __init__(self, settings: Settings, access: Access, picture: Picture) -> None:
        self._settings = settings
        self._access = access
        self._picture = picture

    def serve(self, app: Bottle) -> None:
        app.get("/observe/<token>", callback=self.enter, access="public")
        app.get("/observe", callback=self.page, access="observer")

    def enter(self, token: str) -> HTTPResponse:
        """Give the browser a cookie for this session, instead of one for another."""
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

    def page(self) -> HTTPResponse:
        """The page as the student sees it, without what could be done there."""
        return send_page(*self._picture.page(asking()))
