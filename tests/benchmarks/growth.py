"""What grows: devices, history, open pages, students; latency and memory against the small case."""

from __future__ import annotations

import select
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from tests.benchmarks import proc
from tests.benchmarks.client import timed
from tests.benchmarks.stacks import HERE, Labnode, LivePage, Session

FLAT = 1.2
PAGES, STUDENTS, DEVICES, HISTORY = 50, 16, 200, 100_000
CLICKS = 1.0  # seconds between two clicks of each of the other students
CHANGES = 50  # a second, each of another device
Figures = dict[str, tuple[float, float]]  # milliseconds at p50 and of CPU time; MB twice for memory


def grow(quick: bool) -> None:
    """Print the table: each case in turns with the small one."""
    print(f"{proc.machine()}\n")
    print("| What | Case | p50 | Small case | Times | CPU, times | Flat (≤ 1.2) |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    cases = {
        f"{DEVICES} devices": partial(measure, quick, devices=DEVICES),
        f"{HISTORY:,} sessions in the history": partial(measure, quick, history=HISTORY),
        f"{PAGES} open pages": partial(measure, quick, pages=PAGES),
        f"{STUDENTS} students who click": partial(measure, quick, more=STUDENTS - 1),
    }
    for case, measured in cases.items():
        small, large = measure(quick), measured()
        for what, (value, spent) in large.items():
            base, base_spent = small[what]
            unit = "MB" if what == "memory" else "ms"
            flat = "yes" if value <= FLAT * base else "no"
            times = f"{value / base:.2f} | {spent / base_spent:.2f}"
            print(
                f"| {what} | {case} | {value:.3g} {unit} | {base:.3g} {unit} | {times} | {flat} |"
            )
    spent = 100 * busy(5 if quick else 20)
    print(
        f"\n{CHANGES} changes a second of {DEVICES} devices, {PAGES} pages: {spent:.0f} % of a core"
    )


def busy(seconds: float) -> float:
    """The part of a core that a board which changes costs with all these pages open."""
    with tempfile.TemporaryDirectory() as directory:
        node = GrownNode(Path(directory), DEVICES)
        node.start()
        try:
            with others(node, PAGES, 0):
                session = node.session()
                session.student.get(f"/change/{seconds + 1}/{CHANGES}")
                before = proc.cpu(node.pids())
                time.sleep(seconds)
                spent = proc.cpu(node.pids()) - before
                states = session.student.get("/api/state").json["devices"].values()
                assert sum(bool(state["value"]) for state in states) >= CHANGES  # it did change
                session.delete()
                return spent / seconds
        finally:
            node.end()


def measure(
    quick: bool, *, devices: int = 0, history: int = 0, pages: int = 0, more: int = 0
) -> Figures:
    """One student's latencies, and memory, with so much more of something."""
    number = 100 if quick else 500
    with tempfile.TemporaryDirectory() as directory:
        node = GrownNode(Path(directory), devices)
        node.start()
        try:
            if history:
                node.remember(history)
            with others(node, pages, more):
                return figures_of(node, number)
        finally:
            node.end()


def figures_of(node: Labnode, number: int) -> Figures:
    session = node.session()
    started: list[Session] = []
    values = iter([each % 2 == 0 for each in range(3 * number)])

    def click() -> None:
        session.set("switch", next(values))

    def middle(work: Callable[[], object], times: int = number) -> tuple[float, float]:
        before = proc.cpu(node.pids())
        seconds = statistics.median(timed(times, work))
        return 1000 * seconds, 1000 * (proc.cpu(node.pids()) - before) / times

    middle(click)  # warm
    figures = {
        "a click": middle(click),
        "a status": middle(session.status),
        "the page": middle(session.load, 50),
        "a start": middle(lambda: started.append(Session(node, node.server())), 10),
    }
    for each in started:
        each.delete()
    session.delete()
    resident = proc.resident(node.pids())
    return {**figures, "memory": (resident, resident)}


class GrownNode(Labnode):
    """The lab that is measured, with more devices."""

    def __init__(self, home: Path, devices: int) -> None:
        super().__init__(home)
        shutil.copy(HERE / "bench.py", home)
        text = (HERE / "bench.yaml").read_text().replace("users: 16", "users: 64")
        more = "".join(f"  more{n}: {{driver: virtual, safe: false}}\n" for n in range(devices))
        self.board = home / "bench.yaml"
        self.board.write_text(text.replace("module:", f"{more}module:"))

    def remember(self, number: int) -> None:
        """Start again with so many more sessions in the history, copies of one."""
        session = self.session()
        session.delete()
        self.end()
        with closing(sqlite3.connect(self.home / "state" / "labnode.db")) as db, db:
            for table, key in (("sessions", "id"), ("events", "session_id")):
                columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
                copied = [
                    "hex(randomblob(16))" if name == key else name
                    for name in columns
                    if not (table == "events" and name == "id")
                ]
                into = [name for name in columns if not (table == "events" and name == "id")]
                rows = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                db.execute(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                    f"INSERT INTO {table} ({', '.join(into)}) "
                    f"SELECT {', '.join(copied)} FROM {table}, n WHERE {table}.rowid <= {rows}",
                    (number,),
                )
        self.start()


@contextmanager
def others(node: Labnode, pages: int, more: int) -> Iterator[None]:
    """Open pages that read what comes, and students who have one and click."""
    students = [node.session() for _ in range(more or min(pages, 4))]
    opened = [LivePage(students[n % len(students)]) for n in range(pages or more)]
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            for sock in select.select([page.socket for page in opened], [], [], 0.2)[0]:
                sock.recv(65536)

    def click() -> None:
        turn = 0
        while not over.wait(CLICKS / more):
            turn += 1
            students[turn % more].set("second", turn // more % 2 == 0)

    works = [*([read] if opened else []), *([click] if more else [])]
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for page in opened:
            page.close()
        for student in students:
            student.delete()
