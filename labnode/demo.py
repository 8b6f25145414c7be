"""The demo: a simulated node and its central server in one process, for one student: you."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path

from labnode.agent import Agent
from labnode.board import load_board
from labnode.clock import Clock, Event
from labnode.errors import ConfigError, LabnodeError
from labnode.module import load_lab
from labnode.sessions import Reason
from labnode.settings import load_settings
from labnode.weblab.fake import CentralServer

_PORT = 8080
_FAREWELL = 3.0  # seconds in which the student's browser still gets the last page
_TELL_EVERY = 30.0  # seconds between two lines about the time, where lines stay

Say = Callable[[str], None]


def demo_board() -> Path:
    """The board file that comes with labnode: beside the package in a clone, else inside it."""
    package = Path(__file__).parent
    for directory in (package.parent / "boards", package / "boards"):
        if (directory / "demo.yaml").is_file():
            return directory / "demo.yaml"
    raise ConfigError("boards/demo.yaml did not come with this installation; name a board file.")


def run(
    board: Path, *, port: int | None, seconds: float, open_browser: bool, stop: Event, say: Say
) -> None:
    """Let one student use `board`, simulated, for `seconds`, or until `stop`; then clean up.

    Without `port` it is 8080, or a free one where that is taken.
    """
    with tempfile.TemporaryDirectory(prefix="labnode-demo-") as directory:
        agent, server = _start(board, port, Path(directory))
        try:
            _visit(agent, server, seconds, open_browser, stop, say)
            if not agent.end_sessions(Reason.DELETED, 5.0):
                raise LabnodeError("The board was not clean 5 s after the end of the session.")
        finally:
            agent.stop()


def _start(board: Path, port: int | None, directory: Path) -> tuple[Agent, CentralServer]:
    password = secrets.token_urlsafe(16)

    def attempt(port: int) -> tuple[Agent, CentralServer]:
        options = {
            "weblab": {"username": "demo", "password": password},
            "state_dir": str(directory),
            "port": port,
        }
        file = load_board(board)
        agent = Agent(file, load_lab(file.module), load_settings(None, {}, options), simulate=True)
        agent.start()
        return agent, CentralServer(agent.url, "demo", password)

    if port is not None:
        return attempt(port)
    try:
        return attempt(_PORT)
    except ConfigError:
        return attempt(0)


def _visit(
    agent: Agent, server: CentralServer, seconds: float, open_browser: bool, stop: Event, say: Say
) -> None:
    lab = agent.board.file.lab
    session_id, url = server.new(
        name="Demo Student",
        username="demo",
        assigned_time=seconds,
        locale=os.environ.get("LANG", "")[:2] or "en",
        experiment_name=lab.name,
        category_name=lab.category,
    )
    say("The lab is ready. This is the student's address (Ctrl-C ends the demo):")
    say(url)
    if open_browser and webbrowser.open(url):
        say("It has been opened in your browser.")
    time_left = _TimeLeft(agent.clock, seconds, say)
    server.watch(session_id, time_left.tell, stop)
    time_left.end()
    say("Stopping." if stop.is_set() else "The session is over.")
    ending = server.delete(session_id)
    say("The board is clean." if ending.clean else f"The board is not clean: {ending.message}")
    stop.wait(_FAREWELL)


class _TimeLeft:
    """Says how much time is left: in place on a terminal, now and then elsewhere."""

    def __init__(self, clock: Clock, seconds: float, say: Say) -> None:
        self._clock = clock
        self._end = clock.now() + seconds
        self._say = say
        self._in_place = sys.stdout.isatty()
        self._told_at = float("-inf")

    def tell(self, answer: float | LabnodeError) -> None:
        """Called with every answer to the central server's "is it over?"."""
        if isinstance(answer, LabnodeError):
            self._say(str(answer))
            return
        now = self._clock.now()
        left = max(0, round(self._end - now))
        text = f"{left // 60}:{left % 60:02d} left"
        if self._in_place:
            print(f"\r{text} ", end="", flush=True)  # noqa: T201 - a line that does not stay
        elif now - self._told_at >= _TELL_EVERY:
            self._told_at = now
            self._say(text)

    def end(self) -> None:
        if self._in_place:
            self._say("")
