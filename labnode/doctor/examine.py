"""All checks, in an order that a person can follow."""

from __future__ import annotations

import logging

from labnode.doctor import machine, node
from labnode.doctor.finding import Check, Finding, Level, Patient
from labnode.locale import Message

log = logging.getLogger(__name__)

CHECKS: dict[str, Check] = {
    "machine": machine.machine,
    "files": node.files,
    "gpio": machine.gpio,
    "buses": machine.buses,
    "serial": machine.serial_ports,
    "devices": machine.device_files,
    "programs": machine.programs,
    "tools": machine.tools,
    "clock": machine.clock,
    "power": machine.power,
    "watchdog": machine.watchdog,
    "disk": machine.disk,
    "web": node.web,
    "tunnel": node.tunnel,
    "admin": node.administration,
    "passwords": node.passwords,
}


def examine(patient: Patient) -> list[Finding]:
    """What all checks find; a check that fails is a finding, too."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            findings += check(patient)
        except Exception as error:
            log.exception("The check %s failed", name)
            message = Message("doctor.failed", why=str(error) or type(error).__name__)
            findings.append(Finding(name, Level.UNKNOWN, message))
    return findings
