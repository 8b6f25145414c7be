"""A machine of files, and a patient on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.doctor import Finding, Patient
from labnode.doctor.finding import SystemUser
from labnode.settings import load_settings


class Bed:
    """Where a patient is examined; `root` is its machine's file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        settings = load_settings(
            None,
            {},
            {
                "state_dir": str(root / "state"),
                "weblab": {"username": "u", "password": "p"},
                "port": 0,
            },
        )
        user = SystemUser("nobody-here", os.geteuid() or 65534, frozenset())
        self.patient = Patient(user=user, settings=settings, root=root)

    def write(self, path: str, text: str = "", mode: int = 0o644) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def board(self, devices: str) -> None:
        path = self.write("board.yaml", f"schema: 1\ndevices:\n{devices}")
        self.patient = replace(self.patient, board=load_board(path))

    def is_now(self, **changes: Any) -> None:
        self.patient = replace(self.patient, **changes)

    def found(self, check: Callable[[Patient], Any]) -> list[tuple[str, str]]:
        """The levels and sentences of a check."""
        return [(str(f.level), f.message) for f in self.findings(check)]

    def findings(self, check: Callable[[Patient], Any]) -> list[Finding]:
        return list(check(self.patient))


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Bed(tmp_path)
