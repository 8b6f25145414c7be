"""`labnode new`: asks what is wired, and writes a board file."""

# ruff: noqa: PLC0415
from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labnode.cli.options import program
from labnode.cli.run import demo
from labnode.errors import BadInput, LabnodeError

if TYPE_CHECKING:
    from labnode.wizard.new_board import Answer


@click.command()
@click.argument("name")
@click.option("--title", help="The lab's title on the page.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME=DRIVER:PIN",
    help="A device, such as light=relay:GPIO17; may be repeated. Then nothing is asked.",
)
@click.option("--demo/--no-demo", "with_demo", default=None, help="Start the demo, or not.")
@click.pass_context
def new(
    context: click.Context,
    *,
    name: str,
    title: str | None,
    devices: tuple[str, ...],
    with_demo: bool | None,
) -> None:
    """Write a board file NAME.yaml, by asking what is wired.

    It goes into this directory, and is the lab's name as well. Afterwards the demo shows the board,
    without hardware.
    """
    from labnode.wizard import new_board

    path = Path(f"{name.removesuffix('.yaml')}.yaml")
    name = path.stem
    if path.exists():
        raise BadInput(f"{path} exists already; choose another name, or remove it.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
        raise BadInput(f"A lab's name has small letters, digits, '-' and '_' only, not {name!r}.")
    answers = [new_board.read_device(device) for device in devices]
    called = title or new_board.title(name)
    if not devices:
        called = title or click.prompt("What the page calls the lab", default=called)
        answers = _ask(name, called)
    text = new_board.board_text(name, called, answers)
    if why := new_board.problem(text):
        raise BadInput(f"--device: {why}.")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabnodeError(f"{path} cannot be written: {error.strerror}.") from error
    click.echo(f"\n{path} is written:\n\n{text}")
    labnode = program()
    click.echo(f"Check it after a change:    {labnode} check {path}")
    click.echo(f"See which wire goes where:  {labnode} pinout {path}")
    click.echo(f"Try it without hardware:    {labnode} demo {path}")
    if with_demo is None:
        with_demo = not devices and click.confirm("\nStart the demo now?", default=True)
    if with_demo:
        context.invoke(demo, board=path, no_browser=False, port=None, seconds=300)


def _ask(name: str, title: str) -> list[Answer]:
    """One device after the other, until Enter alone."""
    from labnode.wizard import new_board

    answers: list[Answer] = []
    click.echo("\nWhat is wired?")
    for number, kind in enumerate(new_board.KINDS, 1):
        click.echo(f"  {number}  {kind.words} ({kind.driver})")
    while True:
        number = click.prompt(
            "\nNumber of the next device (Enter: no more)",
            default=0,
            show_default=False,
            type=click.IntRange(0, len(new_board.KINDS)),
        )
        if not number:
            return answers
        kind = new_board.KINDS[number - 1]
        device = click.prompt("Its name in the file, such as lamp")
        values = [
            click.prompt(question, default=default, show_default=bool(default))
            for _, question, default in kind.asks
        ]
        label = click.prompt("Its label on the page", default=new_board.title(device))
        answer = new_board.Answer(device, kind, tuple(values), label)
        if why := new_board.problem(new_board.board_text(name, title, [*answers, answer])):
            click.echo(f"That does not work: {why}. Once more.")
        else:
            answers.append(answer)
