"""What docs/derived-values.md shows is YAML that labnode reads."""

from __future__ import annotations

import re
from pathlib import Path

from labnode.board import load_board
from labnode.board.config.board_file import BoardFile

PAGE = Path(__file__).parents[2] / "docs" / "derived-values.md"


def loaded(tmp_path: Path, text: str) -> BoardFile:
    path = tmp_path / "board.yaml"
    path.write_text(f"schema: 1\n{text}", encoding="utf-8")
    return load_board(path)


def test_every_example_of_the_page_is_a_board_with_a_few_devices_besides(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    shield, formulas, controller, choices, pins, steps, reactions = re.findall(
        r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    )
    board = loaded(
        tmp_path,
        "devices:\n  absorber: {driver: virtual, safe: none, choices: [none, lead]}\n"
        "  sw: {driver: digital_input_bank, pins: [5, 6]}\n  tube: {driver: relay, pin: 17}\n"
        + shield,
    )
    assert [rule.name for rule in board.interlocks] == ["shield"]
    rest = "  volts: {driver: virtual, safe: 1}\n  amps: {driver: virtual, safe: 1}\n"
    board = loaded(tmp_path, f"{formulas}{rest}  temp: {{driver: cpu_temperature}}\n")
    assert [name for name, d in board.devices.items() if d.kind == "formula"] == [
        "power", "mean", "drift", "hot",
    ]  # fmt: skip
    assert loaded(tmp_path, controller).devices["hold"].kind == "pid"
    rest = "".join(f"  s{n}: {{driver: relay, pin: {n + 22}, access: system}}\n" for n in (1, 2, 3))
    assert set(loaded(tmp_path, choices + rest).devices) >= {"circuit", "source"}
    assert loaded(tmp_path, pins).warnings() == []
    devices = (
        "devices:\n  temp: {driver: virtual, safe: 20}\n  fan: {driver: pwm_output, pin: 18}\n"
        "  mode: {driver: virtual, safe: slow, choices: [slow, fast]}\n"
        "  leds: {driver: digital_output_bank, pins: [5, 6, 13, 19]}\n"
        "  bell: {driver: buzzer, pin: 22}\n  bell_button: {driver: button, pin: 27}\n"
    )
    assert len(loaded(tmp_path, devices + steps).sequences["on_start"].steps) == 5
    assert loaded(tmp_path, devices + reactions).sequences["ring"].trigger is not None
