"""`labnode fake`: plays the central server for a running node."""

# ruff: noqa: PLC0415
from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labnode.cli.language import counted, said
from labnode.cli.options import FILE, SETTINGS, InOrder
from labnode.cli.owner import become_owner
from labnode.errors import BadInput, ConfigError, LabnodeError

if TYPE_CHECKING:
    from labnode.settings import Settings
    from labnode.weblab.fake import CentralServer


@click.group(cls=InOrder)
def fake() -> None:
    """Play the central server for a running node.

    The credentials are those of the node: from the same --settings, or LABNODE_WEBLAB_USERNAME and
    LABNODE_WEBLAB_PASSWORD in the environment.
    """


def _which_node(command: Callable[..., None]) -> Callable[..., None]:
    url = click.option(
        "--url",
        help="The node's address (base_url and port of the settings, else http://127.0.0.1:8080).",
    )
    return url(SETTINGS(command))


@fake.command()
@click.option("--name", default="John Smith", show_default=True, help="The student's name.")
@click.option("--username", default="john.smith", show_default=True, help="The login name.")
@click.option("--username-unique", help="The login name that is unique among servers (the same).")
@click.option(
    "--assigned-time",
    type=float,
    metavar="SECONDS",
    default=300,
    show_default=True,
    help="How long the session may take.",
)
@click.option("--back", default="", metavar="URL", help="Where the student goes afterwards.")
@click.option("--locale", default="en", show_default=True, help="The student's language.")
@click.option("--experiment-name", default="mylab", show_default=True, help="The lab's name.")
@click.option(
    "--category-name", default="Lab experiments", show_default=True, help="The lab's category."
)
@click.option("--dont-open-browser", is_flag=True, help="Only print the student's address.")
@click.option("--client-initial-data", metavar="JSON", help="Client data for on_start, an object.")
@click.option(
    "--client-initial-data-file", type=FILE, metavar="FILE", help="The same from a JSON file."
)
@_which_node
def new(
    url: str | None,
    settings: Path | None,
    dont_open_browser: bool,
    client_initial_data: str | None,
    client_initial_data_file: Path | None,
    **student: Any,
) -> None:
    """Start a session and open the student's page.

    Its address is printed on a line of its own. The session is remembered for `labnode fake status`
    and `labnode fake dispose`.
    """
    from labnode.cli.browser import open_browser

    data = _client_data(client_initial_data, client_initial_data_file)
    student["username_unique"] = student["username_unique"] or ""
    server, address = _server(url, settings)
    session_id, page = server.new(client_initial_data=data, **student)
    _remember(address, session_id)
    click.echo(page)
    if not dont_open_browser and not open_browser(page):
        click.echo(said("cli.no-browser"), err=True)


@fake.command()
@click.argument("session_id", required=False)
@_which_node
def status(session_id: str | None, url: str | None, settings: Path | None) -> None:
    """Ask the node whether a session is over.

    Without SESSION_ID, it asks about the session that `labnode fake new` started last.
    """
    server, session_id = _session(session_id, url, settings)
    should_finish = server.status(session_id)
    n = f"{should_finish:g}"
    if should_finish < 0:
        click.echo(said("cli.fake-over", n=n))
    elif should_finish == 0:
        click.echo(said("cli.fake-quiet", n=n))
    else:
        click.echo(said("cli.fake-goes-on", n=n))


@fake.command()
@click.argument("session_id", required=False)
@_which_node
def dispose(session_id: str | None, url: str | None, settings: Path | None) -> None:
    """End a session, and wait until the board is clean.

    Without SESSION_ID, it ends the session that `labnode fake new` started last.
    """
    server, session_id = _session(session_id, url, settings)
    ending = server.delete(session_id)
    if not ending.clean:
        raise LabnodeError(said("cli.fake-not-ended", why=ending.message))
    if _remembered().get("session_id") == session_id:
        _memory().unlink(missing_ok=True)
    if ending.message == "Not found":
        click.echo(said("cli.fake-unknown"))
    else:
        click.echo(counted("cli.fake-ended", ending.asked))


def _client_data(text: str | None, file: Path | None) -> dict[str, Any]:
    if text is not None and file is not None:
        raise BadInput(said("cli.data-twice"))
    option = "--client-initial-data"
    if file is not None:
        option = str(file)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or said("cli.not-utf8")
            raise BadInput(said("cli.not-read", file=file, why=why)) from None
    try:
        data = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise BadInput(said("cli.not-json", what=option, why=error)) from None
    if not isinstance(data, dict):
        raise BadInput(said("cli.not-object", what=option))
    return data


def _server(url: str | None, settings: Path | None) -> tuple[CentralServer, str]:
    """A central server for the node, and the node's address."""
    from labnode.settings import load_settings
    from labnode.weblab.fake import CentralServer

    chosen = load_settings(settings, os.environ, {})
    become_owner(_memory())
    client = chosen.all_clients[0]
    if not client.clear_passwords:
        raise ConfigError(said("cli.hashed", name=client.name))
    address = (url or _address(chosen)).rstrip("/")
    return CentralServer(address, client.username, client.clear_passwords[0]), address


def _address(settings: Settings) -> str:
    """Where a central server would find the node."""
    here = dataclasses.replace(settings, base_url="", scheme="http").external_url()
    base = settings.base_path if settings.weblab_base is None else settings.weblab_base
    return (settings.public_origin or here) + base


def _session(
    session_id: str | None, url: str | None, settings: Path | None
) -> tuple[CentralServer, str]:
    """A central server, and the given session or the remembered one."""
    remembered = _remembered()
    if session_id is None:
        if "session_id" not in remembered:
            raise ConfigError(said("cli.none-remembered"))
        session_id = str(remembered["session_id"])
    known_at = remembered.get("url") if session_id == remembered.get("session_id") else None
    server, _ = _server(url or known_at, settings)
    return server, session_id


def _memory() -> Path:
    """The file with the last session, private to this user."""
    states = os.environ.get("XDG_STATE_HOME")
    return (Path(states) if states else Path.home() / ".local/state") / "labnode/fake-session.json"


def _remembered() -> dict[str, Any]:
    try:
        remembered = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return remembered if isinstance(remembered, dict) else {}


def _remember(url: str, session_id: str) -> None:
    from labnode.files import private

    memory = _memory()
    new = memory.with_suffix(".new")
    try:
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(new, "w", encoding="utf-8", opener=private) as file:
            json.dump({"url": url, "session_id": session_id}, file)
        new.replace(memory)
    except OSError as error:
        words = said("cli.not-remembered", session=session_id, why=error)
        click.echo(f"labnode: {words}", err=True)
