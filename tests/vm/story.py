"""The life of a lab on a virtual machine, one thing after the other; see README.md."""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from pathlib import Path

import pytest

from .machine import LAB, OFFLINE, VM, Machine, adapter, push_clone

pytestmark = pytest.mark.skipif(not VM, reason="LABNODE_TEST_VM names no virtual machine")


def test_a_lab_is_installed(machine: Machine, tmp_path: Path) -> None:
    push_clone(machine, tmp_path, "1.0")
    machine.do("net", "on")
    with adapter():
        machine.ssh(f"cd labnode && sudo ./install.sh --board tests/vm/board.yaml --yes {OFFLINE}")
        assert machine.unit("ActiveState") == "active"
        assert machine.status()["version"] == "1.0"
        assert "api_version" in machine.curl("/weblab/sessions/api")


def test_a_second_time_changes_nothing(machine: Machine) -> None:
    process = machine.unit("MainPID")
    said = machine.ssh(
        f"cd labnode && sudo ./install.sh --board tests/vm/board.yaml --yes {OFFLINE} 2>&1"
    )
    assert said == "install.sh: nothing to change"
    assert machine.unit("MainPID") == process


def test_the_service_is_shut_in(machine: Machine) -> None:
    said = machine.ssh(f"systemd-analyze security {LAB} --no-pager | tail -n 1")
    score = re.search(r": ([0-9.]+) ", said)
    assert score
    assert float(score[1]) <= 1.7
    process = machine.unit("MainPID")
    assert machine.ssh(f"stat -c %U /proc/{process}") == "labnode"
    assert machine.ssh("sudo stat -c %a /etc/labnode/board.yaml") == "600"
    assert "udev" not in machine.ssh(
        "udevadm verify /etc/udev/rules.d/70-labnode.rules 2>&1 | grep -i fail || true"
    )


# As a node would: run as the user labnode, with the program of the tool as the argument.
TOOL = """
import sys
from labnode.supervisor.client import Supervisor

with Supervisor() as supervisor:
    argv = ["sh", "-c", sys.argv[1]]
    environment = {"PATH": "/usr/bin:/bin"}
    output = supervisor.start(argv, environment=environment, timeout=60, files={})
    print(open(output).read())
"""


PYTHON = "/opt/labnode/current/bin/python"


def run_tool(machine: Machine, program: str) -> str:
    return machine.ssh(f"cd / && {tool(program)} 2>&1")


def tool(program: str) -> str:
    return shlex.join(["sudo", "-u", "labnode", PYTHON, "-c", TOOL, program])


def test_a_programming_tool_is_another_user_with_no_network_and_no_secrets(
    machine: Machine,
) -> None:
    assert machine.ssh("systemctl is-active labnode-tool.socket") == "active"
    assert run_tool(machine, "id -un") == "labnode-tool"
    assert run_tool(machine, "cut -d: -f1 /proc/net/dev | tail -n +3").split() == ["lo"]
    for path in ("/etc/labnode/board.yaml", "/etc/labnode/boards", "/var/lib/labnode/board"):
        assert run_tool(machine, f"ls {path} 2>/dev/null || echo refused") == "refused"
    assert run_tool(machine, "head -c 1 /dev/vcio 2>&1 || echo refused").endswith("refused")
    process = machine.unit("MainPID")
    assert run_tool(machine, f"cat /proc/{process}/environ 2>/dev/null || echo no") == "no"


def test_a_daemon_of_a_programming_tool_ends_with_it(machine: Machine) -> None:
    run_tool(machine, "env -i setsid sleep 7777 </dev/null >/dev/null 2>&1 &")
    assert machine.ssh("pgrep -f '[s]leep 7777' || echo gone") == "gone"
    assert machine.ssh("systemctl list-units --no-legend 'labnode-tool@*'") == ""


def test_a_programming_tool_has_no_more_processes_and_memory_than_its_unit_allows(
    machine: Machine,
) -> None:
    assert "Cannot fork" in run_tool(machine, "for i in $(seq 99); do sleep 60 & done; echo all")
    eats = "for i in 1 2 3 4; do head -c 150M /dev/zero | tail -c 150M >/dev/null & done; sleep 20"
    peak = "cat /sys/fs/cgroup/system.slice/*labnode*tool.slice/labnode-tool@*/memory.peak"
    said = machine.ssh(
        f"cd / && {{ {tool(eats)} >/dev/null 2>&1 & }} ; most=0; "
        f"for i in $(seq 15); do sleep 1; now=$({peak} 2>/dev/null || echo 0); "
        "[ $now -gt $most ] && most=$now; done; wait; echo $most"
    )
    assert 128 << 20 < int(said) <= 256 << 20
    assert machine.unit("ActiveState") == "active"


def test_what_shuts_a_program_in_can_be_loaded_where_memory_is_never_both_written_and_run(
    machine: Machine,
) -> None:
    """`run:` steps and tools need ctypes, of which libffi makes programs while it runs."""
    for unit in (LAB, "labnode-tool@x"):
        said = machine.ssh(f"systemctl show {unit} --property MemoryDenyWriteExecute --value")
        assert said == "yes"
    program = (
        "import ctypes, labnode.supervisor.confine;"
        "print(ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)(), flush=True);"
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)"
    )
    run = ["sudo", "systemd-run", "--quiet", "--pipe", "--wait", "--property", "User=labnode"]
    run += ["--property", "MemoryDenyWriteExecute=yes", PYTHON, "-c", program]
    said = machine.ssh(f"! {shlex.join(run)} 2>&1")
    assert said.splitlines()[0] == "7"
    assert said.splitlines()[-1].startswith("PermissionError")


