"""Counts every SQL statement of this process, from before its first connection."""

from __future__ import annotations

import itertools
import sqlite3
from typing import Any

_connect = sqlite3.connect


class Statements:
    """How many there were: `number`; any thread may ask."""

    def __init__(self) -> None:
        self.number = 0
        self._counter = itertools.count(1)
        sqlite3.connect = self._connected

    def _connected(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = _connect(*arguments, **options)
        connection.set_trace_callback(self._count)
        return connection

    def _count(self, _statement: str) -> None:
        self.number = next(self._counter)
