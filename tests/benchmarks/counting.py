"""A real node in this process that counts what a start, a click, a status and a task cost.

It prints JSON; tests/benchmarks/counts.py starts it. Of every count it is the least of several
times: what a busy machine adds to one is not in all.
"""

from __future__ import annotations

import gc
import io
import json
import os
import re
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.kit.waiting import PATIENCE

# What measures imports parts of labnode, too: inside functions, once it is counted what a node
# has imported.

Counts = dict[str, float]
TIMES = 7
QUIET = 0.04  # seconds in which nothing happens any more
HERE = Path(__file__).parent
LABNODE = str(HERE.parents[1] / "labnode") + os.sep
PERIODIC = {"safety"}  # threads that work again and again, whatever happens
INLINE = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}  # no calls since Python 3.12
WAKES = {threading.Condition.notify.__code__}  # an event that is set notifies, too


class Counting:
    """Counts Python calls of labnode, SQL statements and bytes, in all threads of the process."""

    def __init__(self) -> None:
        self._calls: Counter[int] = Counter()  # by thread
        self._wakes: Counter[int] = Counter()
        self._counted: dict[CodeType, bool] = {}
        self._synced = True  # what commits do now
        self._sql = [0, 0, 0]  # statements, commits, those that a power cut does not take back

    def begin(self) -> None:
        connect = sqlite3.connect

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(self._statement)
            return connection

        sqlite3.connect = traced
        threading.setprofile(self._event)
        sys.setprofile(self._event)

    def _event(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        counted = self._counted.get(code)
        if counted is None:
            counted = code.co_filename.startswith(LABNODE) and code.co_name not in INLINE
            self._counted[code] = counted
        if counted:
            self._calls[threading.get_ident()] += 1
        if code in WAKES or (counted and code.co_name == "wake"):
            self._wakes[threading.get_ident()] += 1

    def _statement(self, text: str) -> None:
        self._sql[0] += 1
        if found := re.match(r"PRAGMA synchronous *= *(\w+)", text, re.IGNORECASE):
            self._synced = found[1].upper() in ("2", "FULL")
        if text.upper().startswith("COMMIT"):
            self._sql[1] += 1
            self._sql[2] += self._synced

    def now(self) -> dict[str, Any]:
        periodic = {t.ident for t in threading.enumerate() if t.name in PERIODIC}
        calls = {thread: n for thread, n in list(self._calls.items()) if thread not in periodic}
        wakes = {thread: n for thread, n in list(self._wakes.items()) if thread not in periodic}
        written = re.findall(r"(?m)^wchar: (\d+)", Path("/proc/self/io").read_text())
        return {
            "calls": calls,
            "wakes": sum(wakes.values()),
            "sql": list(self._sql),
            "bytes": int(written[0]),
        }

    def settled(self) -> dict[str, Any]:
        """As `now`, once all threads have nothing more to do."""
        deadline = time.monotonic() + PATIENCE
        before = self.now()
        while time.monotonic() < deadline:
            time.sleep(QUIET)
            now = self.now()
            if now == before:
                break
            before = now
        return before

    def of(self, work: Callable[[], object]) -> Counts:
        """What `work` costs, until nothing is left to be done for it."""
        before = self.settled()
        work()
        after = self.settled()
        calls = Counter(after["calls"])
        calls.subtract(before["calls"])
        statements, commits, durable = (
            new - old for new, old in zip(after["sql"], before["sql"], strict=True)
        )
        return {
            "function calls": sum(calls.values()),
            "threads": sum(1 for number in calls.values() if number),
            "wake-ups": after["wakes"] - before["wakes"],
            "SQL statements": statements,
            "commits": commits,
            "durable commits": durable,
            "bytes written": after["bytes"] - before["bytes"],
        }


class Said(io.StringIO):
    """Standard output of the node, in which it says where it listens."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = threading.Event()
        self.port = 0

    def write(self, text: str) -> int:
        if found := re.search(r" at http://127\.0\.0\.1:(\d+)/", text):
            self.port = int(found[1])
            self.ready.set()
        return len(text)


def least(counting: Counting, work: Callable[[], object], times: int = TIMES) -> Counts:
    counts = [counting.of(work) for _ in range(times)]
    return {name: min(each[name] for each in counts) for name in counts[0]}


def kept(work: Callable[[], object], times: int) -> float:
    """Blocks of memory that stay in use after each time, in the mean; the least of three means."""
    for _ in range(times // 4):
        work()
    means = []
    for _ in range(3):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(times):
            work()
        gc.collect()
        means.append((sys.getallocatedblocks() - before) / times)
    return round(min(means), 1)


def drive(counting: Counting, said: Said, found: dict[str, Counts]) -> None:
    """Everything that is counted, on a thread of its own."""
    sys.setprofile(None)
    assert said.ready.wait(PATIENCE)
    start = counting.settled()
    names = [name.partition(".")[0] for name in list(sys.modules)]
    others = sys.stdlib_module_names | {"tests", "labnode", "__main__", "__mp_main__"}
    found["the start of the node"] = {
        "modules of labnode": names.count("labnode"),
        "modules of libraries": sum(1 for name in names if name not in others),
        "function calls": sum(start["calls"].values()),
        "threads that stay": threading.active_count() - 1,
        "SQL statements": start["sql"][0],
        "commits": start["sql"][1],
    }
    from tests.benchmarks.client import Client
    from tests.benchmarks.stacks import SERVER, Labnode, Session

    node = Labnode(Path(sys.argv[1]))
    node.address = ("127.0.0.1", said.port)
    server = Client(node.address, SERVER)
    one = Session(node, server)
    one.enter()
    found["a click"] = least(counting, lambda: one.set("switch", True))
    found["a click"]["blocks kept"] = kept(lambda: one.set("switch", True), 200)
    found["a status"] = least(counting, one.status)
    found["a status"]["blocks kept"] = kept(one.status, 200)
    found["a task"] = least(counting, lambda: task(one, counting.settled))
    found["a task"]["blocks kept"] = kept(lambda: task(one, lambda: time.sleep(0.01)), 50)
    one.delete()
    sessions: list[Session] = []
    found["the start of a session"] = least(
        counting, lambda: sessions.append(Session(node, server))
    )
    coming, going = iter(sessions), iter(sessions)
    found["a student's entry"] = least(counting, lambda: next(coming).enter())
    found["the end of a session"] = least(counting, lambda: next(going).delete())

    def cycle() -> None:
        session = Session(node, server)
        session.enter()
        session.delete()

    found["a session that is over"] = {"blocks kept": kept(cycle, 50)}


def task(session: Any, rest: Callable[[], object]) -> None:
    """A task, until the page has seen that it is done; it looks each time after a `rest`."""
    task_id = session.student.post("/api/tasks/line", {}).json["task_id"]
    rest()
    while session.student.get(f"/api/tasks/{task_id}").json["status"] != "done":
        rest()


def main() -> int:
    said, counting, found = Said(), Counting(), {}
    stdout, sys.stdout = sys.stdout, said

    def run() -> None:
        try:
            drive(counting, said, found)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    counting.begin()
    threading.Thread(target=run, name="driver").start()
    from labnode.cli import main as labnode

    where = ["--port", "0", "--state-dir", f"{sys.argv[1]}/state"]
    labnode(["run", str(HERE / "bench.yaml"), "--simulate", *where], standalone_mode=False)
    sys.setprofile(None)
    stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
