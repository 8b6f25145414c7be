"""What systemd and udev are told: how far the service is shut in, and what it may open."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.kit.programs import ran

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
UNIT = DEPLOY / "systemd" / "labnode@.service"
SAFE = DEPLOY / "systemd" / "labnode-safe@.service"
RULE = r'(?:[A-Z]+(?:\{\w+\})?(?:==|!=|=|\+=)"[^"]*"(?:, |$))+'


def offline() -> bool:
    """Whether this systemd-analyze judges a unit that is not installed (since version 250)."""
    if not shutil.which("systemd-analyze"):
        return False
    said = ran(["systemd-analyze", "--version"])
    version = re.match(r"systemd (\d+)", said.stdout)
    return version is not None and int(version[1]) >= 250


@pytest.mark.skipif(not offline(), reason="there is no systemd-analyze that judges units offline")
@pytest.mark.parametrize("file", [UNIT, SAFE], ids=["node", "safe"])
def test_the_service_is_shut_in_as_far_as_a_lab_can_be(tmp_path: Path, file: Path) -> None:
    unit = tmp_path / file.name.replace("@", "@lab")
    shutil.copy(file, unit)
    security = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    said = ran([*security, unit], check=True)
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
    assert score
    assert float(score[1]) <= 1.7


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("gpiochip", "pins"),
        ("ttyUSB", "USB serial adapters"),
        ("ttyACM", "USB boards"),
        ("ttyAMA", "the Pi's UART"),
        ("ttyS", "its mini UART"),
        ("video4linux", "cameras"),
        ("usb_device", "programmers"),
        ("spi", "SPI"),
        ("i2c", "I2C"),
    ],
)
def test_the_service_may_open_what_boards_have(kind: str, what: str) -> None:
    assert f"\nDeviceAllow=char-{kind} rw\n" in UNIT.read_text(), what


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "WatchdogSec=30",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "StateDirectory=labnode/%i",
        "RuntimeDirectory=labnode/%i",
        "LoadCredential=settings.yaml:/etc/labnode/%i.yaml",
        "MemoryMax=384M",
        "TasksMax=256",
        "DevicePolicy=closed",
    ],
)
def test_the_unit_keeps_what_operation_relies_on(line: str) -> None:
    assert line in UNIT.read_text().splitlines()


def test_outputs_go_to_their_safe_values_however_the_process_ended() -> None:
    """systemd has taken the credentials away by then: the copy in the runtime directory is used."""
    text = UNIT.read_text()
    (copied,) = re.findall(r"^ExecStartPre=/usr/bin/install .* (%t/\S+)$", text, re.M)
    assert f"\nExecStopPost=/opt/labnode/current/bin/labnode safe --settings {copied}\n" in text


def test_outputs_are_safe_before_the_network_and_the_node_and_hold_up_neither_for_long() -> None:
    lines = SAFE.read_text().splitlines()
    assert "DefaultDependencies=no" in lines
    assert "Before=network-pre.target labnode@%i.service shutdown.target" in lines
    assert "WantedBy=sysinit.target" in lines
    assert "TimeoutStartSec=30" in lines
    (command,) = [line for line in lines if line.startswith("ExecStart=")]
    assert " safe --pins --settings ${CREDENTIALS_DIRECTORY}/settings.yaml" in command
    assert "LoadCredential=settings.yaml:/etc/labnode/%i.yaml" in lines
    assert "User=labnode" in lines


def test_the_watchdog_is_within_what_a_pi_can_count() -> None:
    """Its timer has 20 bits of 1/65536 s."""
    text = (DEPLOY / "systemd" / "labnode-watchdog.conf").read_text()
    (seconds,) = re.findall(r"^RuntimeWatchdogSec=(\d+)s$", text, re.M)
    assert int(seconds) < 2**20 / 65536


def test_lgpio_may_write_its_files() -> None:
    assert "LG_WD=%t/labnode/%i" in UNIT.read_text()


def test_every_module_is_named_once() -> None:
    lines = (DEPLOY / "modules-load" / "labnode.conf").read_text().splitlines()
    modules = [line for line in lines if not line.startswith("#")]
    assert modules
    assert len(modules) == len(set(modules))
    assert all(re.fullmatch(r"[a-z0-9_]+", module) for module in modules)


def test_udev_rules_jump_only_to_labels_that_are_there() -> None:
    for file in (DEPLOY / "udev").glob("*.rules"):
        text = file.read_text()
        assert set(re.findall(r'GOTO="(\w+)"', text)) <= set(re.findall(r'LABEL="(\w+)"', text))
        for line in text.splitlines():
            assert (
                not line
                or line.startswith("#")
                or re.fullmatch(r'(?:[A-Z]+(?:\{\w+\})?(?:==|!=|=|\+=)"[^"]*"(?:, |$))+', line)
            ), line
