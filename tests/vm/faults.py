"""Kernel panics and power cuts while an output is on: nothing is on afterwards; see README.md."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.figures import FigureReporter
from tests.kit.waiting import eventually

from .machine import OFFLINE, VM, Machine, adapter, push_clone

pytestmark = pytest.mark.skipif(not VM, reason="LABNODE_TEST_VM names no virtual machine")

TIMES = int(os.environ.get("LABNODE_TEST_TIMES", "10"))
HEATER, VALVE = 24, 25  # the safe level of the heater is low, that of the valve is high
WATCHDOG = 15  # seconds

# Written down by something that is not labnode, from when there are pins.
RECORDER = f"""
[Unit]
DefaultDependencies=no
After=rig-hardware.service
[Service]
ExecStartPre=-/sbin/modprobe i6300esb
ExecStart=/usr/bin/python3 /usr/lib/rig/guest.py record /run/levels {HEATER} {VALVE}
[Install]
WantedBy=sysinit.target
"""


def put(machine: Machine, path: str, text: str) -> None:
    machine.ssh(f"sudo tee {path} >/dev/null <<'END'\n{text}\nEND")


def plug_in_watchdog() -> None:
    """A watchdog that is no part of the processor, as a Pi has one: QEMU's i6300esb.

    At its end QEMU resets the machine.
    """
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(f"{os.environ['RIG_DIR']}/qmp.sock")
        with monitor.makefile("rw") as lines:
            for command in (
                {"execute": "qmp_capabilities"},
                {"execute": "device_add", "arguments": {"driver": "i6300esb", "id": "watchdog"}},
            ):
                lines.write(json.dumps(command))
                lines.flush()
                while not {"return", "error"} & (answer := json.loads(lines.readline())).keys():
                    pass
                # A reset leaves it plugged in.
                assert "return" in answer or "Duplicate" in answer["error"]["desc"], answer


def forget_connections() -> None:
    """ssh would go on with the connection to the machine as it was before it fell over."""
    for path in Path(os.environ["RIG_DIR"]).glob("ssh-*"):
        path.unlink()


def boot(machine: Machine) -> str:
    return machine.ssh("cat /proc/sys/kernel/random/boot_id", patience=60)


def cut_power(machine: Machine) -> None:
    machine.do("powercut")
    machine.do("start")


def arm_watchdog(machine: Machine) -> None:
    """Have systemd feed the watchdog, which resets the machine when nobody does."""
    if not is_armed(machine):
        plug_in_watchdog()
        machine.ssh("sudo modprobe i6300esb && sudo systemctl daemon-reexec && sync")
    eventually(lambda: is_armed(machine), "an armed watchdog")


def is_armed(machine: Machine) -> bool:
    armed = "systemctl show --property RuntimeWatchdogUSec --property WatchdogDevice --value"
    return machine.ssh(armed).split() == ["/dev/watchdog0", f"{WATCHDOG}s"]


def panic(machine: Machine) -> None:
    """The kernel panics and stands still, until the watchdog resets the machine."""
    arm_watchdog(machine)
    before = boot(machine)
    machine.ssh(
        "sudo sh -c 'echo 0 >/proc/sys/kernel/panic; echo 1 >/proc/sys/kernel/sysrq; "
        "(sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &'"
    )
    time.sleep(5)
    until_reset(machine, before)


def until_reset(machine: Machine, before: str) -> None:
    """Return in the boot after `before`."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        forget_connections()
        with contextlib.suppress(AssertionError):
            if boot(machine) != before:
                return
        time.sleep(2)
    raise AssertionError("the watchdog has not reset the machine")


def levels(machine: Machine) -> list[tuple[float, int, str]]:
    """Every change of the two pins since the kernel's start."""
    rows = [row.split() for row in machine.ssh("cat /run/levels").splitlines()]
    return [(float(at), int(pin), level) for at, pin, level in rows]


def test_a_lab_with_two_outputs_is_installed(machine: Machine, tmp_path: Path) -> None:
    push_clone(machine, tmp_path, "1.0")
    machine.do("net", "on")
    plug_in_watchdog()
    machine.ssh("sudo modprobe i6300esb")
    with adapter():
        machine.ssh(f"cd labnode && sudo ./install.sh --board tests/vm/board.yaml --yes {OFFLINE}")
    machine.ssh("sudo cp labnode/tests/vm/guest.py /usr/lib/rig/guest.py")
    put(machine, "/etc/systemd/system/levels.service", RECORDER)
    machine.ssh("sudo systemctl enable --quiet --now levels && sync")
    assert machine.unit("ActiveState") == "active"
    assert (machine.pin(HEATER), machine.pin(VALVE)) == ("0", "1")


