from __future__ import annotations

from pathlib import Path

import pytest

from labnode.supervisor import client
from tests.kit.tools import Victim


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return Victim(tmp_path)


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may have labnode as a service."""
    monkeypatch.setattr(client, "SOCKET", Path("/nowhere/labnode-tool.sock"))
