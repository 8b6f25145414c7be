"""`labnode sessions`, `tasks`, `events` and `actions`: a node's history as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from labnode.cli.language import said, told
from labnode.cli.node import Ask, duration, which_history, which_node
from labnode.errors import LabnodeError

Row = Mapping[str, Any]


def _which_rows(command: Callable[..., None]) -> Callable[..., None]:
    last = click.option(
        "--last",
        type=click.IntRange(1, 500),
        metavar="N",
        default=20,
        show_default=True,
        help="How many, of the newest.",
    )
    names = click.option("--names", is_flag=True, help="With the students' names.")
    as_json = click.option("--json", "as_json", is_flag=True, help="As one JSON list.")
    return last(names(as_json(which_history(command))))


@click.command()
@_which_rows
def sessions(**options: Any) -> None:
    """List the last sessions of a node.

    Active ones show the time left, the others why they ended. Without options, this asks the only
    running node of this user, or reads the database of the only one that is stopped.
    """
    columns = {
        "began": lambda r: _at(r["created_at"]),
        "session": lambda r: r["session"],
        "state": lambda r: said(f"cli.session:{r['state']}"),
        "": _how,
        "slot": lambda r: duration(r["length"]),
        "client": lambda r: r["client"],
        "experiment": lambda r: r["experiment"],
    }
    _show("sessions", columns, said("cli.no-sessions"), **options)


@click.group(invoke_without_command=True)
@_which_rows
@click.pass_context
def tasks(context: click.Context, /, **options: Any) -> None:
    """List the last tasks of a node, and those that wait.

    Scheduled tasks show when they are due, periodic ones when they come next. Without options, this
    asks the only running node of this user.
    """
    if context.invoked_subcommand is not None:
        return
    from labnode.locale import Retold  # noqa: PLC0415  (so that --help is quick)

    columns = {
        "submitted": lambda r: _at(r["submitted_at"]),
        "session": lambda r: r["session"],
        "task": lambda r: r["name"],
        "status": _status,
        "took": _took,
        "id": lambda r: r["id"] if r["status"] in ("submitted", "running") else None,
        "": _news,
    }
    ask = options["ask"]
    answer: dict[str, Any] = ask("tasks", last=options["last"], names=options["names"])
    if options["as_json"]:
        rows = [*answer["tasks"], *({**row, "status": "periodic"} for row in answer["periodic"])]
        click.echo(json.dumps(rows))
        return
    _table(columns, answer["tasks"], said("cli.no-tasks"))
    if answer["periodic"]:
        click.echo()
        columns = {
            "next": lambda r: "-" if r["due"] is None else _at(r["due"]),
            "task": lambda r: r["name"],
            "schedule": lambda r: told(Retold(r.get("words", r["schedule"]))),
        }
        _table(columns, answer["periodic"], "")


@tasks.command("run")
@click.argument("name")
@which_node
def run_task(ask: Ask, name: str) -> None:
    """Run the task NAME of the lab, without arguments.

    It belongs to the lab: it waits while a student is on the board, unless it has during_sessions.
    """
    from labnode.locale import Retold  # noqa: PLC0415  (so that --help is quick)

    answer = ask("run_task", name=name)
    if answer["error"] is not None:
        error = answer["error"]
        raise LabnodeError(Retold(error.get("words", error["message"])))
    click.echo(said("cli.task-queued", name=name, id=answer["id"]))


@tasks.command("cancel")
@click.argument("task", metavar="ID")
@which_node
def cancel_task(ask: Ask, task: str) -> None:
    """Stop a task that waits or runs.

    ID is its id, as `labnode tasks` shows it, or the first characters of it. A waiting task never
    starts; a running one is asked to stop.
    """
    answer = ask("cancel_task", task=task)
    done = said("cli.task-never", name=answer["name"])
    if not answer["waited"]:
        done = said("cli.task-stopping", name=answer["name"])
    click.echo(done)


@click.command()
@_which_rows
def events(**options: Any) -> None:
    """List the last events of a node.

    Without options, this asks the only running node of this user.
    """
    columns = {
        "at": lambda r: _at(r["at"]),
        "session": lambda r: r["session"],
        "event": lambda r: r["kind"],
        "": lambda r: _pairs(r["detail"]),
    }
    _show("events", columns, said("cli.no-events"), **options)


@click.command()
@_which_rows
def actions(**options: Any) -> None:
    """List what students did last.

    That is what the lab's Python records with lab.record(). Without options, this asks the only
    running node of this user.
    """
    columns = {
        "at": lambda r: _at(r["at"]),
        "session": lambda r: r["session"],
        "action": lambda r: r["action"],
        "": lambda r: _pairs(r["data"]),
    }
    _show("actions", columns, said("cli.no-actions"), **options)


def _pairs(data: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{k}: {v}" for k, v in (data or {}).items() if v is not None)


def _show(
    what: str,
    columns: dict[str, Callable[[Row], Any]],
    nothing: str,
    *,
    ask: Ask,
    last: int,
    names: bool,
    as_json: bool,
) -> None:
    """Print a row a line."""
    rows: list[Row] = ask(what, last=last, names=names)[what]
    if as_json:
        click.echo(json.dumps(rows))
        return
    _table(columns, rows, nothing)


def _table(columns: dict[str, Callable[[Row], Any]], rows: list[Row], nothing: str) -> None:
    """Print a row a line, the columns as wide as they need to be."""
    if not rows:
        click.echo(nothing)
        return
    if "student" in rows[0]:
        columns = {**columns, "student": lambda r: r["student"]}
    titles = [said(f"cli.column:{name}") if name else "" for name in columns]
    lines = [titles, *([_cell(column(row)) for column in columns.values()] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True) if width)
        click.echo("  ".join(cells).rstrip())


def _cell(value: Any) -> str:
    """On one line, and nothing in it that a terminal would obey."""
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


def _at(seconds: float) -> str:
    """A time by this machine's clock, in its own time zone."""
    from labnode.clock import local  # noqa: PLC0415  (so that --help is quick)

    return local(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _news(task: Row) -> str:
    if task["error"]:
        return f"{task['error']['class']}: {task['error']['message']}"
    if task["due"] is not None:
        return said("cli.due", at=_at(task["due"]))
    return "" if task["percent"] is None else f"{task['percent']:.0f} %"


def _how(session: Row) -> str:
    """How the session ended, or how long it still has."""
    if session["reason"]:
        return said(f"cli.reason:{session['reason']}")
    left = session["time_left"]
    return "" if left is None else said("cli.left", time=duration(left))


def _status(task: Row) -> str:
    status = said(f"cli.task:{task['status']}")
    if task["stopping"] and task["status"] in ("submitted", "running"):
        return f"{status}, {said('cli.task:stopping')}"
    return status


def _took(task: Row) -> str:
    if task["started_at"] is None or task["finished_at"] is None:
        return "-"
    return f"{task['finished_at'] - task['started_at']:.1f} s"
