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
# drivers/iio/dummy/iio_simple_dummy_buffer.c: 7, -33 and 344 in numbers of u13, s12 and s16.
BURSTS = {
    "burst_single": (7 + 7) * 1.333 / 1000 / 1000,
    "burst_between": -33 * 0.000001344 / 1000,
    "burst_tilt": 344,
}
BOARD = """\
schema: 1
lab: {name: dummy}
devices:
  single:
    {driver: iio, device: dummy, channel: voltage0, sample_every: 0.1s, digits: 12, trigger: beat}
  between:
    driver: iio
    device: dummy
    channel: voltage1-voltage2
    sample_every: 0.1s
    digits: 12
    trigger: beat
  tilt: {driver: iio, device: dummy, channel: accel_x, sample_every: 0.1s}
  drive: {driver: iio_output, device: dummy, channel: voltage0, min: 0, max: 0.05, safe: 0}
  burst_single: {driver: burst, of: single, count: 1000, rate: 100}
  burst_between: {driver: burst, of: between, count: 3000, rate: 1000}
  burst_tilt: {driver: burst, of: tilt, count: 50, rate: 33.5}
  long: {driver: burst, of: single, count: 600, rate: 10}
"""
DEVICE = "/sys/bus/iio/devices/iio:device0"
ENABLE = f"{DEVICE}/buffer/enable"


def states(machine: Machine) -> dict[str, dict[str, Any]]:
    """What the student's page is told of each device."""
    answer = json.loads(machine.curl("/api/state", "--cookie", "cookies"))
    devices: dict[str, dict[str, Any]] = answer["devices"]
    return devices


def raw(machine: Machine) -> int:
    return int(machine.ssh(f"cat {DEVICE}/out_voltage0_raw"))


def begun(machine: Machine, burst: str) -> None:
    machine.press(burst, "acquire")
    eventually(lambda: machine.ssh(f"cat {ENABLE}") == "1", "a burst in the kernel's buffer")


def taken(machine: Machine, burst: str) -> dict[str, Any]:
    """A burst that was begun, and the whole of it; the buffer is off after it."""

    def state() -> dict[str, Any] | None:
        found = states(machine)[burst]
        return None if found.get("running") else found

    found = eventually(state, "the end of the burst", 60)
    assert "error" not in found
    assert machine.ssh(f"cat {ENABLE}") == "0"
    samples = json.loads(machine.curl(f"/api/devices/{burst}/samples.json", "--cookie", "cookies"))
    return {**samples, "rate": found["value"]["rate"]}


def test_the_kernel_has_a_device(machine: Machine) -> None:
    for name in ("industrialio-triggered-buffer", "industrialio-configfs", "iio-trig-hrtimer"):
        machine.ssh(f"sudo modprobe {name}")
    for name in NAMES:
        machine.do("push", f"{MODULES}/{name}.ko", f"{name}.ko")
        machine.ssh(f"sudo insmod {name}.ko")
    machine.ssh("sudo mkdir /sys/kernel/config/iio/triggers/hrtimer/beat")
    machine.ssh("sudo mkdir /sys/kernel/config/iio/devices/dummy/dummy")
    assert machine.ssh(f"cat {DEVICE}/name") == "dummy"


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


def test_a_buffer_that_has_no_trigger_says_so(machine: Machine) -> None:
    machine.press("burst_tilt", "acquire")
    error = eventually(lambda: states(machine)["burst_tilt"].get("error"), "an error")
    assert error == "its buffer needs a trigger, and none is set"


@pytest.mark.parametrize(("burst", "count"), [("burst_between", 3000), ("burst_tilt", 50)])
def test_a_burst_is_what_the_kernel_has_put_into_its_buffer(
    machine: Machine, burst: str, count: int
) -> None:
    machine.press(burst, "acquire")
    found = taken(machine, burst)
    assert (found["count"], len(found["y"])) == (count, count)
    assert found["y"] == pytest.approx([BURSTS[burst]] * count, rel=1e-5)


def test_the_rate_of_a_burst_is_the_triggers_even_when_the_clock_is_set(machine: Machine) -> None:
    begun(machine, "burst_single")
    assert machine.ssh(f"sudo date --set '+30 seconds' && cat {ENABLE}").endswith("\n1")
    found = taken(machine, "burst_single")
    assert found["y"] == pytest.approx([BURSTS["burst_single"]] * 1000, rel=1e-5)
    assert found["rate"] == pytest.approx(100, rel=0.1)


def test_during_a_burst_inputs_keep_their_value_and_outputs_are_set(machine: Machine) -> None:
    eventually(lambda: states(machine)["tilt"].get("value"), "a reading")
    begun(machine, "long")
    before = states(machine)["tilt"]["sampled"]
    machine.press("drive", "set", value=0.03)
    eventually(lambda: states(machine)["drive"].get("value") == 0.03, "the output")
    now = states(machine)
    assert machine.ssh(f"cat {ENABLE}") == "1"
    assert now["tilt"]["sampled"] == before
    assert [name for name, state in now.items() if state.get("error")] == []


def test_a_stop_in_the_middle_of_a_burst_leaves_the_buffer_off(machine: Machine) -> None:
    assert machine.ssh(f"cat {ENABLE} && sudo systemctl stop labnode@board") == "1"
    assert machine.ssh(f"cat {ENABLE}") == "0"
    assert raw(machine) == 0


def test_a_kill_in_the_middle_of_a_burst_leaves_it_on_until_the_next_start(
    machine: Machine,
) -> None:
    machine.ssh("sudo systemctl start labnode@board")
    machine.until("ActiveState", "active")
    machine.start_session()
    begun(machine, "long")
    assert machine.ssh(f"sudo systemctl kill --signal KILL labnode@board; cat {ENABLE}") == "1"
    eventually(lambda: machine.ssh(f"cat {ENABLE}") == "0", "a buffer that is off", 180)
    machine.until("ActiveState", "active")
    machine.start_session()
    eventually(lambda: states(machine)["single"].get("value"), "a reading", 60)
