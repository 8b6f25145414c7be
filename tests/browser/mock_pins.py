"""`labnode` on a machine without GPIO pins: all else is as on a Pi."""

from __future__ import annotations

import labnode.board.board
from labnode.cli import main
from labnode.drivers.gpio.factories import mock_factory

if __name__ == "__main__":
    labnode.board.board.real_factory = lambda _work_dir=None: mock_factory()  # type: ignore[assignment]
    main()
