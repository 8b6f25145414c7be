"""What a check of the doctor finds, and what it knows of the node that it examines."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from labnode.board import BoardFile
from labnode.drivers.framework.driver import Claim, Driver
from labnode.locale import Message, Wording
from labnode.settings import Settings


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    UNKNOWN = "unknown"  # cannot be checked here
    WARNING = "warning"  # works now, and may not for long
    PROBLEM = "problem"  # a lab cannot work like this


@dataclass(frozen=True)
class Finding:
    """One sentence about one thing; `what_to_do` is empty where there is nothing to do."""

    check: str
    level: Level
    words: str | Wording
    what_to_do: str | Wording = ""

    @property
    def message(self) -> str:
        """The sentence in English."""
        return str(self.words)

    @property
    def advice(self) -> str:
        """What to do, in English."""
        return str(self.what_to_do)


@dataclass(frozen=True)
class SystemUser:
    """Who the node runs as."""

    name: str
    uid: int
    groups: frozenset[int]

    @classmethod
    def by_id(cls, uid: int) -> SystemUser:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(str(uid), uid, frozenset(os.getgroups()))
        return cls(entry.pw_name, uid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))

    @classmethod
    def by_name(cls, name: str) -> SystemUser:
        """A user who may be missing: then one without any rights."""
        try:
            return cls.by_id(pwd.getpwnam(name).pw_uid)
        except KeyError:
            return cls(name, -1, frozenset())

    def may_use(self, path: Path) -> bool:
        """Whether its permissions let the user read and write it."""
        info = path.stat()
        if self.uid == 0:
            return True
        shift = 6 if info.st_uid == self.uid else 3 if info.st_gid in self.groups else 0
        return info.st_mode >> shift & 0o6 == 0o6

    def not_in(self, path: Path) -> Message:
        """The advice that lets the user use `path`."""
        try:
            group = grp.getgrgid(path.stat().st_gid).gr_name
        except KeyError:
            group = str(path.stat().st_gid)
        return Message("doctor.group", group=group, user=self.name)


@dataclass(frozen=True)
class Patient:
    """The node to examine; what could not be read is None, and `wrong` says why."""

    user: SystemUser
    settings: Settings | None = None
    board: BoardFile | None = None
    running: bool = False
    simulated: bool = False
    wrong: tuple[Finding, ...] = ()
    root: Path = field(default=Path("/"))

    @property
    def devices(self) -> dict[str, Driver]:
        return dict(self.board.devices) if self.board else {}

    @property
    def claims(self) -> list[Claim]:
        return [claim for driver in self.devices.values() for claim in driver.claims()]

    def may_not_use(
        self, path: Path, check: str, level: Level, what: Message | None = None
    ) -> Finding:
        """The finding that the permissions of `path`, called `what`, keep the user from it."""
        message = Message("doctor.may-not-use", user=self.user.name, what=what or path)
        return Finding(check, level, message, self.user.not_in(path))


Check = Callable[[Patient], Iterator[Finding]]
