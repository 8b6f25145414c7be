"""An SD card with Raspberry Pi OS, which installs the lab that is put on its boot partition."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

from labnode.clock import Clock
from labnode.install.changes import Change, Failed
from labnode.install.labs import NewLab, files_of, quoted
from labnode.install.options import OPTIONS, Options, public_key
from labnode.install.programs import Words, quietly, told
from labnode.install.release import ROOT, wheels_of

_DISKS_OF_THIS_MACHINE = {"/", "/boot", "/boot/firmware", "/usr", "/home", "/var", "[SWAP]"}
_FAT = re.compile(r"(\d+) 0x[bce6]")
_OURS = re.compile(r"^# labnode: begin$.*?^# labnode: end$\n?", re.M | re.S)
_UNPACKED = "/var/tmp/labnode-first-boot/board"  # where first-boot has the board
_BUNDLED = ("install.sh", "pyproject.toml", "README.md", "LICENSE", "labnode", "boards", "deploy")
_FIRST_BOOT = (
    "[cloud-init-per, instance, labnode, bash, /boot/firmware/labnode/first-boot, prepare]"
)


class Card:
    """The FAT partition that the firmware starts from; mtools read and write it."""

    def __init__(self, path: str) -> None:
        self.path = path
        _check_target(path)
        self._partition = f"{path}@@{_start(path) * 512}"
        if self._mtool("mdir", "-b", "::/config.txt") is None:
            raise Failed(
                f"the first FAT partition of {path} has no config.txt: it is not a Raspberry Pi OS"
            )
        if self._mtool("mdir", "-b", "::/meta-data") is None:
            raise Failed(
                "this Raspberry Pi OS has no cloud-init (no meta-data on its boot partition); "
                "those since October 2025 have it"
            )
        if re.search(r"^bootcmd:", _OURS.sub("", self.read("user-data")), re.M):
            raise Failed(
                f"the user-data on {path} has a bootcmd of its own, which flash would not get "
                "along with"
            )

    def read(self, name: str) -> str:
        """A file's text; "" when there is no such file."""
        said = self._mtool("mtype", f"::/{name}") or b""
        return said.decode("utf-8", "surrogateescape").replace("\r", "")

    def write(self, name: str, text: str) -> None:
        content = text.encode("utf-8", "surrogateescape")
        if self._mtool("mcopy", "-o", "-", f"::/{name}", content=content) is None:
            raise Failed(f"{name} cannot be written to the boot partition")

    def copy(self, directory: Path) -> None:
        """A directory with all that is in it, in place of an older one of this name."""
        self.remove(directory.name)
        if self._mtool("mcopy", "-s", str(directory), "::/") is None:
            raise Failed("the boot partition has no room for labnode")

    def remove(self, name: str) -> None:
        self._mtool("mdeltree", f"::/{name}")

    def _mtool(self, tool: str, *words: str, content: bytes = b"") -> bytes | None:
        """What it says; None when it has failed."""
        own = {"MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null"}
        done = subprocess.run(
            [tool, "-i", self._partition, *words],
            input=content,
            capture_output=True,
            env={**os.environ, **own},
            check=False,
        )
        return done.stdout if done.returncode == 0 else None


def _check_target(path: str) -> None:
    """Failed unless it is a card or an image that nobody uses; never a disk of this machine."""
    if not Path(path).exists():
        raise Failed(f"there is no {path}")
    if not os.access(path, os.W_OK):
        raise Failed(f"you may not write to {path}; try it with sudo")
    if Path(path).is_file():
        return
    if not Path(path).is_block_device():
        raise Failed(f"{path} is neither an image file nor a disk")
    listed = told("lsblk", "--noheadings", "--raw", "--output", "MOUNTPOINTS", "--", path) or ""
    mounted = listed.replace(r"\x0a", "\n").split()
    if own := [place for place in mounted if place in _DISKS_OF_THIS_MACHINE]:
        raise Failed(f"{path} is a disk of this machine (it has {own[0]}): nothing was written")
    if mounted:
        raise Failed(f"{path} is in use at {' '.join(mounted)} ; unmount that first")
    how = ["--nodeps", "--noheadings", "--raw", "--output", "RM,HOTPLUG,TYPE"]
    kind = (told("lsblk", *how, "--", path) or "").strip()
    if kind.startswith("0 0 "):
        raise Failed(
            f"{path} looks like a disk of this machine (it cannot be taken out): nothing was "
            "written"
        )
    if not kind.endswith((" disk", " loop")):
        raise Failed(
            f"{path} is not a whole disk; flash takes the disk, such as /dev/sdb or /dev/mmcblk0"
        )


def _start(path: str) -> int:
    """The first sector of the first FAT partition."""
    how = ["--raw", "--noheadings", "--output", "START,TYPE"]
    listed = told("partx", *how, "--", path, LC_ALL="C") or ""
    for line in listed.splitlines():
        if found := _FAT.fullmatch(line.strip()):
            return int(found[1])
    raise Failed(f"{path} has no FAT partition: it is not a Raspberry Pi OS")


