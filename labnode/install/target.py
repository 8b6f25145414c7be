"""The system that labnode is installed on: where things are, its users, and whether it will do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labnode.clock import OLDEST, Clock, utc
from labnode.install.changes import Change, Failed
from labnode.install.programs import Words, have, told

OPT, ETC, VAR = Path("/opt/labnode"), Path("/etc/labnode"), Path("/var/lib/labnode")
USER_COMMENT = "labnode, made by install.sh"
_PROCESSORS = ("armv6l", "armv7l", "armv8l", "aarch64", "x86_64")
_TOO_OLD = {"debian": 12, "raspbian": 12, "ubuntu": 24}  # those before are
# A LABNODE_PORT in somebody's shell is nothing that an installation should depend on.
_ALONE = [
    *("env", "-i", "PATH=/usr/bin:/bin", "HOME=/nonexistent", "LANG=C.UTF-8"),
    "PYTHONDONTWRITEBYTECODE=1",
]
# All values are texts; !secret, too.
_SETTINGS = """\
import json, sys, yaml
print(json.dumps(yaml.load(open(sys.argv[1], encoding="utf-8"), yaml.BaseLoader)))
"""


class Target:
    """Files are those below `root`; all commands are those of the PATH."""

    def __init__(self, root: str = "") -> None:
        self.root = Path(root or "/")
        self.opt, self.etc, self.var = self.at(OPT), self.at(ETC), self.at(VAR)
        self.releases = self.opt / "releases"
        self.current, self.previous = self.opt / "current", self.opt / "previous"
        self.units = self.at("/etc/systemd/system")
        self.watchdog = self.at("/etc/systemd/system.conf.d/50-labnode-watchdog.conf")
        self.udev = self.at("/etc/udev/rules.d")
        self.modules = self.at("/etc/modules-load.d/labnode.conf")
        self.link = self.at("/usr/local/bin/labnode")

    def at(self, path: Words) -> Path:
        """Where we find what labnode sees at `path`."""
        return self.root / str(path).lstrip("/")

    @property
    def below(self) -> list[Words]:
        """What useradd and its like are told about `root`."""
        return [] if self.root == Path("/") else ["--prefix", self.root]

    @property
    def release(self) -> Path | None:
        """The release that runs; None before there is one."""
        return self.current.resolve() if self.current.is_symlink() else None

    @property
    def boot_file(self) -> Path | None:
        """The firmware's configuration, on a Raspberry Pi."""
        files = [self.at(f"/boot/{name}config.txt") for name in ("firmware/", "")]
        return next((file for file in files if file.is_file()), None)

    # --- labs ---

    def labs(self) -> list[str]:
        files = sorted(self.etc.glob("*.yaml"))
        return [file.stem for file in files if file.name != "secrets.yaml"]

    def settings_of(self, lab: str) -> Path:
        return self.etc / f"{lab}.yaml"

    def setting(self, lab: str, *keys: str, by: Path | None = None) -> str:
        """A key of a lab's settings, or one below it; "" when it is not there.

        The settings are read by the release `by`, by default by the one that runs.
        """
        value: Any = self.settings(lab, by=by)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""

    def settings(self, lab: str, *, by: Path | None = None) -> dict[str, Any]:
        """A lab's settings, all values as texts; {} where there is none, or nobody to read them."""
        release = by if by and (by / "bin/python").exists() else self.release
        if release is None:
            return {}
        python = release / "bin" / "python"
        said = told(python, "-I", "-c", _SETTINGS, self.settings_of(lab))
        settings = json.loads(said or "null")
        return settings if isinstance(settings, dict) else {}

    def tunnel_of(self, lab: str) -> Path:
        """What ssh needs for the lab's tunnel."""
        return self.etc / "tunnels" / lab

    def drop_in_of(self, lab: str) -> Path:
        """What makes a lab one without hardware."""
        return self.units / f"labnode@{lab}.service.d" / "simulate.conf"

    def address_of(self, lab: str) -> Path:
        """What tells systemd where the lab listens."""
        return self.units / f"labnode@{lab}.socket.d" / "address.conf"

    # --- what runs there ---

    def as_labnode(self, *command: Words, shown: bool = True) -> str | None:
        """As `told`, and as the service does it: the user labnode, nothing of this environment."""
        return told(*self.by_labnode(*command), shown=shown)

    def by_labnode(self, *command: Words) -> list[Words]:
        return ["runuser", "-u", "labnode", "--", *_ALONE, *command]


