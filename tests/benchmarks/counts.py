"""What does not depend on how fast the machine is: kept in counts.json, and compared with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.process.machine import PASSWORD, ROOT, USERNAME, environment

KEPT = Path(__file__).with_name("counts.json")
RENEW = "python -m tests.benchmarks counts --renew"
Counts = dict[str, dict[str, float]]

# How much more than what is kept is still the same: a factor, and a number on top of it.
# Threads, wake-ups and memory depend a little on the version of Python and on what runs beside.
TOLERANCE = {
    "modules of labnode": (1.0, 2),
    "modules of libraries": (1.25, 5),
    "function calls": (1.15, 30),
    "threads": (1.0, 1),
    "threads that stay": (1.0, 1),
    "wake-ups": (1.25, 3),
    "SQL statements": (1.0, 0),
    "commits": (1.0, 0),
    "durable commits": (1.0, 0),
    "bytes written": (1.1, 4096),
    "blocks kept": (1.25, 5),
}


def count(home: Path) -> Counts:
    """What a node costs now; it runs in a process of its own with its files in `home`."""
    pair = {"LABNODE_WEBLAB_USERNAME": USERNAME, "LABNODE_WEBLAB_PASSWORD": PASSWORD}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.counting", home],
        cwd=ROOT,
        env=environment(home, **pair, TMPDIR=str(home)),
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(f"the node that counts has failed:\n{ended.stderr[-3000:]}")
    counts: Counts = json.loads(ended.stdout)
    return counts


def kept() -> Counts:
    counts: Counts = json.loads(KEPT.read_text())
    return counts


def renew(now: Counts) -> None:
    KEPT.write_text(json.dumps(now, indent=1) + "\n")


def regressions(before: Counts, now: Counts) -> Iterator[str]:
    """A sentence for each count that is higher than what is kept allows."""
    for what, counts in before.items():
        for name, number in counts.items():
            most, found = allowed(name, number), now[what][name]
            if found > most:
                yield (
                    f"{what}: {found:g} {name}, where tests/benchmarks/counts.json has {number:g} "
                    f"and allows {most:g}. If it is worth that: {RENEW}"
                )


def allowed(name: str, number: float) -> float:
    factor, more = TOLERANCE[name]
    return round(number * factor + more, 1)


def show(before: Counts, now: Counts) -> None:
    print("| What | Count | Kept | Now |")
    print("| --- | --- | ---: | ---: |")
    for what, counts in now.items():
        for name, number in counts.items():
            was = before.get(what, {}).get(name)
            print(f"| {what} | {name} | {'' if was is None else format(was, 'g')} | {number:g} |")
