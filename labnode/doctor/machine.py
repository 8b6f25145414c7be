"""The checks of the machine: Python, pins, ports, programs, clock, power, watchdog, disk."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from labnode.clock import Clock
from labnode.doctor.finding import Finding, Level, Patient, SystemUser
from labnode.drivers.framework.driver import adding_extra, extra_is_installed
from labnode.drivers.gpio.factories import real_factory
from labnode.drivers.gpio.gpiochips import Chip, find_chip, list_chips, user_of
from labnode.drivers.tools.base import Tool
from labnode.errors import DeviceError
from labnode.supervisor.client import SOCKET
from labnode.supervisor.confine import landlock_version
from labnode.system.pi import Machine

_TIMEOUT = 5.0  # seconds for systemctl
_HOT = 75.0  # °C; the firmware slows the processor down at 80
_LITTLE = 200 << 20  # bytes free on the disk
_TOO_LITTLE = 20 << 20
_TOOL_USER = "labnode-tool"  # made by install.sh
_BUSES = {  # by their names in claims
    "I2C": "dev/i2c-{}",
    "SPI": "dev/spidev{}.*",
    "1-Wire": "sys/bus/w1/devices/w1_bus_master*",
}


def machine(patient: Patient) -> Iterator[Finding]:
    model = Machine(patient.root).model() or "not a Raspberry Pi"
    yield Finding("machine", Level.OK, f"{model}, Python {platform.python_version()}.")


def gpio(patient: Patient) -> Iterator[Finding]:
    """The chip, the library and the board's pins."""
    pins = {claim.name for claim in patient.claims if claim.kind == "pin" and not claim.bus}
    lines = sorted(int(name.removeprefix("GPIO")) for name in pins)
    needed = bool(lines) and not patient.simulated
    try:
        chip = find_chip(list_chips(patient.root / "dev"))
    except DeviceError as error:
        level = Level.PROBLEM if needed else Level.UNKNOWN
        yield Finding("gpio", level, _sentence(str(error)))
        return
    device = patient.root / f"dev/gpiochip{chip.number}"
    yield Finding("gpio", Level.OK, f"The pins are those of {device.name}, {chip.label}.")
    if not patient.user.may_use(device):
        yield patient.may_not_use(device, "gpio", Level.PROBLEM if needed else Level.WARNING)
    if needed:
        yield from _library()
        yield from _pins(patient, chip, lines)


def _library() -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as directory:
        try:
            real_factory(Path(directory)).close()
        except DeviceError as error:
            advice = (
                "sudo apt install python3-lgpio; a virtual environment has to have been made with "
                "--system-site-packages"
            )
            yield Finding("gpio", Level.PROBLEM, _sentence(str(error)), advice)


def _pins(patient: Patient, chip: Chip, lines: list[int]) -> Iterator[Finding]:
    taken = []
    for line in lines:
        try:
            consumer = user_of(chip, line, patient.root / "dev")
        except DeviceError as error:
            yield Finding("pins", Level.PROBLEM, _sentence(str(error)))
            continue
        if consumer is not None:
            taken.append(f"GPIO{line} ({consumer or 'without a name'})")
    if taken and patient.running:
        yield Finding("pins", Level.OK, f"The running node has {len(taken)} of its pins.")
    elif taken:
        message = f"Pins of the board are used by something else: {', '.join(taken)}."
        advice = "stop that program, or switch off the overlay or bus in the boot configuration"
        yield Finding("pins", Level.PROBLEM, message, advice)
    else:
        yield Finding("pins", Level.OK, f"{len(lines)} pins of the board are free.")


def buses(patient: Patient) -> Iterator[Finding]:
    """The buses that devices of the board are on: the kernel's driver, and the right to use it."""
    for bus in sorted({claim.bus for claim in patient.claims if claim.bus}):
        kind, _, number = bus.partition(" bus")
        pattern = _BUSES.get(kind, "").format(number.strip())
        there = sorted(patient.root.glob(pattern)) if pattern else []
        if patient.simulated or not pattern:
            continue
        if not there:
            message = f"The {bus} is not there: /{pattern} is missing."
            advice = "put what labnode bootconfig prints into config.txt, then reboot"
            yield Finding("buses", Level.PROBLEM, message, advice)
        elif pattern.startswith("dev/") and not patient.user.may_use(there[0]):
            what = f"the {bus}, {there[0]}"
            yield patient.may_not_use(there[0], "buses", Level.PROBLEM, what)
        else:
            yield Finding("buses", Level.OK, f"The {bus} is there.")


