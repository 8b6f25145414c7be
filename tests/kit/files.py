"""The files that this process has open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WATCHED = re.compile(r"socket:|pipe:|/dev/pts/|/dev/ptmx|.*\.db(-wal|-shm)?$|.*/lock$")


@contextmanager
def no_file_left_open() -> Iterator[None]:
    """AssertionError after the block when it has left a file, a socket or a pipe open."""
    before = _open_files()
    yield
    left = {number: name for number, name in _open_files().items() if before.get(number) != name}
    assert not left, f"left open: {sorted(left.values())}"


def _open_files() -> dict[str, str]:
    """Descriptors of this process that a test could forget to close."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        try:
            name = str(link.readlink())
        except OSError:
            continue  # the one that lists the directory
        if _WATCHED.match(name):
            found[link.name] = name
    return found
