"""What a start of a node loads, and which threads an idle one has: counted, never timed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit.programs import ran

DEMO = Path(__file__).parent.parent / "boards" / "demo.yaml"
MOST_MODULES = 515  # with those of the standard library, which has more in some versions
MOST_THREADS = 14
# Libraries that a start can do without: they are imported in the functions that need them.
NOT_AT_ONCE = {"sqlite_utils", "dateutil", "pluggy", "prometheus_client", "smbus2", "serial"}

START = """
import http.client, json, os, sys, threading
from pathlib import Path

board, state_dir = map(Path, sys.argv[1:])
import labnode.cli
from labnode.lab.loader import load_lab
from labnode.board import load_board
from labnode.node.agent import Agent
from labnode.settings import load_settings

options = {"board": board, "host": "127.0.0.1", "port": 0, "state_dir": state_dir}
settings = load_settings(None, os.environ, options)
file = load_board(board)
agent = Agent(file, load_lab(file), settings, simulate=True)
agent.start()
try:
    asked = http.client.HTTPConnection(*agent.web.address)
    asked.request("GET", "/weblab/sessions/api")
    status = asked.getresponse().status
    threads = [thread.name for thread in threading.enumerate()]
    modules = sorted(sys.modules)
finally:
    agent.stop()
print(json.dumps({"status": status, "threads": threads, "modules": modules}))
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was counted at the second start of a node, which has its database already."""
    state_dir = tmp_path_factory.mktemp("state")
    state_dir.chmod(0o700)
    password = {"LABNODE_WEBLAB_USERNAME": "weblab", "LABNODE_WEBLAB_PASSWORD": "p" * 20}
    command = [sys.executable, "-c", START, DEMO, state_dir]
    for _ in range(2):
        said = ran(command, check=True, env={**os.environ, **password}).stdout
    found: dict[str, Any] = json.loads(said)
    assert found["status"] == 200
    return found


def test_a_start_loads_no_library_that_it_can_do_without(start: dict[str, Any]) -> None:
    loaded = {name.split(".")[0] for name in start["modules"]}
    assert loaded & NOT_AT_ONCE == set()


def test_a_start_loads_no_more_modules_than_it_did(start: dict[str, Any]) -> None:
    assert len(start["modules"]) <= MOST_MODULES


def test_an_idle_node_has_few_threads(start: dict[str, Any]) -> None:
    assert len(start["threads"]) <= MOST_THREADS
    assert [name for name in start["threads"] if name.startswith("http-")] == ["http-1"]
