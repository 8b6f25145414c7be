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
from labnode.drivers.buses.bus_pins import bus_in_words
from labnode.drivers.framework.driver import adding_extra, extra_is_installed
from labnode.drivers.gpio.factories import real_factory
from labnode.drivers.gpio.gpiochips import Chip, find_chip, list_chips, user_of
from labnode.drivers.tools.base import Tool
from labnode.errors import DeviceError
from labnode.locale import Message
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
    model = Machine(patient.root).model() or Message("doctor.no-pi")
    message = Message("doctor.machine", model=model, version=platform.python_version())
    yield Finding("machine", Level.OK, message)


def gpio(patient: Patient) -> Iterator[Finding]:
    """The chip, the library and the board's pins."""
    pins = {claim.name for claim in patient.claims if claim.kind == "pin" and not claim.bus}
    lines = sorted(int(name.removeprefix("GPIO")) for name in pins)
    needed = bool(lines) and not patient.simulated
    level = Level.PROBLEM if needed else Level.UNKNOWN
    try:
        chips = list_chips(patient.root / "dev")
        if not chips:
            yield Finding("gpio", level, Message("doctor.no-gpio"))
            return
        chip = find_chip(chips)
    except DeviceError as error:
        yield Finding("gpio", level, _sentence(str(error)))
        return
    device = patient.root / f"dev/gpiochip{chip.number}"
    message = Message("doctor.gpio", chip=device.name, label=chip.label)
    yield Finding("gpio", Level.OK, message)
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
            advice = Message("doctor.lgpio:advice")
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
            taken.append(f"GPIO{line} ({consumer or '?'})")
    if taken and patient.running:
        yield Finding("pins", Level.OK, Message("doctor.pins-running", n=len(taken)))
    elif taken:
        message = Message("doctor.pins-used", pins=", ".join(taken))
        yield Finding("pins", Level.PROBLEM, message, Message("doctor.pins-used:advice"))
    else:
        yield Finding("pins", Level.OK, Message("doctor.pins-free", n=len(lines)))


def buses(patient: Patient) -> Iterator[Finding]:
    """The buses that devices of the board are on: the kernel's driver, and the right to use it."""
    for bus in sorted({claim.bus for claim in patient.claims if claim.bus}):
        kind, _, number = bus.partition(" bus")
        pattern = _BUSES.get(kind, "").format(number.strip())
        there = sorted(patient.root.glob(pattern)) if pattern else []
        if patient.simulated or not pattern:
            continue
        name = bus_in_words(bus)
        if not there:
            message = Message("doctor.bus-missing", bus=name, path=f"/{pattern}")
            advice = Message("doctor.bus-missing:advice")
            yield Finding("buses", Level.PROBLEM, message, advice)
        elif pattern.startswith("dev/") and not patient.user.may_use(there[0]):
            what = Message("doctor.the-bus", bus=name, path=there[0])
            yield patient.may_not_use(there[0], "buses", Level.PROBLEM, what)
        else:
            yield Finding("buses", Level.OK, Message("doctor.bus", bus=name))


def serial_ports(patient: Patient) -> Iterator[Finding]:
    by_id = patient.root / "dev/serial/by-id"
    there = sorted(by_id.iterdir()) if by_id.is_dir() else []
    names = ", ".join(port.name for port in there) or Message("doctor.no-ports")
    yield Finding("serial", Level.OK, Message("doctor.ports", ports=names))
    wanted = {path for _, path in _device_files(patient)}
    for path in there:
        if path.exists() and not patient.user.may_use(path) and path not in wanted:
            yield patient.may_not_use(path, "serial", Level.WARNING)


def device_files(patient: Patient) -> Iterator[Finding]:
    """What the board names in /dev: serial ports, cameras."""
    for name, path in _device_files(patient):
        if not path.exists():
            message = Message("doctor.device-missing", name=name, path=path)
            advice = Message("doctor.device-missing:advice")
            yield Finding("devices", Level.PROBLEM, message, advice)
        elif not patient.user.may_use(path):
            what = Message("doctor.needed-by", path=path, name=name)
            yield patient.may_not_use(path, "devices", Level.PROBLEM, what)
        else:
            yield Finding("devices", Level.OK, Message("doctor.device", name=name, path=path))


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
            message = Message("doctor.program", program=program, path=where)
            yield Finding("programs", Level.OK, message)
        else:
            message = Message("doctor.program-missing", program=program)
            level = Level.WARNING if patient.simulated else Level.PROBLEM
            how = Message("doctor.program-missing:advice")
            advice = f"sudo apt install {package}" if package else how
            yield Finding("programs", level, message, advice)
    for extra in sorted({each for driver in patient.devices.values() for each in driver.extras()}):
        if extra_is_installed(extra):
            yield Finding("programs", Level.OK, Message("doctor.extra", extra=extra))
        else:
            message = Message("doctor.extra-missing", extra=extra)
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
        yield Finding("tools", Level.OK, Message("doctor.tools-user", user=user.name))
        for name, tool in tools.items():
            yield from _port_of(name, tool, user, patient)
    elif landlock_version():
        message = Message("doctor.tools-landlock", user=patient.user.name)
        yield Finding("tools", Level.OK, message)
    else:
        message = Message("doctor.tools-open", user=patient.user.name)
        yield Finding("tools", Level.WARNING, message, Message("doctor.tools-open:advice"))


