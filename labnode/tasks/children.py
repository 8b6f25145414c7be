"""The processes that a task has started, known by the thread that it runs in."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def of_thread(native_id: int) -> frozenset[int]:
    """The processes that a thread of this process has started and not yet waited for.

    From /proc/PID/task/TID/children, see proc(5); empty where the kernel does not have it.
    """
    with suppress(OSError):
        children = Path(f"/proc/self/task/{native_id}/children").read_text()
        return frozenset(int(pid) for pid in children.split())
    return frozenset()


def kill(pids: Collection[int]) -> None:
    """End processes at once, each with its group where it leads one."""
    for pid in pids:
        with suppress(OSError):  # it has ended by itself
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
