"""`labnode password`: a password as it may stand in the settings, and the key of one-time codes."""

# ruff: noqa: PLC0415
from __future__ import annotations

import sys

import click

from labnode.cli.language import said
from labnode.errors import BadInput


@click.command()
@click.option("--totp", is_flag=True, help="Make a key for one-time codes instead.")
def password(*, totp: bool) -> None:
    """Hash a password for the settings.

    It asks for the password, or reads it from standard input. Put the result into the settings, in
    `weblab`, `clients` or `admin`. The password cannot be recovered from it, not even by the node
    or by `labnode weblab-config`, so keep the password where you keep your passwords.

    With --totp, it prints a key for `totp` in `admin`, and the URI that authenticator apps read:
    logging in to the administration then needs a code of the app, too.
    """
    if totp:
        _print_key()
        return
    from labnode.settings.passwords import SHORTEST, HashedPassword

    word = _asked() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not word or not word.isprintable():
        raise BadInput(said("cli.password-expected"))
    if len(word) < SHORTEST:
        click.echo(f"labnode: {said('cli.password-short', n=SHORTEST)}", err=True)
    click.echo(str(HashedPassword.of(word)))


def _asked() -> str:
    while True:
        first, again = _typed(said("cli.password")), _typed(said("cli.password-again"))
        if first == again:
            return first
        click.echo(said("cli.password-differs"), err=True)


def _typed(prompt: str) -> str:
    word: str = click.prompt(prompt, hide_input=True, err=True)
    return word


def _print_key() -> None:
    import secrets
    import socket
    from base64 import b32encode

    from labnode.web.admin.totp import app_uri

    key = b32encode(secrets.token_bytes(20)).decode()
    click.echo(f"totp: {key}")
    click.echo(app_uri(key, socket.gethostname()))
