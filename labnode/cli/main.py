"""`labnode` itself: the group of all commands, and how it reports their errors."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import click

from labnode import __version__
from labnode.cli.apply import apply
from labnode.cli.backup import backup, restore
from labnode.cli.check import check
from labnode.cli.doctor import doctor
from labnode.cli.fake import fake
from labnode.cli.history import actions, events, sessions, tasks
from labnode.cli.language import HelpContext, said, told
from labnode.cli.node import clear, drain, estop, status, undrain
from labnode.cli.options import InOrder
from labnode.cli.password import password
from labnode.cli.prove import prove
from labnode.cli.run import demo, picture, run
from labnode.cli.safe import safe
from labnode.cli.simulate import simulate
from labnode.cli.weblab import weblab_config
from labnode.cli.wizard import bootconfig, new, pinout, schema, suggest
from labnode.errors import BadInput, ConfigError, LabnodeError

# Commands of weblablib, whose users look for them here.
_NOT_NEEDED = ("loop", "run-tasks", "clean-expired")


class _LabnodeGroup(InOrder):
    """Errors become sentences and an exit code: 2 for what a person wrote, else 1."""

    context_class = HelpContext

    def invoke(self, ctx: click.Context) -> Any:
        before = set(threading.enumerate())
        code = 0
        try:
            super().invoke(ctx)
        except LabnodeError as error:
            for line in told(error.words).splitlines():
                click.echo(f"labnode: {line}", err=True)
            code = 2 if isinstance(error, ConfigError | BadInput) else 1
        _leave(code, before)
        ctx.exit(code)


def _leave(code: int, before: Collection[threading.Thread]) -> None:
    """End the process although the Python of a lab has left threads that would keep it alive."""
    left = [t.name for t in threading.enumerate() if not (t.daemon or t in before)]
    if left:
        click.echo(f"labnode: {said('cli.ends-without', threads=', '.join(left))}", err=True)
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)


@click.group(cls=_LabnodeGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="labnode")
def main() -> None:
    """The lab's side of a remote laboratory: serves a board of real hardware to students.

    To begin, try the demo: labnode demo
    """


def _not_needed(name: str) -> click.Command:
    return click.Command(
        name,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        callback=lambda: click.echo(
            said("cli.not-needed", name=name, why=said(f"cli.not-needed:{name}"))
        ),
        help="Not needed; says why.",
    )


def _all(commands: Iterable[click.Command]) -> Iterator[click.Command]:
    for command in commands:
        yield command
        if isinstance(command, click.Group):
            yield from _all(command.commands.values())


_COMMANDS: list[click.Command] = [demo, new, check, run, weblab_config, fake]
_COMMANDS += [status, sessions, tasks, events, actions, estop, clear, drain, undrain, apply]
_COMMANDS += [safe, doctor, prove, password, backup, restore]
_COMMANDS += [suggest, pinout, bootconfig, picture, schema, simulate]
_COMMANDS += map(_not_needed, _NOT_NEEDED)

for command in _COMMANDS:
    main.add_command(command)
for command in _all(_COMMANDS):
    command.context_class = HelpContext
