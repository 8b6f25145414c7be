"""`labnode run` and `labnode demo`: a node in this process, until it is stopped."""

# ruff: noqa: PLC0415
from __future__ import annotations

import gc
import logging
import os
import secrets
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labnode import __version__
from labnode.cli.language import said
from labnode.cli.options import FILE, SETTINGS, program
from labnode.cli.owner import load_board_as_owner
from labnode.cli.signals import Signals, has_terminal, read_again_on_hangup, stop_on
from labnode.errors import ConfigError, LabnodeError

if TYPE_CHECKING:
    from labnode.cli.autoreload import Reload, Watcher
    from labnode.clock import Event
    from labnode.node.agent import Agent
    from labnode.settings import Settings


@click.command()
@click.argument("board", type=FILE, required=False)
@SETTINGS
@click.option("--simulate", is_flag=True, help="Run without hardware.")
@click.option("--host", help="The address to listen on (127.0.0.1; 0.0.0.0 is all of them).")
@click.option("--port", type=int, metavar="N", help="The port to listen on (8080; 0: any).")
@click.option("--state-dir", type=FILE, metavar="DIR", help="Where the node keeps its database.")
@click.option("--reload", is_flag=True, help="Start again when files of the lab change.")
def run(
    *,
    board: Path | None,
    settings: Path | None,
    simulate: bool,
    host: str | None,
    port: int | None,
    state_dir: Path | None,
    reload: bool,
) -> None:
    """Serve BOARD to students until SIGTERM or Ctrl-C.

    BOARD is a YAML file; without it, `board` of the settings. Every setting can also be given in
    the environment, which wins over the file: LABNODE_PORT is `port`, LABNODE_WEBLAB_PASSWORD is
    `weblab: {password: ...}`. The options of this command win over both.

    The credentials of the central server must be in the settings or the environment. With
    --simulate on 127.0.0.1 they are made up and printed if there are none.

    --reload is for those who write a lab: the node restarts when the board, its Python or a
    template beside them is saved, but not while a session starts or ends. Active sessions go on.
    If there are mistakes, they are reported and the node goes on with the old version.

    As root it runs as the owner of the state directory, or of the board, if that is another user.
    """
    gc.disable()  # what a start makes stays: looking for the rest would take a tenth of its time
    from labnode.board import load_board
    from labnode.cli.autoreload import Watcher, command
    from labnode.lab.loader import load_lab
    from labnode.node.agent import BROKEN, Agent
    from labnode.settings import load_settings
    from labnode.system.systemd import Systemd, take_listener

    systemd, listener = Systemd(os.environ), take_listener(os.environ)
    user = os.geteuid()
    options = {"board": board, "host": host, "port": port, "state_dir": state_dir}
    made_up = {"username": "weblab", "password": secrets.token_urlsafe(16)} if simulate else None
    chosen = load_settings(settings, os.environ, options, made_up=made_up)
    if chosen.board is None:
        raise ConfigError(said("cli.no-board"))
    _begin_to_log(chosen)
    watcher = Watcher(chosen.board) if reload else None
    file = load_board_as_owner(chosen.board, settings=settings, state_dir=chosen.state_dir)
    if reload and os.geteuid() != user:
        raise LabnodeError(said("cli.reload-root"))
    if watcher:
        watcher.watch(file.files)
    lab = load_lab(file)
    signals = click.get_current_context().with_resource(Signals())
    stop = stop_on(signals)
    agent = Agent(
        file,
        lab,
        chosen,
        simulate=simulate,
        hung_after=_hung_after(),
        load=partial(load_board, settings=settings),
        listener=listener,
    )
    agent.limit_stop(stop)
    changes = _changes(agent, watcher, stop, settings) if watcher else None
    systemd.status(f"Opening {chosen.board}")
    agent.start()
    read_again_on_hangup(signals, agent, has_terminal=has_terminal())
    try:
        click.echo(_served(chosen.board, agent))
        if agent.admin_url is not None:
            click.echo(said("cli.administration", url=agent.admin_url))
        _tell_made_up(agent, made_up)
        gc.freeze()
        gc.enable()
        agent.watch(changes or stop, systemd)
    finally:
        ended = agent.stop()
    if not ended:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(BROKEN)  # what holds on to the hardware must not go on
    if changes and changes.due.is_set() and not stop.is_set():
        logging.shutdown()
        sys.stdout.flush()
        os.execv(sys.executable, command(*sys.argv[1:]))


