"""`labnode weblab-config`: the configuration that a central server needs."""

# ruff: noqa: PLC0415
from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from labnode.cli.language import said, told
from labnode.cli.options import FILE, SETTINGS
from labnode.cli.owner import load_board_as_owner


@click.command("weblab-config")
@click.argument("board", type=FILE, required=False)
@SETTINGS
@click.option(
    "--server",
    type=click.Choice(["weblab-deusto", "labdiscoveryengine"]),
    default="weblab-deusto",
    show_default=True,
    help="The kind of central server.",
)
@click.option("--client", metavar="NAME", help="Which of the settings' clients (the first).")
@click.option(
    "--host", metavar="HOST[:PORT]", help="How the server reaches this node (its name and port)."
)
@click.option("--show-password", is_flag=True, help="Print the password, not a placeholder.")
def weblab_config(
    *,
    board: Path | None,
    settings: Path | None,
    server: str,
    client: str | None,
    host: str | None,
    show_password: bool,
) -> None:
    """Print what a central server needs.

    Its administrator has to enter this: addresses, credentials, names. BOARD is a YAML file;
    without it, `board` of the settings.
    """
    from labnode.errors import ConfigError
    from labnode.settings import load_settings
    from labnode.weblab import config

    chosen = load_settings(settings, os.environ, {"board": board})
    if chosen.board is None:
        raise ConfigError(said("cli.config-no-board"))
    file = load_board_as_owner(chosen.board, settings=settings, state_dir=chosen.state_dir)
    lab = config.registration(
        chosen,
        name=file.lab.name,
        category=file.lab.category,
        title=file.title.pick("en"),
        users=file.session.users,
        max_time=file.session.max_time,
        client=client,
        host=host or f"{socket.gethostname()}:{chosen.port}",
        show_password=show_password,
    )
    if server == "weblab-deusto":
        parts = config.weblab_deusto(lab, told)
    else:
        parts = config.lab_discovery_engine(lab)
    click.echo(config.as_text(parts))
    for note in lab.notes:
        click.echo(f"labnode: {told(note)}", err=True)
