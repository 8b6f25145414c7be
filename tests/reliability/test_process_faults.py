"""Process faults on pins that latch: whatever dies or hangs, nothing stays on."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from labnode.errors import LabnodeError
from tests.kit.figures import FigureReporter
from tests.kit.waiting import PATIENCE, eventually
from tests.process.machine import Student

from .browser import OpenPage
from .service import ON, SAFE, Service, limit_files

WATCHDOG = 5.0
AT_ONCE = 3  # nodes beside each other in a long run: they mostly wait
LONG = 1000  # faults


@dataclass(frozen=True)
class Visit:
    """A student who has switched everything on."""

    service: Service
    student: Student
    page: OpenPage


def browser_killed(visit: Visit) -> None:
    visit.page.killed()


def network_cut(visit: Visit) -> None:
    visit.page.cut_off()


def disk_full(visit: Visit) -> None:
    """The disk takes nothing more, and then the page is gone."""
    limit_files(visit.service.node().popen.pid, 0)
    visit.page.cut_off()


def stopped(visit: Visit) -> None:
    visit.service.node().send(signal.SIGSTOP)


def killed(visit: Visit) -> None:
    visit.service.node().send(signal.SIGKILL)


def out_of_memory(visit: Visit) -> float:
    """When the kernel has killed the node for it."""
    with suppress(OSError):
        visit.student.post("/api/tasks/hoard", {})
    return float(eventually(lambda: visit.service.killed_at, "the end of a node without memory"))


def driver_hangs(visit: Visit) -> None:
    post = threading.Thread(target=_jam, args=[visit], name="click", daemon=True)
    post.start()


def _jam(visit: Visit) -> None:
    with suppress(OSError):
        visit.student.post("/api/devices/jammed/jam")


def hook_loops(service: Service) -> None:
    """A start whose hook switches everything on and never waits again."""
    with suppress(LabnodeError, OSError):
        service.node().server.new(client_initial_data={"loop": True})


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Callable[[Visit], float | None] | None  # when it came, if not at once;
    # None: it is in the start of the session
    within: float  # seconds until everything is safe
    promised: str
    dies: bool = True  # the node ends


LINK = "deadman (2 s) + 1 s"
FAULTS = [
    Fault("the browser is killed", browser_killed, 3.0, LINK, dies=False),
    Fault("the network is cut", network_cut, 3.0, LINK, dies=False),
    Fault("the disk is full and the network is cut", disk_full, 3.0, LINK, dies=False),
    Fault("the node is stopped", stopped, WATCHDOG + 2, f"WatchdogSec ({WATCHDOG:g} s) + 2 s"),
    Fault("the node is killed", killed, 2.0, "2 s"),
    Fault("the node is killed because its memory is full", out_of_memory, 2.0, "2 s"),
    Fault("a driver hangs", driver_hangs, 3.0, "3 s"),
    Fault("a hook loops", None, 3.0, "3 s"),
]


def inject(service: Service, fault: Fault) -> float:
    """Let one thing go wrong while everything is on; the seconds until everything is safe."""
    node = service.node()
    service.until(SAFE)
    if fault.inject is None:
        start = threading.Thread(target=hook_loops, args=[service], name="start", daemon=True)
        start.start()
        began = service.until(ON)
        took = service.until(SAFE) - began
        start.join(PATIENCE)
    else:
        student = node.student()
        with OpenPage(student) as page:
            assert student.post("/on").status == 200
            service.until(ON)
            began = time.monotonic()
            came = fault.inject(Visit(service, student, page))
            took = service.until(SAFE) - (came or began)
    if fault.dies:
        service.node(after=node)
    else:
        limit_files(node.popen.pid, None)
        node.server.delete(student.session_id)
    assert service.levels() == SAFE
    return took


def run(home: Path, faults: SimpleQueue[Fault], took: dict[str, list[float]]) -> None:
    home.mkdir()
    with Service(home, WATCHDOG) as service, suppress(Empty):
        while True:
            fault = faults.get_nowait()
            took[fault.name].append(inject(service, fault))
    assert service.levels() == SAFE
    assert service.failures == []


def test_nothing_stays_on_whatever_dies_or_hangs(
    tmp_path: Path, long_run: bool, figure: FigureReporter
) -> None:
    number = LONG if long_run else len(FAULTS)
    chosen = [FAULTS[n % len(FAULTS)] for n in range(number)]
    random.Random(13).shuffle(chosen)
    faults: SimpleQueue[Fault] = SimpleQueue()
    for fault in chosen:
        faults.put(fault)
    took: dict[str, list[float]] = defaultdict(list)
    failures: list[BaseException] = []

    def work(home: Path) -> None:
        try:
            run(home, faults, took)
        except BaseException as error:  # noqa: BLE001 - raised in the test
            failures.append(error)

    benches = [
        threading.Thread(target=work, args=[tmp_path / str(n)], name=f"bench-{n}")
        for n in range(AT_ONCE if long_run else 2)
    ]
    for bench in benches:
        bench.start()
    for bench in benches:
        bench.join()
    if failures:
        raise failures[0]
    assert sum(map(len, took.values())) == number
    for fault in FAULTS:
        longest = max(took[fault.name])
        measured = f"{longest:.2f} s at most, of {len(took[fault.name])}"
        figure(f"time to safe when {fault.name}", fault.promised, measured)
        if long_run:
            assert longest <= fault.within, (fault.name, sorted(took[fault.name])[-5:])
    figure("outputs that stayed on after a process fault", "0", f"0 in {number} faults")
