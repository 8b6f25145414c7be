"""The addresses of an observer: the way in, and the page that can be looked at."""

from __future__ import annotations

from bottle import Bottle, HTTPResponse

from labnode.http.replies import redirect
from labnode.sessions import Observer
from labnode.settings import Settings
from labnode.web.access import Access
from labnode.web.files import send_page
from labnode.web.picture import Picture, asking


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
        session = self._access.observers.find(token)
        if session is None:
            return self._access.forbidden()
        if not session.user.active:
            return self._access.over(Observer(session))
        response = redirect(f"{self._settings.base_path}/observe")
        response.set_header("Cache-Control", "no-store")
        cookie = self._access.set_cookie(self._access.observer_cookie, token)
        response.add_header("Set-Cookie", cookie)
        return response

    def page(self) -> HTTPResponse:
        """The page as the student sees it, without what could be done there."""
        return send_page(*self._picture.page(asking()))
