"""The demo, and the page that places devices on a picture: a simulated node for one person: you."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from labnode.board import load_board
from labnode.board.config.board_file import BoardFile
from labnode.board.config.picture import candidates
from labnode.cli.browser import open_browser
from labnode.cli.language import locales, said, told
from labnode.cli.node import DEMO_PREFIX
from labnode.cli.options import program
from labnode.cli.owner import become_owner
from labnode.clock import Clock, Event
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.input import Input
from labnode.errors import ConfigError, LabnodeError
from labnode.lab import Lab
from labnode.lab.loader import load_lab
from labnode.locale import BUILT_IN
from labnode.node.agent import Agent
from labnode.sessions import Reason, Session
from labnode.settings import load_settings
from labnode.web.html import render_place
from labnode.weblab.fake import CentralServer

_PORT = 8080
_FAREWELL = 3.0  # seconds in which the student's browser still gets the last page
_SAY_EVERY = 30.0  # seconds between two lines about the time, except on a terminal
_A_DAY = 86400.0

Say = Callable[[str], None]


def demo_board() -> Path:
    """The board file that comes with labnode: beside the package in a clone, else inside it."""
    package = Path(__file__).parents[1]
    for directory in (package.parent / "boards", package / "boards"):
        if (directory / "demo.yaml").is_file():
            return directory / "demo.yaml"
    raise ConfigError(said("cli.no-demo"))


def run(
    board: Path, *, port: int | None, seconds: float, show: bool, stop: Event, say: Say
) -> None:
    """Let one student use `board`, simulated, for `seconds`, or until `stop`; then clean up.

    Without `port` it is 8080, or a free one where that is taken. `show` opens the student's page.
    """
    become_owner(board)
    file = load_board(board)
    # Opening the page may take the whole slot.
    rules = replace(file.session, connect_timeout=file.session.max_time)
    file = replace(file, session=rules)
    lab = load_lab(file)
    _serve(
        file,
        lab,
        port=port,
        seconds=seconds,
        show=show,
        stop=stop,
        say=say,
        ready=said("cli.ready"),
    )


def place(board: Path, *, port: int | None, show: bool, stop: Event, say: Say) -> None:
    """As `run`, but with the page on which devices are placed on the board's picture."""
    become_owner(board)
    file = load_board(board)
    if file.picture is None:
        raise ConfigError(said("cli.no-picture", board=board))
    rules = replace(file.session, max_time=_A_DAY, connect_timeout=_A_DAY, timeout=-1)
    file = replace(file, session=rules, sequences={}, interlocks=(), module=None)
    lab = Lab()
    language = BUILT_IN.best(locales(os.environ))
    page = render_place(language, language.say(file.title), candidates(file.devices))
    lab.app.get("/", callback=lambda: page)
    _serve(
        file, lab, port=port, seconds=_A_DAY, show=show, stop=stop, say=say, ready=said("cli.place")
    )


def _serve(
    file: BoardFile,
    lab: Lab,
    *,
    port: int | None,
    seconds: float,
    show: bool,
    stop: Event,
    say: Say,
    ready: str,
) -> None:
    with tempfile.TemporaryDirectory(prefix=DEMO_PREFIX) as directory:
        password = secrets.token_urlsafe(16)
        agent = _agent(file, lab, _PORT if port is None else port, Path(directory), password)
        try:
            agent.start()
        except ConfigError:  # the port is taken
            if port is not None:
                raise
            agent = _agent(file, lab, 0, Path(directory), password)
            agent.start()
        try:
            server = CentralServer(agent.url, "demo", password)
            _visit(agent, server, seconds=seconds, show=show, stop=stop, say=say, ready=ready)
            if not agent.sessions.end_all(Reason.DELETED, 5.0):
                raise LabnodeError(said("cli.not-clean"))
        finally:
            agent.stop()


def _agent(file: BoardFile, lab: Lab, port: int, directory: Path, password: str) -> Agent:
    options = {
        "weblab": {"username": "demo", "password": password},
        "state_dir": directory,
        "port": port,
    }
    return Agent(file, lab, load_settings(None, {}, options), simulate=True)


def _visit(
    agent: Agent,
    server: CentralServer,
    *,
    seconds: float,
    show: bool,
    stop: Event,
    say: Say,
    ready: str,
) -> None:
    lab, rules = agent.board.file.lab, agent.board.file.session
    if seconds > rules.max_time:
        seconds = rules.max_time
        say(said("cli.at-most", seconds=f"{seconds:g}"))
    session_id, url = server.new(
        name="Demo Student",
        username="demo",
        assigned_time=seconds,
        locale=next(filter(None, locales(os.environ)), "en"),
        experiment_name=lab.name,
        category_name=lab.category,
    )
    session = next((s for s in agent.sessions.live() if s.id == session_id), None)
    say(ready)
    say(url)
    if show and open_browser(url):
        say(said("cli.opened"))
    say(said("cli.look-into"))
    commands = ["status", "simulate get", *_set_an_input(agent.board.file.devices)]
    say("\n".join(f"  {program()} {command}" for command in commands))
    time_left = _TimeLeft(agent.clock, seconds, say)

    def on_status(answer: float | LabnodeError) -> None:
        if (fault := agent.fault()) is not None:
            raise LabnodeError(said("cli.demo-fault", fault=fault))
        time_left.show(answer)

    server.watch(session_id, on_status, stop)
    time_left.end()
    say(said("cli.stopping") if stop.is_set() else _over(session))
    ending = server.delete(session_id)
    trouble = agent.sessions.quarantine.why if ending.clean else ending.message
    if trouble is not None:
        raise LabnodeError(said("cli.not-cleaned", why=trouble))
    say(said("cli.clean"))
    stop.wait(_FAREWELL)


def _set_an_input(devices: Mapping[str, Driver]) -> list[str]:
    """The command that sets the first input of a board, if it has one."""
    inputs = ((name, device) for name, device in devices.items() if isinstance(device, Input))
    for name, device in inputs:
        return [f"simulate set {name} {'on' if device.widget == 'lamp' else '20'}"]
    return []


def _over(session: Session | None) -> str:
    match session and session.reason:
        case Reason.EXITED:
            return said("cli.over-exited")
        case Reason.INACTIVITY:
            return said("cli.over-closed")
        case _:
            return said("cli.over")


class _TimeLeft:
    """Says how much time is left: in place on a terminal, now and then elsewhere."""

    def __init__(self, clock: Clock, seconds: float, say: Say) -> None:
        self._clock = clock
        self._end = clock.now() + seconds
        self._say = say
        self._in_place = sys.stdout.isatty()
        self._said_at = float("-inf")

    def show(self, answer: float | LabnodeError) -> None:
        """Called with every answer to the central server's "is it over?"."""
        if isinstance(answer, LabnodeError):
            self._say(told(answer.words))
            return
        now = self._clock.now()
        left = max(0, round(self._end - now))
        text = said("cli.left", time=f"{left // 60}:{left % 60:02d}")
        if self._in_place:
            print(f"\r{text} ", end="", flush=True)  # noqa: T201 - a line that does not stay
        elif now - self._said_at >= _SAY_EVERY:
            self._said_at = now
            self._say(text)

    def end(self) -> None:
        if self._in_place:
            self._say("")
