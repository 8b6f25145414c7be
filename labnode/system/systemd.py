"""What passes between systemd and the node, and how the tunnel of a lab is."""

from __future__ import annotations

import logging
import os
import pwd
import re
import socket
import subprocess
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from labnode.locale import Message

log = logging.getLogger(__name__)

_PATIENCE = 1.0  # seconds that a message may wait while systemd is busy
_TIMEOUT = 5.0  # seconds for systemctl and ss
_LONGEST = 200  # characters of a status: `systemctl status` shows one line
_FIRST_HANDED_OVER = 3  # descriptor (sd_listen_fds(3))


def take_listener(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The listening socket that systemd hands over to this process, if it does.

    The variables that say so are removed: they are not for the programs that the node starts.
    """
    process, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()) or count != "1":
        return None
    try:
        listener = socket.socket(fileno=_FIRST_HANDED_OVER)
        listener.set_inheritable(False)
        accepts = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        log.warning("systemd hands over no socket that can be used: %s", error)
        return None
    if not accepts or listener.family not in (socket.AF_INET, socket.AF_INET6):
        log.warning("systemd hands over a socket that is not for HTTP: %s", listener)
        listener.close()
        return None
    return listener


class Systemd:
    """The service manager at NOTIFY_SOCKET (sd_notify(3)); without one, all methods do nothing.

    `watchdog` is how many seconds systemd waits for a sign of life, or None. A message that cannot
    be sent is logged once, and the node goes on.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._failed = False
        self.watchdog = _watchdog(environ) if self._address is not None else None

    @property
    def listens(self) -> bool:
        """Whether there is a service manager."""
        return self._address is not None

    def ready(self) -> None:
        """The devices are open, and HTTP answers."""
        self._send("READY=1")

    def status(self, sentence: str) -> None:
        """Set what `systemctl status` shows."""
        self._send(f"STATUS={' '.join(sentence.split())[:_LONGEST]}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE)
                sender.connect(self._address)
                sender.sendall(message.encode())
        except OSError as error:
            if not self._failed:
                log.warning("systemd cannot be told %s: %s", message.partition("=")[0], error)
            self._failed = True
        else:
            self._failed = False


def _address(name: str) -> bytes | None:
    """A path, or a name in the abstract namespace, written with "@"."""
    if name.startswith("@") and len(name) > 1:
        return b"\0" + os.fsencode(name[1:])
    return os.fsencode(name) if name.startswith("/") else None


def _watchdog(environ: Mapping[str, str]) -> float | None:
    text = environ.get("WATCHDOG_USEC", "")
    meant_for = environ.get("WATCHDOG_PID")
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        return None
    if meant_for is not None and meant_for != str(os.getpid()):
        return None
    return int(text) / 1e6


@dataclass(frozen=True)
class Tunnel:
    """A lab's tunnel, as install.sh --tunnel has written it: from a far port to a near one."""

    lab: str
    server: str
    ssh_port: int
    far_port: int
    near_port: int
    user: str = "labnode-tunnel"

    @classmethod
    def of(cls, lab: str, root: Path = Path("/")) -> Tunnel | None:
        """The tunnel of a lab; None when it has none."""
        try:
            text = (root / "etc/labnode/tunnels" / lab / "ssh_config").read_text(encoding="utf-8")
        except OSError:
            return None
        said = dict(re.findall(r"^ *(\w+) (.*)$", text, re.M))
        far, _, near = said.get("RemoteForward", "").partition(" ")
        ports = [said.get("Port", ""), *(end.rpartition(":")[2] for end in (far, near))]
        if not all(port.isdecimal() for port in ports):
            return None
        ssh_port, far_port, near_port = map(int, ports)
        return cls(lab, said.get("HostName", ""), ssh_port, far_port, near_port)

    @property
    def unit(self) -> str:
        return f"labnode-tunnel@{self.lab}"

    def stands(self) -> bool:
        """Whether the server has opened the port: before that, the unit is not yet active."""
        return _said("systemctl", "is-active", self.unit).strip() == "active"

    def round_trip(self) -> float | None:
        """Milliseconds to the server and back, which is what the tunnel adds to a request.

        The kernel measures it with every packet of the tunnel that the server acknowledges, and
        smooths it (RFC 6298). None where there is no connection, or none that can be seen.
        """
        try:
            uid = pwd.getpwnam(self.user).pw_uid
        except KeyError:
            return None
        sockets = _said("ss", "-HOtine", "state", "established", "dport", "=", f":{self.ssh_port}")
        for line in sockets.splitlines():
            found = re.search(r" rtt:([0-9.]+)/", line)
            if found is not None and f" uid:{uid} " in line:
                return float(found[1])
        return None

    def sentence(self) -> Message:
        """For people: whether it stands, and what it adds."""
        if not self.stands():
            return Message("doctor.tunnel-down", server=self.server)
        milliseconds = self.round_trip()
        if milliseconds is None:
            return Message("doctor.tunnel", server=self.server, port=self.far_port)
        adds = f"{milliseconds:.1f}"
        return Message("doctor.tunnel-adds", server=self.server, port=self.far_port, ms=adds)


def _said(*command: str) -> str:
    """What a command says, also when it fails; nothing where it is not there or hangs."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
