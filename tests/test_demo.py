"""The demo without a process: which board, what it says, and what it does when things go wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from labnode.cli import demo
from labnode.cli.options import program
from labnode.clock import Clock, Event, ManualClock
from labnode.errors import ConfigError, LabnodeError
from labnode.node.agent import Agent
from labnode.sessions import Reason

BOARD = "schema: 1\nlab: {name: mine, category: Own}\ndevices: {led: {driver: led, pin: 17}}\n"
LAB = "from labnode import Lab\nlab = Lab()\n"


pytestmark = pytest.mark.usefixtures("own_modules")


def board(directory: Path, python: str = LAB) -> Path:
    (directory / "mine.py").write_text(python)
    (directory / "mine.yaml").write_text(f"{BOARD}module: mine.py\n")
    return directory / "mine.yaml"


def run(path: Path, stop: Event, **options: Any) -> list[str]:
    """What the demo said."""
    said: list[str] = []
    given = {"port": 0, "seconds": 300, "show": False, "stop": stop, **options}
    demo.run(path, say=said.append, **given)
    return said


def stopped() -> Event:
    """A stop that has been asked for already, so that nothing is waited for."""
    stop = Clock().event()
    stop.set()
    return stop


# --- which board ---


def test_in_a_clone_the_demo_board_is_that_of_the_clone() -> None:
    assert demo.demo_board() == Path(demo.__file__).parents[2] / "boards" / "demo.yaml"


def test_once_installed_it_is_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "labnode" / "boards" / "demo.yaml"
    inside.parent.mkdir(parents=True)
    inside.touch()
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "labnode" / "cli" / "demo.py"))
    assert demo.demo_board() == inside
    inside.unlink()
    with pytest.raises(ConfigError, match=r"boards/demo.yaml did not come with this installation"):
        demo.demo_board()


def test_any_board_can_be_tried(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    python = f"""import pathlib
{LAB}
@lab.on_start
def start(client_data, server_data):
    pathlib.Path({str(trace)!r}).write_text(f"{{lab.user.experiment_id}} {{lab.user.full_name}}")
"""
    said = run(board(tmp_path, python), stopped())
    assert trace.read_text() == "mine@Own Demo Student"
    assert said[-2:] == ["Stopping.", "The board is clean."]


def test_it_says_how_to_look_into_the_board_and_to_set_an_input(tmp_path: Path) -> None:
    path = board(tmp_path)
    path.write_text(path.read_text().replace("led: {", "b: {driver: button, pin: 4}, led: {"))
    said = "\n".join(run(path, stopped()))
    for command in ("status", "simulate get", "simulate set b on"):
        assert f"{program()} {command}" in said


# --- what goes wrong ---


def test_a_lab_that_does_not_start_is_told(tmp_path: Path) -> None:
    python = f"{LAB}\n@lab.on_start\ndef start(c, s): raise RuntimeError('the pump is missing')\n"
    with pytest.raises(LabnodeError, match="the pump is missing"):
        run(board(tmp_path, python), stopped())


def test_a_lab_that_cannot_be_cleaned_is_told(tmp_path: Path) -> None:
    python = f"{LAB}\n@lab.on_dispose\ndef end(): raise RuntimeError('it leaks')\n"
    with pytest.raises(LabnodeError, match="The board could not be cleaned: it leaks"):
        run(board(tmp_path, python), stopped())


def test_a_board_with_a_mistake_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    load = demo.load_board
    monkeypatch.setattr(demo, "load_board", lambda path: looked.append(path) or load(path))
    with pytest.raises(ConfigError):
        run(tmp_path / "gone.yaml", stopped(), port=None)
    assert len(looked) == 1


def test_a_board_that_has_lost_its_owner_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Agent, "fault", lambda self: "the hardware thread had no turn for 30 s")
    with pytest.raises(LabnodeError, match="The demo cannot go on: the hardware thread had no tur"):
        run(board(tmp_path), Clock().event())


# --- how it goes ---


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.EXITED, "The session is over: the student has left."),
        (Reason.INACTIVITY, "The session is over: the student's page was closed."),
        (Reason.TIME, "The session is over."),
        (None, "The session is over."),
    ],
)
def test_the_reason_for_the_end_is_told(reason: Reason | None, words: str) -> None:
    class Ended:
        def __init__(self) -> None:
            self.reason = reason

    assert demo._over(Ended()) == words  # type: ignore[arg-type]


def test_without_a_session_there_is_no_reason_to_tell() -> None:
    assert demo._over(None) == "The session is over."


def test_on_a_terminal_the_time_left_stays_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    clock, said = ManualClock(), list[str]()
    left = demo._TimeLeft(clock, 65, said.append)
    left.show(5)
    clock.advance(60)
    left.show(5)
    clock.advance(60)
    left.show(-1)
    left.end()
    assert capsys.readouterr().out == "\r1:05 left \r0:05 left \r0:00 left "
    assert said == [""]


def test_elsewhere_it_is_a_line_every_half_minute() -> None:
    clock, said = ManualClock(), list[str]()
    left = demo._TimeLeft(clock, 300, said.append)
    for _ in range(13):
        left.show(5)
        clock.advance(5)
    left.end()
    assert said == ["5:00 left", "4:30 left", "4:00 left"]


def test_a_status_that_fails_is_told() -> None:
    said: list[str] = []
    demo._TimeLeft(ManualClock(), 300, said.append).show(LabnodeError("No answer."))
    assert said == ["No answer."]
