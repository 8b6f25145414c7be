"""What a lab author writes against."""

from labnode.lab.lab import Lab
from labnode.lab.node import Node

__all__ = ["Lab", "Node"]
