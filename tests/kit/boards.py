"""Boards that are really connected, and the test as their hardware thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from labnode.board import Board, BoardFile, load_board
from labnode.clock import Clock
from labnode.drivers.gpio.factories import mock_factory
from labnode.errors import DeviceError
from tests.kit.services import Thread
from tests.kit.wiring import lone_board

_PATIENCE = 15.0  # seconds


class Hand(Thread):
    """The worker and the task of a board: the test's own thread."""

    busy_since = None

    def outlast(self, seconds: float, over: Callable[[], bool]) -> bool:
        self.wait(seconds, over)
        return over()

    def pause(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        return self.wait(seconds, until)


class OpenBoards:
    """Boards that are open until the end of a test."""

    def __init__(self, folder: Path) -> None:
        self.hand = Hand(simulated=False)
        self._folder = folder
        self._boards: list[Board] = []

    def load(self, text: str) -> Any:
        path = self._folder / "board.yaml"
        path.write_text(f"schema: 1\ndevices:\n{text}")
        return load_board(path)

    def open(self, text: str, **options: Any) -> Board:
        """A board of `devices:`, open and not simulated."""
        return self.open_file(self.load(text), **options)

    def open_file(self, file: BoardFile, **options: Any) -> Board:
        options = {"pins": mock_factory(), "simulate": False, **options}
        board = lone_board(file, Clock(), worker=self.hand, tasks=self.hand, **options)
        board.open()
        self._boards.append(board)
        return board

    def until(self, board: Board, name: str, **expected: Any) -> None:
        """Serve the board until the state of a device has what is expected."""

        def shown() -> bool:
            board.poll()
            state = board.snapshot[name]
            return all(state.get(key) == value for key, value in expected.items())

        end = time.monotonic() + _PATIENCE
        while not shown():
            assert time.monotonic() < end, f"{name} is {board.snapshot[name]}, not {expected}"
            self.hand.wait(0.02)

    def close(self) -> None:
        for board in self._boards:
            with suppress(DeviceError):  # a test left its instrument in trouble
                board.close()
