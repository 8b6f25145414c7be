"""Looks after a node by the unit that is installed: systemd itself, with all that it keeps it from.

The node is the lab `prove`: labnode@prove.service with settings, board and state of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from labnode.clock import Clock
from labnode.errors import Busy, LabnodeError
from labnode.locale import Message
from labnode.prove.node import NodeFiles

NAME = "prove"
SERVICE = f"labnode@{NAME}.service"
EARLY = f"labnode-safe@{NAME}.service"  # drives the outputs to safe early in the boot

STATES = Path("/var/lib/labnode")  # where the installed nodes keep their databases

_SETTINGS = Path("/etc/labnode")
_TEMPLATE = Path("/etc/systemd/system/labnode@.service")
_MARK = "# Of labnode prove, which deletes this.\n"
_EVERY = 0.05  # seconds between two looks at the unit
_SECONDS = {"min": 60.0, "s": 1.0, "ms": 0.001}


class Unit:
    """The lab `prove` of this machine, from `start` to `close`; for root.

    Busy where somebody's own lab has this name; what an earlier run has left is removed.
    """

    sentence = Message("cli.keeper:unit", unit=SERVICE)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._settings = _SETTINGS / f"{NAME}.yaml"
        self._board = _SETTINGS / "boards" / NAME
        self._state = STATES / NAME
        self._process = 0
        found = [path for path in self._places if path.exists()]
        if found and not (found[0] == self._settings and _is_ours(found[0])):
            raise Busy(Message("cli.prove-name-taken", name=NAME, path=found[0]))
        self.close()

    @property
    def watchdog(self) -> float:
        return _seconds(_show("WatchdogUSec"))

    @staticmethod
    def is_installed() -> bool:
        """Whether this user is root on a machine where labnode is a service."""
        return os.geteuid() == 0 and _TEMPLATE.exists()

    def start(self, files: NodeFiles) -> None:
        _systemctl("stop", SERVICE)
        self._settings.touch(mode=0o600)
        self._settings.write_text(_MARK, encoding="utf-8")  # first: what follows is ours, too
        board = files.write_board(self._board)
        for path in (self._board, *self._board.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self._settings.write_text(_MARK + files.settings(board), encoding="utf-8")
        _systemctl("start", SERVICE)
        self._process = int(_show("MainPID"))

    def signal(self, number: int) -> None:
        os.kill(self._process, number)

    def recover(self) -> None:
        deadline = self._clock.now() + self.watchdog + 180.0
        while _show("MainPID") in (str(self._process), "0") or _show("ActiveState") != "active":
            if self._clock.now() > deadline:
                raise LabnodeError(Message("cli.prove-not-restarted", unit=SERVICE))
            self._clock.event().wait(_EVERY)
        self._process = int(_show("MainPID"))

    def enable(self) -> None:
        """Have it start at every boot, its outputs made safe before it."""
        _systemctl("enable", "--quiet", SERVICE)
        if _show("LoadState", EARLY) == "loaded":
            _systemctl("enable", "--quiet", EARLY)

    def close(self) -> None:
        for service in (SERVICE, EARLY):
            if _show("LoadState", service) == "loaded":
                _systemctl("disable", "--quiet", service)
                _systemctl("stop", service)
                _systemctl("reset-failed", service, fails=True)  # it may be forgotten by now
        for path in (self._state, self._board):
            if path.exists():
                shutil.rmtree(path)
        self._settings.unlink(missing_ok=True)

    @property
    def _places(self) -> tuple[Path, Path, Path]:
        return self._settings, self._board, self._state


def _is_ours(settings: Path) -> bool:
    return settings.read_text(encoding="utf-8").startswith(_MARK)


def _show(what: str, service: str = SERVICE) -> str:
    return _systemctl("show", service, "--property", what, "--value").strip()


def _systemctl(*words: str, fails: bool = False) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if done.returncode and not fails:
        raise LabnodeError(f"systemctl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _seconds(text: str) -> float:
    """Of a time as systemd writes it: "1min 30s"."""
    parts = re.findall(r"([0-9.]+)(min|ms|s)\b", text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
