"""What a lab author writes against."""

from labnode.lab.lab import Lab, json_lines
from labnode.lab.node import Level, Node
from labnode.lab.sequences import Turnover

__all__ = ["Lab", "Level", "Node", "Turnover", "json_lines"]