class WriteCard(Change):
    """labnode, the board and what was asked for, and what cloud-init is to do with them."""

    def __init__(self, card: Card, lab: NewLab, venv: Path, clock: Clock) -> None:
        self._card = card
        self._lab = lab
        self._options = lab.options
        self._venv = venv
        self._clock = clock
        self._before = {name: card.read(name) for name in ("meta-data", "user-data")}

    @property
    def sentence(self) -> str:
        return f"put labnode and the lab '{self._lab.name}' on {self._card.path}"

    def do(self) -> None:
        user_data = self._user_data()
        self._card.copy(self._bundle())
        if "wifi" in self._options:
            self._card.write("network-config", network_config(self._options))
        # Another instance-id: a card that has been started before does all this again.
        about = re.sub(r"^instance[-_]id:.*\n?", "", self._before["meta-data"], flags=re.M)
        about = f"{about.rstrip()}\ninstance-id: labnode-{int(self._clock.wall())}\n"
        self._card.write("meta-data", about.lstrip("\n"))
        self._card.write("user-data", user_data)
        told("sync", "--", self._card.path)

    def undo(self) -> None:
        self._card.remove("labnode")
        for name, text in self._before.items():
            self._card.write(name, text)

    def _bundle(self) -> Path:
        """A directory with all that the card needs."""
        lab, scratch = self._lab, self._lab.changes.scratch
        bundle = scratch / "labnode"
        bundle.mkdir()
        given = self._options["board"]
        files = files_of(lab.board, given, self._venv / "bin" / "labnode")
        with tarfile.open(bundle / "labnode.tar.gz", "w:gz") as archive:
            for name in _BUNDLED:
                archive.add(ROOT / name, name, filter=_roots_own)
            for name in files:
                archive.add(lab.board.parent / name, f"board/{name}", filter=_roots_own)
        for file in (ROOT / "deploy" / "first-boot").iterdir():
            shutil.copy2(file, bundle)
        (bundle / "answers").write_text(self._answers(), encoding="utf-8")
        if wheels := wheels_of(self._options):
            self._copy_wheels(wheels, bundle / "wheels", scratch / "tools")
        return bundle

    def _copy_wheels(self, wheels: Path, directory: Path, tools: Path) -> None:
        directory.mkdir()
        found = list(wheels.glob("*.whl"))
        if not found:
            raise Failed(f"there are no wheels in {wheels}")
        for wheel in found:
            shutil.copy2(wheel, directory)
        if not any(directory.glob("labnode-*.whl")):
            python = self._venv / "bin" / "python"
            step: list[Words] = ["-B", "-m", "labnode.install", "wheel", directory]
            if not (
                quietly(python, "-m", "venv", tools)
                and quietly(python, *step, "--tools", tools, "--wheels", wheels, cwd=ROOT)
            ):
                raise Failed("pip could not make a wheel of labnode")

    def _answers(self) -> str:
        """The options of the installation on the Pi, as variables for a shell."""
        lab = self._lab
        values = {
            name: self._options[name]
            for name, option in OPTIONS.items()
            if option.commands == ("install", "flash")
        }
        values |= {"board": f"{_UNPACKED}/{lab.board.name}", "name": lab.name}
        values |= {"weblab-password": lab.password, "admin-password": lab.admin_password}
        return "".join(
            f"{OPTIONS[name].variable}={shlex.quote(value)}\n"
            for name, value in values.items()
            if value
        )

    def _user_data(self) -> str:
        """What is there already (the Raspberry Pi Imager may have written it), and our part."""
        options = self._options
        old = _OURS.sub("", self._before["user-data"]).rstrip("\n")
        if not old.startswith("#cloud-config"):
            old = f"#cloud-config\n{old}"
        lines = [old, "# labnode: begin"]
        if "hostname" in options:
            if re.search(r"^hostname:", old, re.M):
                raise Failed("the card has a hostname already: leave out --hostname")
            lines += [f"hostname: {options['hostname']}", "manage_etc_hosts: true"]
        if not re.search(r"^users?:", old, re.M):
            lines += _user(options)
        elif "user" in options or "ssh-key" in options:
            raise Failed("the card has a user already: leave out --user and --ssh-key")
        return "\n".join([*lines, "bootcmd:", f"- {_FIRST_BOOT}", "# labnode: end"]) + "\n"


def _roots_own(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in Path(entry.name).parts:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _user(options: Options) -> list[str]:
    """Without a user Raspberry Pi OS asks for one on the screen, and waits."""
    lines = [
        "users:",
        f"- name: {options['user'] or 'pi'}",
        "  shell: /bin/bash",
        "  lock_passwd: true",
        "  sudo: ALL=(ALL) NOPASSWD:ALL",
        "  groups: users,adm,dialout,audio,netdev,video,plugdev,cdrom,games,input,gpio,spi,i2c,"
        "render,sudo",
    ]
    if "ssh-key" in options:
        key = public_key(options["ssh-key"], "ssh-key")
        lines += ["  ssh_authorized_keys:", f"  - {key}", "enable_ssh: true"]
    return lines


def network_config(options: Options) -> str:
    """For netplan: the cable, and the wireless network that was asked for."""
    secret = " {}"
    if "wifi-password" in options:
        secret = f"\n          password: {quoted(options['wifi-password'])}"
    return (
        "# written by labnode's install.sh\n"
        "network:\n"
        "  version: 2\n"
        "  ethernets:\n"
        "    eth0: {dhcp4: true, optional: true}\n"
        "  wifis:\n"
        "    wlan0:\n"
        "      dhcp4: true\n"
        "      optional: true\n"
        f"      regulatory-domain: {quoted(options['wifi-country'])}\n"
        "      access-points:\n"
        f"        {quoted(options['wifi'])}:{secret}\n"
    )
