"""A lab's tunnel: OpenSSH keeps a port on a server's loopback that leads to the lab."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from labnode.install.changes import Change, Changes, Failed, MakeDirectories, WriteFile, delete
from labnode.install.labs import TRUST_LOOPBACK, NewLab
from labnode.install.options import Options, public_key, tunnel_server
from labnode.install.programs import told
from labnode.install.target import ETC, Target

TUNNEL_USER = "labnode-tunnel"
_HERE = {"0.0.0.0": "127.0.0.1", "127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1"}
_HERE |= {"::": "[::1]", "::1": "[::1]"}
_FIRST_PORT, _PORTS = 20_000, 10_000  # below those that a kernel gives out by itself
_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")  # of host keys, the best first


@dataclass(frozen=True)
class Server:
    """Where the tunnel ends."""

    user: str
    host: str
    port: int  # of its sshd

    @classmethod
    def asked_for(cls, options: Options) -> Server:
        return cls(*tunnel_server(options["tunnel"]))


class NewTunnel:
    """The tunnel that is asked for, of a lab that is installed with it or is there already."""

    def __init__(self, lab: NewLab, target: Target, changes: Changes) -> None:
        self._lab = lab
        self._target = target
        self._changes = changes
        self._host_key = ""  # "" in a dry run
        self.server = Server.asked_for(lab.options)
        self.unit = f"labnode-tunnel@{lab.name}"
        self.home = target.tunnel_of(lab.name)
        self._config = self.home / "ssh_config"
        before = self._config.read_text(encoding="utf-8") if self._config.is_file() else ""
        self._same_server = _place(self.server) in before
        port_before = re.search(r"^ *RemoteForward 127\.0\.0\.1:(\d+) ", before, re.M)
        port = lab.options["tunnel-port"] or (port_before and port_before[1])
        self.port = int(port or self._own_port())

    def _own_port(self) -> int:
        """One that other labs hardly have, and this one again when it is installed again."""
        machine_id = self._target.at("/etc/machine-id")
        machine = machine_id.read_text(encoding="utf-8").strip() if machine_id.is_file() else ""
        digest = hashlib.sha256(f"{machine}/{self._lab.name}".encode()).digest()
        return _FIRST_PORT + int.from_bytes(digest[:8], "big") % _PORTS

    # --- before anything is changed ---

    def learn_host_key(self) -> None:
        """The server's key: the one of --tunnel-host-key, of before, or one that a person accepts.

        Failed when nobody vouches for it: an impostor would get the way to the lab.
        """
        known, name = self.home / "known_hosts", self._lab.options["tunnel-host-key"]
        if name:
            kind, key, *_ = public_key(name, "tunnel-host-key").split()
            self._host_key = f"{kind} {key}"
        elif known.is_file() and self._same_server:
            self._host_key = known.read_text(encoding="utf-8").partition(" ")[2].strip()
        elif not self._changes.dry:
            self._host_key = self._ask()

    def _ask(self) -> str:
        host, port = self.server.host, self.server.port
        advice = (
            "--tunnel-host-key FILE, with the server's own /etc/ssh/ssh_host_ed25519_key.pub, "
            "makes it known"
        )
        if "yes" in self._lab.options or not sys.stdin.isatty():
            raise Failed(f"the key of {host} is not known, and there is nobody to ask; {advice}")
        said = told("ssh-keyscan", "-T", "10", "-p", str(port), "-t", "ed25519,ecdsa,rsa", host)
        keys = dict(line.split()[1:3] for line in (said or "").splitlines() if line[:1] != "#")
        kind = next((kind for kind in _KINDS if kind in keys), None)
        if kind is None:
            raise Failed(f"no ssh server answers at port {port} of {host}; {advice}")
        question = (
            f"{host} shows the key {fingerprint(keys[kind])} ({kind}). Is that what ssh-keygen -lf "
            "/etc/ssh/ssh_host_*_key.pub says on the server?"
        )
        if not self._changes.consent(question):
            raise Failed(f"the key of {host} was not accepted")
        return f"{kind} {keys[kind]}"

    # --- files ---

    def install(self, release: Path) -> bool:
        """The key, the server's key, and what ssh is to do; whether that was changed."""
        make = self._changes.make
        changed = make(MakeKey(self.home / "key", f"{TUNNEL_USER} {self._lab.name}"))
        # Through an alias, because a name with a port is written in another way.
        changed |= make(WriteFile(self.home / "known_hosts", f"server {self._host_key}\n"))
        changed |= make(WriteFile(self._config, self._text(self._end(release))))
        return changed

    def _end(self, release: Path) -> str:
        """Where the tunnel leads to on this machine: "127.0.0.1:8080"."""
        host, port = self._lab.address(release)
        host, port = host or "127.0.0.1", port or str(self._lab.port)  # as by default
        if host not in _HERE:
            raise Failed(
                f"a tunnel leads to 127.0.0.1, where the lab does not listen: host is {host} in "
                f"{self._lab.settings}"
            )
        return f"{_HERE[host]}:{port}"

    def _text(self, end: str) -> str:
        home = ETC / "tunnels" / self._lab.name
        return (
            f"# Written by install.sh --tunnel: the tunnel of the lab '{self._lab.name}' "
            "(docs/tunnel.md).\n"
            "Host server\n"
            f"{_place(self.server)}"
            f"    RemoteForward 127.0.0.1:{self.port} {end}\n"
            f"    IdentityFile {home}/key\n"
            "    IdentitiesOnly yes\n"
            f"    UserKnownHostsFile {home}/known_hosts\n"
            "    GlobalKnownHostsFile /dev/null\n"
            "    HostKeyAlias server\n"
            "    StrictHostKeyChecking yes\n"
            "    UpdateHostKeys no\n"
            "    BatchMode yes\n"
        )

    def trust_proxy(self, release: Path) -> bool:
        """The tunnel's end is a trusted proxy in the settings; whether that was changed."""
        settings = self._lab.settings
        if not settings.exists():  # in a dry run
            return False
        proxies = self._target.settings(self._lab.name, by=release).get("trusted_proxies")
        if isinstance(proxies, list) and {"127.0.0.1", "::1"} & set(proxies):
            return False
        if proxies is not None:
            raise Failed(
                "the tunnel's end has to be a trusted proxy, or all students share one address's "
                f"limits: {TRUST_LOOPBACK} in {settings}"
            )
        before = settings.read_text(encoding="utf-8").rstrip("\n")
        return self._changes.make(WriteFile(settings, f"{before}\n{TRUST_LOOPBACK}\n", 0o600))

    # --- what a person is told ---

    @property
    def authorized_key(self) -> str:
        """The line for authorized_keys on the server: this key may have this port, and no more."""
        key = (self.home / "key.pub").read_text(encoding="utf-8").strip()
        place = f'"127.0.0.1:{self.port}"'
        return (
            f"restrict,port-forwarding,permitlisten={place},permitopen={place},"
            f'command="/bin/false" {key}'
        )


def _place(server: Server) -> str:
    return f"    HostName {server.host}\n    Port {server.port}\n    User {server.user}\n"


def fingerprint(key: str) -> str:
    """As ssh-keygen shows a key, given in base 64: "SHA256:..."."""
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


class MakeKey(Change):
    """An ed25519 key that the tunnel's user alone can read."""

    def __init__(self, path: Path, comment: str) -> None:
        self._path = path
        self._comment = comment
        self._above = MakeDirectories(path.parent)

    @property
    def sentence(self) -> str:
        return f"make the key {self._path}"

    def needed(self) -> bool:
        return not self._path.exists()

    def do(self) -> None:
        self._above.do()
        how = ["-q", "-t", "ed25519", "-N", "", "-C", self._comment]
        if told("ssh-keygen", *how, "-f", self._path, shown=True) is None:
            raise Failed(f"ssh-keygen could not make {self._path}")
        self._path.chmod(0o600)
        told("chown", f"{TUNNEL_USER}:", "--", self._path, shown=True)

    def undo(self) -> None:
        delete(self._path)
        delete(self._path.with_suffix(".pub"))
        self._above.undo()
