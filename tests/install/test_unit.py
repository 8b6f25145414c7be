"""What systemd and udev are told: how far the service is shut in, and what it may open."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from labnode.supervisor.client import SOCKET
from tests.kit.programs import ran

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
UNIT = DEPLOY / "systemd" / "labnode@.service"
SAFE = DEPLOY / "systemd" / "labnode-safe@.service"
SOCKET_UNIT = DEPLOY / "systemd" / "labnode@.socket"
TOOL = DEPLOY / "systemd" / "labnode-tool@.service"
TUNNEL = DEPLOY / "systemd" / "labnode-tunnel@.service"
TOOL_SOCKET = DEPLOY / "systemd" / "labnode-tool.socket"
RULE = r'(?:[A-Z]+(?:\{\w+\})?(?:==|!=|=|\+=)"[^"]*"(?:, |$))+'


def offline() -> bool:
    """Whether this systemd-analyze judges a unit that is not installed (since version 250)."""
    if not shutil.which("systemd-analyze"):
        return False
    said = ran(["systemd-analyze", "--version"])
    version = re.match(r"systemd (\d+)", said.stdout)
    return version is not None and int(version[1]) >= 250


@pytest.mark.skipif(not offline(), reason="there is no systemd-analyze that judges units offline")
@pytest.mark.parametrize(
    ("file", "most"),
    [(UNIT, 1.7), (SAFE, 1.7), (TOOL, 0.7), (TUNNEL, 1.1)],
    ids=["node", "safe", "tool", "tunnel"],
)
def test_the_service_is_shut_in_as_far_as_it_can_be(
    tmp_path: Path, file: Path, most: float
) -> None:
    unit = tmp_path / file.name.replace("@", "@lab")
    shutil.copy(file, unit)
    security = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    said = ran([*security, unit], check=True)
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
    assert score
    assert float(score[1]) <= most


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("gpiochip", "pins"),
        ("ttyUSB", "USB serial adapters"),
        ("ttyACM", "USB boards"),
        ("ttyAMA", "the Pi's UART"),
        ("ttyS", "its mini UART"),
        ("video4linux", "cameras"),
        ("media", "cameras at the Pi's own connector"),
        ("dma_heap", "the memory of their pictures"),
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


def test_the_service_may_not_open_the_firmwares_mailbox() -> None:
    """Through it a program gets at all memory of a Pi, whoever it runs as."""
    assert "vcio" not in UNIT.read_text()


@pytest.mark.skipif(not offline(), reason="there is no systemd-analyze that is new enough")
def test_systemd_understands_the_units_of_tools(tmp_path: Path) -> None:
    shutil.copy(TOOL_SOCKET, tmp_path)
    here = tmp_path / TOOL.name
    started = "/opt/labnode/current/bin/python "
    assert started in TOOL.read_text()
    here.write_text(TOOL.read_text().replace(started, "/bin/true "))
    said = ran(["systemd-analyze", "--man=no", "verify", here, tmp_path / TOOL_SOCKET.name])
    assert said.returncode == 0
    assert "labnode" not in said.stderr


@pytest.mark.skipif(not offline(), reason="there is no systemd-analyze that is new enough")
def test_systemd_understands_the_socket_of_a_lab_with_its_address(tmp_path: Path) -> None:
    socket = tmp_path / "labnode@lab.socket"
    socket.write_text(f"{SOCKET_UNIT.read_text()}ListenStream=192.0.2.5:8080\n")
    (tmp_path / "labnode@lab.service").write_text("[Service]\nExecStart=/bin/true\n")
    said = ran(["systemd-analyze", "--man=no", "verify", socket])
    assert said.returncode == 0
    assert "labnode" not in said.stderr


def test_a_labs_socket_is_open_while_its_node_runs_or_is_about_to_run_again() -> None:
    """It comes with the service, outlives a restart, and does not start what was stopped."""
    for key in ("Wants", "After"):
        assert re.search(rf"^{key}=.*\blabnode@%i\.socket\b", UNIT.read_text(), re.M)
    lines = SOCKET_UNIT.read_text().splitlines()
    assert "StopWhenUnneeded=yes" in lines
    assert "[Install]" not in lines


@pytest.mark.parametrize(
    "line",
    [
        "StandardInput=socket",
        "User=labnode-tool",
        "Group=labnode-tool",
        "KillMode=control-group",  # with a daemon that has left the tool
        "KillSignal=SIGKILL",
        "PrivateNetwork=yes",
        "TasksMax=64",
        "MemoryMax=256M",
        "LimitCORE=0",
        "DevicePolicy=closed",
        "ProtectHome=yes",
        "PrivateTmp=yes",
    ],
)
def test_the_unit_of_tools_keeps_what_they_must_not_have(line: str) -> None:
    assert line in TOOL.read_text().splitlines()


@pytest.mark.skipif(not offline(), reason="there is no systemd-analyze that is new enough")
def test_systemd_understands_the_unit_of_tunnels(tmp_path: Path) -> None:
    here = tmp_path / "labnode-tunnel@lab.service"
    here.write_text(TUNNEL.read_text().replace("/usr/bin/ssh ", "/bin/true "))
    said = ran(["systemd-analyze", "--man=no", "verify", here])
    assert said.returncode == 0
    assert "labnode" not in said.stderr


@pytest.mark.parametrize(
    "line",
    [
        "Type=forking",  # with ssh -f: active means that the server has opened the port
        "Restart=always",
        "StartLimitIntervalSec=0",
        "User=labnode-tunnel",
        "DevicePolicy=closed",
        "ProtectHome=yes",
        "PrivateTmp=yes",
    ],
)
def test_the_unit_of_tunnels_keeps_what_operation_relies_on(line: str) -> None:
    assert line in TUNNEL.read_text().splitlines()


def test_the_tunnel_is_made_anew_when_the_server_is_silent_and_only_with_its_port() -> None:
    (command,) = re.findall("^ExecStart=(.*)$", TUNNEL.read_text(), re.M)
    words = command.split()
    assert words[:3] == ["/usr/bin/ssh", "-f", "-N"]
    assert words[words.index("-F") + 1] == "/etc/labnode/tunnels/%i/ssh_config"
    assert {"ServerAliveInterval=15", "ServerAliveCountMax=1", "ExitOnForwardFailure=yes"} <= set(
        words
    )


def test_the_tunnel_reaches_nothing_of_the_labs() -> None:
    (hidden,) = re.findall(r"^InaccessiblePaths=(.*)$", TUNNEL.read_text(), re.M)
    assert {"-/var/lib/labnode", "-/run/labnode", "-/etc/labnode/boards"} <= set(hidden.split())
    assert "LoadCredential" not in TUNNEL.read_text()


def test_tools_reach_no_directory_of_the_node() -> None:
    text = TOOL.read_text()
    (hidden,) = re.findall(r"^InaccessiblePaths=(.*)$", text, re.M)
    assert {"-/etc/labnode", "-/var/lib/labnode", "-/run/labnode"} <= set(hidden.split())
    assert "LoadCredential" not in text


def test_the_node_asks_where_the_socket_listens_and_nobody_else_may() -> None:
    lines = TOOL_SOCKET.read_text().splitlines()
    assert f"ListenSequentialPacket={SOCKET}" in lines
    assert {"Accept=yes", "SocketUser=labnode", "SocketMode=0600"} <= set(lines)
    assert "-m labnode.supervisor labnode\n" in TOOL.read_text()
    for key in ("Wants", "After"):
        assert re.search(rf"^{key}=.*\blabnode-tool\.socket\b", UNIT.read_text(), re.M)


def test_a_tool_may_shut_itself_in_further() -> None:
    for unit in (UNIT, TOOL):
        (allowed,) = re.findall(r"^SystemCallFilter=(@.*)$", unit.read_text(), re.M)
        assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= set(
            allowed.split()
        )


def test_the_node_may_ask_whether_its_clock_was_set_and_not_set_it() -> None:
    lines = UNIT.read_text().splitlines()
    filters = [line.partition("=")[2] for line in lines if line.startswith("SystemCallFilter=")]
    assert filters[-1] == "adjtimex clock_adjtime clock_adjtime64"  # after what takes them away
    assert "CapabilityBoundingSet=" in lines
    assert not any(line.startswith("ProtectClock=") for line in lines)


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
    assert "TimeoutStartSec=90" in lines
    (command,) = [line for line in lines if line.startswith("ExecStart=")]
    assert " safe --pins --settings ${CREDENTIALS_DIRECTORY}/settings.yaml" in command
    assert "LoadCredential=settings.yaml:/etc/labnode/%i.yaml" in lines
    assert "User=labnode" in lines


def test_outputs_wait_for_no_other_device() -> None:
    """A `udevadm settle` has cost ten seconds in a boot; the command waits for its pins itself."""
    assert [line for line in SAFE.read_text().splitlines() if line.startswith("Exec")] == [
        "ExecStart=/opt/labnode/current/bin/labnode safe --pins "
        "--settings ${CREDENTIALS_DIRECTORY}/settings.yaml"
    ]


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
