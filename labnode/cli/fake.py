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
        click.echo("There is no browser to open it with on this machine.", err=True)


@fake.command()
@click.argument("session_id", required=False)
@_which_node
def status(session_id: str | None, url: str | None, settings: Path | None) -> None:
    """Ask the node whether a session is over.

    Without SESSION_ID, it asks about the session that `labnode fake new` started last.
    """
    server, session_id = _session(session_id, url, settings)
    should_finish = server.status(session_id)
    if should_finish < 0:
        words = "The session is over"
    elif should_finish == 0:
        words = "The session goes on, and the node does not want to be asked again"
    else:
        words = f"The session is not over; the node wants to be asked again in {should_finish:g} s"
    click.echo(f"{words} (should_finish: {should_finish:g}).")


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
        raise LabnodeError(f"The session was not ended: {ending.message}")
    if _remembered().get("session_id") == session_id:
        _memory().unlink(missing_ok=True)
    if ending.message == "Not found":
        click.echo("The node does not know this session (any more).")
    else:
        times = "" if ending.asked == 1 else f" The node was asked {ending.asked} times."
        click.echo(f"The session is finished.{times}")


def _client_data(text: str | None, file: Path | None) -> dict[str, Any]:
    if text is not None and file is not None:
        raise BadInput("Give --client-initial-data or --client-initial-data-file, not both.")
    option = "--client-initial-data"
    if file is not None:
        option = str(file)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise BadInput(f"{file} cannot be read: {why}.") from None
    try:
        data = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{option} is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise BadInput(f'{option} has to be a JSON object such as {{"level": 3}}.')
    return data


def _server(url: str | None, settings: Path | None) -> tuple[CentralServer, str]:
    """A central server for the node, and the node's address."""
    from labnode.settings import load_settings
    from labnode.weblab.fake import CentralServer

    chosen = load_settings(settings, os.environ, {})
    become_owner(_memory())
    client = chosen.all_clients[0]
    if not client.clear_passwords:
        raise ConfigError(
            f"The password of {client.name} is hashed in the settings: give it in clear, "
            "for example in LABNODE_WEBLAB_PASSWORD."
        )
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
            raise ConfigError(
                "No session is remembered: start one with labnode fake new, or name its id."
            )
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
        click.echo(f"labnode: the session {session_id} is not remembered: {error}", err=True)
