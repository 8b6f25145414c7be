"""Uploads: a student's file comes in, is looked at, and goes to its programmer."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from bottle import Bottle, HTTPResponse, request

from labnode import context
from labnode.board import Programmer
from labnode.errors import (
    AlreadyRunningError,
    BadFile,
    Busy,
    NotFound,
    SessionOver,
    StorageError,
    TooLittleTime,
)
from labnode.http.replies import json_reply
from labnode.http.request import Refusal
from labnode.http.writer import Sink
from labnode.lab import Node
from labnode.lab.pages import locales
from labnode.lab.programming import in_language
from labnode.lab.spool import Spool, Spooled
from labnode.sessions import User
from labnode.tasks import Task
from labnode.web.auth import Access

_ADDRESS = re.compile(r"/api/(?:devices/(\w+)/program|uploads/(\w+))", re.ASCII)
_AT_ONCE = 4  # files that come in, on the whole node
_PIECE = 65536
_LONGEST_NAME = 100
_NO_FORM = {
    "en": "The file itself is the body of the request, not a form with the file in it.",
    "es": "El cuerpo de la petición es el fichero mismo, no un formulario que lo contiene.",
}
_REFUSALS = (AlreadyRunningError.code, TooLittleTime.code)


class Uploads:
    """`POST api/devices/NAME/program` with the file as the body and its name as `?name=`.

    The answer is 202 with the task that programs, or 409 when it may not now. The name only says of
    what kind the file should be; what it is called in the spool nobody can choose.
    """

    def __init__(self, node: Node, access: Access, base: str) -> None:
        self.access = access
        self._node = node
        self._spool = node.programming.spool
        self._base = base
        self._programmers = {
            name: programmer
            for name, programmer in node.programming.programmers.items()
            if node.board.file.devices[name].access == "user"
        }

    def serve(self, app: Bottle) -> None:
        for name in self._programmers:
            for address in (f"/api/devices/{name}/program", f"/api/uploads/{name}"):
                app.post(address, callback=lambda name=name: self.program(name))
            app.post(f"/api/devices/{name}/blank", callback=lambda name=name: self.blank(name))

    # ------------------------------------------------------------------ while it comes in

    def expected(self, environ: dict[str, Any]) -> Sink | None:
        """Where the body of a request goes whose head has come; a Refusal before it is read.

        For the web server's own thread, which waits for nothing here.
        """
        path = re.sub("/{2,}", "/", environ.get("PATH_INFO", ""))
        match = _ADDRESS.fullmatch(path.removeprefix(self._base))
        if match is None or environ["REQUEST_METHOD"] != "POST":
            return None
        programmer = self._programmers.get(match[1] or match[2])
        if programmer is None:
            return None
        session = self.access.holder(environ.get("HTTP_COOKIE", ""))
        if session is None:
            raise Refusal(403, "Log in first.", "forbidden")
        if not session.active:
            raise Refusal(403, "The session is over.", SessionOver.code)
        if int(environ["CONTENT_LENGTH"] or 0) > programmer.max_size:
            raise Refusal(413, _too_large(programmer), BadFile.code)
        return _Incoming(self._spool, session.id, programmer.max_size)

    # ------------------------------------------------------------------ when it is there

    def program(self, device: str) -> HTTPResponse:
        """Write the body, a file, into the chip."""
        user = _user()
        programmer = self._programmers[device]
        incoming: _Incoming | None = request.environ.get("labnode.body")
        spooled = incoming.spooled if incoming else self._spool_input(user, programmer)
        try:
            if str(request.content_type).lower().startswith("multipart/"):
                raise BadFile(_NO_FORM)
            name = _name(request.query.getunicode("name", ""))
            image = spooled.keep(_suffix(name, programmer))
        finally:
            spooled.discard()
        try:
            programmer.check(image)
            if not user.active:
                raise SessionOver("The session is over.")
        except BadFile as error:
            self._spool.remove(image)
            in_language(error, locales(user))
            raise
        except BaseException:
            self._spool.remove(image)
            raise
        facts = {"device": device, "file": name, "size": spooled.size, "sha256": spooled.sha256}
        self._node.sessions.actions.record(user.session_id, user.username_unique, "upload", facts)
        return _answer(
            self._node.programming.start(device, image, name=name, languages=locales(user))
        )

    def blank(self, device: str) -> HTTPResponse:
        """Write the blank image into the chip."""
        if not self._node.board.file.devices[device].describe().get("blank"):
            raise NotFound(f"'{device}' has no blank image.")
        return _answer(self._node.programming.start(device, None, languages=locales(_user())))

    def _spool_input(self, user: User, programmer: Programmer) -> Spooled:
        """The body where the web server has not spooled it: there is none, or another server."""
        spooled = _begin(self._spool, user.session_id, programmer.max_size)
        body = request.environ["wsgi.input"]
        try:
            while data := body.read(_PIECE):
                spooled.write(data)
                if spooled.size > spooled.limit:
                    raise BadFile({"en": _too_large(programmer)})
        except BaseException:
            spooled.discard()
            raise
        return spooled


class _Incoming:
    """The body of a request on its way into the spool, for the web server's writer."""

    def __init__(self, spool: Spool, session_id: str, limit: int) -> None:
        self.limit = limit
        self._spool = spool
        self._session_id = session_id
        self._spooled: Spooled | None = None

    @property
    def spooled(self) -> Spooled:
        assert self._spooled is not None, "it is opened before anything else"
        return self._spooled

    def open(self) -> None:
        try:
            self._spooled = _begin(self._spool, self._session_id, self.limit)
        except (Busy, StorageError) as error:
            raise Refusal(error.status, str(error), error.code) from None

    def write(self, data: bytes) -> None:
        self.spooled.write(data)

    def discard(self) -> None:
        if self._spooled is not None:
            self._spooled.discard()


def _begin(spool: Spool, session_id: str, limit: int) -> Spooled:
    if spool.coming_in(session_id) or spool.coming_in() >= _AT_ONCE:
        raise Busy("Another file is still coming in; try again in a moment.")
    try:
        return spool.begin(session_id, limit)
    except OSError:
        raise StorageError("The lab's computer has no room for the file.") from None


def _user() -> User:
    user = context.current_user.get()
    assert isinstance(user, User)
    return user


def _answer(task: Task) -> HTTPResponse:
    refused = task.error is not None and task.error["code"] in _REFUSALS
    return json_reply(task.to_json(), 409 if refused else 202)


def _name(given: str) -> str:
    """What a student calls a file, for people to read: its last part, printable and short."""
    last = PurePath(given.replace("\\", "/")).name
    return "".join(c if c.isprintable() else "?" for c in last)[-_LONGEST_NAME:]


def _suffix(name: str, programmer: Programmer) -> str:
    """The kind of a file by its name, one of those that are taken; BadFile."""
    suffix = PurePath(name).suffix.lower()
    if suffix in programmer.accept:
        return suffix
    if not name and len(programmer.accept) == 1:
        return programmer.accept[0]
    kinds = ", ".join(programmer.accept)
    raise BadFile(
        {
            "en": f"Only {kinds} files are taken (their name goes into the address: ?name=).",
            "es": f"Solo se aceptan ficheros {kinds} (su nombre va en la dirección: ?name=).",
        }
    )


def _too_large(programmer: Programmer) -> str:
    return f"The file has more than {programmer.max_size} bytes."
