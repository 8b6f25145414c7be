"""What a lab author writes against."""

from labnode.lab.lab import Lab, Node

__all__ = ["Lab", "Node"]
