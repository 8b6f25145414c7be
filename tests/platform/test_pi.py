"""What a Pi tells of itself, from files as its kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from labnode.system.pi import Machine, Throttling


@pytest.fixture(autouse=True)
def _no_vcgencmd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_a_machine_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.model() is None
    assert machine.temperature() is None
    assert machine.throttling() is None


def test_the_model_comes_without_its_zero(tmp_path: Path) -> None:
    write(tmp_path, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    assert Machine(tmp_path).model() == "Raspberry Pi 4 Model B Rev 1.4"


def test_the_temperature_is_the_processors(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/thermal/thermal_zone0/type", "gpu-thermal\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "99000\n")
    write(tmp_path, "sys/class/thermal/thermal_zone1/type", "cpu-thermal\n")
    write(tmp_path, "sys/class/thermal/thermal_zone1/temp", "51540\n")
    assert Machine(tmp_path).temperature() == 51.54


def test_throttling_is_read_from_the_firmwares_file(tmp_path: Path) -> None:
    write(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    assert Machine(tmp_path).throttling() == Throttling(
        now=frozenset({"undervoltage", "throttled"}),
        since_boot=frozenset({"undervoltage", "throttled"}),
    )


def test_a_pi_5_calls_the_file_by_its_address(tmp_path: Path) -> None:
    write(
        tmp_path, "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled", "1\n"
    )
    assert Machine(tmp_path).throttling() == Throttling(frozenset({"undervoltage"}), frozenset())


def test_where_the_kernel_has_no_file_only_who_says_so_asks_vcgencmd(tmp_path: Path) -> None:
    write(tmp_path, "bin/vcgencmd", '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x80002')
    (tmp_path / "bin/vcgencmd").chmod(0o755)
    assert Machine(tmp_path).throttling() is None
    assert Machine(tmp_path).throttling(ask_firmware=True) == Throttling(
        now=frozenset({"frequency_capped"}), since_boot=frozenset({"temperature_limit"})
    )


@pytest.mark.parametrize(("alarm", "facts"), [("1", {"undervoltage"}), ("0", set())])
def test_the_alarm_of_the_kernels_sensor_is_the_last_resort(
    tmp_path: Path, alarm: str, facts: set[str]
) -> None:
    write(tmp_path, "sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
    write(tmp_path, "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    write(tmp_path, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", f"{alarm}\n")
    assert Machine(tmp_path).throttling() == Throttling(frozenset(), frozenset(facts))


def test_the_file_system_is_that_of_the_longest_mount_point(tmp_path: Path) -> None:
    state = tmp_path / "var/lib/labnode"
    state.mkdir(parents=True)
    mounts = f"/dev/root / ext4 ro 0 0\n/dev/sda1 {tmp_path}/var ext4 rw,noatime 0 0\n"
    write(tmp_path, "proc/mounts", mounts)
    write(tmp_path, "sys/fs/ext4/sda1/errors_count", "3\n")
    disk = Machine(tmp_path).disk(state)
    assert (disk.read_only, disk.errors) == (False, 3)
    assert 0 < disk.free <= disk.total
    assert Machine(tmp_path).disk(tmp_path).read_only
