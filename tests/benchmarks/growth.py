"""What grows: devices, history, open pages, students; latency and memory against the small case."""

from __future__ import annotations

import select
import shutil
import sqlite3
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.benchmarks import proc
from tests.benchmarks.client import timed
from tests.benchmarks.stacks import HERE, Labnode, LivePage, Session

FLAT = 1.2
PAGES, STUDENTS, DEVICES, HISTORY = 50, 16, 200, 100_000
CLICKS = 1.0  # seconds between two clicks of each of the other students
Figures = dict[str, tuple[float, str]]


def grow(quick: bool) -> None:
    """Print the table."""
    print(f"{proc.machine()}\n")
    print("| What | Case | Measured | Small case | Times | Flat (≤ 1.2) |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    small = measure(quick)
    for case, figures in (
        (f"{DEVICES} devices", measure(quick, devices=DEVICES)),
        (f"{HISTORY:,} sessions in the history", measure(quick, history=HISTORY)),
        (f"{PAGES} open pages", measure(quick, pages=PAGES)),
        (f"{STUDENTS} students, each with a page and a click a second", measure(quick, more=15)),
    ):
        for what, (value, unit) in figures.items():
            base = small[what][0]
            times = value / base
            flat = "yes" if times <= FLAT else "no"
            print(f"| {what} | {case} | {value:.3g} {unit} | {base:.3g} | {times:.2f} | {flat} |")


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

    def middle(work: Callable[[], object], times: int = number) -> float:
        return 1000 * statistics.median(timed(times, work))

    middle(click)  # warm
    before = proc.cpu(node.pids())
    clicked = middle(click)
    spent = 1000 * (proc.cpu(node.pids()) - before) / number
    figures: Figures = {
        "a click, p50": (clicked, "ms"),
        "a click, CPU": (spent, "ms"),
        "a status, p50": (middle(session.status), "ms"),
        "the page, p50": (middle(session.load, 50), "ms"),
        "a start, p50": (middle(lambda: started.append(Session(node, node.server())), 10), "ms"),
    }
    for each in started:
        each.delete()
    session.delete()
    return {**figures, "memory, RSS": (proc.resident(node.pids()), "MB")}


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
