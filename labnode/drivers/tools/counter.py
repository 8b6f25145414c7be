"""How often a chip has been written: flash wears out after some ten thousand times."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


class Counter:
    """A number in a small file of its own, so that it survives the program and a power cut."""

    def __init__(self, folder: Path | None, device: str) -> None:
        self._path = None if folder is None else folder / f"writes-{device}"
        self.count = 0
        if self._path is not None:
            with suppress(OSError, ValueError):
                self.count = max(0, int(self._path.read_text()))

    def add(self) -> None:
        """One more; a disk that does not take it does not keep a board from being programmed."""
        self.count += 1
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.write_text(f"{self.count}\n")
            new.replace(self._path)
        except OSError as error:
            log.warning("The write counter %s was not stored: %s", self._path.name, error)