def undisturbed(
    *command: Words, shown: bool = True, failing: bool = False, **environ: str
) -> str | None:
    """As `told`, for what needs settings that root alone may read.

    labnode becomes the owner of the lab's state directory, or of the board, before it loads a
    board's Python.
    """
    words = [f"{name}={value}" for name, value in environ.items()]
    return told(*_ALONE, *words, *command, shown=shown, failing=failing)


# --- users ---


def _entries(file: Path) -> Iterator[list[str]]:
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            yield line.split(":")


class AddUser(Change):
    """A user of the system, without a home and a shell."""

    def __init__(self, target: Target, name: str) -> None:
        self._target = target
        self._name = name

    @property
    def sentence(self) -> str:
        return f"add the user {self._name}"

    def needed(self) -> bool:
        return not any(entry[0] == self._name for entry in _entries(self._target.at("/etc/passwd")))

    def do(self) -> None:
        words: list[Words] = ["--system", "--user-group", "--no-create-home", "--home-dir", VAR]
        words += ["--shell", "/usr/sbin/nologin", "--comment", USER_COMMENT, self._name]
        if told("useradd", *self._target.below, *words, shown=True) is None:
            raise Failed(f"the user {self._name} could not be added")

    def undo(self) -> None:
        if not self.needed():
            told("userdel", *self._target.below, self._name, shown=True)


class RemoveUser(AddUser):
    """The user goes, if install.sh has made it."""

    @property
    def sentence(self) -> str:
        return f"remove the user {self._name}"

    def needed(self) -> bool:
        entries = _entries(self._target.at("/etc/passwd"))
        return any(entry[0] == self._name and USER_COMMENT in entry for entry in entries)

    def do(self) -> None:
        if told("userdel", *self._target.below, self._name, shown=True) is None:
            raise Failed(f"the user {self._name} could not be removed")

    def undo(self) -> None:
        if not self.needed():
            AddUser.do(self)


class JoinGroups(Change):
    """A user is in those of `groups` that this system has."""

    def __init__(self, target: Target, name: str, groups: Sequence[str]) -> None:
        self._target = target
        self._name = name
        self._groups = groups
        self._before = self._joined()

    @property
    def sentence(self) -> str:
        return f"put {self._name} into the groups {' '.join(self._missing())}"

    def needed(self) -> bool:
        return bool(self._missing())

    def do(self) -> None:
        if not self._set("--append", "--groups", ",".join(self._missing())):
            raise Failed(f"{self._name} could not be put into its groups")

    def undo(self) -> None:
        self._set("--groups", ",".join(self._before))

    def _set(self, *words: str) -> bool:
        return told("usermod", *self._target.below, *words, self._name, shown=True) is not None

    def _members(self) -> dict[str, list[str]]:
        entries = _entries(self._target.at("/etc/group"))
        return {entry[0]: entry[-1].split(",") for entry in entries}

    def _joined(self) -> list[str]:
        return [group for group, members in self._members().items() if self._name in members]

    def _missing(self) -> list[str]:
        members = self._members()
        return [g for g in self._groups if g in members and self._name not in members[g]]


# --- whether this machine will do ---


def shortcomings(target: Target, clock: Clock) -> Iterator[str]:
    """Why labnode cannot be installed here, one sentence each."""
    system = os.uname().sysname
    if system != "Linux":
        yield f"labnode runs on Linux only; this is {system}"
    release = _os_release(target.at("/etc/os-release"))
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    if not {"debian", "raspbian"} & {name, *release.get("ID_LIKE", "").split()}:
        yield (
            "labnode is installed on Raspberry Pi OS, Debian and their relatives; this is "
            f"{name or 'unknown'}"
        )
    major = version.partition(".")[0]
    if name in _TOO_OLD and major.isdigit() and int(major) < _TOO_OLD[name]:
        yield (
            "labnode needs Debian 12, Raspberry Pi OS 12 or Ubuntu 24.04, or newer; this is "
            f"{name} {version}"
        )
    machine = (told("uname", "-m") or "").strip()
    if machine not in _PROCESSORS:
        yield f"labnode runs on ARM (a Raspberry Pi) and x86-64; this machine is {machine}"
    if not target.at("/run/systemd/system").is_dir() or not have("systemctl"):
        yield "systemd does not run on this machine, and labnode is a service of systemd's"
    # A Pi has no clock of its own. Certificates are not valid in 1970, nor are packages.
    if clock.wall() < OLDEST:
        date = utc(clock.wall()).date()
        yield (
            f"the clock says {date}; connect the network, or set it: "
            "sudo timedatectl set-time 'YYYY-MM-DD HH:MM'"
        )


def _os_release(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pairs = (line.partition("=") for line in lines)
    return {key: value.strip("\"'") for key, _, value in pairs}
