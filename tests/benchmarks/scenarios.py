"""What is done to a stack, and the figures that come out; `quick` does it fewer times."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.benchmarks import proc
from tests.benchmarks.client import Client, timed, together
from tests.benchmarks.stacks import SWITCHES, Labnode, Session, Stack

Figures = dict[str, float]
Scenario = Callable[[Stack, bool], Figures]
POLL = 5.0  # seconds between two status requests of the central server


@dataclass(frozen=True)
class Figure:
    """A figure of the table: `ratio` is wanted of labnode's by weblablib's, `most` of labnode's."""

    title: str
    unit: str
    ratio: float | None = None
    most: float | None = None
    more: bool = False  # more is better

    def reached(self, ours: float, theirs: float | None) -> bool | None:
        """None where nothing is wanted."""
        if self.most is not None and ours > self.most:
            return False
        if self.ratio is None or theirs is None:
            return None if self.most is None else True
        return (ours >= self.ratio * theirs) if self.more else ours <= self.ratio * theirs

    @property
    def goal(self) -> str:
        sign = "≥" if self.more else "≤"
        wanted = [] if self.ratio is None else [f"{sign} {self.ratio:g} ×"]
        return ", ".join(
            [*wanted, *([] if self.most is None else [f"≤ {self.most:g} {self.unit}"])]
        )


FIGURES = {
    "task first line p50": Figure("task over HTTP → its first line, p50", "ms", 0.004),
    "task first line p99": Figure("… p99", "ms", 0.007),
    "task delay": Figure("delay() → first line, p50", "ms", most=0.6),
    "task done": Figure("task over HTTP → seen done by a polling page, p50", "ms", 0.01),
    "switch 1": Figure("switch over HTTP, p50, 1 client", "ms", 0.35),
    "switch 8": Figure("… 8 clients", "ms", 0.25),
    "status close": Figure("status, 16 clients, Connection: close", "/s", 3.5, more=True),
    "status close p99": Figure("… p99", "ms", 0.25),
    "status keep": Figure("status, 1 client, keep-alive", "/s", 5, more=True),
    "cycles 1": Figure("session cycles, 1 client", "/s", 3, more=True),
    "cycles 8": Figure("… 8 clients", "/s", 3, more=True),
    "start": Figure("start of a session, p50", "ms", 0.7),
    "delete": Figure("delete of a session, p50", "ms", 0.5),
    "cycle bytes": Figure("written to disk per cycle", "KB", most=32),
    "cycle fsyncs": Figure("fsyncs per cycle", "", most=3),
    "switch cpu": Figure("CPU of a switch", "ms"),
    "status cpu": Figure("CPU of a status, Connection: close", "ms"),
    "cycle cpu": Figure("CPU of a cycle", "ms"),
    "cold cpu": Figure("CPU of a cold start", "s"),
    "cold everything": Figure("cold start, exec → first answer, everything", "s", 0.6),
    "cold app": Figure("… the app alone", "s", 0.6),
    "rss idle": Figure("memory idle, RSS", "MB", 0.42),
    "pss idle": Figure("… PSS", "MB", 0.5),
    "threads idle": Figure("threads, idle", "", most=14),
    "rss after": Figure("memory after 1,000 cycles, RSS", "MB"),
    "rss growth": Figure("… against idle", "×", most=1.1),
    "polled cpu": Figure("CPU in 30 s of a polled session", "s", 0.05),
    "polled waits": Figure("… voluntary context switches", "/s", 0.03),
    "polled bytes": Figure("written to disk in an hour of a polled session", "B", most=0),
    "aging cycle": Figure("a cycle after 3,000 sessions, against the first 500", "×", most=1.1),
    "aging cpu": Figure("… its CPU", "×", most=1.1),
    "aging rss": Figure("… memory then, RSS", "MB", most=40),
    "constant cpu": Figure("CPU of status, against a constant's on the same server", "×", most=1.4),
}


