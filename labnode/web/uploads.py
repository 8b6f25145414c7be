"""Uploads: a student's file is received, checked, and given to its programmer."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any
from urllib.parse import parse_qs

from bottle import Bottle, HTTPResponse, request

from labnode.board import Programmer
from labnode.errors import BadFile, Busy, NotFound, SessionOver, StorageError
from labnode.http.request import Refusal
from labnode.http.writer import Sink
from labnode.lab import Node
from labnode.lab.pages import accepted
from labnode.lab.spool import Spool, Spooled
from labnode.locale import Message
from labnode.sessions import User
from labnode.web.auth import Access, student
from labnode.web.board_api import task_reply

_ADDRESS = re.compile(r"/api/(?:devices/(\w+)/program|uploads/(\w+))", re.ASCII)
_AT_ONCE = 4  # uploads on the whole node
_PIECE = 65536
_LONGEST_NAME = 100


class Uploads:
    """`POST api/devices/NAME/program` with the file as the body and its name as `?name=`.

    The answer is 202 with the programming task, or 409 when it cannot start now. The name only
    gives the kind of the file; nobody can choose its name in the spool.
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

    # ------------------------------------------------------------------ while it is received

    def expected(self, environ: dict[str, Any]) -> Sink | None:
        """Where the body of a request goes, by its head; raises a Refusal before reading it.

        Called on the web server's own thread: never waits.
        """
        path = re.sub("/{2,}", "/", environ.get("PATH_INFO", ""))
        match = _ADDRESS.fullmatch(path.removeprefix(self._base))
        if match is None or environ["REQUEST_METHOD"] != "POST":
            return None
        programmer = self._programmers.get(match[1] or match[2])
        if programmer is None:
            return None
        session = self.access.holder(environ)
        if session is None:
            raise Refusal(403, self._say(environ, Message("error.log-in")), "forbidden")
        own = session.request.locale or ""
        if not session.active:
            over = Message("error.session-over")
            raise Refusal(403, self._say(environ, over, own), SessionOver.code)
        if int(environ["CONTENT_LENGTH"] or 0) > programmer.max_size:
            raise Refusal(413, self._say(environ, _too_large(programmer), own), BadFile.code)
        return _Upload(self._spool, session.id, programmer.max_size)

    def _say(self, environ: dict[str, Any], message: Message, own: str = "") -> str:
        """A sentence for the sender of a request, whose session has the language `own`."""
        asked = parse_qs(environ.get("QUERY_STRING", "")).get("locale", [""])
        browser = accepted(environ.get("HTTP_ACCEPT_LANGUAGE", ""))
        return self._node.board.file.catalogues.best([*asked, own, *browser]).say(message)

    # ------------------------------------------------------------------ when it is complete

    def program(self, device: str) -> HTTPResponse:
        """Write the body, a file, into the chip."""
        user = student()
        programmer = self._programmers[device]
        incoming: _Upload | None = request.environ.get("labnode.body")
        spooled = incoming.spooled if incoming else self._spool_input(user, programmer)
        try:
            if str(request.content_type).lower().startswith("multipart/"):
                raise BadFile(Message("file.form"))
            name = _name(request.query.getunicode("name", ""))
            image = spooled.keep(_suffix(name, programmer))
        finally:
            spooled.discard()
        try:
            programmer.check(image)
            if not user.active:
                raise SessionOver(Message("error.session-over"))
        except BaseException:
            self._spool.remove(image)
            raise
        facts = {"device": device, "file": name, "size": spooled.size, "sha256": spooled.sha256}
        self._node.sessions.actions.record(user.session_id, user.username_unique, "upload", facts)
        user.session.sent(self._node.board.clock.now(), device, name, spooled.size)
        task = self._node.programming.start(device, image, name=name)
        return task_reply(task, self.access.language, accepted=202)

    def blank(self, device: str) -> HTTPResponse:
        """Write the blank image into the chip."""
        if not self._node.board.file.devices[device].describe().get("blank"):
            raise NotFound(Message("error.no-blank", device=device))
        task = self._node.programming.start(device, None)
        return task_reply(task, self.access.language, accepted=202)

    def _spool_input(self, user: User, programmer: Programmer) -> Spooled:
        """Spool a body that the web server has not spooled: an empty one, or another server's."""
        spooled = _begin(self._spool, user.session_id, programmer.max_size)
        body = request.environ["wsgi.input"]
        try:
            while data := body.read(_PIECE):
                spooled.write(data)
                if spooled.size > spooled.limit:
                    raise BadFile(_too_large(programmer))
        except BaseException:
            spooled.discard()
            raise
        return spooled


class _Upload:
    """The body of a request on its way into the spool: a Sink of the web server's writer."""

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
        raise Busy(Message("error.upload-busy"))
    try:
        return spool.begin(session_id, limit)
    except OSError:
        raise StorageError(Message("error.no-room")) from None


def _name(given: str) -> str:
    """A student's name of a file, for people: its last part, printable and short."""
    last = PurePath(given.replace("\\", "/")).name
    return "".join(c if c.isprintable() else "?" for c in last)[-_LONGEST_NAME:]


def _suffix(name: str, programmer: Programmer) -> str:
    """The suffix of a file's name, one that the programmer accepts; else BadFile."""
    suffix = PurePath(name).suffix.lower()
    if suffix in programmer.accept:
        return suffix
    if not name and len(programmer.accept) == 1:
        return programmer.accept[0]
    kinds = ", ".join(programmer.accept)
    raise BadFile(Message("file.kinds-address", kinds=kinds))


def _too_large(programmer: Programmer) -> Message:
    return Message("file.too-large", size=programmer.max_size)
