"""A lab that is installed: its board, its settings, its part of the boot configuration."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labnode.install.changes import (
    Change,
    Changes,
    Failed,
    KeepCopy,
    MakeDirectories,
    Remove,
    WriteFile,
    ask,
    content_of,
    delete,
    say,
)
from labnode.install.options import Options, check_name, ports
from labnode.install.programs import ran, told
from labnode.install.release import files_for
from labnode.install.target import ETC, VAR, Target, undisturbed

# For a tunnel: all requests come from its end, and X-Forwarded-For tells students from each other.
TRUST_LOOPBACK = "trusted_proxies: ['127.0.0.1', '::1']"
_WATCHDOG = "dtparam=watchdog=on"


@dataclass(frozen=True)
class Needs:
    """What a board's drivers need of the machine: `programs` and `requires` in their classes."""

    programs: dict[str, str]  # {program: its Debian package}
    packages: list[str]
    groups: list[str]
    extras: list[str]  # of labnode


def needs_of(lab: str, target: Target, release: Path) -> Needs | None:
    """What the board of an installed lab needs; None when `release` does not understand it."""
    board = target.at(target.setting(lab, "board", by=release))
    said = target.as_labnode(release / "bin" / "labnode", "check", "--needs", board, shown=False)
    return None if said is None else Needs(**json.loads(said))


def find_board(name: str) -> Path:
    """The board file that --board names, itself or as the only one of a directory."""
    board = Path(name)
    if board.is_dir():
        boards = list(board.glob("*.yaml"))
        if len(boards) != 1:
            raise Failed(f"{name} has {len(boards)} YAML files; name the one that is the board")
        board = boards[0]
    if not board.is_file():
        raise Failed(f"there is no board file {name}")
    return board.resolve()


def files_of(board: Path, given: str, labnode: Path) -> list[str]:
    """What belongs to a board, relative to it: all of a directory, or what the board names."""
    if Path(given).is_dir():
        found = (
            path.relative_to(board.parent) for path in board.parent.rglob("*") if path.is_file()
        )
        return sorted(
            str(path)
            for path in found
            if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
        )
    said = undisturbed(labnode, "check", "--files", board)
    if said is None:
        raise Failed("the board has mistakes; see above")
    return [str(name) for name in json.loads(said)]


