"""How long interlocks of a real node take to act, printed beside what they should take.

python -m tests.benchmarks.interlocks
"""

from __future__ import annotations

import statistics

from tests.benchmarks.table import HERE, row, table
from tests.process.machine import Student

EDGES = 200
BOUND = 50.0  # ms


def main() -> None:
    with table() as machine:
        node = machine.node(board=HERE / "interlocks.yaml")
        student = Student(*node.server.new(assigned_time=3000))
        measure(student, "idle")
        student.start_task("wait")
        measure(student, "while a task waits")
        node.server.delete(student.session_id)
        node.stop()


def measure(student: Student, when: str) -> None:
    student.get("/edges/10")  # warm
    seconds = student.get(f"/edges/{EDGES}").json["seconds"]
    what = f"edge of an input to the output that it holds, {when}"
    row(f"{what}, median", 1000 * statistics.median(seconds), BOUND, "ms")
    row(f"{what}, 99 of 100", 1000 * statistics.quantiles(seconds, n=100)[98], BOUND, "ms")
    row(f"{what}, the slowest of {EDGES}", 1000 * max(seconds), BOUND, "ms")


if __name__ == "__main__":
    main()
