"""How long calls and interlocks of a real node take, idle, while a task waits, and while pins flood
it with edges, printed beside what they should take.

    python -m tests.benchmarks.flood
"""

from __future__ import annotations

import statistics

from tests.benchmarks.table import HERE, row, table
from tests.process.machine import Student

RATE = 10_000  # edges in a second
NUMBER = 100
JOB = 15  # seconds
A_CALL = 50.0  # ms
AN_INTERLOCK = 20.0  # ms


def main() -> None:
    with table() as machine:
        node = machine.node(board=HERE / "flood.yaml", PYTHONPATH=str(HERE.parents[1]))
        student = Student(*node.server.new(assigned_time=3000))
        measure(student, 0, "idle")
        waiting = student.start_task("wait")
        measure(student, 0, "while a task waits")
        student.post(f"/api/tasks/{waiting}/stop")
        measure(student, RATE, f"{RATE} edges/s")
        late = student.get(f"/busy/{RATE}/{JOB}").json["seconds"]
        row(f"a call after a job of {JOB} s, {RATE} edges/s", 1000 * late, A_CALL, "ms")
        node.server.delete(student.session_id)
        node.stop()


def measure(student: Student, rate: int, when: str) -> None:
    student.get("/flood/0/10")  # warm
    measured = student.get(f"/flood/{rate}/{NUMBER}").json
    row(f"edges that came, {when}", measured["rate"], None, "/s")
    for what, seconds, target in (
        ("a call", measured["calls"], A_CALL),
        ("edge of an input to the output that it holds", measured["trips"], AN_INTERLOCK),
    ):
        row(f"{what}, {when}, median", 1000 * statistics.median(seconds), target, "ms")
        last = 1000 * statistics.quantiles(seconds, n=100)[98]
        row(f"{what}, {when}, 99 of 100", last, target, "ms")
        row(f"{what}, {when}, the slowest of {NUMBER}", 1000 * max(seconds), target, "ms")


if __name__ == "__main__":
    main()
