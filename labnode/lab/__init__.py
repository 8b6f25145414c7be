"""What a lab author writes against."""

from labnode.lab.lab import Lab, json_lines
from labnode.lab.node import Level, Node

__all__ = ["Lab", "Level", "Node", "json_lines"]