class NewLab:
    """The lab that is asked for, and what others have already."""

    def __init__(self, options: Options, target: Target, changes: Changes) -> None:
        self.options = options
        self.target = target
        self.changes = changes
        self.board = find_board(options["board"])
        self.name = check_name(options["name"] or self.board.stem.lower())
        self.port, self.admin_port = ports(options)
        # Behind a tunnel no port of this machine has to be open.
        self.host = options["host"] or ("127.0.0.1" if "tunnel" in options else "0.0.0.0")
        self.admin_host = options["admin-host"] or "127.0.0.1"
        self.home = target.etc / "boards" / self.name
        self.settings = target.settings_of(self.name)
        self.password = self.admin_password = ""  # when they were made in this run

    @property
    def installed_board(self) -> Path:
        """Where the service finds the board."""
        home = self.home.resolve()
        below = self.board.relative_to(home) if home in self.board.parents else self.board.name
        return ETC / "boards" / self.name / below

    @property
    def simulated(self) -> bool:
        return "simulate" in self.options

    # --- before anything is changed ---

    def check_ports(self, release: Path) -> None:
        """Ports are kept in the settings: a second lab needs others."""
        if self.settings.exists():
            return
        taken = set()
        for lab in self.target.labs():
            port = self.target.setting(lab, "port", by=release)
            if port == str(self.port):
                raise Failed(
                    f"the lab '{lab}' has the port {port} already; give this one another (--port)"
                )
            taken |= {port, self.target.setting(lab, "admin", "port", by=release)}
        if str(self.port) in taken:
            raise Failed(
                f"the administration of a lab has the port {self.port} already; give this one "
                "another (--port)"
            )
        while str(self.admin_port) in taken:
            if "admin-port" in self.options:
                raise Failed(f"the port {self.admin_port} is taken by another lab (--admin-port)")
            self.admin_port = self.admin_port + 1 if self.admin_port < 65535 else 1024

    def ask_admin_host(self) -> None:
        said = any(name in self.options for name in ("admin-host", "yes", "dry-run"))
        if not self.settings.exists() and not said and sys.stdin.isatty():
            question = (
                "Where should the administration's page listen? 127.0.0.1 is reached through ssh "
                "alone. [127.0.0.1] "
            )
            self.admin_host = ask(question) or self.admin_host

    # --- the board ---

    def install_board(self, release: Path) -> bool:
        """The board where the service may read it, with the files that it names.

        Returns whether it was changed.
        """
        if self.home.resolve() in self.board.parents:  # somebody works on it there
            if not self.changes.dry:
                check_board(release, self.target, self.target.at(self.installed_board))
            return False
        labnode = release / "bin" / "labnode"
        if not labnode.exists():  # in a dry run
            say(f"write {self.home / self.board.name} and the files that it names")
            return True
        files = files_of(self.board, self.options["board"], labnode)
        install = InstallBoard(self.target, self.board, self.home, files, release)
        if not install.needed():
            return False
        if install.was_changed_there():
            old = self.home.with_name(f"{self.name}.old")
            question = (
                f"The board in {self.home} was changed there. Replace it (it is kept as {old})?"
            )
            if not self.changes.consent(question):
                raise Failed(
                    f"the board in {self.home} was changed there; to keep it: --board "
                    f"{self.home / self.board.name}"
                )
            self.changes.make(KeepCopy(self.home, old, f"keep the board of before as {old}"))
        return self.changes.make(install)

    def needs(self, release: Path) -> Needs | None:
        """What the board needs of the machine; None in a dry run that has nobody to ask."""
        labnode = release / "bin" / "labnode"
        if not labnode.exists():
            return None
        if self.changes.dry:
            said = undisturbed(labnode, "check", "--needs", self.board)
        else:
            board = self.target.at(self.installed_board)
            said = self.target.as_labnode(labnode, "check", "--needs", board)
        if said is None:
            raise Failed("the board has mistakes; see above")
        return Needs(**json.loads(said))

    # --- settings ---

    def make_passwords(self) -> None:
        self.password = self.options["weblab-password"] or secrets.token_urlsafe(18)
        self.admin_password = self.options["admin-password"] or secrets.token_urlsafe(18)

    def install_settings(self, release: Path) -> None:
        """Written once. Afterwards they belong to those who run the lab.

        An option that says something else is not quietly ignored: Failed.
        """
        if os.access(self.settings, os.R_OK):
            self._compare_settings(release)
        elif not self.settings.exists():
            self.make_passwords()
            self.changes.make(WriteFile(self.settings, self._settings(), 0o600))
        self.changes.make(MakeStateDirectory(self.target.var / self.name))

    def _compare_settings(self, release: Path) -> None:
        for name in (
            *("host", "port", "base-url", "weblab-password", "weblab-username"),
            *("admin-password", "admin-host", "admin-port"),
        ):
            first, _, second = name.partition("-")
            keys = [first, second] if first in ("weblab", "admin") else [name.replace("-", "_")]
            if name in self.options and self.options[name] != self.setting(*keys, by=release):
                raise Failed(
                    f"--{name} does not count for a lab that is there already: change it in "
                    f"{self.settings}, then sudo systemctl restart labnode@{self.name}"
                )
        board = self.setting("board", by=release)
        if board != str(self.installed_board) and board:
            raise Failed(
                f"the lab '{self.name}' has the board {board}; a board with another name is "
                f"another lab (--name), or change {self.settings}"
            )

    def setting(self, *keys: str, by: Path | None = None) -> str:
        return self.target.setting(self.name, *keys, by=by)

    def address(self, release: Path) -> tuple[str, str]:
        """The host and the port where the lab listens, or will."""
        if self.settings.exists():
            return self.setting("host", by=release), self.setting("port", by=release)
        return self.host, str(self.port)

    def _settings(self) -> str:
        options = self.options
        weblab = {"username": options["weblab-username"] or "weblab", "password": self.password}
        base_url = f"base_url: {quoted(options['base-url'])}\n" if "base-url" in options else ""
        trusted = f"{TRUST_LOOPBACK}\n" if "tunnel" in options else ""
        return (
            f"# The settings of the lab '{self.name}', for root's eyes alone. Afterwards: sudo "
            f"systemctl restart labnode@{self.name}\n"
            f"board: {quoted(str(self.installed_board))}\n"
            f"state_dir: {quoted(str(VAR / self.name))}\n"
            f"host: {quoted(self.host)}\n"
            f"port: {self.port}\n"
            f"{base_url}{trusted}"
            f"cookie_name: labnode_{self.name} "
            "# cookies ignore ports: labs with the same board would share one\n"
            f"weblab: {{username: {quoted(weblab['username'])}, "
            f"password: {quoted(weblab['password'])}}}\n"
            f"admin: {{username: admin, password: {quoted(self.admin_password)}, "
            f"host: {quoted(self.admin_host)}, port: {self.admin_port}}}\n"
        )

    def install_simulation(self, release: Path) -> bool:
        """The lab is one without hardware, or no longer; returns whether that was changed."""
        drop_in = self.target.drop_in_of(self.name)
        if self.simulated:
            unit = (files_for(release) / "systemd/labnode@.service").read_text(encoding="utf-8")
            return self.changes.make(WriteFile(drop_in, _simulation(unit)))
        if not drop_in.exists():
            return False
        alone = list(drop_in.parent.iterdir()) == [drop_in]
        what = drop_in.parent if alone else drop_in
        return self.changes.make(Remove(what, ": the lab has its hardware now"))

    # --- the boot configuration ---

    def configure_boot(self, release: Path) -> bool:
        """What the board needs of the firmware goes to the end of config.txt.

        It stands between two lines with the lab's name: buses, pins that are safe from power-on.
        Returns whether it counts only after a reboot.
        """
        file, labnode = self.target.boot_file, release / "bin" / "labnode"
        board = self.target.at(self.installed_board)
        if file is None or self.simulated or not os.access(board, os.R_OK):
            return False
        if not ran(labnode, "bootconfig", "--help"):
            return False
        said = self.target.as_labnode(labnode, "bootconfig", board)
        if said is None:
            raise Failed(f"labnode cannot say what the board needs in {file}")
        lines = f"{said.rstrip()}\n\n# A kernel that hangs resets the Pi.\n{_WATCHDOG}"
        before = read_boot(file)
        text = with_block(self.name, before, lines)
        if text.rstrip("\n") == before.rstrip("\n"):
            return False
        kept = file.with_name(f"{file.name}.before-labnode")
        question = f"The board needs lines in {file} (as it was stays in {kept}). Add them?"
        if not self.changes.consent(question):
            sys.stdout.write(f"{lines}\n")
            say(f"the lines above belong to the end of {file}; they were not added")
            return False
        if not kept.exists():
            self.changes.make(KeepCopy(file, kept, f"keep {file} as {kept}"))
        self.changes.make(WriteFile(file, text.encode("utf-8", "surrogateescape"), 0o755))
        new = set(lines.splitlines()) - set(before.splitlines()) - {_WATCHDOG}
        return any(re.match(r"dt|enable_", line) for line in new)