def measure_cold(stack: Stack, quick: bool) -> Figures:
    """From exec to the first answer, with Python's caches warm."""
    stack.start()  # which compiles, and makes the state directory
    stack.end()
    everything, app, spent = [], [], []
    for _ in range(3 if quick else 10):
        began = time.perf_counter()
        stack.start_helpers()
        helped = time.perf_counter()
        stack.start_app()
        answered = time.perf_counter()
        everything.append(answered - began)
        app.append(answered - helped)
        spent.append(proc.cpu(stack.pids()))
        stack.end()
    return {
        "cold everything": statistics.median(everything),
        "cold app": statistics.median(app),
        "cold cpu": statistics.median(spent),
    }


def measure_task(stack: Stack, quick: bool) -> Figures:
    session = stack.session()
    student = session.student
    first, done = [], []
    for _ in range(10 if quick else 60):
        time.sleep(random.uniform(0, 0.5))  # weblablib looks for tasks once a second
        began = time.perf_counter()
        task_id = student.post(f"{stack.tasks}/line", {}).json["task_id"]
        while student.get(f"{stack.tasks}/{task_id}").json["status"] not in ("done", "failed"):
            pass
        done.append(time.perf_counter() - began)
        first.append(student.get("/began").json["seconds"] - began)
    student.get("/delays/5")
    delays: list[float] = []
    for _ in range(1 if quick else 5):  # gunicorn ends a worker that takes 30 s for one request
        delays += student.get("/delays/10").json["seconds"]
    session.delete()
    return {
        "task first line p50": 1000 * statistics.median(first),
        "task first line p99": 1000 * p99(first),
        "task delay": 1000 * statistics.median(delays),
        "task done": 1000 * statistics.median(done),
    }


