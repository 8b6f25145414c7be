"""Commands that ports of weblablib labs may still call: they say why they are not needed here."""

from __future__ import annotations

import click

_ANY = {"ignore_unknown_options": True, "allow_extra_args": True}  # such as weblablib's --threads


@click.command(context_settings=_ANY)
def loop() -> None:
    """Not needed; says why."""
    click.echo(
        "labnode loop is not needed: the node itself, which labnode run starts, runs the tasks and "
        "ends the sessions."
    )


@click.command("run-tasks", context_settings=_ANY)
def run_tasks() -> None:
    """Not needed; says why."""
    click.echo(
        "labnode run-tasks is not needed: the node runs each task in its own threads, about a "
        "millisecond after delay()."
    )


@click.command("clean-expired", context_settings=_ANY)
def clean_expired() -> None:
    """Not needed; says why."""
    click.echo(
        "labnode clean-expired is not needed: the node ends a session when its time is over, and "
        "forgets its user after `expired_users_timeout`."
    )
