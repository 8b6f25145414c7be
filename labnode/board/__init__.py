"""What a board file becomes."""

from labnode.board.board import Board
from labnode.board.config.board_file import BoardFile, LabName, SessionSpec, load_board
from labnode.drivers.tools import Programmer

__all__ = ["Board", "BoardFile", "LabName", "Programmer", "SessionSpec", "load_board"]
