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
from labnode.locale import Message
from labnode.settings import Settings
from labnode.settings.passwords import SHORTEST
from labnode.system.systemd import Tunnel

_TIMEOUT = 5.0  # seconds for an answer of the node


def files(patient: Patient) -> Iterator[Finding]:
    """The settings and the board file, or what is wrong with them."""
    yield from patient.wrong
    if patient.board is not None:
        number = len(patient.board.devices)
        message = Message("doctor.board", path=patient.board.path, n=number)
        yield Finding("board", Level.OK, message)
    if patient.settings is not None:
        with suppress(OSError):
            mode = patient.settings.state_dir.stat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                message = Message("doctor.state-open", path=patient.settings.state_dir)
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
        message = Message("doctor.loopback", host=host)
        yield Finding("web", Level.WARNING, message, Message("doctor.loopback:advice"))


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
        advice = Message("doctor.tunnel-down:advice", unit=found.unit)
        yield Finding("tunnel", Level.PROBLEM, found.sentence(), advice)
    if found.near_port != settings.port:
        message = Message("doctor.tunnel-port", near=found.near_port, port=settings.port)
        yield Finding("tunnel", Level.PROBLEM, message, Message("doctor.tunnel-port:advice"))
    if not {"127.0.0.1", "::1"} & set(settings.trusted_proxies):
        message = Message("doctor.tunnel-limits")
        yield Finding("tunnel", Level.WARNING, message, Message("doctor.tunnel-limits:advice"))


def administration(patient: Patient) -> Iterator[Finding]:
    """Where the administration is, and whether its port can be had."""
    if patient.settings is None or (access := patient.settings.admin) is None:
        return
    if access.host is None:
        message = Message("doctor.admin-among")
        yield Finding("admin", Level.WARNING, message, Message("doctor.admin-among:advice"))
    elif patient.running:
        message = Message("doctor.admin", port=access.port, host=access.host)
        yield Finding("admin", Level.OK, message)
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
            advice = Message("doctor.unsendable:advice")
            yield Finding("passwords", Level.PROBLEM, client.unsendable, advice)
    if patient.simulated:
        return
    for name in patient.settings.short_passwords:
        message = Message("doctor.short", name=name, n=SHORTEST)
        yield Finding("passwords", Level.WARNING, message, Message("doctor.short:advice"))


def _free(host: str, port: int, check: str = "web") -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return Finding(check, Level.OK, Message("doctor.port-free", port=port))
    except OSError as error:
        why = os.strerror(error.errno or 0)  # that of the error repeats the address
        message = Message("doctor.port-taken", port=port, host=host, why=why)
        return Finding(check, Level.PROBLEM, message, Message("doctor.port-taken:advice"))


def _answers(settings: Settings) -> Iterator[Finding]:
    try:
        pairs = [f"{c.username}:{c.passwords[0]}".encode() for c in settings.all_clients]
        status, health = _ask(settings, "/weblab/health", *pairs[:1])
    except (OSError, HTTPException, ValueError) as error:
        message = Message("doctor.silent", port=settings.port, why=error)
        yield Finding("web", Level.PROBLEM, message, Message("doctor.silent:advice"))
        return
    if status == 200 and health.get("success"):
        yield Finding("web", Level.OK, Message("doctor.answers", port=settings.port))
    else:
        message = Message("doctor.takes-none", why=health.get("message", status))
        yield Finding("web", Level.WARNING, message, Message("doctor.takes-none:advice"))
    for client in settings.all_clients:
        if not client.clear_passwords:
            message = Message("doctor.hashed", name=client.name)
            yield Finding("credentials", Level.UNKNOWN, message)
            continue
        pair = f"{client.username}:{client.clear_passwords[0]}".encode()
        try:
            status, _ = _ask(settings, "/weblab/sessions/test", pair)
        except (OSError, HTTPException, ValueError) as error:
            message = Message("doctor.no-answer", why=error)
            yield Finding("credentials", Level.PROBLEM, message)
        else:
            if status == 200:
                message = Message("doctor.accepted", name=client.name)
                yield Finding("credentials", Level.OK, message)
            else:
                message = Message("doctor.refused", status=status, name=client.name)
                advice = Message("doctor.refused:advice")
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
