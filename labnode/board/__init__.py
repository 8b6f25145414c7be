"""What a board file becomes."""

from labnode.board.board import Board
from labnode.board.config.board_file import BoardFile, LabName, SessionSpec, load_board
from labnode.board.config.include import files_named
from labnode.drivers.tools import Programmer

__all__ = [
    "Board",
    "BoardFile",
    "LabName",
    "Programmer",
    "SessionSpec",
    "files_named",
    "load_board",
]
