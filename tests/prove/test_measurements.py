"""What the rows of the report say, and when a promise counts as broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labnode.clock import Clock
from labnode.drivers.gpio.gpiochips import Chip
from labnode.drivers.gpio.pin import Pin
from labnode.errors import LabnodeError
from labnode.locale import Message
from labnode.prove import boot
from labnode.prove.faults import _judged
from labnode.prove.report import Measurement, Report, spread
from labnode.prove.unit import _seconds
from labnode.prove.wire import Wire
from tests.kit.latching import LatchingFactory, latching_factory


def test_a_report_says_which_promises_did_not_hold() -> None:
    kept, broken = Measurement("a", "1 s", "0.5 s", True), Measurement("b", "1 s", "2 s", False)
    report = Report({"machine": "a Pi"}, (kept, broken, Measurement("c", "", "3 s")))
    assert report.broken == [broken]
    assert "| b | 1 s | 2 s | **NOT KEPT** |" in report.as_markdown()
    assert json.loads(report.as_json())["ok"] is False


@pytest.mark.parametrize(
    ("took", "rose", "measured", "ok"),
    [
        ([1.0, 1.5], False, "at most 1.50 s (2 times)", True),
        ([1.0, 2.5], False, "at most 2.50 s (2 times)", False),
        ([1.0, None], False, "never in 1 of 2; otherwise at most 1.00 s (2 times)", False),
        ([None], False, "never", False),
        ([1.0], True, "at most 1.00 s; it went on again", False),
    ],
)
def test_an_output_has_to_be_off_in_time_and_stay_off(
    took: list[float | None], rose: bool, measured: str, ok: bool
) -> None:
    found = _judged(Message("cli.row-safe", signal="x"), 2.0, took, went_on_again=rose)
    assert (str(found.promised), str(found.measured)) == ("within 2 s", measured)
    assert found.ok is ok


def test_a_spread_has_the_median_and_the_longest() -> None:
    assert str(spread([0.001] * 99 + [0.5])) == (
        "median 1 ms, 99 of 100 within 500 ms, longest 500 ms (100 times)"
    )


def test_a_boot_in_which_the_output_was_on_is_a_broken_promise() -> None:
    first = {"at": 4.0, "high": False, "output": False}
    driven = {"at": 6.5, "high": False, "output": True}
    level, never, safe = boot.judged("power", [first, driven])
    assert (level.ok, never.ok) == (True, True)
    assert str(safe.measured) == "6.5 s after the kernel's start"
    _, never, _ = boot.judged("panic", [first, driven, {"at": 9.0, "high": True, "output": True}])
    assert (str(never.measured), never.ok) == ("9.0 s after the kernel's start", False)
    level, _, safe = boot.judged("panic", [{"at": 4.0, "high": True, "output": False}])
    assert (level.ok, str(safe.measured)) == (False, "never")


def test_what_was_to_be_recorded_is_told_only_after_a_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "DIRECTORY", tmp_path)
    assert boot.recorded("this") == []
    (tmp_path / "armed.json").write_text(json.dumps({"how": "power", "boot": "this"}))
    with pytest.raises(LabnodeError, match="has not been started again"):
        boot.recorded("this")
    with pytest.raises(LabnodeError, match="Nothing was recorded in this boot"):
        boot.recorded("the next")
    row = json.dumps({"at": 4.0, "high": False, "output": True})
    (tmp_path / "record.jsonl").write_text(row[:9])  # the power was cut again
    with pytest.raises(LabnodeError, match="Nothing was recorded in this boot"):
        boot.recorded("the next")
    (tmp_path / "record.jsonl").write_text(f"{row}\n{row[:9]}")
    assert [found.ok for found in boot.recorded("the next")] == [True, True, None]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("1min 30s", 90.0), ("500ms", 0.5), ("infinity", 0.0)]
)
def test_systemd_s_times_are_read(text: str, seconds: float) -> None:
    assert _seconds(text) == seconds


def test_a_wire_knows_its_level_and_whether_it_rose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABNODE_TEST_PINS", str(tmp_path / "pins"))
    monkeypatch.setenv("LABNODE_TEST_WIRE", "17-27")
    clock, pins = Clock(), LatchingFactory()
    driven = pins.pin("GPIO17")
    driven.output_with_state(False)
    with Wire(pins, Pin(27), clock) as wire:
        began = clock.now()
        assert wire.until(True, 0.01) is None
        driven.output_with_state(True)
        assert wire.until(True, 60) is not None
        driven.output_with_state(False)
        fell = wire.until(False, 60)
        assert fell is not None
        assert (wire.level, wire.rose_after(began), wire.rose_after(fell)) == (False, True, False)
    pins.close()


def test_a_boot_is_recorded_by_the_unit_that_is_left_and_nothing_of_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, clock = list[str](), Clock()
    monkeypatch.setenv("LABNODE_TEST_PINS", str(tmp_path / "pins"))
    monkeypatch.setattr(boot, "DIRECTORY", tmp_path / "prove.boot")
    monkeypatch.setattr(boot, "_UNIT", tmp_path / "labnode-prove.service")
    monkeypatch.setattr(boot, "_LASTS", clock.now() + 0.2)
    monkeypatch.setattr(boot, "list_chips", lambda: [Chip(0, "pinctrl-bcm2711")])
    monkeypatch.setattr(boot, "is_output", lambda _chip, line: line == 17)
    monkeypatch.setattr(boot, "real_factory", latching_factory)
    monkeypatch.setattr(
        "subprocess.run", lambda words, check: asked.append(" ".join(words)) if check else None
    )
    boot.arm("power", Pin(17), Pin(27), "this")
    assert "-m labnode.prove.boot" in (tmp_path / "labnode-prove.service").read_text()
    boot.record(clock)
    (tmp_path / "prove.boot/.lgd-nfy0").touch()  # lgpio's
    assert [found.ok for found in boot.recorded("the next")] == [True, True, None]
    boot.disarm()
    assert [path.name for path in tmp_path.iterdir()] == ["pins"]
    assert asked == [
        "systemctl enable --quiet labnode-prove.service",
        "systemctl disable --quiet --now labnode-prove.service",
    ]
