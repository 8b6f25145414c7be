"""What the kernel knows of processes and of this machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def family(root: int) -> list[int]:
    """A process, its children, theirs, and so on."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(*_GONE):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(") ")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time so far, of all their threads, to the nanosecond."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident(pids: Iterable[int]) -> float:
    """MB, what they share counted for each."""
    return sum(_kilobytes(pid, "Rss") for pid in pids) / 1000


def proportional(pids: Iterable[int]) -> float:
    """MB, what they share counted once."""
    return sum(_kilobytes(pid, "Pss") for pid in pids) / 1000


def _kilobytes(pid: int, what: str) -> float:
    found = re.search(rf"(?m)^{what}:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found is not None
    return float(found[1])


def written(pids: Iterable[int]) -> int:
    """Bytes written to files, in whole pages."""
    texts = [Path(f"/proc/{pid}/io").read_text() for pid in pids]
    return sum(int(re.findall(r"(?m)^write_bytes: (\d+)", text)[0]) for text in texts)


def threads(pids: Iterable[int]) -> int:
    return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)


def waits(pids: Iterable[int]) -> int:
    """How often their threads, as far as they still run, have gone to sleep by themselves."""
    count = 0
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            with suppress(*_GONE):
                count += int(
                    re.findall(r"(?m)^voluntary_ctxt_switches:\s+(\d+)", status.read_text())[0]
                )
    return count


class Syncs:
    """Counts fsync and fdatasync of processes by strace, from the beginning to `count`."""

    def __init__(self, pids: Sequence[int]) -> None:
        calls = "trace=fsync,fdatasync,sync_file_range"
        command = ["strace", "-f", "-c", "-e", calls, *(f"--attach={pid}" for pid in pids)]
        self._tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._tracer.stderr is not None
        for _ in pids:
            self._tracer.stderr.readline()  # attached

    def count(self) -> int:
        self._tracer.send_signal(signal.SIGINT)
        _, table = self._tracer.communicate(timeout=20)
        rows = [line.split() for line in table.splitlines()]
        return sum(int(r[3]) for r in rows if r and r[-1] in ("fsync", "fdatasync"))


def can_trace() -> bool:
    return shutil.which("strace") is not None


class Noise:
    """What other processes use of this machine's processors than this one and its children."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = _busy()
        self._own = _own()

    def share(self) -> float:
        """Percent of all processors since the beginning, once the children have ended."""
        lasted = time.monotonic() - self._began
        others = _busy() - self._busy - (_own() - self._own)
        return max(0.0, 100 * others / lasted / (os.cpu_count() or 1))


def _own() -> float:
    """Seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _busy() -> float:
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _waiting, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / _TICK


def disk(directory: Path) -> float:
    """Seconds for a write that a power cut does not take back."""
    seconds = []
    path = directory / "disk"
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(seconds)


def machine() -> str:
    """This machine in one line."""
    cpu = re.search(r"(?m)^(?:model name|Model)\s*: (.*)", Path("/proc/cpuinfo").read_text())
    model = Path("/proc/device-tree/model")
    name = model.read_text().rstrip("\0\n") if model.exists() else ""
    memory = re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0]
    names = [name or (cpu[1] if cpu else platform.machine()), f"{os.cpu_count()} cores"]
    names += [f"{int(memory) / 1e6:.1f} GB", f"Linux {platform.release()} {platform.machine()}"]
    names += [f"Python {platform.python_version()}", f"load {os.getloadavg()[0]:.1f} at the start"]
    return ", ".join(names)