def test_nobody_else_may_have_programs_run(machine: Machine) -> None:
    connect = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        "s.connect('/run/labnode-tool.sock')"
    )
    said = machine.ssh(f"sudo -u nobody python3 -c {shlex.quote(connect)} 2>&1 || true")
    assert "Permission denied" in said


def test_a_session_moves_the_pins(machine: Machine) -> None:
    assert (machine.pin(23), machine.pin(24)) == ("0", "0")
    machine.start_session()
    machine.press("led", "on")
    machine.press("heater", "on")
    assert (machine.pin(23), machine.pin(24)) == ("1", "1")


def test_a_killed_lab_is_safe_and_comes_back_to_its_student(machine: Machine) -> None:
    machine.ssh(f"sudo kill -KILL {machine.unit('MainPID')}")
    machine.until("NRestarts", "1")
    assert machine.pin(24) == "0"
    assert "safe: " in machine.journal()
    machine.until("ActiveState", "active")
    assert len(machine.status()["sessions"]) == 1  # type: ignore[arg-type]
    assert machine.pin(24) == "0"


def test_a_stopped_process_is_started_anew_by_the_watchdog(machine: Machine) -> None:
    machine.press("heater", "on")
    assert machine.pin(24) == "1"
    machine.ssh(f"sudo kill -STOP {machine.unit('MainPID')}")
    machine.until("NRestarts", "2")
    assert machine.pin(24) == "0"
    assert "Watchdog timeout" in machine.journal()
    machine.until("ActiveState", "active")


def test_an_adapter_is_pulled_out_and_plugged_in(machine: Machine) -> None:
    restarts, before = machine.unit("NRestarts"), machine.console("is connected")
    with adapter():
        machine.until_console("is connected", before + 1)
        gone = machine.console("is not connected")
    machine.until_console("is not connected", gone + 1)
    with adapter():
        machine.until_console("is connected", before + 2)
    assert machine.unit("ActiveState") == "active"
    assert machine.unit("NRestarts") == restarts


def test_after_a_power_cut_in_a_session_it_cleans_up_and_answers(machine: Machine) -> None:
    machine.start_session()
    machine.press("heater", "on")
    assert machine.pin(24) == "1"
    machine.do("powercut")
    machine.do("start")
    machine.until("ActiveState", "active")
    assert machine.pin(24) == "0"
    assert not machine.status()["sessions"]
    assert machine.status()["state"] == "ready"
    assert "api_version" in machine.curl("/weblab/sessions/api")


def test_it_comes_back_after_a_reboot(machine: Machine) -> None:
    before = machine.ssh("cat /proc/sys/kernel/random/boot_id")
    with contextlib.suppress(AssertionError):  # the connection ends with the machine
        machine.ssh("sudo systemctl reboot")
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        with contextlib.suppress(AssertionError):
            if machine.ssh("cat /proc/sys/kernel/random/boot_id", patience=60) != before:
                break
        time.sleep(3)
    machine.until("ActiveState", "active")
    assert machine.status()["state"] == "ready"


def test_outputs_were_safe_in_that_boot_before_the_network_and_the_node(machine: Machine) -> None:
    def at(unit: str, moment: str) -> int:
        """Microseconds since the kernel began."""
        return int(machine.ssh(f"systemctl show {unit} --property {moment}Monotonic --value"))

    safe = LAB.replace("@", "-safe@")
    assert machine.ssh(f"systemctl show {safe} --property Result --value") == "success"
    done = at(safe, "ExecMainExitTimestamp")
    assert 0 < done <= at("network-pre.target", "ActiveEnterTimestamp")
    assert done < at(LAB, "ExecMainStartTimestamp")
    assert "safe: " in machine.ssh(f"sudo journalctl --boot --unit {safe} --output cat")


def test_an_upgrade_and_the_way_back(machine: Machine, tmp_path: Path) -> None:
    push_clone(machine, tmp_path, "2.0")
    machine.ssh(f"cd labnode && sudo ./install.sh upgrade {OFFLINE}")
    assert machine.status()["version"] == "2.0"
    machine.ssh("cd labnode && sudo ./install.sh rollback")
    assert machine.status()["version"] == "1.0"
    assert machine.unit("ActiveState") == "active"


def test_an_upgrade_that_does_not_get_ready_goes_back(machine: Machine, tmp_path: Path) -> None:
    push_clone(machine, tmp_path, "3.0")
    machine.ssh("cd labnode && printf '\\n\\nAgent.start = None\\n' >>labnode/node/agent.py")
    said = machine.ssh(f"cd labnode && ! sudo ./install.sh upgrade {OFFLINE} 2>&1")
    assert f"the lab '{LAB.partition('@')[2]}' does not get ready with labnode 3.0" in said
    assert machine.status()["version"] == "1.0"
    assert "api_version" in machine.curl("/weblab/sessions/api")


def test_nothing_is_left_after_a_purge(machine: Machine) -> None:
    machine.ssh("cd labnode && sudo ./install.sh uninstall --purge --yes")
    left = machine.ssh(
        "sudo find / -xdev -iname '*labnode*' -not -path '/home/*' -not -path '/proc/*' "
        "-not -path '/var/log/*' -not -path '/tmp/*'"
    )
    assert left == ""
    assert machine.ssh("getent passwd labnode; getent group labnode; true") == ""
    assert machine.ssh(f"systemctl show {LAB} --property LoadState --value") == "not-found"