def read_boot(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "surrogateescape")


def without_block(lab: str, text: str) -> str:
    begin, end = re.escape(f"# labnode {lab}: begin"), re.escape(f"# labnode {lab}: end")
    return re.sub(rf"^{begin}$.*?(^{end}$\n?|\Z)", "", text, flags=re.M | re.S)


def with_block(lab: str, text: str, lines: str) -> str:
    before = without_block(lab, text).rstrip("\n")
    return f"{before}\n# labnode {lab}: begin\n{lines}\n# labnode {lab}: end\n"


def quoted(text: str) -> str:
    """For YAML."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _simulation(unit: str) -> str:
    commands = re.findall(r"^ExecStart=(.*) run (.*)$", unit, re.M)
    lines = ["# Written by install.sh --simulate: the pins are only pretended."]
    lines += ["[Service]", "ExecStart="]
    lines += [f"ExecStart={command} run --simulate {rest}" for command, rest in commands]
    return "\n".join([*lines, "ExecStopPost="]) + "\n"


def check_board(release: Path, target: Target, board: Path) -> None:
    """Failed, with its mistakes shown, when the service could not load the board."""
    if target.as_labnode(release / "bin" / "labnode", "check", board) is None:
        raise Failed("the board has mistakes; see above")


class MakeStateDirectory(Change):
    """As systemd makes it when the lab starts; before that it says already whose the lab is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._directories = MakeDirectories(path)

    @property
    def sentence(self) -> str:
        return f"make {self._path}"

    def needed(self) -> bool:
        return self._directories.needed()

    def do(self) -> None:
        self._directories.do()
        self._path.chmod(0o700)
        told("chown", "labnode:labnode", "--", self._path, shown=True)

    def undo(self) -> None:
        self._directories.undo()


