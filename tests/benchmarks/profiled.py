"""The command labnode, with a profile of each thread, written where PROFILE says."""

from __future__ import annotations

import atexit
import cProfile
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

# The standard library has a module `profile`, and this directory is none of packages.
sys.path.remove(str(Path(__file__).parent))

_timer = time.perf_counter if os.environ.get("PROFILE_WALL") else time.thread_time
_profiles: list[tuple[str, cProfile.Profile]] = []


def begin(*_event: Any) -> None:
    """The first event of a thread: its own profile takes over."""
    sys.setprofile(None)
    profile = cProfile.Profile(_timer)
    _profiles.append((threading.current_thread().name, profile))
    profile.enable()


@atexit.register
def write() -> None:
    directory = Path(os.environ["PROFILE"])
    for number, (name, profile) in enumerate(_profiles):
        profile.dump_stats(directory / f"{number}.{name.replace('/', '-')}.prof")


if __name__ == "__main__":
    threading.setprofile(begin)
    if os.environ.get("PROFILE_START"):
        begin()
    from labnode.cli import main

    main(prog_name="labnode")
