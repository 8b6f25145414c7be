"""What a pin does in a boot after a power cut or a kernel panic, recorded from early on.

A run of `labnode prove --boot` leaves an output on and a unit that records; what that has seen is
in the report of the next run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, NoReturn

from labnode.clock import Clock
from labnode.drivers.gpio.factories import real_factory
from labnode.drivers.gpio.gpiochips import find_chip, is_output, list_chips
from labnode.drivers.gpio.pin import Pin
from labnode.errors import DeviceError, LabnodeError
from labnode.locale import Message
from labnode.prove.report import Measurement

How = Literal["power", "panic"]

DIRECTORY = Path("/var/lib/labnode/prove.boot")
_UNIT = Path("/etc/systemd/system/labnode-prove.service")
_ARMED = "armed.json"
_RECORD = "record.jsonl"

_EVERY = 0.005  # seconds between two looks
_LASTS = 600.0  # seconds that are recorded at most

_UNIT_TEXT = """\
# Of labnode prove --boot; the next run of labnode prove removes it.
[Unit]
Description=labnode prove: records a pin from early in the boot
DefaultDependencies=no
After=local-fs.target systemd-modules-load.service

[Service]
ExecStart={python} -m labnode.prove.boot
Environment=PYTHONDONTWRITEBYTECODE=1

[Install]
WantedBy=sysinit.target
"""


def arm(how: How, out: Pin, end: Pin, boot_id: str) -> None:
    """Have the next boot recorded."""
    DIRECTORY.mkdir(mode=0o700, exist_ok=True)
    armed = {"how": how, "out": out.number, "in": end.number, "boot": boot_id}
    (DIRECTORY / _RECORD).unlink(missing_ok=True)
    (DIRECTORY / _ARMED).write_text(json.dumps(armed), encoding="utf-8")
    _UNIT.write_text(_UNIT_TEXT.format(python=sys.executable), encoding="utf-8")
    subprocess.run(["systemctl", "enable", "--quiet", _UNIT.name], check=True)
    os.sync()


def disarm() -> None:
    """Leave nothing of it."""
    if _UNIT.exists():
        subprocess.run(["systemctl", "disable", "--quiet", "--now", _UNIT.name], check=True)
        _UNIT.unlink()
    if DIRECTORY.exists():
        shutil.rmtree(DIRECTORY)


def watchdog_is_armed() -> bool:
    """Whether systemd feeds the machine's own watchdog, which resets a kernel that panicked."""
    said = subprocess.run(
        ["systemctl", "show", "--property", "RuntimeWatchdogUSec", "--value"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return said not in ("", "0", "infinity")


def panic() -> NoReturn:
    """Make the kernel panic and stand still, for the watchdog to reset the machine."""
    os.sync()
    Path("/proc/sys/kernel/panic").write_text("0", encoding="ascii")
    Path("/proc/sys/kernel/sysrq").write_text("1", encoding="ascii")
    Path("/proc/sysrq-trigger").write_text("c", encoding="ascii")
    raise LabnodeError(Message("cli.prove-no-panic"))


def record(clock: Clock) -> None:
    """Write down every change of the wire's level and of who drives it, from now on."""
    armed = json.loads((DIRECTORY / _ARMED).read_text(encoding="utf-8"))
    out, end = Pin(armed["out"]), Pin(armed["in"])
    pause = clock.event()
    while True:
        try:
            chip = find_chip(list_chips())
            break
        except DeviceError:  # not there yet
            if clock.now() > _LASTS:
                raise
            pause.wait(0.1)
    pins = real_factory(DIRECTORY)
    pin = pins.pin(end.name)
    pin.function = "input"
    before = None
    with (DIRECTORY / _RECORD).open("a", encoding="utf-8") as file:
        while clock.now() < _LASTS:
            seen = {"high": bool(pin.state), "output": is_output(chip, out.number)}
            if seen != before:
                before = seen
                file.write(json.dumps({"at": clock.now(), **seen}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            pause.wait(_EVERY)
    pins.close()


def recorded(boot_id: str) -> list[Measurement]:
    """What was recorded in this boot, if it was to be; LabnodeError where that failed."""
    try:
        armed = json.loads((DIRECTORY / _ARMED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    if armed["boot"] == boot_id:
        raise LabnodeError(Message("cli.prove-same-boot"))
    record = DIRECTORY / _RECORD
    text = record.read_text(encoding="utf-8") if record.exists() else ""
    whole, _, _ = text.rpartition("\n")  # the power may have been cut again
    if not whole:
        raise LabnodeError(Message("cli.prove-no-record", unit=_UNIT.name))
    return judged(armed["how"], [json.loads(line) for line in whole.splitlines()])


def judged(how: How, seen: list[dict[str, float]]) -> list[Measurement]:
    """The rows of the report for a boot after a power cut or a panic."""
    first, after = seen[0], Message(f"cli.how:{how}")
    level = Message(f"cli.level:{'high' if first['high'] else 'low'}")
    driven = next((row["at"] for row in seen if row["output"]), None)
    high = [row["at"] for row in seen if row["high"]]
    return [
        Measurement(
            Message("cli.row-first-level", how=after),
            Message("cli.level:low"),
            Message("cli.level-at", level=level, seconds=f"{first['at']:.1f}"),
            not first["high"],
        ),
        Measurement(
            Message("cli.row-goes-on", how=after),
            Message("cli.never"),
            _when(high[0] if high else None),
            not high,
        ),
        Measurement(Message("cli.row-driven", how=after), "", _when(driven)),
    ]


def _when(at: float | None) -> Message:
    if at is None:
        return Message("cli.never")
    return Message("cli.after-start", seconds=f"{at:.1f}")


if __name__ == "__main__":
    record(Clock())