def measure_switch(stack: Stack, quick: bool) -> Figures:
    session = stack.session()
    number = 200 if quick else 1000

    def click(client: Client, count: int) -> list[float]:
        path = stack.switch.format("switch")
        values = iter([each % 2 == 0 for each in range(count)])
        return timed(count, lambda: client.post(path, [next(values)]))

    click(session.student, 50)  # warm
    before = proc.cpu(stack.pids())
    alone = click(session.student, number)
    spent = 1000 * (proc.cpu(stack.pids()) - before) / number
    eight, _ = together([partial(click, session.another(), number // 4) for _ in range(8)])
    session.delete()
    return {
        "switch 1": 1000 * statistics.median(alone),
        "switch 8": 1000 * statistics.median(eight),
        "switch cpu": spent,
    }


def measure_status(stack: Stack, quick: bool) -> Figures:
    session = stack.session()
    number = 1000 if quick else 5000

    def ask(client: Client, count: int) -> list[float]:
        return timed(count, lambda: client.get(session.status_path))

    one = stack.server()
    ask(one, 100)
    kept = ask(one, number)
    one.close()
    clients = [stack.server(keep=False) for _ in range(16)]
    before = proc.cpu(stack.pids())
    closed, lasted = together([partial(ask, client, number // 16) for client in clients])
    spent = 1000 * (proc.cpu(stack.pids()) - before) / len(closed)
    session.delete()
    return {
        "status close": len(closed) / lasted,
        "status close p99": 1000 * p99(closed),
        "status keep": len(kept) / sum(kept),
        "status cpu": spent,
    }


def cycle(stack: Stack, times: dict[str, list[float]] | None = None) -> None:
    """Start, callback, page, three switches, delete."""
    began = time.perf_counter()
    session = Session(stack, stack.server(keep=False))
    started = time.perf_counter()
    session.enter()
    for name in SWITCHES:
        session.set(name, True)
    leaving = time.perf_counter()
    session.delete()
    if times is not None:
        times["start"].append(started - began)
        times["delete"].append(time.perf_counter() - leaving)


def measure_cycles(stack: Stack, quick: bool) -> Figures:
    number = 40 if quick else 200
    timed(5, lambda: cycle(stack))
    times: dict[str, list[float]] = {"start": [], "delete": []}
    pids = stack.pids()
    stack.save()
    before, spent = proc.written(pids), proc.cpu(pids)
    alone = timed(number, lambda: cycle(stack, times))
    spent = 1000 * (proc.cpu(pids) - spent) / number
    stack.save()
    kilobytes = (proc.written(pids) - before) / 1000 / number
    works = [lambda: timed(number // 8, lambda: cycle(stack))] * 8
    eight, lasted = together(works)
    figures = {
        "cycles 1": number / sum(alone),
        "cycles 8": len(eight) / lasted,
        "start": 1000 * statistics.median(times["start"]),
        "delete": 1000 * statistics.median(times["delete"]),
        "cycle bytes": kilobytes,
        "cycle cpu": spent,
    }
    if proc.can_trace():
        syncs = proc.Syncs(stack.pids())
        timed(10, lambda: cycle(stack))
        figures["cycle fsyncs"] = syncs.count() / 10
    return figures


def measure_memory(stack: Stack, quick: bool) -> Figures:
    time.sleep(2)
    pids = stack.pids()
    idle = {
        "rss idle": proc.resident(pids),
        "pss idle": proc.proportional(pids),
        "threads idle": proc.threads(pids),
    }
    timed(100 if quick else 1000, lambda: cycle(stack))
    after = proc.resident(stack.pids())
    return {**idle, "rss after": after, "rss growth": after / idle["rss idle"]}


def measure_polled(stack: Stack, quick: bool) -> Figures:
    """The page is open, and the central server asks; nothing else happens."""
    lasts = 10.0 if quick else 30.0
    session = stack.session()
    page = stack.open_page(session)
    pids = stack.pids()
    time.sleep(2)
    cpu, waits, written = proc.cpu(pids), proc.waits(pids), proc.written(pids)
    began = time.monotonic()
    due = {session.status: POLL, page.alive: page.pause}
    next_at = {what: began + pause for what, pause in due.items()}
    while (now := time.monotonic()) < began + lasts:
        what = min(next_at, key=lambda each: next_at[each])
        time.sleep(max(0.0, min(next_at[what], began + lasts) - now))
        if next_at[what] <= time.monotonic() < began + lasts:
            what()
            next_at[what] += due[what]
    figures = {
        "polled cpu": (proc.cpu(pids) - cpu) * 30 / lasts,
        "polled waits": (proc.waits(pids) - waits) / lasts,
        "polled bytes": (proc.written(pids) - written) * 3600 / lasts,
    }
    page.close()
    session.delete()
    return figures


def measure_aging(stack: Stack, quick: bool) -> Figures:
    """Sessions that are over are kept for an hour: what that costs the next one."""
    sessions, first = (600, 100) if quick else (3000, 500)

    def cycles() -> tuple[float, float]:
        before = proc.cpu(stack.pids())
        seconds = timed(first, lambda: cycle(stack))
        return statistics.median(seconds), proc.cpu(stack.pids()) - before

    young = cycles()
    timed(sessions - 2 * first, lambda: cycle(stack))
    old = cycles()
    return {
        "aging cycle": old[0] / young[0],
        "aging cpu": old[1] / young[1],
        "aging rss": proc.resident(stack.pids()),
    }


def measure_constant(stack: Stack, quick: bool) -> Figures:
    """The CPU time of a status request by that of a constant on the same server."""
    if not isinstance(stack, Labnode):
        return {}
    session = stack.session()
    status = _cost(stack, session.status_path, quick)
    session.delete()
    constant = Constant(stack.home / "constant")
    constant.start()
    try:
        return {"constant cpu": status / _cost(constant, "/", quick)}
    finally:
        constant.end()


class Constant(Labnode):
    """labnode's web server with an application that answers a constant."""

    def command(self) -> list[str]:
        return [self.entry[0], "-m", "tests.benchmarks.constant", str(self.address[1])]


def _cost(stack: Stack, path: str, quick: bool) -> float:
    """Seconds of CPU for a request, each with its connection."""
    number = 500 if quick else 3000
    client = stack.server(keep=False)
    timed(50, lambda: client.get(path))
    before = proc.cpu(stack.pids())
    timed(number, lambda: client.get(path))
    return (proc.cpu(stack.pids()) - before) / number


SCENARIOS: dict[str, Scenario] = {
    "cold": measure_cold,
    "task": measure_task,
    "switch": measure_switch,
    "status": measure_status,
    "cycles": measure_cycles,
    "memory": measure_memory,
    "polled": measure_polled,
    "aging": measure_aging,
    "constant": measure_constant,
}


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[98]
