"""`labnode new`, `suggest`, `pinout`, `bootconfig`, `schema`: to wire and describe a board."""

# ruff: noqa: PLC0415
from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labnode.cli.language import confirmed, said, told
from labnode.cli.options import FILE, program
from labnode.cli.owner import load_board_as_owner
from labnode.cli.run import demo
from labnode.errors import BadInput, LabnodeError

if TYPE_CHECKING:
    from labnode.wizard.new_board import WiredDevice

_SECRETS = click.option(
    "--settings", type=FILE, metavar="FILE", help="The node's settings: secrets are beside them."
)


@click.command()
@click.argument("board", type=FILE, required=False)
@_SECRETS
def suggest(board: Path | None, settings: Path | None) -> None:
    """Print what is plugged in, as YAML to paste.

    Serial ports with their USB identities, programmers, cameras, 1-Wire thermometers, free pins.
    With BOARD, only what that board file does not have yet.
    """
    from labnode.wizard.suggest import suggest

    file = load_board_as_owner(board, settings=settings) if board else None
    click.echo(suggest(Path("/"), file), nl=False)


@click.command()
@click.argument("board", type=FILE)
@click.option("--svg", type=FILE, metavar="FILE", help="Draw it into this SVG file instead.")
@_SECRETS
def pinout(board: Path, svg: Path | None, settings: Path | None) -> None:
    """Draw the 40-pin header with the pins that BOARD uses."""
    from labnode.wizard.pinout import as_svg, as_text
    from labnode.wizard.wiring import wiring

    file = load_board_as_owner(board, settings=settings)
    pins, title = wiring(file), f"{told(file.title)} ({board.name})"
    if svg is None:
        click.echo(as_text(title, pins, told), nl=False)
        return
    _write(svg, as_svg(title, pins, told))
    click.echo(said("cli.written", path=svg))


@click.command()
@click.argument("board", type=FILE)
@_SECRETS
def bootconfig(board: Path, settings: Path | None) -> None:
    """Print what BOARD needs in the Raspberry Pi's config.txt.

    Buses that must be switched on, and lines that keep outputs safe from power-on. Put them at the
    end of /boot/firmware/config.txt.
    """
    from labnode.wizard.bootconfig import boot_config

    click.echo(boot_config(load_board_as_owner(board, settings=settings)), nl=False)


@click.command()
@click.argument("board", type=FILE, required=False)
@click.option("--markdown", is_flag=True, help="All drivers with their options, to read.")
@click.option("--driver", metavar="NAME", help="Only this driver, to read.")
@click.option("--output", type=FILE, metavar="FILE", help="Write it into this file.")
@click.option("--install", is_flag=True, help="Set up VS Code and Zed for this directory.")
@_SECRETS
def schema(
    *,
    board: Path | None,
    markdown: bool,
    driver: str | None,
    output: Path | None,
    install: bool,
    settings: Path | None,
) -> None:
    """Print the JSON Schema of board files, for editors.

    With it they complete keys, explain options and mark mistakes. --install writes it beside the
    boards, and the settings of Visual Studio Code and Zed that name it. Other editors find it if a
    board file begins with this line: # yaml-language-server: $schema=board.schema.json

    With BOARD it has the drivers of that board, too.
    """
    from labnode.drivers.framework.registry import load_drivers
    from labnode.schema import nearest
    from labnode.wizard import reference
    from labnode.wizard.board_schema import board_schema, text_of
    from labnode.wizard.editor import install as install_for_editors

    file = load_board_as_owner(board, settings=settings) if board else None
    drivers = dict(load_drivers())
    drivers |= {d.kind: type(d) for d in file.devices.values()} if file else {}
    if driver is not None and driver not in drivers:
        hint = said("cli.the-drivers", names=", ".join(sorted(drivers)))
        if near := nearest(driver, drivers):
            hint = said("cli.did-you-mean", near=near)
        raise BadInput(said("cli.no-driver", name=driver, hint=hint))
    if install:
        for path in install_for_editors(Path.cwd(), text_of(board_schema(file))):
            click.echo(said("cli.written", path=path))
        return
    if driver is not None:
        text = reference.driver(drivers[driver]) + "\n"
    else:
        text = reference.drivers() + "\n" if markdown else text_of(board_schema(file))
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
        click.echo(said("cli.written", path=output))


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
        raise BadInput(said("cli.new-exists", path=path))
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
        raise BadInput(said("cli.new-name", name=name))
    answers = [new_board.read_device(device) for device in devices]
    called = title or new_board.title(name)
    if not devices:
        called = title or click.prompt(said("cli.new-title"), default=called)
        answers = _ask(name, called)
    text = new_board.board_text(name, called, answers, told(new_board.REMARK))
    if why := new_board.problem(text):
        raise BadInput(f"--device: {told(why)}.")
    _write(path, text)
    click.echo(f"{said('cli.written', path=path)}\n\n{text}")
    next_steps = {
        "check": said("cli.new-check"),
        "pinout": said("cli.new-pinout"),
        "demo": said("cli.new-demo"),
    }
    width = max(map(len, next_steps.values())) + 2
    for command, what_for in next_steps.items():
        click.echo(f"{what_for:<{width}}{program()} {command} {path}")
    if with_demo is None:
        with_demo = not devices and confirmed(f"\n{said('cli.new-start')}", enter=True)
    if with_demo:
        context.invoke(demo, board=path, no_browser=False, port=None, seconds=300)


def _ask(name: str, title: str) -> list[WiredDevice]:
    """One device after the other, until Enter alone."""
    from labnode.wizard import new_board

    answers: list[WiredDevice] = []
    click.echo(f"\n{said('cli.new-wired')}")
    for number, each in enumerate(new_board.KINDS, 1):
        click.echo(f"  {number}  {told(each.words)} ({each.driver})")
    while True:
        answer = click.prompt(f"\n{said('cli.new-number')}", default="", show_default=False)
        if answer in ("", "0"):
            return answers
        kind = new_board.kind_of(answer)
        if kind is None:
            drivers = ", ".join(each.driver for each in new_board.KINDS)
            n = len(new_board.KINDS)
            click.echo(said("cli.new-no-number", number=answer, n=n, drivers=drivers))
            continue
        device = click.prompt(said("cli.new-device"))
        values = [
            click.prompt(told(question), default=default, show_default=bool(default))
            for _, question, default in kind.asks
        ]
        label = click.prompt(said("cli.new-label"), default=new_board.title(device))
        wired = new_board.WiredDevice(device, kind, tuple(values), label)
        if why := new_board.problem(new_board.board_text(name, title, [*answers, wired])):
            click.echo(said("cli.new-wrong", why=told(why)))
        else:
            answers.append(wired)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabnodeError(said("cli.not-written", path=path, why=error.strerror)) from error
