"""docs/operating.md says what the code does: its settings, commands, metrics and fields."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from labnode.cli import main
from labnode.clock import ManualClock
from labnode.events import Bus
from labnode.schema import Duration, options
from labnode.settings import AdminAccess, Settings
from labnode.system.gauges import MachineGauges, NodeGauges
from labnode.system.metrics import Metrics
from labnode.system.pi import Disk, Machine, Throttling

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
STATUS: dict[str, Any] = {
    "state": "ready", "sessions": [], "users": 1, "uptime": 1.0, "quarantine": None,
    "estop": None, "faults": [], "draining": False, "alarm": None,
}  # fmt: skip


def default(option: Any, cls: Any = Settings) -> str:
    """A default as one writes it in YAML; nothing where the sentence says what it is."""
    (field,) = (f for f in dataclasses.fields(cls) if f.name == option.name)
    value = field.default
    if value is dataclasses.MISSING or value is None or value == "" or option.key == "state_dir":
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = (option.type, *get_args(option.type))
    if Duration in kinds or any(kind in get_args(Duration) for kind in get_args(option.type)):
        return f"{value / 86400:g}d" if value >= 86400 else f"{value / 3600:g}h"
    return str(value)


def settings_table(head: str, cls: Any) -> str:
    """What the document has to have of the settings of a class."""
    rows = [
        f"| `{each.key}` | {f'`{text}`' if (text := default(each, cls)) else ''} | {each.doc} |"
        for each in options(cls)
    ]
    return "\n".join([f"| {head} | default | |", "| --- | --- | --- |", *rows])


@pytest.mark.parametrize(("head", "cls"), [("setting", Settings), ("in `admin`", AdminAccess)])
def test_the_table_of_settings_is_that_of_the_code(head: str, cls: Any) -> None:
    table = settings_table(head, cls)
    assert table in DOCUMENT, f"docs/operating.md needs this table:\n{table}"


COMMANDS = """
run status sessions tasks events actions drain undrain estop clear safe doctor backup restore
password
"""


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_of_operating_is_told_and_is_there(command: str) -> None:
    assert command in main.commands
    assert f"labnode {command}" in DOCUMENT


class Pi(Machine):
    """A machine that tells everything."""

    def temperature(self) -> float:
        return 50.0

    def throttling(self) -> Throttling:
        return Throttling(frozenset(), frozenset())

    def disk(self, path: Path) -> Disk:
        return Disk(1, 1, False, 0)


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Every metric of ours with its labels, as Prometheus knows them."""
    bus = Bus()
    made = Metrics(bus, ManualClock(), {"version": "1"})
    state = {"value": 1, "rx_bytes": 1, "tx_bytes": 1, "dropped_bytes": 1}
    made.registry.register(NodeGauges(lambda: STATUS, lambda: {"led": state}))
    made.registry.register(MachineGauges(Pi(), Path("/"), ManualClock()))
    found = {}
    for family in made.registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        name += "_info" if family.type == "info" else ""
        if name.startswith("labnode_"):
            found[name] = {label for sample in family.samples for label in sample.labels}
    made.end()
    return found


def test_the_table_of_metrics_is_that_of_the_code(metrics: dict[str, set[str]]) -> None:
    told = set(re.findall(r"^\| `(labnode_\w+)", DOCUMENT, re.MULTILINE))
    assert told == set(metrics)


def test_the_rules_use_metrics_that_there_are(metrics: dict[str, set[str]]) -> None:
    rules = (ROOT / "deploy/prometheus/labnode.rules.yml").read_text()
    used = set(re.findall(r"labnode_[a-z0-9_]+", rules))
    histograms = {name.removesuffix("_bucket") for name in used if name.endswith("_bucket")}
    counters = {name for name in used if not name.endswith("_bucket")}
    assert len(used) > 10
    assert counters | histograms <= set(metrics)


def test_every_alert_of_the_rules_is_told() -> None:
    rules = (ROOT / "deploy/prometheus/labnode.rules.yml").read_text()
    alerts = re.findall(r"alert: (\w+)", rules)
    assert len(alerts) > 10
    assert [alert for alert in alerts if f"`{alert}`" not in DOCUMENT] == []
