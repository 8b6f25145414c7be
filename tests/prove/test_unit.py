"""The lab `prove` that systemd looks after: whose files it takes for its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from labnode.clock import Clock
from labnode.errors import Busy
from labnode.prove import unit
from labnode.prove.unit import Unit


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemd was asked for, on a machine whose labs are below `tmp_path`."""
    asked = list[str]()

    def systemctl(*words: str, fails: bool = False) -> str:
        asked.append(" ".join(words))
        return "loaded\n" if "LoadState" in words else "0\n"

    monkeypatch.setattr(unit, "_systemctl", systemctl)
    monkeypatch.setattr(unit, "_SETTINGS", tmp_path / "etc")
    monkeypatch.setattr(unit, "STATES", tmp_path / "var")
    (tmp_path / "etc/boards").mkdir(parents=True)
    return asked


@pytest.mark.parametrize("path", ["etc/prove.yaml", "etc/boards/prove", "var/prove"])
def test_a_lab_of_somebody_s_is_not_touched(path: str, asked: list[str], tmp_path: Path) -> None:
    theirs = tmp_path / path
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("board: /home/ada/prove.yaml\n") if path.endswith("yaml") else theirs.mkdir()
    with pytest.raises(Busy, match="There is a lab 'prove' on this machine"):
        Unit(Clock())
    assert theirs.exists()
    assert asked == []


def test_what_a_run_has_left_is_removed_by_the_next(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "etc/prove.yaml").write_text("# Of labnode prove, which deletes this.\n")
    (tmp_path / "etc/boards/prove").mkdir()
    (tmp_path / "var/prove").mkdir(parents=True)
    Unit(Clock())
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["boards"]
    assert not (tmp_path / "var/prove").exists()
    assert "stop labnode@prove.service" in asked
    assert "disable --quiet labnode-safe@prove.service" in asked