def _served(board: Path, agent: Agent) -> str:
    return said("cli.serves", version=__version__, board=board, url=f"{agent.url}/")


def _begin_to_log(settings: Settings) -> None:
    from labnode import audit
    from labnode.system.journal import log_to_stderr

    journal = log_to_stderr(settings.log_level)
    audit.log_to((journal or sys.stderr) if settings.lifecycle_log else None)


def _tell_made_up(agent: Agent, credentials: Mapping[str, str] | None) -> None:
    """Say how to play the central server, where its credentials were made up."""
    used = agent.settings.weblab
    password = None if used is None else used.password
    if credentials is None or not isinstance(password, str):
        return
    if not secrets.compare_digest(password.encode(), credentials["password"].encode()):
        return
    click.echo(
        f"{said('cli.made-up')}\n"
        f"  export LABNODE_WEBLAB_USERNAME={credentials['username']} "
        f"LABNODE_WEBLAB_PASSWORD={credentials['password']}\n"
        f"  {program()} fake new --url {agent.url}"
    )


def _changes(agent: Agent, watcher: Watcher, stop: Event, settings: Path | None) -> Reload:
    """What the node waits for with --reload."""
    from labnode.cli.autoreload import Reload, begin_check
    from labnode.sessions import State

    changes = Reload(
        watcher,
        stop,
        check=partial(begin_check, agent.board.file.path, settings),
        busy=lambda: any(s.state is not State.ACTIVE for s in agent.sessions.live()),
        clock=agent.clock,
        say=click.echo,
        complain=lambda sentence: click.echo(f"labnode: {sentence}", err=True),
    )
    agent.limit_stop(changes.due)
    return changes


@click.command()
@click.argument("board", type=FILE, required=False)
@click.option("--no-browser", is_flag=True, help="Only print the student's address.")
@click.option("--port", type=int, metavar="N", help="The port to listen on (8080, else any).")
@click.option(
    "--seconds",
    type=click.IntRange(1, 86400),
    metavar="N",
    default=300,
    show_default=True,
    help="How long the student may use the board.",
)
def demo(board: Path | None, no_browser: bool, port: int | None, seconds: int) -> None:
    """Try a board on this machine, without hardware.

    No central server is needed either. BOARD is a YAML file; without it, the demo board that comes
    with labnode. The address of the student's page is printed, and opened if there is a browser.
    Ctrl-C ends the demo. Until then, `labnode status` and `labnode simulate` in another terminal
    look into it.
    """
    from labnode.cli import demo as demonstration
    from labnode.system.journal import log_to_stderr

    log_to_stderr("WARNING")
    with Signals() as signals:
        demonstration.run(
            board or demonstration.demo_board(),
            port=port,
            seconds=seconds,
            show=not no_browser,
            stop=stop_on(signals, patient=False),
            say=click.echo,
        )


@click.command()
@click.argument("board", type=FILE)
@click.option("--no-browser", is_flag=True, help="Only print the page's address.")
@click.option("--port", type=int, metavar="N", help="The port to listen on (8080, else any).")
def picture(board: Path, no_browser: bool, port: int | None) -> None:
    """Place the devices of a board on its picture.

    BOARD is a YAML file with a picture beside it, `picture: {file: board.jpg}`. A page opens on
    which its devices are dragged to where they are, or moved with the arrow keys; it shows the YAML
    to paste into the board file. Nothing is connected: the board is simulated, for this machine
    alone. Ctrl-C ends it.
    """
    from labnode.cli import demo as demonstration
    from labnode.system.journal import log_to_stderr

    log_to_stderr("WARNING")
    with Signals() as signals:
        stop = stop_on(signals, patient=False)
        demonstration.place(board, port=port, show=not no_browser, stop=stop, say=click.echo)


def _hung_after() -> float:
    return float(os.environ.get("LABNODE_TEST_HUNG_AFTER", "30"))
