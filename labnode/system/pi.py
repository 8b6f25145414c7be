"""A Raspberry Pi's model, temperature, power supply and disk."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 2.0  # seconds for vcgencmd
_FIRMWARE = "sys/devices/platform/soc*/soc*:firmware/get_throttled"

# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_FLAGS = ("undervoltage", "frequency_capped", "throttled", "temperature_limit")  # from bit 0 on


@dataclass(frozen=True)
class Throttling:
    """What the firmware reports of low voltage and heat, by name."""

    now: frozenset[str]
    since_boot: frozenset[str]

    @classmethod
    def of(cls, bits: int) -> Throttling:
        """From the bits of `vcgencmd get_throttled`."""
        return cls(
            now=frozenset(name for bit, name in enumerate(_FLAGS) if bits >> bit & 1),
            since_boot=frozenset(name for bit, name in enumerate(_FLAGS) if bits >> (16 + bit) & 1),
        )


@dataclass(frozen=True)
class Disk:
    """A file system: sizes in bytes, and its health."""

    total: int
    free: int
    read_only: bool
    errors: int  # counted by ext4 since it was made or checked


class Machine:
    """The machine whose /sys and /proc are below `root`; unknown values are None."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def model(self) -> str | None:
        """ "Raspberry Pi 4 Model B Rev 1.4"."""
        return self._read("proc/device-tree/model")

    def temperature(self) -> float | None:
        """Of the processor, in °C."""
        for zone in sorted(self.root.glob("sys/class/thermal/thermal_zone*")):
            if "cpu" in (self._read(zone / "type") or ""):
                text = self._read(zone / "temp") or ""
                return int(text) / 1000 if text.lstrip("-").isdecimal() else None
        return None

    def throttling(self, *, ask_firmware: bool = False) -> Throttling | None:
        """From the firmware's file in /sys; kernels without it only know undervoltage.

        `ask_firmware`: vcgencmd is run there. It needs /dev/vcio, through which a program gets at
        all memory of a Pi: a node does not have it.
        """
        files = sorted(self.root.glob(_FIRMWARE))
        bits = self._read(files[0]) if files else _from_vcgencmd() if ask_firmware else None
        if bits is not None:
            try:
                return Throttling.of(int(bits, 16))
            except ValueError:
                return None
        for sensor in self.root.glob("sys/class/hwmon/hwmon*"):
            if self._read(sensor / "name") == "rpi_volt":
                # The alarm stays until it is read, so it may be over.
                alarm = self._read(sensor / "in0_lcrit_alarm") == "1"
                return Throttling(frozenset(), frozenset(["undervoltage"] if alarm else []))
        return None

    def disk(self, path: Path) -> Disk:
        """The file system that `path` is on; OSError where there is no such path."""
        usage = shutil.disk_usage(path)
        device, options = self._mount(path.resolve())
        counted = self._read(f"sys/fs/ext4/{Path(device).name}/errors_count") or "0"
        return Disk(
            total=usage.total,
            free=usage.free,
            read_only="ro" in options.split(","),
            errors=int(counted) if counted.isdecimal() else 0,
        )

    def _mount(self, path: Path) -> tuple[str, str]:
        """The device and the options of the file system that has `path`."""
        found, longest = ("", ""), -1
        for line in (self._read("proc/mounts") or "").splitlines():
            device, where, _, options, *_ = [*line.split(" "), "", "", ""]
            if path.is_relative_to(where or "?") and len(where) >= longest:
                found, longest = (device, options), len(where)
        return found

    def _read(self, path: str | Path) -> str | None:
        try:
            return (self.root / path).read_text(errors="replace").strip("\0\n ")
        except OSError:
            return None


def _from_vcgencmd() -> str | None:
    """The number in "throttled=0x50000"."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "get_throttled"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().rpartition("=")[2]