def _port_of(name: str, tool: Tool, user: SystemUser, patient: Patient) -> Iterator[Finding]:
    port = tool.port or ""
    if port in patient.devices:  # which lends its own
        port = getattr(patient.devices[port], "port", "")
    path = patient.root / port.lstrip("/")
    if port and path.exists() and not user.may_use(path):
        what = Message("doctor.needed-by", path=path, name=name)
        message = Message("doctor.may-not-use", user=user.name, what=what)
        yield Finding("tools", Level.PROBLEM, message, user.not_in(path))


def clock(_: Patient) -> Iterator[Finding]:
    if Clock().is_right():
        yield Finding("clock", Level.OK, Message("doctor.clock"))
        return
    advice = "sudo timedatectl set-ntp true"
    yield Finding("clock", Level.WARNING, Message("doctor.clock-doubt"), advice)


def power(patient: Patient) -> Iterator[Finding]:
    """The supply and the heat."""
    pi = Machine(patient.root)
    throttling = pi.throttling(ask_firmware=True)
    if throttling is None:
        yield Finding("power", Level.UNKNOWN, Message("doctor.power-unknown"))
    elif throttling.now:
        for fact in sorted(throttling.now):
            yield _throttled(fact, Message(f"doctor.now:{fact}"))
    elif throttling.since_boot:
        for fact in sorted(throttling.since_boot):
            yield _throttled(fact, Message(f"doctor.since-boot:{fact}"))
    else:
        yield Finding("power", Level.OK, Message("doctor.power"))
    degrees = pi.temperature()
    if degrees is not None:
        level = Level.WARNING if degrees >= _HOT else Level.OK
        advice = Message("doctor.cooling") if degrees >= _HOT else ""
        yield Finding("power", level, Message("doctor.heat", degrees=f"{degrees:.0f}"), advice)


def _throttled(fact: str, message: Message) -> Finding:
    low = fact == "undervoltage"
    advice = Message("doctor.supply") if low else Message("doctor.cooling")
    return Finding("power", Level.WARNING, message, advice)


def watchdog(patient: Patient) -> Iterator[Finding]:
    """Whether a kernel that hangs resets the machine."""
    device = patient.root / "sys/class/watchdog/watchdog0"
    if not device.is_dir():
        if Machine(patient.root).model():
            message = Message("doctor.watchdog-off")
            yield Finding("watchdog", Level.WARNING, message, Message("doctor.watchdog-off:advice"))
        else:
            yield Finding("watchdog", Level.UNKNOWN, Message("doctor.no-watchdog"))
        return
    command = ["systemctl", "show", "--property=RuntimeWatchdogUSec", "--value"]
    period = _answer(command)
    if period not in ("", "0", "infinity"):
        yield Finding("watchdog", Level.OK, Message("doctor.watchdog", period=period))
    elif (state := device / "state").exists() and state.read_text().strip() == "active":
        yield Finding("watchdog", Level.OK, Message("doctor.watchdog-other"))
    elif period == "" and not state.exists():
        yield Finding("watchdog", Level.UNKNOWN, Message("doctor.watchdog-unknown"))
    else:
        message = Message("doctor.watchdog-unarmed")
        advice = Message("doctor.watchdog-unarmed:advice")
        yield Finding("watchdog", Level.WARNING, message, advice)


def disk(patient: Patient) -> Iterator[Finding]:
    """Room on the disk of the state directory, and the health of the card."""
    path = patient.settings.state_dir if patient.settings else patient.root
    while not path.exists():
        path = path.parent
    found = Machine(patient.root).disk(path)
    free, total = found.free >> 20, found.total >> 20
    if found.free < _LITTLE:
        level = Level.PROBLEM if found.free < _TOO_LITTLE else Level.WARNING
        message = Message("doctor.disk-little", free=free, total=total, path=path)
        yield Finding("disk", level, message, "sudo journalctl --vacuum-size=50M; sudo apt clean")
    else:
        yield Finding("disk", Level.OK, Message("doctor.disk", free=free, total=total, path=path))
    if found.read_only:
        message = Message("doctor.disk-read-only", path=path)
        yield Finding("disk", Level.PROBLEM, message, Message("doctor.disk-read-only:advice"))
    elif found.errors:
        message = Message("doctor.disk-errors", path=path, n=found.errors)
        yield Finding("disk", Level.WARNING, message, Message("doctor.disk-errors:advice"))


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
