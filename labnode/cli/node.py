"""Commands to a running node: its status, and whether it takes students."""

# ruff: noqa: PLC0415
from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from labnode.cli.language import counted, said, told
from labnode.cli.options import SETTINGS, STATE_DIR, settings_without_credentials
from labnode.cli.owner import become_owner
from labnode.errors import LabnodeError

Ask = Callable[..., dict[str, Any]]
"""A command of the control socket and its options -> what the node answers."""


DEMO_PREFIX = "labnode-demo-"  # of the state directory that a demo makes and removes


def which_node(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that name a node; the command gets `ask`, which asks that node."""

    @functools.wraps(command)
    def asking(settings: Path | None, state_dir: Path | None, **arguments: Any) -> None:
        command(ask=functools.partial(ask_node, settings, state_dir), **arguments)

    return SETTINGS(STATE_DIR(asking))


def which_history(command: Callable[..., None]) -> Callable[..., None]:
    """The same, but what `ask` asks of a node that does not run is read from its database."""

    @functools.wraps(command)
    def asking(settings: Path | None, state_dir: Path | None, **arguments: Any) -> None:
        command(ask=functools.partial(_ask_or_read, settings, state_dir), **arguments)

    return SETTINGS(STATE_DIR(asking))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@which_node
def status(ask: Ask, as_json: bool) -> None:
    """Show the state of the node on this machine.

    Its state is ready (for a student), busy, draining (takes no new students), drained (has no
    students left), quarantine (could not be cleaned) or fault (an interlock is latched). Without
    options, this asks the only running node of this user.
    """
    from labnode.system.systemd import Tunnel

    answer = ask("status")
    tunnel = Tunnel.of(Path(answer["state_dir"]).name)
    words = tunnel.sentence() if tunnel else None
    if as_json:
        click.echo(json.dumps({**answer, "tunnel": None if words is None else str(words)}))
    else:
        click.echo(_text({**answer, "tunnel": None if words is None else told(words)}))


@click.command()
@click.option("--why", metavar="TEXT", default="", help="What the log and /test say of it.")
@which_node
def estop(ask: Ask, why: str) -> None:
    """Emergency stop.

    All devices are made safe at once, whatever is going on. Sessions end, and the board is in
    quarantine until `labnode clear`.
    """
    answer = ask("estop", **({"why": why} if why else {}))
    if answer["unsafe"]:
        raise LabnodeError(said("cli.not-safe", what="; ".join(answer["unsafe"])))
    click.echo(said("cli.estopped"))
    if answer["sessions"]:
        click.echo(counted("cli.ended", answer["sessions"]))


@click.command()
@which_node
def clear(ask: Ask) -> None:
    """End a quarantine, an emergency stop and latched interlocks.

    A board that could not be cleaned, that was stopped, or whose interlock has latched takes no
    students until a person has looked at it and gives this command. What is still wrong stays.
    """
    answer = ask("clear")
    was, faults, left = answer["was"], answer["faults"], answer["left"]
    if left:
        raise LabnodeError(said("cli.fault-left", what=", ".join(left)))
    for fault in faults:
        click.echo(said("cli.fault-cleared", fault=fault))
    if was is not None:
        click.echo(said("cli.cleared", why=was))
    elif not faults:
        click.echo(said("cli.not-quarantined"))


@click.command()
@which_node
def drain(ask: Ask) -> None:
    """Take no new students, before work on the hardware.

    Active sessions go on until they end; `labnode status` says when none is left. This lasts until
    `labnode undrain`, or until the node is restarted.
    """
    sessions = ask("drain")["sessions"]
    click.echo(said("cli.drained"))
    if sessions:
        click.echo(counted("cli.to-end", sessions))


@click.command()
@which_node
def undrain(ask: Ask) -> None:
    """Take students again, after `labnode drain`."""
    why = ask("undrain")["quarantine"]
    click.echo(said("cli.undrained") if why is None else said("cli.undrained-quarantine", why=why))


def ask_node(
    settings: Path | None, state_dir: Path | None, command: str, **options: Any
) -> dict[str, Any]:
    """The answer of the node that is named, or of the only one that runs."""
    from labnode.control import NotRunning, ask

    directory = state_dir or settings_without_credentials(settings).state_dir
    become_owner(directory)
    try:
        return ask(directory, command, **options)
    except NotRunning:
        if state_dir or settings:
            raise
    running = []
    for socket in sorted([*directory.glob("*/control.sock"), *_demos()]):
        try:
            ask(socket.parent, "status")
        except LabnodeError:
            continue
        running.append(socket.parent)
    if len(running) == 1:
        return ask(running[0], command, **options)
    if not running:
        raise NotRunning(said("cli.no-node", directory=directory))
    raise LabnodeError(said("cli.several-nodes", names=", ".join(map(str, running))))


def _demos() -> Iterator[Path]:
    """The control sockets of this user's demos; of everybody's for root."""
    for socket in Path(tempfile.gettempdir()).glob(f"{DEMO_PREFIX}*/control.sock"):
        with suppress(OSError):  # it ends
            if os.geteuid() in (0, socket.parent.stat().st_uid):
                yield socket


def _ask_or_read(
    settings: Path | None, state_dir: Path | None, command: str, **options: Any
) -> dict[str, Any]:
    from labnode.clock import Clock
    from labnode.control import NotRunning
    from labnode.node.history import History, StoppedNode

    try:
        return ask_node(settings, state_dir, command, **options)
    except NotRunning:
        home = state_dir or settings_without_credentials(settings).state_dir
        found = [home / "labnode.db"]
        if not (state_dir or settings or found[0].exists()):
            found = list(home.glob("*/labnode.db"))
        if len(found) != 1 or not found[0].exists():
            raise
    click.echo(said("cli.from-database", file=found[0]), err=True)
    history = History(StoppedNode(found[0]), Clock())
    answer: dict[str, Any] = getattr(history, command)(**options)
    return answer


def _text(status: dict[str, Any]) -> str:
    board, sessions = status["board"], status["sessions"]
    simulated = f" ({said('cli.simulated')})" if board["simulated"] else ""
    no = said("cli.no")
    rows = {
        "board": f"{board['name']}@{board['category']}, {board['file']}{simulated}",
        "state": said(f"cli.state:{status['state']}"),
        "sessions": said("cli.seats", n=len(sessions), users=status["users"]),
        "quarantine": status["quarantine"] or no,
        "faults": "; ".join(status["faults"]) or no,
        "drain": said("cli.takes-none") if status["draining"] else no,
        "uptime": duration(status["uptime"]),
        "address": status["url"],
        "version": said("cli.process", version=status["version"], pid=status["pid"]),
    }
    if sessions:
        rows["sessions"] += f" ({'; '.join(map(_session, sessions))})"
    if status.get("failing"):
        rows["starts"] = "; ".join(status["failing"])
    rows |= {name: status[name] for name in ("alarm", "clock", "tunnel") if status[name]}
    titles = {name: said(f"cli.row:{name}") for name in rows}
    width = max(12, *(len(title) + 2 for title in titles.values()))
    return "\n".join(f"{titles[name]:<{width}}{text}" for name, text in rows.items())


def _session(session: dict[str, Any]) -> str:
    state, left = session["state"], duration(session["time_left"])
    return f"{said(f'cli.session:{state}')}, {said('cli.left', time=left)}"


def duration(seconds: float) -> str:
    """Seconds, for people: "45 s", "3 min", "2 d 0 h 5 min"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours or days)
    return " ".join([*parts, f"{minutes} min" if parts or minutes else f"{rest} s"])
