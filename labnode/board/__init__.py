"""What a board file becomes."""

from labnode.board.board import Board
from labnode.board.file import BoardFile, LabName, SessionSpec, load_board

__all__ = ["Board", "BoardFile", "LabName", "SessionSpec", "load_board"]
