"""`labnode doctor`: what is wrong with this machine or its settings, and what to do about it."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from labnode.cli.language import counted, said, told
from labnode.cli.options import FILE, SETTINGS, STATE_DIR, settings_without_credentials
from labnode.cli.owner import become_owner, load_board_as_owner
from labnode.errors import Busy, ConfigError, Forbidden, LabnodeError

if TYPE_CHECKING:
    from labnode.doctor import Finding, Patient
    from labnode.settings import Settings

_NAMES = "check", "level", "message", "advice"  # of a finding in JSON


@click.command()
@click.argument("board", type=FILE, required=False)
@SETTINGS
@STATE_DIR
@click.option("--simulate", is_flag=True, help="For a node without hardware.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def doctor(
    *,
    board: Path | None,
    settings: Path | None,
    state_dir: Path | None,
    simulate: bool,
    as_json: bool,
) -> None:
    """Find out what keeps a lab from working.

    BOARD is a YAML file; without it, `board` of the settings. This checks the files, the pins, the
    serial ports, the programs that the board needs, the clock, the power supply, the disk and the
    node's address. Each problem comes with what to do about it. Nothing is changed, and a running
    node goes on.

    The exit code is 1 when there is a problem; warnings do not count.
    """
    from labnode.doctor import Level, examine

    findings = examine(_patient(board, settings, state_dir, simulate))
    problems = [finding for finding in findings if finding.level is Level.PROBLEM]
    if as_json:
        rows = [{name: getattr(finding, name) for name in _NAMES} for finding in findings]
        click.echo(json.dumps({"ok": not problems, "findings": rows}))
    else:
        click.echo("\n".join(_lines(findings)))
    if problems:
        raise LabnodeError(counted("doctor.found", len(problems)))


def _lines(findings: list[Finding]) -> Iterator[str]:
    marks = [said(f"doctor.level:{finding.level}") for finding in findings]
    checks = [said(f"doctor.check:{finding.check}") for finding in findings]
    first, second = (max(map(len, column)) + 2 for column in (marks, checks))
    for mark, check, finding in zip(marks, checks, findings, strict=True):
        yield f"{mark:<{first}}{check:<{second}}{told(finding.words)}"
        if finding.what_to_do:
            yield f"{'':<{first + second}}-> {told(finding.what_to_do)}"


def _patient(
    board: Path | None, settings: Path | None, state_dir: Path | None, simulate: bool
) -> Patient:
    from labnode.doctor import Finding, Level, Patient, SystemUser
    from labnode.lab.loader import load_lab
    from labnode.locale import Joined, Message
    from labnode.settings import load_settings

    wrong = []
    options = {"board": board, "state_dir": state_dir}
    chosen, file = None, None
    try:
        chosen = load_settings(settings, os.environ, options)
    except ConfigError as error:
        level = Level.PROBLEM if settings else Level.WARNING
        wrong += [Finding("settings", level, Joined(each.words, ".")) for each in error.problems]
        try:  # without what is missing, for the other checks
            chosen = settings_without_credentials(settings, options)
        except ConfigError:
            chosen = None
    state = chosen.state_dir if chosen else None
    path = board or (chosen.board if chosen else None)
    if path is None:
        advice = Message("doctor.no-board:advice")
        wrong.append(Finding("board", Level.WARNING, Message("doctor.no-board"), advice))
    else:
        try:
            file = load_board_as_owner(path, settings=settings, state_dir=state)
            load_lab(file)
        except ConfigError as error:
            wrong += [
                Finding("board", Level.PROBLEM, Joined(each.words, ".")) for each in error.problems
            ]
    become_owner(state)
    running = chosen is not None and _runs(chosen)
    return Patient(
        user=SystemUser.by_id(os.geteuid()),
        settings=_where_it_listens(chosen) if chosen is not None and running else chosen,
        board=file,
        running=running,
        simulated=simulate,
        wrong=tuple(wrong),
    )


def _where_it_listens(settings: Settings) -> Settings:
    """The settings with the port that the running node has, which may be from its command line."""
    from labnode.control.client import ask

    try:
        port = urlsplit(ask(settings.state_dir, "status")["url"]).port
    except LabnodeError:  # it ends, or hangs: the settings are all that is known
        return settings
    return settings if port is None else replace(settings, port=port)


def _runs(settings: Settings) -> bool:
    from labnode.node.state_dir import without_node

    try:
        with without_node(settings.state_dir):
            return False
    except Busy:
        return True
    except Forbidden:
        return False
