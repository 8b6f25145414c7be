"""The commands."""

from labnode.cli.main import main

__all__ = ["main"]
