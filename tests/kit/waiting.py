"""Waiting for what nobody tells: another thread or process has done something."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 120.0  # real seconds; what takes longer hangs


def eventually(condition: Callable[[], Any], what: str = "it", patience: float = PATIENCE) -> Any:
    """What `condition()` returns as soon as that is true; asked again and again until then."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} never came true"
        time.sleep(0.002)
    return found
