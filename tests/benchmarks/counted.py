"""The command labnode, which counts every SQL statement of its process in `builtins.statements`."""

from __future__ import annotations

import builtins
import itertools
import sqlite3
from typing import Any

from labnode.cli import main

_connect = sqlite3.connect
_counter = itertools.count(1)
builtins.statements = 0  # type: ignore[attr-defined]


def count(_statement: str) -> None:
    builtins.statements = next(_counter)  # type: ignore[attr-defined]


def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
    connection = _connect(*arguments, **options)
    connection.set_trace_callback(count)
    return connection


sqlite3.connect = connect

if __name__ == "__main__":
    main(prog_name="labnode")
