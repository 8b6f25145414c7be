"""`labnode sessions`, `tasks`, `events` and `actions`: a node's history as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from labnode.cli.node import Ask, duration, which_node

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
    return last(names(as_json(which_node(command))))


@click.command()
@_which_rows
def sessions(**options: Any) -> None:
    """List the last sessions of a node.

    Those that go on have time left; of the others it says why they ended. Without options this asks
    the one node of this user that is running.
    """
    columns = {
        "began": lambda r: _at(r["created_at"]),
        "session": lambda r: r["session"],
        "state": lambda r: r["state"],
        "": lambda r: (
            r["reason"] or ("" if r["time_left"] is None else f"{duration(r['time_left'])} left")
        ),
        "slot": lambda r: duration(r["length"]),
        "client": lambda r: r["client"],
        "experiment": lambda r: r["experiment"],
    }
    _show("sessions", columns, "The node has had no sessions yet.", **options)


@click.command()
@_which_rows
def tasks(**options: Any) -> None:
    """List the last tasks of a node.

    Without options this asks the one node of this user that is running.
    """
    columns = {
        "submitted": lambda r: _at(r["submitted_at"]),
        "session": lambda r: r["session"],
        "task": lambda r: r["name"],
        "status": lambda r: f"{r['status']}, stopping" if _stopping(r) else r["status"],
        "took": _took,
        "": lambda r: (
            f"{r['error']['class']}: {r['error']['message']}"
            if r["error"]
            else ""
            if r["percent"] is None
            else f"{r['percent']:.0f} %"
        ),
    }
    _show("tasks", columns, "The node has run no tasks yet.", **options)


@click.command()
@_which_rows
def events(**options: Any) -> None:
    """List what happened last on a node.

    Without options this asks the one node of this user that is running.
    """
    columns = {
        "at": lambda r: _at(r["at"]),
        "session": lambda r: r["session"],
        "event": lambda r: r["kind"],
        "": lambda r: _pairs(r["detail"]),
    }
    _show("events", columns, "Nothing has happened on the node yet.", **options)


@click.command()
@_which_rows
def actions(**options: Any) -> None:
    """List what students did last, as the lab records it.

    That is what the lab's Python gives to lab.record(). Without options this asks the one node of
    this user that is running.
    """
    columns = {
        "at": lambda r: _at(r["at"]),
        "session": lambda r: r["session"],
        "action": lambda r: r["action"],
        "": lambda r: _pairs(r["data"]),
    }
    _show("actions", columns, "The lab has recorded nothing yet.", **options)


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
    """Print a row a line, the columns as wide as they need to be."""
    rows: list[Row] = ask(what, last=last, names=names)[what]
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo(nothing)
        return
    if "student" in rows[0]:
        columns = {**columns, "student": lambda r: r["student"]}
    lines = [list(columns), *([_cell(column(row)) for column in columns.values()] for row in rows)]
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


def _stopping(task: Row) -> bool:
    return bool(task["stopping"]) and task["status"] in ("submitted", "running")


def _took(task: Row) -> str:
    if task["started_at"] is None or task["finished_at"] is None:
        return "-"
    return f"{task['finished_at'] - task['started_at']:.1f} s"
