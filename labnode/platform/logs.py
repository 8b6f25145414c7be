"""Where the log goes: into the journal with fields, or as plain lines."""

from __future__ import annotations

import logging
import os
import sys

from labnode.platform.journal import JournalHandler, is_journal

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to_stderr(level: str) -> logging.Handler | None:
    """Log to standard error; where that is the journal, returns the handler that writes there."""
    if not is_journal(sys.stderr, os.environ):
        logging.basicConfig(level=level, format=_FORMAT)
        return None
    handler = JournalHandler(sys.stderr)
    logging.basicConfig(level=level, handlers=[handler])
    return handler
