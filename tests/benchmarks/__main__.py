"""Numbers of a real node on this machine, printed beside what they should be, and never asserted.

    python -m tests.benchmarks

It takes about two minutes. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import http.client
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from tests.kit.basic_auth import basic
from tests.process.machine import PASSWORD, USERNAME, Machine, Node, Student
from tests.web.sockets import Page

HERE = Path(__file__).parent
IDLE = 20.0  # seconds of looking at an idle node
REQUESTS = 2000
TASKS = 300
SESSIONS = 5


class CountedNode(Node):
    entry: ClassVar[Path] = HERE / "counted.py"


def main() -> None:
    print(f"{_machine()}\n")
    with table() as machine:
        row("4 KB made durable on this disk, median", 1000 * disk(machine.home), None, "ms")
        node = machine.keep(CountedNode(machine.home, board=HERE / "bench.yaml"))
        row("resident memory, just started", memory(node), 60, "MB")
        student = Student(*node.server.new(assigned_time=3000))
        measure_delays(student)
        measure_status(node, student)
        measure_idle(node, student)
        row("resident memory, after all this", memory(node), 60, "MB")
        node.server.delete(student.session_id)
        measure_session(node)
        node.stop()


@contextmanager
def table() -> Iterator[Machine]:
    """The head of a table for `row`, and a machine for what is measured."""
    head()
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory))
        try:
            yield machine
        finally:
            machine.end()


def head() -> None:
    print("| What | Measured | Target | Measured / target |")
    print("| --- | --- | --- | --- |")


def row(what: str, measured: float, target: float | None, unit: str) -> None:
    wanted, ratio = ("", "") if target is None else (f"{target:g} {unit}", _ratio(measured, target))
    print(f"| {what} | {measured:.3g} {unit} | {wanted} | {ratio} |", flush=True)


# --- from delay() to the first line of the task, which is in the database before ---


def disk(directory: Path) -> float:
    """Seconds for a write that a power cut does not take back."""
    seconds = []
    with (directory / "disk").open("wb", buffering=0) as file:
        for _ in range(100):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def measure_delays(student: Student) -> None:
    for name in ("on_the_hardware_thread", "in_the_background"):
        where = name.replace("_", " ")
        student.get(f"/delays/{name}/20")  # warm
        seconds = student.get(f"/delays/{name}/{TASKS}").json["seconds"]
        row(f"delay() to first line, {where}, median", 1000 * statistics.median(seconds), 2, "ms")
        row(
            f"delay() to first line, {where}, 99 of 100",
            1000 * statistics.quantiles(seconds, n=100)[98],
            None,
            "ms",
        )
        rested = []
        for _ in range(3):
            time.sleep(15)
            rested += student.get(f"/delays/{name}/1").json["seconds"]
        rest = 1000 * statistics.median(rested)
        row(f"delay() to first line, {where}, after 15 s idle, median of 3", rest, 2, "ms")


# --- the central server's status ---


def measure_status(node: Node, student: Student) -> None:
    before = statements(student)
    began = time.perf_counter()
    ask_status(node, student, keep=True)
    row("status requests on one connection", REQUESTS / (time.perf_counter() - began), None, "/s")
    began = time.perf_counter()
    ask_status(node, student, keep=False)
    per_second = REQUESTS / (time.perf_counter() - began)
    row("status requests, each with its connection", per_second, None, "/s")
    touched = statements(student) - before
    row(f"SQL statements during {2 * REQUESTS} status requests", touched, 0, "")


def statements(student: Student) -> int:
    number: int = student.get("/statements").json["statements"]
    return number


def ask_status(node: Node, student: Student, *, keep: bool) -> None:
    connection = Connection(node, {"Authorization": basic(f"{USERNAME}:{PASSWORD}")})
    for _ in range(REQUESTS):
        answer = connection.ask("GET", f"/weblab/sessions/{student.session_id}/status")
        assert answer == b'{"should_finish": 5}'
        if not keep:
            connection.close()
    connection.close()


class Connection:
    """One connection to the node that stays open until it is closed."""

    def __init__(self, node: Node, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(node.url).netloc, timeout=10)
        self._headers = headers
        self.close = self._connection.close

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self._connection.request(method, path, body, self._headers)
        reply = self._connection.getresponse()
        answer = reply.read()
        assert reply.status == 200, answer
        return answer


# --- nothing to do ---


def measure_idle(node: Node, student: Student) -> None:
    look_at(node, "an open session, nobody asks")
    with page_open(node, student):
        look_at(node, "an open session, its page open, status polled")


def look_at(node: Node, when: str) -> None:
    """Bytes written and processor used in a while."""
    sizes, written, used = files(node), io(node), processor(node)
    time.sleep(IDLE)
    row(f"{when}: bytes written in {IDLE:g} s", io(node) - written, 0, "B")
    row(f"{when}: files of the state directory changed", len(files(node) ^ sizes), 0, "")
    row(f"{when}: processor", 100 * (processor(node) - used) / IDLE, 0.5, "% of a core")


@contextmanager
def page_open(node: Node, student: Student) -> Iterator[None]:
    """The page listens, and it and the central server say every 5 s that they live."""
    closed = threading.Event()
    address = (urlsplit(node.url).hostname or "", urlsplit(node.url).port or 0)
    page = Page(address, "/api/live", node.url.rstrip("/"), student.cookie)
    page.ask()
    assert page.read_head() == 101
    page.json()

    def live() -> None:
        while not closed.wait(5.0):
            page.send("here").json()
            node.server.status(student.session_id)
        page.close()

    thread = threading.Thread(target=live, name="page")
    thread.start()
    yield
    closed.set()
    thread.join()


# --- a session ---


def measure_session(node: Node) -> None:
    tracer = strace(node)
    before = io(node)
    for _ in range(SESSIONS):
        student = Student(*node.server.new())
        task_id = student.start_task("job")
        while student.get(f"/api/tasks/{task_id}").json["status"] not in ("done", "failed"):
            time.sleep(0.05)
        node.server.delete(student.session_id)
    kilobytes = (io(node) - before) / 1000 / SESSIONS
    row("a session with one task: bytes written to the disk", kilobytes, 120, "KB")
    if tracer is None:
        print("| a session with one task: fsyncs | (no strace on this machine) | 5 | |")
        return
    tracer.send_signal(signal.SIGINT)
    _, table = tracer.communicate(timeout=10)
    rows = [line.split() for line in table.splitlines()]
    syncs = sum(int(cells[3]) for cells in rows if cells and cells[-1] in ("fsync", "fdatasync"))
    row("a session with one task: fsyncs", syncs / SESSIONS, 5, "")


def strace(node: Node) -> subprocess.Popen[str] | None:
    if not shutil.which("strace"):
        return None
    command = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-p", str(node.popen.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    tracer.stderr.readline()  # attached
    return tracer


# --- what the kernel knows of the node ---


def memory(node: Node) -> float:
    """Resident, in MB."""
    return float(_proc(node, "status", r"VmRSS:\s+(\d+) kB")) / 1000


def io(node: Node) -> int:
    """Bytes written to files: all that it has written but for sockets and pipes."""
    return int(_proc(node, "io", r"(?m)^write_bytes: (\d+)"))


def processor(node: Node) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{node.popen.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def files(node: Node) -> set[tuple[str, int, int]]:
    """The files of the state directory with their sizes and times."""
    found = ((path.name, path.stat()) for path in node.state.iterdir())
    return {(name, stat.st_size, stat.st_mtime_ns) for name, stat in found}


def _proc(node: Node, file: str, pattern: str) -> str:
    found = re.search(pattern, Path(f"/proc/{node.popen.pid}/{file}").read_text())
    assert found is not None
    return found[1]


def _ratio(measured: float, target: float) -> str:
    if target:
        return f"{measured / target:.2f}"
    return "as it should be" if measured == 0 else "more than it should be"


def _machine() -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    names = [cpu[1] if cpu else platform.machine(), f"{os.cpu_count()} cores"]
    names += [f"Linux {platform.release()}", f"Python {platform.python_version()}"]
    names += [f"load {os.getloadavg()[0]:.1f} before the start"]
    return ", ".join(names)


if __name__ == "__main__":
    main()
