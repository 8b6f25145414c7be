"""Programs that are run to their end."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kit.waiting import PATIENCE


def ran(
    command: Sequence[str | Path], *, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """A program that has ended, with any code unless `check`, and what it said."""
    given = {"stdin": subprocess.DEVNULL, "timeout": 5 * PATIENCE, **options}
    return subprocess.run(command, check=check, capture_output=True, text=True, **given)
