"""Where the threads are that run a lab's Python, for those who have to find out."""

from __future__ import annotations

import logging
import sys
import threading
import traceback

log = logging.getLogger(__name__)


def tell_where_threads_are() -> None:
    """Log what holds the hardware thread and those in the background."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.name.startswith(("hardware", "background")) and thread.ident in frames:
            stack = "".join(traceback.format_stack(frames[thread.ident]))
            log.critical("Thread %s is at\n%s", thread.name, stack)
