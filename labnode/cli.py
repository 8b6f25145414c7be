"""The commands."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from labnode import __version__
from labnode.errors import ConfigError, LabnodeError

_FILE = click.Path(path_type=Path)


def _sentences(command: Callable[..., Any]) -> Callable[..., Any]:
    """What goes wrong becomes a sentence and an exit code: 2 for what a person wrote, else 1."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except LabnodeError as error:
            for line in str(error).splitlines():
                click.echo(f"labnode: {line}", err=True)
            sys.exit(2 if isinstance(error, ConfigError) else 1)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="labnode")
def main() -> None:
    """The lab's side of a remote laboratory."""


@main.command()
@click.argument("board", type=_FILE, required=False)
@click.option("--settings", type=_FILE, help="The node's settings, a YAML file.")
@click.option("--simulate", is_flag=True, help="Without hardware: pins are mocked.")
@click.option("--host", help="The address to listen on.")
@click.option("--port", type=int, help="The port to listen on.")
@click.option("--state-dir", type=_FILE, help="Where the node keeps its database.")
@_sentences
def run(
    board: Path | None,
    settings: Path | None,
    simulate: bool,
    host: str | None,
    port: int | None,
    state_dir: Path | None,
) -> None:
    """Serve BOARD until SIGTERM or Ctrl-C."""
    from labnode.agent import Agent
    from labnode.board import load_board
    from labnode.module import load_lab
    from labnode.settings import load_settings

    given = {"board": board, "host": host, "port": port, "state_dir": state_dir}
    options = {name: str(v) if isinstance(v, Path) else v for name, v in given.items()}
    chosen = load_settings(settings, os.environ, options)
    if chosen.board is None:
        raise ConfigError(
            "There is no board: name a board file (labnode run BOARD.yaml), or give `board:` in "
            "the settings or LABNODE_BOARD in the environment."
        )
    _log_to_stderr(chosen.log_level)
    stop = _stop_on_signals()
    file = load_board(chosen.board)
    agent = Agent(file, load_lab(file.module), chosen, simulate=simulate)
    agent.start()
    try:
        click.echo(f"labnode {__version__} serves {chosen.board} at {agent.url}/")
        agent.watch(stop)
    finally:
        ended = agent.stop()
    sys.stdout.flush()
    if not ended:
        os._exit(70)  # a thread that holds the hardware must not go on


@main.command()
@click.argument("board", type=_FILE, required=False)
@click.option("--no-browser", is_flag=True, help="Only print the student's address.")
@click.option("--port", type=int, help="The port to listen on (8080, or a free one).")
@click.option("--seconds", type=click.FloatRange(min=1), default=300, help="The slot's length.")
@_sentences
def demo(board: Path | None, no_browser: bool, port: int | None, seconds: float) -> None:
    """Try BOARD (boards/demo.yaml) on this machine: no hardware, no central server."""
    from labnode import demo as demonstration

    _log_to_stderr("WARNING")
    demonstration.run(
        board or demonstration.demo_board(),
        port=port,
        seconds=seconds,
        open_browser=not no_browser,
        stop=_stop_on_signals(),
        say=click.echo,
    )


@main.command()
@click.argument("boards", type=_FILE, nargs=-1, required=True)
@_sentences
def check(boards: tuple[Path, ...]) -> None:
    """Load each of BOARDS, with the Python beside it, without starting anything."""
    from labnode.board import load_board
    from labnode.module import load_lab

    problems = []
    for board in boards:
        try:
            file = load_board(board)
            load_lab(file.module)
        except ConfigError as error:
            problems += error.problems
        else:
            click.echo(f"{board}: OK, {len(file.devices)} devices")
    if problems:
        raise ConfigError(*problems)


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _stop_on_signals() -> Any:
    """An event that SIGTERM and Ctrl-C set."""
    from labnode.clock import Clock

    stop = Clock().event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