class InstallBoard(Change):
    """The files of a board, in a directory of their own; it must be one without mistakes."""

    def __init__(
        self, target: Target, board: Path, home: Path, files: Sequence[str], release: Path
    ) -> None:
        self._target = target
        self._board = board
        self._home = home
        self._files = files
        self._release = release
        self._above = MakeDirectories(home.parent)
        self._new = home.with_name(f"{home.name}.new")
        self._older = Remove(home)
        self._had_older = home.exists()
        self._begun = False

    @property
    def sentence(self) -> str:
        return f"write {self._home}/ ({' '.join(self._files)})"

    def needed(self) -> bool:
        home, board = self._home, self._board.parent
        return any(content_of(home / name) != content_of(board / name) for name in self._files)

    def was_changed_there(self) -> bool:
        """Whether somebody has worked on the files after they were installed."""
        listed = self._home / ".installed"
        if content_of(listed) is None:
            return False
        lines = (line.split("  ", 1) for line in listed.read_text(encoding="utf-8").splitlines())
        return any(_sha256(self._home / name) != checksum for checksum, name in lines)

    def do(self) -> None:
        self._above.do()
        delete(self._new)
        if self._home.is_dir():
            shutil.copytree(self._home, self._new, symlinks=True)
        else:
            self._new.mkdir()
        for name in self._files:
            (self._new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._board.parent / name, self._new / name)
        lines = [f"{_sha256(self._new / name)}  {name}\n" for name in self._files]
        (self._new / ".installed").write_text("".join(lines), encoding="utf-8")
        self._let_labnode_read()
        check_board(self._release, self._target, self._new / self._board.name)
        self._begun = True
        self._older.do()
        self._new.rename(self._home)

    def _let_labnode_read(self) -> None:
        told("chgrp", "-R", "labnode", "--", self._new, shown=True)
        for path in [self._new, *self._new.rglob("*")]:
            if not path.is_symlink():
                may_start = path.is_dir() or path.stat().st_mode & 0o111
                path.chmod(0o750 if may_start else 0o640)

    def undo(self) -> None:
        delete(self._new)
        if self._begun:
            if self._older.aside.exists() or not self._had_older:
                delete(self._home)
            self._older.undo()
        self._above.undo()

    def finish(self) -> None:
        self._older.finish()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
