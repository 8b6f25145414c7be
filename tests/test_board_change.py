"""Changing the board of a running node: checked first, in between students, or not at all."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.board import BoardFile, load_board
from labnode.board.config.python_files import set_aside
from labnode.clock import ManualClock
from labnode.errors import Busy, ConfigError, DeviceError
from labnode.lab import Lab
from labnode.lab.loader import load_lab
from labnode.node.apply import BoardChange

BOARD = "schema: 1\ndevices: {lamp: {driver: led, pin: GPIO17}}\n"


class Sessions:
    """As far as a change of the board is concerned."""

    def __init__(self) -> None:
        self.draining = False
        self.on_board: list[str] = []

    def live(self) -> list[str]:
        return self.on_board


class Node:
    """Serves a board, and fails to open one when `broken` says so."""

    def __init__(self) -> None:
        self.sessions: Any = Sessions()
        self.served: list[tuple[BoardFile, Lab]] = []
        self.broken: Exception | None = None
        self.drained_meanwhile: list[bool] = []

    def change_to(self, file: BoardFile, lab: Lab) -> None:
        self.drained_meanwhile.append(self.sessions.draining)
        self.sessions = Sessions()
        if self.broken is not None:
            raise self.broken
        self.served.append((file, lab))


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def board_change(node: Node, clock: ManualClock) -> Iterator[BoardChange]:
    board_change = BoardChange(node, clock)
    yield board_change
    assert board_change.stop(10)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    (tmp_path / "board.yaml").write_text(BOARD)
    return tmp_path / "board.yaml"


def finished(board_change: BoardChange) -> str | None:
    """Let time pass until it ends; the error that it had."""
    thread, clock = board_change._thread, board_change._clock
    assert thread is not None
    assert isinstance(clock, ManualClock)
    for _ in range(1000):
        if not thread.is_alive():
            break
        clock.advance(1)
        thread.join(0.01)
    progress = board_change.progress()
    assert progress["state"] == "finished"
    return progress["error"]  # type: ignore[no-any-return]


def test_an_idle_node_changes_at_once(node: Node, board_change: BoardChange, board: Path) -> None:
    board_change.begin(board)
    board_change.wait_until_checked()
    assert finished(board_change) is None
    ((file, _),) = node.served
    assert list(file.devices) == ["lamp"]
    assert node.drained_meanwhile == [True]
    assert node.sessions.draining is False


def test_a_file_with_mistakes_changes_nothing(
    node: Node, board_change: BoardChange, board: Path
) -> None:
    board.write_text(BOARD.replace("led", "lde"))
    board_change.begin(board)
    with pytest.raises(ConfigError, match=r"board\.yaml:2: .*lde.*led"):
        board_change.wait_until_checked()
    assert "lde" in str(finished(board_change))
    assert node.served == []
    assert node.drained_meanwhile == []
    assert node.sessions.draining is False


def test_a_module_with_mistakes_changes_nothing(
    node: Node, board_change: BoardChange, board: Path
) -> None:
    board.write_text(BOARD + "module: own.py\n")
    board.with_name("own.py").write_text("import nothing_like_this\n")
    board_change.begin(board)
    with pytest.raises(ConfigError, match="nothing_like_this"):
        board_change.wait_until_checked()
    assert node.served == []


def test_students_are_waited_for_and_none_is_let_in(
    node: Node, board_change: BoardChange, board: Path
) -> None:
    node.sessions.on_board.append("ada")
    board_change.begin(board)
    board_change.wait_until_checked()
    waiting = node.sessions
    assert board_change.progress() == {
        "state": "waiting",
        "sessions": 1,
        "error": None,
        "words": None,
    }
    assert waiting.draining is True
    waiting.on_board.clear()
    assert finished(board_change) is None
    assert len(node.served) == 1


def test_with_now_students_are_not_waited_for(
    node: Node, board_change: BoardChange, board: Path
) -> None:
    node.sessions.on_board.append("ada")
    with pytest.raises(Busy, match="A student is on the board"):
        board_change.begin(board, now=True)
    assert node.sessions.draining is False


def test_students_who_stay_too_long_are_not_thrown_out(
    node: Node, board_change: BoardChange, board: Path
) -> None:
    node.sessions.on_board.append("ada")
    board_change.begin(board, timeout=1.0)
    board_change.wait_until_checked()
    said = "1 student was still on the board when the time was up."
    assert finished(board_change) == said
    assert node.sessions.draining is False


def test_undrain_calls_it_off(node: Node, board_change: BoardChange, board: Path) -> None:
    node.sessions.on_board.append("ada")
    board_change.begin(board)
    board_change.wait_until_checked()
    node.sessions.draining = False
    assert "takes students again" in str(finished(board_change))
    assert node.served == []


def test_a_node_that_was_drained_stays_so(
    node: Node, board_change: BoardChange, board: Path
) -> None:
    node.sessions.draining = True
    board_change.begin(board)
    assert finished(board_change) is None
    assert node.sessions.draining is True


def test_a_board_that_does_not_open_is_told(
    node: Node, board_change: BoardChange, board: Path
) -> None:
    node.broken = DeviceError("'lamp' did not open: no such pin")
    board_change.begin(board)
    assert finished(board_change) == "'lamp' did not open: no such pin"
    assert node.sessions.draining is False


def test_a_bug_is_told_as_well(node: Node, board_change: BoardChange, board: Path) -> None:
    node.broken = ZeroDivisionError("a bug")
    board_change.begin(board)
    assert finished(board_change) == "ZeroDivisionError: a bug"


def test_there_is_one_at_a_time(node: Node, board_change: BoardChange, board: Path) -> None:
    node.sessions.on_board.append("ada")
    board_change.begin(board)
    board_change.wait_until_checked()
    with pytest.raises(Busy, match="changing its board already"):
        board_change.begin(board)
    node.sessions.on_board.clear()
    assert finished(board_change) is None
    board_change.begin(board)
    assert finished(board_change) is None


def test_a_signal_in_the_middle_of_beginning_is_refused(
    node: Node, board_change: BoardChange, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def again(_self: Sessions) -> list[str]:
        with pytest.raises(Busy, match="already") as error:
            board_change.begin(board)
        refused.append(error.value)
        return []

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Sessions, "live", again)
        board_change.begin(board, now=True)
    assert finished(board_change) is None
    assert refused


def test_a_node_that_stops_waits_for_nobody(
    node: Node, board_change: BoardChange, board: Path
) -> None:
    node.sessions.on_board.append("ada")
    board_change.begin(board)
    board_change.wait_until_checked()
    assert board_change.stop(10)
    assert finished(board_change) == "The node is stopping."


# --- the lab's Python ---


@pytest.fixture
def lab_files(board: Path) -> Iterator[Callable[[int], None]]:
    """Write a board with a lab of version N, which imports a module that lies beside it."""

    def write(version: int) -> None:
        board.write_text(BOARD + "module: own.py\n")
        lab = "import gears_beside\nfrom labnode import Lab\nlab = Lab()\n"
        board.with_name("own.py").write_text(lab + "lab.version = gears_beside.VERSION\n")
        board.with_name("gears_beside.py").write_text(f"VERSION = {version}{' ' * version}\n")

    before = list(sys.path)
    yield write
    set_aside(board.parent)
    sys.path[:] = before


def version(lab: Lab) -> int:
    return lab.version  # type: ignore[attr-defined,no-any-return]


def test_what_lies_beside_the_lab_is_imported_anew(
    node: Node, board_change: BoardChange, board: Path, lab_files: Callable[[int], None]
) -> None:
    lab_files(1)
    assert version(load_lab(load_board(board))) == 1
    lab_files(2)
    board_change.begin(board)
    assert finished(board_change) is None
    assert version(node.served[0][1]) == 2
    assert sys.modules["gears_beside"].VERSION == 2


def test_until_it_changes_the_old_lab_has_its_own_modules(
    node: Node,
    board_change: BoardChange,
    board: Path,
    lab_files: Callable[[int], None],
) -> None:
    lab_files(1)
    load_lab(load_board(board))
    lab_files(2)
    node.sessions.on_board.append("ada")
    board_change.begin(board)
    board_change.wait_until_checked()
    assert sys.modules["gears_beside"].VERSION == 1
    node.broken = DeviceError("no")
    node.sessions.on_board.clear()
    finished(board_change)
    assert sys.modules["gears_beside"].VERSION == 1  # and again, where it could not change


def test_a_board_beside_labnode_itself_leaves_labnode_alone() -> None:
    root = Path(sys.modules["labnode"].__file__ or "").parents[1]
    before = threading.current_thread()
    aside = set_aside(root)
    sys.modules.update(aside)
    assert "labnode" not in aside
    assert "labnode.board" not in aside
    assert "bottle" not in aside
    assert threading.current_thread() is before
