"""docs/operating.md and docs/monitoring.md have every command and alert."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labnode.cli import main

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
COMMANDS = """
run status sessions tasks events actions drain undrain estop clear safe doctor backup restore
password
"""


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_of_operating_is_told_and_is_there(command: str) -> None:
    assert command in main.commands
    assert f"labnode {command}" in DOCUMENT


def test_every_alert_of_the_rules_is_told() -> None:
    rules = (ROOT / "deploy/prometheus/labnode.rules.yml").read_text()
    alerts = re.findall(r"alert: (\w+)", rules)
    assert len(alerts) > 10
    assert [alert for alert in alerts if f"`{alert}`" not in MONITORING] == []
