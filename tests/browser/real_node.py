"""A real node in a process of its own, and the central server that sends students to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labnode.weblab.fake import CentralServer

MOCK_PINS = Path(__file__).with_name("mock_pins.py")


@dataclass(frozen=True)
class Node:
    url: str  # with its final slash
    server: CentralServer
    pid: int
    state: Path  # its state directory


@contextmanager
def running(
    board: Path,
    state_dir: Path,
    *,
    port: int = 0,
    only_pins: bool = False,
    **settings: str,
) -> Iterator[Node]:
    """The node while the block lasts; `settings` are LABNODE_ variables without their prefix.

    It is simulated, with `only_pins` its pins alone: serial ports and programs are real then.
    """
    start = [str(MOCK_PINS)] if only_pins else ["-m", "labnode"]
    command = [sys.executable, *start, "run", str(board), "--port", str(port)]
    command += [] if only_pins else ["--simulate"]
    command += ["--state-dir", str(state_dir)]
    settings = {"WEBLAB_USERNAME": "weblab", "WEBLAB_PASSWORD": "visit", **settings}
    environ = {**os.environ, **{f"LABNODE_{key}": value for key, value in settings.items()}}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, f"the agent says where it listens, not {line!r}"
        yield Node(
            found[0], CentralServer(found[0].rstrip("/"), "weblab", "visit"), process.pid, state_dir
        )
    finally:
        process.terminate()
        process.communicate(timeout=15)
    assert process.returncode == 0