def serial_ports(patient: Patient) -> Iterator[Finding]:
    by_id = patient.root / "dev/serial/by-id"
    there = sorted(by_id.iterdir()) if by_id.is_dir() else []
    names = ", ".join(port.name for port in there) or "none"
    yield Finding("serial", Level.OK, f"Serial ports in /dev/serial/by-id: {names}.")
    wanted = {path for _, path in _device_files(patient)}
    for path in there:
        if path.exists() and not patient.user.may_use(path) and path not in wanted:
            yield patient.may_not_use(path, "serial", Level.WARNING)


def device_files(patient: Patient) -> Iterator[Finding]:
    """What the board names in /dev: serial ports, cameras."""
    for name, path in _device_files(patient):
        if not path.exists():
            message = f"'{name}' needs {path}, which is not there."
            advice = "plug it in, or correct the board file"
            yield Finding("devices", Level.PROBLEM, message, advice)
        elif not patient.user.may_use(path):
            what = f"{path}, which '{name}' needs"
            yield patient.may_not_use(path, "devices", Level.PROBLEM, what)
        else:
            yield Finding("devices", Level.OK, f"'{name}' has {path}.")


def _device_files(patient: Patient) -> list[tuple[str, Path]]:
    """The devices of the board with the paths below /dev among their options."""
    if patient.simulated:
        return []
    return [
        (name, patient.root / value.lstrip("/"))
        for name, driver in patient.devices.items()
        for value in (getattr(driver, field.name) for field in fields(driver))
        if isinstance(value, str) and value.startswith("/dev/")
    ]


def programs(patient: Patient) -> Iterator[Finding]:
    """The programs that the board's drivers run, and the libraries that only some boards need."""
    wanted = {p: pkg for driver in patient.devices.values() for p, pkg in driver.runs().items()}
    for program, package in sorted(wanted.items()):
        if where := shutil.which(program):
            yield Finding("programs", Level.OK, f"{program} is {where}.")
        else:
            message = f"The board needs the program {program}, which is not installed."
            level = Level.WARNING if patient.simulated else Level.PROBLEM
            how = "install it, or correct its name or path in the board file"
            advice = f"sudo apt install {package}" if package else how
            yield Finding("programs", level, message, advice)
    for extra in sorted({each for driver in patient.devices.values() for each in driver.extras()}):
        if extra_is_installed(extra):
            yield Finding("programs", Level.OK, f"The extra {extra} of labnode is installed.")
        else:
            message = f"The board needs the extra {extra} of labnode, which is not installed."
            level = Level.WARNING if patient.simulated else Level.PROBLEM
            yield Finding("programs", level, message, adding_extra(extra))


def tools(patient: Patient) -> Iterator[Finding]:
    """How programming tools are run, and whether they may use their ports."""
    tools = {name: tool for name, tool in patient.devices.items() if isinstance(tool, Tool)}
    if not tools or patient.simulated:
        return
    socket = patient.root / SOCKET.relative_to("/")
    if socket.exists() and patient.user.may_use(socket):
        user = SystemUser.by_name(_TOOL_USER)
        message = f"Programming tools run as a user of their own, {user.name}, without network."
        yield Finding("tools", Level.OK, message)
        for name, tool in tools.items():
            yield from _port_of(name, tool, user, patient)
    elif landlock_version():
        message = (
            f"Programming tools run as {patient.user.name}; Landlock keeps its files from them."
        )
        yield Finding("tools", Level.OK, message)
    else:
        message = f"Programming tools run as {patient.user.name}, and may read what it may."
        advice = "install labnode as a service: then they are a user of their own"
        yield Finding("tools", Level.WARNING, message, advice)


def _port_of(name: str, tool: Tool, user: SystemUser, patient: Patient) -> Iterator[Finding]:
    port = tool.port or ""
    if port in patient.devices:  # which lends its own
        port = getattr(patient.devices[port], "port", "")
    path = patient.root / port.lstrip("/")
    if port and path.exists() and not user.may_use(path):
        message = f"The user {user.name} may not use {path}, which '{name}' needs."
        yield Finding("tools", Level.PROBLEM, message, user.not_in(path))


