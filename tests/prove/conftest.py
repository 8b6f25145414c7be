from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.kit.commands import Run, labnode_with
from tests.kit.latching import latching_factory

ROOT = Path(__file__).parents[2]
BOARD = """\
schema: 1
devices:
  heater: {driver: relay, pin: GPIO24}
"""


@pytest.fixture
def prove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`labnode prove board.yaml` on latching pins, of which 17 and 27 are joined."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LABNODE_TEST_PINS", str(tmp_path / "pins"))
    monkeypatch.setenv("LABNODE_TEST_WIRE", "17-27")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("labnode.drivers.gpio.factories.real_factory", latching_factory)
    node = [sys.executable, "-m", "tests.kit.latching"]
    monkeypatch.setattr("labnode.cli.prove._NODE", node)
    monkeypatch.setattr("labnode.prove.unit.Unit.is_installed", lambda: False)
    (tmp_path / "board.yaml").write_text(BOARD)
    return labnode_with(capsys, "prove", "board.yaml")
