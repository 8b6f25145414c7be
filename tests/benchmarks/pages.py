"""Numbers of open pages: how soon a click is at the pin and a pin on the page, what pages cost.

    python -m tests.benchmarks.pages

The browser is a headless Chromium on the same machine, which shares its processor with the node.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.benchmarks import proc
from tests.benchmarks.table import row, table
from tests.browser.conftest import FLAGS
from tests.process.machine import Node, Student
from tests.web.sockets import Page

HERE = Path(__file__).parent
CLICKS = 300
OPEN = 50
IDLE = 20.0
SIGN_OF_LIFE = 5.0


def main() -> None:
    with table() as machine:
        node = machine.keep(Node(machine.home, board=HERE / "pages.yaml"))
        measure_browser(node, machine.home)
        measure_idle_pages(node)


# --- in a browser ---


@contextmanager
def browser(directory: Path) -> Iterator[Chrome]:
    options = ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={directory / 'chromium'}"):
        options.add_argument(flag)
    options.binary_location = "/usr/bin/chromium"
    chrome = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield chrome
    finally:
        chrome.quit()


def measure_browser(node: Node, directory: Path) -> None:
    with browser(directory) as chrome:
        session_id, url = node.server.new(assigned_time=3000)
        chrome.get(url)
        chrome.set_script_timeout(120)
        weigh(chrome)
        clicks = """
            const [number, done] = arguments;
            const button = document.querySelector("#device-switch [role=switch]");
            const card = document.querySelector("#device-switch");
            const now = () => (performance.timeOrigin + performance.now()) / 1000;
            const clicked = [];
            (async () => {
                for (let i = 0; i < number; i++) {
                    clicked.push(now());
                    button.click();
                    do await new Promise((r) => setTimeout(r, 30));
                    while (card.hasAttribute("aria-busy"));
                }
                done(clicked);
            })();
        """
        clicked = chrome.execute_async_script(clicks, CLICKS)
        driven = ask(chrome, "driven")
        tell("click to simulated pin", gaps(clicked, driven[-CLICKS:]), 5, 25)
        pushes = """
            const [number, done] = arguments;
            const now = () => (performance.timeOrigin + performance.now()) / 1000;
            const seen = [];
            import("./static/panel.js").then(async ({ board }) => {
                board.on("change", (name) => name === "lamp" && seen.push(now()));
                for (let i = 0; i < number; i++) {
                    const before = seen.length;
                    await fetch(`flip/${(i + 1) % 2}`, { method: "POST" });
                    while (seen.length === before) await new Promise((r) => setTimeout(r, 5));
                    await new Promise((r) => setTimeout(r, 30));
                }
                done(seen);
            });
        """
        seen = chrome.execute_async_script(pushes, CLICKS)
        driven = ask(chrome, "driven")
        tell("pin to event on the page", gaps(driven[-CLICKS:], seen), 10, None)
        node.server.delete(session_id)


def ask(chrome: Chrome, path: str) -> Any:
    script = "fetch(arguments[0]).then((reply) => reply.json()).then(arguments[1])"
    return chrome.execute_async_script(script, path)["times"]


def gaps(before: list[float], after: list[float]) -> list[float]:
    """Milliseconds from each to what follows it."""
    return [1000 * (b - a) for a, b in zip(before, after, strict=True)]


def tell(what: str, gaps: list[float], median: float, most: float | None) -> None:
    row(f"{what}, median", statistics.median(gaps), median, "ms")
    row(f"{what}, 99 of 100", statistics.quantiles(gaps, n=100)[98], most, "ms")


def weigh(chrome: Chrome) -> None:
    """What the page has loaded, itself included; scripts are packed on their way."""
    sizes = chrome.execute_script(
        """const all = [...performance.getEntriesByType("navigation"),
            ...performance.getEntriesByType("resource")];
        return [all.length, ...["encodedBodySize", "decodedBodySize"].map((size) =>
            all.reduce((sum, each) => sum + each[size], 0) / 1000)]"""
    )
    row("page with its scripts: requests", sizes[0], None, "")
    row("page with its scripts: on its way", sizes[1], 100, "KB")
    row("page with its scripts: unpacked", sizes[2], None, "KB")


# --- many pages ---


def measure_idle_pages(node: Node) -> None:
    """Pages that do what labnode.js does: they listen, and give a sign of life."""
    students = [Student(*node.server.new(assigned_time=3000)) for _ in range(4)]
    base = proc.resident([node.popen.pid])
    idle = spent(node)
    address = (urlsplit(node.url).hostname or "", urlsplit(node.url).port or 0)
    pages = []
    for number in range(OPEN):
        cookie = students[number % len(students)].cookie
        page = Page(address, "/api/live", node.url.rstrip("/"), cookie)
        page.ask()
        assert page.read_head() == 101
        page.json()
        pages.append(page)
    row(f"{OPEN} idle pages: memory", proc.resident([node.popen.pid]) - base, 10, "MB")
    closed = threading.Event()

    def live() -> None:
        while not closed.wait(SIGN_OF_LIFE):
            for page in pages:
                page.send("here")
                page.json()

    thread = threading.Thread(target=live, name="pages")
    thread.start()
    row(f"{OPEN} idle pages: processor", spent(node) - idle, 1, "% of a core")
    closed.set()
    thread.join()
    for page in pages:
        page.close()


def spent(node: Node) -> float:
    """Percent of a core in a while."""
    before = proc.cpu([node.popen.pid])
    time.sleep(IDLE)
    return 100 * (proc.cpu([node.popen.pid]) - before) / IDLE


if __name__ == "__main__":
    main()
