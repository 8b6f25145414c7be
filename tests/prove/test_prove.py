"""`labnode prove` with a real node, on pins that keep their levels when it dies."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode.drivers.gpio.factories import real_factory
from tests.kit.commands import Run
from tests.kit.figures import FigureReporter
from tests.kit.latching import Levels

WIRE = ("--out", "GPIO17", "--in", "BOARD13", "--quick")


@pytest.fixture(autouse=True)
def _log_again() -> Iterator[None]:
    yield
    logging.disable(logging.NOTSET)


def test_the_report_has_everything_that_can_be_measured_without_a_reboot(
    prove: Run, tmp_path: Path, figure: FigureReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "es_ES.UTF-8")
    code, out, err = prove(*WIRE, "--yes")
    report = json.loads((tmp_path / "labnode-prove.json").read_text())
    rows = {row["what"]: row for row in report["measurements"]}
    assert [what.partition(":")[0] for what in rows] == [
        "edge of an input to the output that an interlock switches off",
        "a change is on the disk; a session's start waits for one",
        "SIGKILL",
        "SIGKILL",
        "SIGSTOP",
        "SIGSTOP",
        "a lab's clean-up hangs, the output has `max_on_time",
    ]
    # On latching pins nothing but labnode makes an output safe; how quickly is this machine's.
    assert rows["SIGKILL: the pin by itself"]["measured"].startswith("stays as it was in 2 of 2")
    assert all("never" not in row["measured"] for row in rows.values())
    assert all("on again" not in row["measured"] for row in rows.values())
    figure(
        "labnode prove on pins that latch: outputs that stay on or come on again",
        "0",
        "0 of 4 (2 SIGKILL, SIGSTOP, a lab that hangs)",
    )
    assert report["wire"] == "GPIO17 to GPIO27"
    markdown = (tmp_path / "labnode-prove.md").read_text()
    assert markdown in out
    assert "SIGKILL: en estado seguro, y no se vuelve a encender" in markdown
    assert not [row for row in rows if row in out]  # JSON is in English
    assert "Measuring" not in out
    broken = [row for row in rows.values() if row["ok"] is False]
    assert (code, bool(err)) == ((1, True) if broken else (0, False))
    assert markdown.count("NO CUMPLIDO") == len(broken)
    # Nothing else of the run is left.
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"board.yaml", "pins", "labnode-prove.md", "labnode-prove.json"}
    levels = Levels(tmp_path / "pins")
    assert levels[17] == 0
    levels.close()


@pytest.mark.parametrize("typed", ["\n", " \n", "n\n"])
def test_the_header_is_drawn_with_the_wire(
    prove: Run, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    code, out, err = prove(*WIRE)
    assert (code, err) == (1, "labnode: Nothing was measured.\n")
    assert "wire: driven  GPIO17  11 ●" in out
    assert "wire: read  GPIO27  13 ●" in out


def test_a_wire_that_is_missing_is_told_with_the_header_s_pins(
    prove: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABNODE_TEST_WIRE", "")
    code, _, err = prove(*WIRE, "--yes")
    assert code == 1
    assert err == (
        "labnode: GPIO27 does not follow GPIO17: join header pins 11 and 13 with a jumper wire.\n"
    )


@pytest.mark.parametrize(
    ("out", "end", "code", "said"),
    [
        ("GPIO24", "GPIO27", 1, "GPIO24 is used by the board board.yaml (heater); name two pins"),
        ("GPIO17", "17", 2, "--out and --in are both GPIO17; the wire joins two pins."),
        ("GPIO17", "GPIO2", 2, "GPIO2 is not free for a wire: it belongs to a bus."),
        ("GPIO17", "GPIO0", 2, "GPIO0 is not free for a wire: it belongs to a bus."),
        ("GPIO17", "5V", 2, "--in: expected a GPIO pin such as 17"),
    ],
)
def test_pins_that_cannot_be_joined_are_refused(
    prove: Run, out: str, end: str, code: int, said: str
) -> None:
    found = prove("--out", out, "--in", end, "--yes")
    assert found.code == code
    assert found.err.startswith(f"labnode: {said}")


def test_a_machine_without_pins_is_told(prove: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labnode.drivers.gpio.factories.real_factory", real_factory)
    code, _, err = prove(*WIRE, "--yes")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "GPIO" in err


def test_boot_needs_root_and_the_service(prove: Run) -> None:
    code, _, err = prove(*WIRE, "--boot", "power", "--yes")
    assert code == 1
    assert err == "labnode: --boot needs root, and labnode as a service (sudo ./install.sh).\n"


def test_a_panic_is_refused_where_nothing_would_reset_the_machine(
    prove: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.prove.unit.Unit.is_installed", lambda: True)
    monkeypatch.setattr("labnode.prove.boot.watchdog_is_armed", lambda: False)
    code, _, err = prove(*WIRE, "--boot", "panic", "--yes")
    assert code == 1
    assert "The machine's watchdog is not armed" in err
