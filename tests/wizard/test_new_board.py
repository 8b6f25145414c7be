"""`labnode new`: answers become a board file that labnode accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from labnode.board import load_board
from labnode.cli.main import main
from labnode.wizard.new_board import KINDS, WiredDevice, board_text


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new(*arguments: str, answers: str = "") -> Result:
    return CliRunner().invoke(main, ["new", *arguments], input=answers)


def test_devices_on_the_command_line_become_a_board_and_nothing_is_asked() -> None:
    result = new("greenhouse", "--device", "light=relay:GPIO17,2m", "--device", "door=button:27")
    assert result.exit_code == 0, result.output
    board = load_board(Path("greenhouse.yaml"))
    assert list(board.devices) == ["light", "door"]
    assert board.devices["light"].max_on_time == 120  # type: ignore[attr-defined]
    assert board.lab.name == "greenhouse"


def test_each_device_is_asked_for_until_enter() -> None:
    answers = "My garden\n1\nlamp\nGPIO17\nThe: lamp\n5\ndoor\nGPIO27\n\n\nn\n"
    result = new("garden", answers=answers)
    assert result.exit_code == 0, result.output
    board = load_board(Path("garden.yaml"))
    assert str(board.title) == "My garden"
    assert [str(device.label) for device in board.devices.values()] == ["The: lamp", "Door"]


def test_a_device_may_be_named_by_its_driver_and_its_pin_by_the_number() -> None:
    result = new("x", answers="\nrelais\nrelay\nlamp\n17\n\n\n\nn\n")
    assert "'relais' is none of these: a number from 1 to 9, or led, relay, pwm_" in result.output
    assert "lamp: {driver: relay, pin: GPIO17, label: Lamp}" in Path("x.yaml").read_text()


def test_an_answer_that_does_not_work_is_explained_and_asked_again() -> None:
    answers = "\n1\na\nGPIO17\n\n1\nb\nBOARD11\n\n1\nb\nGPIO27\n\n\nn\n"
    result = new("x", answers=answers)
    assert "'b' uses pin GPIO17, which 'a' (line 6) already uses. Once more." in result.output
    assert list(load_board(Path("x.yaml")).devices) == ["a", "b"]


def test_every_kind_that_is_offered_makes_a_board() -> None:
    given = {"pin": "GPIO17"}
    for kind in KINDS:
        values = tuple(given.get(option, default) for option, _, default in kind.asks)
        Path("x.yaml").write_text(board_text("x", "X", [WiredDevice("it", kind, values, "It")]))
        assert load_board(Path("x.yaml")).devices["it"].kind == kind.driver


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["Bad name"], "A lab's name has small letters, digits, '-' and '_' only"),
        (["x", "--device", "lamp"], "--device is NAME=DRIVER:PIN, such as light=relay:GPIO17"),
        (["x", "--device", "a=lamp:17"], "the drivers that this knows are led, relay"),
        (["x", "--device", "a=led:17,18"], "led takes 1 values at most"),
        (["x", "--device", "a=led:GPIO99"], "--device: "),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(arguments: list[str], sentence: str) -> None:
    result = new(*arguments)
    assert result.exit_code == 2
    assert sentence in result.output
    assert not Path("x.yaml").exists()


def test_a_file_that_exists_is_kept() -> None:
    Path("x.yaml").write_text("mine")
    assert new("x", "--device", "a=led:17").exit_code == 2
    assert Path("x.yaml").read_text() == "mine"


def test_the_demo_shows_the_new_board(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Path] = []
    monkeypatch.setattr("labnode.cli.demo.run", lambda board, **_: shown.append(board))
    result = new("x", "--device", "a=led:17", "--demo")
    assert result.exit_code == 0, result.output
    assert shown == [Path("x.yaml")]
