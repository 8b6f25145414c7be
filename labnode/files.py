"""Files that only labnode's own user may read."""

from __future__ import annotations

import os


def private(path: str, flags: int) -> int:
    """An `opener` for open(): a file that it creates has mode 0600."""
    return os.open(path, flags, 0o600)
