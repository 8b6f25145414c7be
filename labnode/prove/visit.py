"""A student's visit to the node that is put to the proof: enters, switches, leaves."""

from __future__ import annotations

import urllib.request
from http.cookiejar import CookieJar

from labnode.weblab.fake import CentralServer

_PATIENCE = 30.0  # seconds for an answer
_SLOT = 3600.0


class Visit:
    """A student with a browser, whose session the central server has just started."""

    def __init__(self, server: CentralServer) -> None:
        self._server = server
        self._session, self._url = server.new(assigned_time=_SLOT)
        self._origin = self._url.partition("/callback/")[0]
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))
        self._open(self._url)

    def switch_on(self, device: str) -> None:
        self._open(f"{self._origin}/api/devices/{device}/on", b"{}")

    def leave(self) -> None:
        """Press the Leave button."""
        self._open(f"{self._url}/logout", b"{}")

    def end(self) -> None:
        """Have the central server end the session; returns when the lab has cleaned up."""
        self._server.delete(self._session)

    def _open(self, url: str, body: bytes | None = None) -> None:
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(url, body, headers)
        with self._opener.open(request, timeout=_PATIENCE) as answer:
            answer.read()
