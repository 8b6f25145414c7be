"""The command labnode on latching pins, again and again: each a process of its own, soon there.

A line on the standard input is the JSON list of a command's arguments. It runs in a fork of this
process, which has labnode imported already: a start then costs a fifth. What it prints, "pid N"
before and "exit CODE" after it (a signal's number is negative) go to LABNODE_TEST_DIARY.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.kit.latching import use_latching_pins

use_latching_pins()

import labnode.node.agent  # noqa: E402
from labnode.board import load_board  # noqa: E402
from labnode.cli import main  # noqa: E402

_DIARY = int(os.environ["LABNODE_TEST_DIARY"])


def run(arguments: list[str]) -> None:
    """One command, from its beginning to its end, in a session of its own as a service is."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(_DIARY, 1)
        main(arguments, prog_name="labnode")  # ends the process
    tell(f"pid {pid}")
    _, status = os.waitpid(pid, 0)
    tell(f"exit {os.waitstatus_to_exitcode(status)}")


def tell(line: str) -> None:
    os.write(_DIARY, f"{line}\n".encode())


if __name__ == "__main__":
    load_board(Path(sys.argv[1]))  # what it needs is imported now
    tell(f"ready {labnode.node.agent.__name__}")
    for line in sys.stdin:
        run(json.loads(line))
