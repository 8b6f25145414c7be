"""The demo: a simulated node and its central server in one process, for one student: you."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

import labnode
from labnode.agent import Agent
from labnode.board import load_board
from labnode.errors import ConfigError, LabnodeError
from labnode.module import load_lab
from labnode.sessions import Reason
from labnode.settings import load_settings
from labnode.weblab.fake import CentralServer

_PORT = 8080
_FAREWELL = 3.0  # seconds in which the student's browser still gets the page after the last


def demo_board() -> Path:
    """The board file that comes with labnode: in a clone beside the package, else inside it."""
    package = Path(labnode.__file__).parent
    for directory in (package.parent / "boards", package / "boards"):
        if (directory / "demo.yaml").is_file():
            return directory / "demo.yaml"
    raise ConfigError("boards/demo.yaml did not come with this installation; name a board file")


def run(
    board: Path,
    *,
    port: int | None,
    seconds: float,
    open_browser: bool,
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    """Let one student use `board`, simulated, for `seconds`, or until `stop`; then clean up.

    Without `port` it is 8080, or a free one where that is taken.
    """
    with tempfile.TemporaryDirectory(prefix="labnode-demo-") as directory:
        agent, server = _begin(board, port, Path(directory))
        try:
            _visit(agent, server, seconds, open_browser, stop, say)
            agent.end_sessions(Reason.DELETED, 5.0)
        finally:
            agent.stop()


def _begin(board: Path, port: int | None, directory: Path) -> tuple[Agent, CentralServer]:
    password = secrets.token_urlsafe(16)
    attempts = [port] if port is not None else [_PORT, 0]
    for attempt in attempts:
        options = {
            "weblab": {"username": "demo", "password": password},
            "state_dir": str(directory),
            "port": attempt,
        }
        file = load_board(board)
        agent = Agent(file, load_lab(file.module), load_settings(None, {}, options), simulate=True)
        try:
            agent.start()
            return agent, CentralServer(agent.url, "demo", password)
        except ConfigError:
            if attempt == attempts[-1]:
                raise
    raise AssertionError("there is always a last attempt")


def _visit(
    agent: Agent,
    server: CentralServer,
    seconds: float,
    open_browser: bool,
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    lab = agent.board.file.lab
    session_id, url = server.new(
        name="Demo Student",
        username="demo",
        assigned_time=seconds,
        locale=os.environ.get("LANG", "")[:2],
        experiment_name=lab.name,
        category_name=lab.category,
    )
    say("The lab is ready. Open this address in your browser (Ctrl-C ends the demo):")
    say("")
    say(url)
    say("")
    if open_browser:
        _open_browser(url, say)
    clock = _Countdown(seconds, say)
    over = agent.clock.event()
    with _stopping(stop, over):
        server.watch(session_id, clock.tell, over)
    if stop.is_set():
        say("Stopped: cleaning the board.")
        server.delete(session_id)
        return
    say("The session is over: the board is being cleaned.")
    server.delete(session_id)
    stop.wait(_FAREWELL)


@contextlib.contextmanager
def _stopping(stop, over):  # type: ignore[no-untyped-def]
    yield


class _Countdown:
    """Says how much time is left, seldom in a file and every time on a terminal."""

    def __init__(self, seconds: float, say: Callable[[str], None]) -> None:
        self._end = time.monotonic() + seconds
        self._say = say

    def tell(self, answer: float | LabnodeError) -> None:
        if isinstance(answer, LabnodeError):
            self._say(str(answer))


def _open_browser(url: str, say: Callable[[str], None]) -> None:
    return
