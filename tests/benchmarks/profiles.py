"""Where a node spends its time in a scenario: py-spy where it is installed, else cProfile."""

from __future__ import annotations

import os
import pstats
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.stacks import HERE, Labnode

Times = dict[str, tuple[float, float]]  # a function: its own and its cumulative time


def profile(scenario: str, *, lines: int, wall: bool, thread: str) -> None:
    """Run the scenario with a profiled node and print the functions that took most."""
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=Path(sys.executable).parent)
    if spy is None and sys.version_info >= (3, 12):
        raise SystemExit(
            "cProfile follows only one thread since Python 3.12; install py-spy: pip install py-spy"
        )
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        node = (SpiedNode if spy else ProfiledNode)(where / "home")
        node.prepare(where, spy or "", wall=wall, start=scenario == "cold")
        try:
            if scenario != "cold":
                node.start()
            SCENARIOS[scenario](node, True)
        finally:
            node.end()
        threads = node.threads()
    if scenario != "cold":
        threads.pop("MainThread", None)  # which starts the node, and sleeps
    if not threads:
        raise SystemExit(f"there is no profile: {node.log}")
    tell({name: times for name, times in threads.items() if name.startswith(thread)}, lines)


class ProfiledNode(Labnode):
    """Each thread with cProfile, which makes small functions look larger than they are."""

    def prepare(self, where: Path, _spy: str, *, wall: bool, start: bool) -> None:
        self.where = where
        self._more = {"PROFILE_WALL": "1"} if wall else {}
        self._more |= {"PROFILE_START": "1"} if start else {}
        self.entry = (sys.executable, HERE / "profiled.py")

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PROFILE": str(self.where), **self._more}

    def threads(self) -> dict[str, Times]:
        found: dict[str, Times] = {}
        for path in sorted(self.where.glob("*.prof")):
            stats = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]
            times = {_function(*key): (own, whole) for key, (_, _, own, whole, _) in stats.items()}
            _add(found.setdefault(_kind(path.name.split(".", 1)[1][: -len(".prof")]), {}), times)
        return found

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()


class SpiedNode(Labnode):
    """py-spy looks 500 times a second, from outside: times are shares of its looks."""

    RATE = 500

    def prepare(self, where: Path, spy: str, *, wall: bool, start: bool) -> None:
        self._raw = where / "raw"
        idle = ["--idle"] if wall else []
        options = ["--format", "raw", "--threads", "--rate", str(self.RATE), "--nonblocking", *idle]
        record = [spy, "record", *options, "--output", self._raw, "--"]
        self.entry = (*record, sys.executable, "-m", "labnode")

    def end(self) -> None:
        """The node ends; py-spy, its parent, writes what it has seen."""
        for pid in self.pids()[1:2]:
            os.kill(pid, signal.SIGTERM)
        for process in self._processes:
            process.wait(60)
        super().end()

    def threads(self) -> dict[str, Times]:
        found: dict[str, Times] = {}
        for line in self._raw.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            thread, *frames = stack.split(";")
            seconds = int(count) / self.RATE
            names = [re.sub(r":\d+\)$", ")", frame) for frame in frames]
            times = found.setdefault(_kind(thread.partition(": ")[2].strip('" ') or thread), {})
            _add(times, dict.fromkeys(names, (0.0, seconds)))
            _add(times, {names[-1]: (seconds, 0.0)} if names else {})
        return found

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()


def _kind(thread: str) -> str:
    """Threads of a pool count as one: http-3 is http-N."""
    head, _, number = thread.rpartition("-")
    return f"{head}-N" if number.isdecimal() and head else thread


def _function(file: str, line: int, name: str) -> str:
    if file == "~":
        return name
    short = file.rpartition("/site-packages/")[2].rpartition(f"/{HERE.parents[1].name}/")[2]
    for home in (str(HERE.parents[1]) + "/", sys.base_prefix + "/lib/"):
        short = short.removeprefix(home)
    return f"{short}:{line} {name}"


def _place(function: str) -> str:
    """The library, or the room of labnode, that a function belongs to."""
    found = re.search(r"([\w/.]+)\.py\b", function)
    parts = found[1].split("/") if found else []
    if "labnode" in parts:
        at = parts.index("labnode")
        return "/".join(parts[at : at + 2])
    own = len(parts) > 1 and not parts[0].startswith("python3")
    return parts[0] if own or parts == ["bottle"] else "Python"


def _add(times: Times, more: Times) -> None:
    for name, (own, whole) in more.items():
        before = times.get(name, (0.0, 0.0))
        times[name] = (before[0] + own, before[1] + whole)


def tell(threads: dict[str, Times], lines: int) -> None:
    own_of = {name: sum(own for own, _ in times.values()) for name, times in threads.items()}
    everything: Times = {}
    for times in threads.values():
        _add(everything, times)
    print("seconds  thread")
    for name, seconds in Counter(own_of).most_common():
        print(f"{seconds:7.3f}  {name}")
    places = Counter[str]()
    for name, (own, _) in everything.items():
        places[_place(name)] += own
    print("\n    own   share  where")
    for place, seconds in places.most_common(12):
        print(f"{seconds:7.3f}  {seconds / places.total():6.1%}  {place}")
    _tables("all threads", everything, lines)
    for name, seconds in Counter(own_of).most_common():
        if seconds >= 0.1 * sum(own_of.values()) and len(threads) > 1:
            _tables(name, threads[name], max(5, lines // 2))


def _tables(title: str, times: Times, lines: int) -> None:
    for which, heading in ((0, "own time"), (1, "cumulative time")):
        print(f"\n{title}, by {heading}\n    own  cumulative  function")
        for own, whole, name in _top(times, which, lines):
            print(f"{own:7.3f}  {whole:10.3f}  {name}")


def _top(times: Times, which: int, lines: int) -> Iterable[tuple[float, float, str]]:
    rows = [(own, whole, name) for name, (own, whole) in times.items()]
    return sorted(rows, key=lambda row: row[which], reverse=True)[:lines]
