"""Whatever thread of a node hangs, it is told, the outputs are safe, and the node starts again.

What `labnode run` notices itself ends the process with exit code 70. What it cannot notice, its
main thread or a pool in which all views hang, starves the watchdog: the test plays systemd's part.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode.clock import Clock
from tests.kit.figures import FigureReporter
from tests.kit.waiting import PATIENCE, eventually
from tests.process.machine import Machine, Node

BOARD = Path(__file__).parent / "hangs.yaml"
SAFE = {"GPIO17": "0.0", "GPIO24": "1.0"}
NOTICED = {
    "hardware": "the hardware thread had no turn for {} s",
    "http": "the thread http has been at one thing for {} s",
    "http-writer": "the thread http-writer has been at one thing for {} s",
    "store": "the thread store has been at one thing for {} s",
    "reaper": "the thread reaper has been at one thing for {} s",
    "live": "the thread live has been at one thing for {} s",
    "recorder": "the thread recorder has been at one thing for {} s",
    "routines": "the thread routines has been at one thing for {} s",
    "pruning": "the thread pruning has been at one thing for {} s",
    "timers": "the thread timers has been at one thing for {} s",
    "wall-clock": "the thread wall-clock has been at one thing for {} s",
    "control": "the thread control has been at one thing for {} s",
    "safety": "the thread safety has been at one thing for 10 s",
}
WATCHDOG = 30.0  # WatchdogSec in deploy/systemd
RESTART = 2.0  # RestartSec
LIMIT = 30  # labnode.clock.HUNG_AFTER


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.end()


def busy_node(machine: Machine, limit: float, **env: str) -> Node:
    node = machine.node(board=BOARD, LABNODE_TEST_HUNG_AFTER=f"{limit:g}", **env)
    node.student()
    return node


def post(node: Node, path: str) -> None:
    request = urllib.request.Request(f"{node.url}/{path}", b"", method="POST")
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=PATIENCE):
        pass


@pytest.mark.parametrize("name", sorted(NOTICED))
def test_a_thread_that_hangs_ends_the_process_with_its_outputs_safe(
    machine: Machine, name: str, long_run: bool, figure: FigureReporter
) -> None:
    limit = LIMIT if long_run else 1
    node = busy_node(machine, limit)
    now = Clock().now
    began = now()
    post(node, f"hang/{name}")
    assert node.wait() == 70
    took = now() - began
    assert NOTICED[name].format(limit) in node.errors
    assert node.levels() == SAFE
    figure(
        f"a hang of the thread {name}",
        f"told, and started again within {WATCHDOG + 5:g} s" if long_run else "told",
        f"the process ended after {took:.1f} s with its outputs safe (limit {limit} s)",
    )
    if long_run:
        assert took + RESTART < WATCHDOG + 5


def test_a_program_that_runs_does_not_outlive_a_node_that_hangs(machine: Machine) -> None:
    node = busy_node(machine, 1)
    node.student().start_task("program")
    number = node.trace.wait_for(r"^program (\d+)$")[1]
    assert Path(f"/proc/{number}").exists()
    post(node, "hang/store")
    assert node.wait() == 70
    eventually(lambda: not Path(f"/proc/{number}").exists())


@pytest.mark.parametrize("what", ["main", "views"])
def test_what_a_node_does_not_notice_starves_the_watchdog(
    machine: Machine, tmp_path: Path, what: str, figure: FigureReporter
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        seconds = 3.0
        environ = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": str(int(seconds * 1e6)),
        }
        node = busy_node(machine, LIMIT, **environ)
        while manager.recv(4096) != b"WATCHDOG=1":
            pass
        asking = [threading.Thread(target=post, args=(node, path)) for path in _hangs(what)]
        for thread in asking:
            thread.start()
        now = Clock().now
        began = heard = now()
        with contextlib.suppress(TimeoutError):
            while True:
                manager.settimeout(max(0.01, heard + seconds - now()))
                if manager.recv(4096) == b"WATCHDOG=1":
                    heard = now()
                assert now() - began < PATIENCE, "the watchdog is fed although the node hangs"
        took = now() - began
    node.send(signal.SIGABRT)  # what systemd does now; ExecStopPost makes the outputs safe then
    assert node.wait() == -signal.SIGABRT
    for thread in asking:
        thread.join(PATIENCE)
    figure(
        f"a hang of {'the main thread' if what == 'main' else 'all views'}",
        "systemd ends the node within WatchdogSec + 5 s",
        f"no sign of life {took:.1f} s after it, at a WatchdogSec of {seconds:g} s",
    )


def _hangs(what: str) -> list[str]:
    return ["hang/main"] if what == "main" else ["hang-here"] * 40
