"""One request of a central server to a node: the reply as a dict, or one clear error."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

from labnode.errors import BadInput, Busy, Forbidden, LabnodeError, StartFailed
from labnode.jsondata import parse
from labnode.locale import Message

_MAX_REPLY = 1 << 20  # bytes
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # labs are called directly


class NoAnswer(LabnodeError):
    """Nothing answers at the node's address, or something that is not a labnode."""

    code, status = "no-answer", 502


class Caller:
    """Calls what is below `prefix` on the node at `url` (before the prefix) with Basic auth."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        form: bool = False,
        prefix: str = "/weblab/sessions/",
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise BadInput(Message("cli.call-address", url=url))
        self._url = url
        self._username = username
        self._authorization = b64encode(f"{username}:{password}".encode()).decode()
        self._form = form
        self._prefix = prefix

    def ask(
        self,
        path: str,
        fields: dict[str, Any] | None = None,
        *,
        timeout: float,
        method: str | None = None,
        any_status: bool = False,
    ) -> dict[str, Any]:
        """The answer to a GET, or to a POST of `fields`, or to `method`.

        Raises Busy or StartFailed where the lab says so, Forbidden for the credentials, BadInput
        for what the node does not accept, NoAnswer for the rest. With `any_status` an answer is
        returned whatever its HTTP status.
        """
        request = urllib.request.Request(f"{self._url}{self._prefix}{path}", method=method)
        request.add_header("Authorization", f"Basic {self._authorization}")
        if fields is not None and self._form:
            request.data = urlencode(fields).encode()
        elif fields is not None:
            request.data = json.dumps(fields).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with _OPENER.open(request, timeout=timeout) as response:
                return self._read(response.read(_MAX_REPLY))
        except urllib.error.HTTPError as error:
            with error:
                if any_status:
                    return self._read(error.read(_MAX_REPLY))
                raise self._refusal(error) from None
        except OSError as error:
            raise NoAnswer(self._why(getattr(error, "reason", error))) from None
        except (http.client.HTTPException, ValueError):
            raise self.not_a_labnode() from None

    def start(self, path: str, fields: dict[str, Any], *, timeout: float) -> tuple[str, str]:
        """Ask for a session: its id and the student's URL; raises what `ask` does."""
        answer = self.ask(path, fields, timeout=timeout)
        session_id, url = answer.get("session_id"), answer.get("url")
        refused = answer.get("error") or answer.get("success") is False
        if refused or not isinstance(session_id, str) or not isinstance(url, str):
            raise self.not_a_labnode()
        return session_id, url

    def not_a_labnode(self) -> NoAnswer:
        """The error for a reply that does not belong to the protocol."""
        return NoAnswer(Message("cli.call-other", url=self._url))

    def _read(self, body: bytes) -> dict[str, Any]:
        try:
            answer = parse(body)
        except ValueError:
            raise self.not_a_labnode() from None
        if isinstance(answer, dict):
            return answer
        raise self.not_a_labnode()

    def _refusal(self, error: urllib.error.HTTPError) -> LabnodeError:
        if error.code == 401:
            return Forbidden(Message("cli.call-credentials", url=self._url, user=self._username))
        message = self._read(error.read(_MAX_REPLY)).get("message")
        wait = error.headers.get("Retry-After", "")
        match error.code:
            case 400:
                return BadInput(Message("cli.call-not-accepted", url=self._url, why=message))
            case 429:
                return Forbidden(f"{message}")
            case 503 if wait.isdecimal():
                return Busy(f"{message}", float(wait))
            case 503:
                return StartFailed(f"{message}")
            case _:
                words = Message("cli.call-answered", url=self._url, status=error.code, why=message)
                return NoAnswer(words)

    def _why(self, reason: object) -> Message:
        match reason:
            case ConnectionRefusedError():
                return Message("cli.call-refused", url=self._url)
            case TimeoutError():
                return Message("cli.call-slow", url=self._url)
            case _:
                return Message("cli.call-failed", url=self._url, why=str(reason))
