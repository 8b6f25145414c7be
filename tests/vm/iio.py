"""What the kernel measures, read from the kernel itself: its iio_dummy; see README.md."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.kit.waiting import eventually

from .machine import OFFLINE, VM, Machine, push_clone

MODULES = os.environ.get("LABNODE_TEST_IIO", "")

pytestmark = pytest.mark.skipif(
    not (VM and MODULES), reason="LABNODE_TEST_VM or LABNODE_TEST_IIO is not there"
)

NAMES = ("industrialio-sw-device", "iio_dummy")
# drivers/iio/dummy/iio_simple_dummy.c: 73 with an offset of 7, 33 between two inputs; in mV.
SINGLE = (73 + 7) * 1.333 / 1000 / 1000
BETWEEN = 33 * 0.000001344 / 1000
BOARD = """\
schema: 1
lab: {name: dummy}
devices:
  single: {driver: iio, device: dummy, channel: voltage0, sample_every: 0.1s, digits: 6}
  between: {driver: iio, device: dummy, channel: voltage1-voltage2, sample_every: 0.1s, digits: 9}
  tilt: {driver: iio, device: dummy, channel: accel_x, sample_every: 0.1s}
  drive: {driver: iio_output, device: dummy, channel: voltage0, min: 0, max: 0.05, safe: 0}
"""


def states(machine: Machine) -> dict[str, dict[str, Any]]:
    """What the student's page is told of each device."""
    answer = json.loads(machine.curl("/api/state", "--cookie", "cookies"))
    devices: dict[str, dict[str, Any]] = answer["devices"]
    return devices


def raw(machine: Machine) -> int:
    return int(machine.ssh("cat /sys/bus/iio/devices/iio:device0/out_voltage0_raw"))


def test_the_kernel_has_a_device(machine: Machine) -> None:
    for name in ("industrialio-triggered-buffer", "industrialio-configfs"):
        machine.ssh(f"sudo modprobe {name}")
    for name in NAMES:
        machine.do("push", f"{MODULES}/{name}.ko", f"{name}.ko")
        machine.ssh(f"sudo insmod {name}.ko")
    machine.ssh("sudo mkdir /sys/kernel/config/iio/devices/dummy/dummy")
    assert machine.ssh("cat /sys/bus/iio/devices/iio:device0/name") == "dummy"


def test_a_board_of_it_is_installed_and_runs(machine: Machine, tmp_path: Path) -> None:
    push_clone(machine, tmp_path, "1.0")
    (tmp_path / "dummy.yaml").write_text(BOARD)
    machine.do("push", str(tmp_path / "dummy.yaml"), "labnode/tests/vm/board.yaml")
    machine.ssh(f"cd labnode && sudo ./install.sh --board tests/vm/board.yaml --yes {OFFLINE}")
    machine.until("ActiveState", "active")


def test_what_is_read_is_what_the_kernel_measures(machine: Machine) -> None:
    machine.start_session()
    inputs = ("single", "between", "tilt")

    def readings() -> list[float] | None:
        values = [states(machine)[name].get("value") for name in inputs]
        return None if None in values else values

    single, between, tilt = eventually(readings, "readings")
    assert single == pytest.approx(SINGLE, rel=0.01)
    assert between == pytest.approx(BETWEEN, rel=0.1)
    assert tilt > 0


def test_what_is_set_is_in_the_kernel_and_safe_when_the_node_stops(machine: Machine) -> None:
    machine.press("drive", "set", value=0.02)
    eventually(lambda: raw(machine) == 20, "the value in the kernel")
    machine.ssh("sudo systemctl stop labnode@board")
    assert raw(machine) == 0


def test_one_that_goes_is_told_and_comes_back(machine: Machine) -> None:
    machine.ssh("sudo systemctl start labnode@board")
    machine.until("ActiveState", "active")
    machine.start_session()
    eventually(lambda: states(machine)["single"].get("value"), "a reading")
    machine.ssh("sudo rmdir /sys/kernel/config/iio/devices/dummy/dummy")
    eventually(lambda: states(machine)["single"].get("error"), "an error")
    machine.ssh("sudo mkdir /sys/kernel/config/iio/devices/dummy/dummy")
    eventually(lambda: states(machine)["single"].get("value"), "a reading again")