def clock(_: Patient) -> Iterator[Finding]:
    if Clock().is_right():
        message = "The clock is right: a time server or a clock with a battery confirms it."
        yield Finding("clock", Level.OK, message)
        return
    message = (
        "Nobody confirms the clock, neither a time server nor one with a battery: times in logs, "
        "and starts of slots, may be off, and what is planned for a time of day waits."
    )
    yield Finding("clock", Level.WARNING, message, "sudo timedatectl set-ntp true")


def power(patient: Patient) -> Iterator[Finding]:
    """The supply and the heat."""
    pi = Machine(patient.root)
    throttling = pi.throttling(ask_firmware=True)
    if throttling is None:
        yield Finding("power", Level.UNKNOWN, "Undervoltage: not available on this machine.")
    elif facts := throttling.now or throttling.since_boot:
        when = "now" if throttling.now else "since it was switched on"
        named = ", ".join(sorted(fact.replace("_", " ") for fact in facts))
        low = "undervoltage" in facts
        advice = "use a better power supply and cable" if low else "give it a heat sink or a fan"
        yield Finding("power", Level.WARNING, f"The firmware tells of {named} {when}.", advice)
    else:
        yield Finding("power", Level.OK, "There was no undervoltage and no throttling.")
    degrees = pi.temperature()
    if degrees is not None:
        level = Level.WARNING if degrees >= _HOT else Level.OK
        advice = "give it a heat sink or a fan" if degrees >= _HOT else ""
        yield Finding("power", level, f"The processor has {degrees:.0f} °C.", advice)


def watchdog(patient: Patient) -> Iterator[Finding]:
    """Whether a kernel that hangs resets the machine."""
    device = patient.root / "sys/class/watchdog/watchdog0"
    if not device.is_dir():
        if Machine(patient.root).model():
            message = "The Pi's watchdog is off: when the kernel hangs, outputs stay as they are."
            advice = "put dtparam=watchdog=on into config.txt (sudo ./install.sh does), then reboot"
            yield Finding("watchdog", Level.WARNING, message, advice)
        else:
            yield Finding("watchdog", Level.UNKNOWN, "This machine has no watchdog of its own.")
        return
    command = ["systemctl", "show", "--property=RuntimeWatchdogUSec", "--value"]
    period = _answer(command)
    if period not in ("", "0", "infinity"):
        message = f"The machine's watchdog is armed: it resets a kernel that hangs for {period}."
        yield Finding("watchdog", Level.OK, message)
    elif (state := device / "state").exists() and state.read_text().strip() == "active":
        yield Finding("watchdog", Level.OK, "The machine's watchdog is armed, not by systemd.")
    elif period == "" and not state.exists():
        message = "Whether the machine's watchdog is armed cannot be seen here."
        yield Finding("watchdog", Level.UNKNOWN, message)
    else:
        message = "The machine's watchdog is not armed: a kernel that hangs leaves outputs on."
        advice = (
            "RuntimeWatchdogSec=15s in /etc/systemd/system.conf.d/50-labnode-watchdog.conf (sudo "
            "./install.sh writes it), then sudo systemctl daemon-reload"
        )
        yield Finding("watchdog", Level.WARNING, message, advice)


def disk(patient: Patient) -> Iterator[Finding]:
    """Room on the disk of the state directory, and the health of the card."""
    path = patient.settings.state_dir if patient.settings else patient.root
    while not path.exists():
        path = path.parent
    found = Machine(patient.root).disk(path)
    room = f"{found.free >> 20} of {found.total >> 20} MiB are free where {path} is."
    if found.free < _LITTLE:
        level = Level.PROBLEM if found.free < _TOO_LITTLE else Level.WARNING
        yield Finding("disk", level, f"Only {room}", "sudo journalctl --vacuum-size=50M, apt clean")
    else:
        yield Finding("disk", Level.OK, room)
    if found.read_only:
        message = f"The file system of {path} is read-only: the kernel has seen errors."
        yield Finding("disk", Level.PROBLEM, message, "replace the SD card")
    elif found.errors:
        message = f"The file system of {path} has had {found.errors} errors."
        yield Finding("disk", Level.WARNING, message, "check it (fsck), and replace the SD card")


def _answer(command: list[str]) -> str:
    """What `command` says; nothing where it fails or is not there."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
