"""A browser with the student's page open, that can be killed or lose its network."""

from __future__ import annotations

import contextlib
import select
import threading
from typing import Any
from urllib.parse import urlsplit

from wsproto.events import Ping

from tests.process.machine import Student
from tests.web.sockets import Page


class OpenPage:
    """Answers every ping on a thread of its own, until it is `killed` or `cut_off`."""

    def __init__(self, student: Student) -> None:
        where = urlsplit(student.url)
        assert where.hostname is not None
        assert where.port is not None
        address = (where.hostname, where.port)
        self._page = Page(address, "/api/live", f"http://{where.netloc}", student.cookie)
        self._page.ask()
        assert self._page.read_head() == 101
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer, name="browser", daemon=True)
        self._thread.start()

    def killed(self) -> None:
        """The kernel closes its socket, and nobody says goodbye."""
        self.cut_off()
        self._page.close()

    def cut_off(self) -> None:
        """Nothing arrives any more, in either direction."""
        self._over.set()
        self._thread.join()

    def __enter__(self) -> OpenPage:
        return self

    def __exit__(self, *_error: Any) -> None:
        self.killed()

    def _answer(self) -> None:
        page = self._page
        with contextlib.suppress(OSError, ValueError):
            while not self._over.is_set():
                if not select.select([page.socket], [], [], 0.02)[0]:
                    continue
                data = page.socket.recv(65536)
                if not data:
                    return
                page.protocol.receive_data(data)
                for event in page.protocol.events():
                    if isinstance(event, Ping):
                        page.send_raw(page.protocol.send(event.response()))
