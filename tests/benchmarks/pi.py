"""labnode alone on this machine, in at most ten minutes: a table to paste."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.benchmarks import counts, proc
from tests.benchmarks.compare import Comparison, shown, turn, version
from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.stacks import Labnode

LASTS = 600.0  # seconds
LEAVES = 120.0  # seconds that no scenario takes longer than, when it is quick


def measure(directory: Path) -> None:
    """Print the table; the files are in `directory`, which is on the disk that counts."""
    ends = time.monotonic() + LASTS
    result = Comparison(proc.machine(), version("labnode"), quick=True)
    lines = [f"\n{result.machine}. labnode {result.labnode}. {throttled()}".rstrip(), ""]
    lines += ["| What | Measured |", "| --- | ---: |"]
    counted: list[str] = []
    left_out = []
    with tempfile.TemporaryDirectory(dir=directory, prefix="labnode-") as home:
        synced = shown(1000 * proc.disk(Path(home)), "ms")
        lines.append(f"| 4 KB made durable on this disk, p50 | {synced} |")
        for name in ("counts", *SCENARIOS):
            if time.monotonic() > ends - LEAVES:
                left_out.append(name)
                continue
            print(f"{name} …", flush=True)
            where = Path(home, name)
            where.mkdir()
            if name == "counts":
                counted = list(counts.regressions(counts.kept(), counts.count(where)))
                continue
            figures, noise = turn(Labnode(where), name, quick=True)
            result.add(Labnode.name, figures)
            result.noise.append(noise)
    for row in result.rows():
        lines.append(f"| {row.figure.title} | {shown(row.ours, row.figure.unit)} |")
    lines += ["", f"What other processes used: {result.noise_text}."]
    lines += counted or ["The counts are those of the other machines."]
    lines += [f"Left out for want of time: {', '.join(left_out)}."] if left_out else []
    print("\n".join(lines))


def throttled() -> str:
    """What a Pi says of its power and temperature so far; "" elsewhere."""
    if not shutil.which("vcgencmd"):
        return ""
    asked = subprocess.run(
        ["vcgencmd", "get_throttled"], capture_output=True, text=True, check=False, timeout=10
    )
    return asked.stdout.strip()
