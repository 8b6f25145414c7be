"""The checks of the node: its files, its port, its credentials."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from typing import Any

from labnode.doctor.finding import Finding, Level, Patient
from labnode.settings import Settings
from labnode.settings.passwords import SHORTEST
from labnode.system.systemd import Tunnel

_TIMEOUT = 5.0  # seconds for an answer of the node


def files(patient: Patient) -> Iterator[Finding]:
    """The settings and the board file, or what is wrong with them."""
    yield from patient.wrong
    if patient.board is not None:
        number = len(patient.board.devices)
        message = f"{patient.board.path} has no mistakes; devices: {number}."
        yield Finding("board", Level.OK, message)
    if patient.settings is not None:
        with suppress(OSError):
            mode = patient.settings.state_dir.stat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                message = f"Others may look into {patient.settings.state_dir}."
                advice = f"sudo chmod 700 {patient.settings.state_dir}"
                yield Finding("state", Level.WARNING, message, advice)


def web(patient: Patient) -> Iterator[Finding]:
    """The port, and what answers there."""
    if patient.settings is None:
        return
    host, port = patient.settings.host, patient.settings.port
    if not patient.running:
        yield _free(host, port)
    else:
        yield from _answers(patient.settings)
    if _is_loopback(host) and not patient.settings.trusted_proxies:
        message = f"It listens on {host}, which only this machine can reach."
        advice = "host: 0.0.0.0 in the settings, or a proxy such as nginx and trusted_proxies"
        yield Finding("web", Level.WARNING, message, advice)


def tunnel(patient: Patient) -> Iterator[Finding]:
    """The way to a server, for a lab that has one: whether it stands, and what it adds."""
    settings = patient.settings
    if settings is None:
        return
    found = Tunnel.of(settings.state_dir.name, patient.root)
    if found is None:
        return
    if found.stands():
        yield Finding("tunnel", Level.OK, found.sentence())
    else:
        advice = f"journalctl -u {found.unit} says why; does the server know the lab's key?"
        yield Finding("tunnel", Level.PROBLEM, found.sentence(), advice)
    if found.near_port != settings.port:
        message = f"The tunnel leads to port {found.near_port}, the lab has port {settings.port}."
        advice = "start sudo ./install.sh --board ... --tunnel ... again"
        yield Finding("tunnel", Level.PROBLEM, message, advice)
    if not {"127.0.0.1", "::1"} & set(settings.trusted_proxies):
        message = "All students who come through the tunnel share one address's limits."
        advice = "trusted_proxies: ['127.0.0.1', '::1'] in the settings"
        yield Finding("tunnel", Level.WARNING, message, advice)


def administration(patient: Patient) -> Iterator[Finding]:
    """Where the administration is, and whether its port can be had."""
    if patient.settings is None or (access := patient.settings.admin) is None:
        return
    if access.host is None:
        message = "The administration is at the address where students come."
        advice = "admin: {host: 127.0.0.1, port: 9080, ...} in the settings; docs/admin.md has more"
        yield Finding("admin", Level.WARNING, message, advice)
    elif patient.running:
        where = f"port {access.port} of {access.host}"
        yield Finding("admin", Level.OK, f"The administration is at {where}.")
    else:
        yield _free(access.host, access.port, "admin")


def passwords(patient: Patient) -> Iterator[Finding]:
    """Credentials that cannot be sent, and passwords that can be guessed.

    A simulated node has nothing to protect.
    """
    if patient.settings is None:
        return
    for client in patient.settings.all_clients:
        if client.unsendable is not None:
            advice = "choose others, and give them to the central server"
            yield Finding("passwords", Level.PROBLEM, client.unsendable, advice)
    if patient.simulated:
        return
    for name in patient.settings.short_passwords:
        message = f"The password of {name} has less than {SHORTEST} characters."
        yield Finding("passwords", Level.WARNING, message, "choose a longer one")


def _free(host: str, port: int, check: str = "web") -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return Finding(check, Level.OK, f"Port {port} is free for the node.")
    except OSError as error:
        why = os.strerror(error.errno or 0)  # that of the error repeats the address
        message = f"The node could not listen on port {port} of {host}: {why}."
        return Finding(check, Level.PROBLEM, message, "stop what has it, or set another port")


def _answers(settings: Settings) -> Iterator[Finding]:
    try:
        pairs = [f"{c.username}:{c.passwords[0]}".encode() for c in settings.all_clients]
        status, health = _ask(settings, "/weblab/health", *pairs[:1])
    except (OSError, HTTPException, ValueError) as error:
        message = f"The node runs, but does not answer on port {settings.port}: {error}."
        yield Finding("web", Level.PROBLEM, message, "journalctl -u 'labnode@*' tells more")
        return
    if status == 200 and health.get("success"):
        message = f"The node answers on port {settings.port}: {health.get('message')}"
        yield Finding("web", Level.OK, message)
    else:
        message = f"The node takes no students: {health.get('message', status)}"
        yield Finding("web", Level.WARNING, message, "labnode status tells more")
    for client in settings.all_clients:
        if not client.clear_passwords:
            message = f"The password of {client.name} is hashed: it cannot be tried."
            yield Finding("credentials", Level.UNKNOWN, message)
            continue
        pair = f"{client.username}:{client.clear_passwords[0]}".encode()
        try:
            status, _ = _ask(settings, "/weblab/sessions/test", pair)
        except (OSError, HTTPException, ValueError) as error:
            yield Finding("credentials", Level.PROBLEM, f"The node does not answer: {error}.")
        else:
            if status == 200:
                message = f"The node accepts the credentials of {client.name}."
                yield Finding("credentials", Level.OK, message)
            else:
                message = f"The node answers {status} to the credentials of {client.name}."
                advice = "start it again: it has other settings than these"
                yield Finding("credentials", Level.PROBLEM, message, advice)


def _ask(settings: Settings, path: str, pair: bytes | None = None) -> tuple[int, dict[str, Any]]:
    prefix = settings.base_path if settings.weblab_base is None else settings.weblab_base
    headers = {"Connection": "close"}
    if pair is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = HTTPConnection(host, settings.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", f"{prefix}{path}", headers=headers)
        answer = connection.getresponse()
        content = json.loads(answer.read(65536))
    finally:
        connection.close()
    return answer.status, content if isinstance(content, dict) else {}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