def test_the_installer_has_armed_the_machines_watchdog(machine: Machine) -> None:
    assert is_armed(machine)
    said = machine.ssh("sudo labnode doctor --settings /etc/labnode/board.yaml || true")
    assert f"watchdog is armed: it resets a kernel that hangs for {WATCHDOG}s" in said


@pytest.mark.parametrize("fault", [cut_power, panic])
def test_nothing_is_on_after(
    fault: Callable[[Machine], None], machine: Machine, figure: FigureReporter
) -> None:
    unsafe, driven = 0, list[float]()
    for number in range(TIMES):
        machine.until("ActiveState", "active", patience=600)
        machine.start_session()
        machine.press("heater", "on")
        machine.press("valve", "off")
        assert (machine.pin(HEATER), machine.pin(VALVE)) == ("1", "0")
        fault(machine)
        machine.until("ActiveState", "active", patience=900)
        seen = levels(machine)
        ever_on = any(pin == HEATER and level == "1" for _, pin, level in seen)
        held = (machine.pin(HEATER), machine.pin(VALVE)) == ("0", "1")
        unsafe += ever_on or not held
        driven += [at for at, pin, level in seen if pin == VALVE and level == "1"][:1]
        print(f"{fault.__name__} {number + 1}: {seen}", flush=True)
        assert len(driven) == number + 1, seen
    what = {cut_power: "power cut", panic: "kernel panic, reset by the watchdog"}[fault]
    figure(
        f"{what} while outputs are on: not at safe afterwards (virtual machine)",
        "0",
        f"{unsafe} of {TIMES}; driven to safe {min(driven):.0f} to {max(driven):.0f} s after the "
        "kernel's start",
    )
    assert unsafe == 0


# --- labnode prove: the wire is a process that copies one simulated pin's level to another ---

WIRE = """
[Unit]
DefaultDependencies=no
After=rig-hardware.service
[Service]
ExecStart=/usr/bin/python3 /usr/lib/rig/guest.py wire 5 6
[Install]
WantedBy=sysinit.target
"""
PROVE = "cd /tmp && sudo labnode prove /etc/labnode/boards/board/board.yaml --out 5 --in 6 --yes"


def proved(machine: Machine) -> dict[str, dict[str, object]]:
    """The rows of a report by what they are; the exit code is 1 on a machine that is slow."""
    machine.ssh(f"{PROVE} --quick --report prove.md || test -e prove.md")
    report = json.loads(machine.ssh("cat /tmp/prove.json"))
    assert "labnode@prove.service" in report["keeper"]
    return {row["what"]: row for row in report["measurements"]}


def nothing_is_left_of_prove(machine: Machine) -> bool:
    left = machine.ssh(
        "sudo find /etc /var/lib/labnode -path '*prove*' -not -path '*/modules*'; "
        "systemctl list-units --all --plain --no-legend 'labnode*prove*'"
    )
    return not left


def test_prove_measures_with_the_unit_that_is_installed(machine: Machine) -> None:
    put(machine, "/etc/systemd/system/wire.service", WIRE)
    machine.ssh("sudo systemctl enable --quiet --now wire")
    rows = proved(machine)
    assert not [row for row in rows.values() if "never" in str(row["measured"])]
    assert not [row for row in rows.values() if "on again" in str(row["measured"])]
    assert nothing_is_left_of_prove(machine)
    assert machine.unit("ActiveState") == "active"  # the machine's own lab went on


@pytest.mark.parametrize("how", ["power", "panic"])
def test_prove_records_a_boot(how: str, machine: Machine) -> None:
    if how == "power":
        machine.ssh(f"{PROVE} --boot power")
        assert machine.pin(5) == "1"
        cut_power(machine)
    else:
        before = boot(machine)
        arm_watchdog(machine)
        with contextlib.suppress(AssertionError):  # the connection ends with the machine
            machine.ssh(f"{PROVE} --boot panic", patience=300)
        until_reset(machine, before)
    machine.until("ActiveState", "active", patience=900)
    rows = proved(machine)
    (goes_on,) = [row for what, row in rows.items() if "goes on in the boot" in what]
    assert goes_on["measured"] == "never"
    assert nothing_is_left_of_prove(machine)
