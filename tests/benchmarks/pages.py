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
from tests.browser.bench import device
from tests.browser.conftest import FLAGS
from tests.browser.standin import StandIn
from tests.browser.test_plot_speed import FILL, LANES, POINTS, SLOWER
from tests.process.machine import Node, Student
from tests.web.sockets import Page

HERE = Path(__file__).parent
CLICKS = 300
OPEN = 50
IDLE = 20.0
SIGN_OF_LIFE = 5.0
DEMO = Path(__file__).parents[2] / "boards" / "demo.yaml"
VISITS = 7
FRAMES = 120
# What Chrome DevTools called "Fast 3G" until May 2024, and calls "Slow 4G" now: 562.5 ms for each
# request, 1.44 Mbit/s down, 675 kbit/s up (front_end/core/sdk/NetworkManager.ts).
FAST_3G = {
    "offline": False,
    "latency": 150 * 3.75,
    "downloadThroughput": 1.6e6 / 8 * 0.9,
    "uploadThroughput": 750e3 / 8 * 0.9,
}


def main() -> None:
    with table() as machine:
        node = machine.keep(Node(machine.home, board=HERE / "pages.yaml"))
        measure_browser(node, machine.home)
        home = machine.home / "demo"
        home.mkdir()
        measure_first_control(machine.keep(Node(home, board=DEMO)), machine.home)
        measure_plot(machine.home)
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


FIRST_CONTROL = """
    window.firstControl = new Promise((resolve) => {
        const look = () => {
            const control = document.querySelector("[data-device] [role=switch]");
            if (control && !control.disabled) resolve(performance.now());
            else requestAnimationFrame(look);
        };
        look();
    });
"""


def measure_first_control(node: Node, directory: Path) -> None:
    """A first visit on a slow laptop with a slow network, until a switch can be used."""
    with browser(directory / "first") as chrome:
        chrome.set_script_timeout(60)
        chrome.execute_cdp_cmd("Network.enable", {})
        script = {"source": FIRST_CONTROL}
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
        from_link, from_page = [], []
        for _ in range(VISITS):
            chrome.execute_cdp_cmd("Network.clearBrowserCache", {})
            chrome.execute_cdp_cmd("Network.emulateNetworkConditions", FAST_3G)
            chrome.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
            session_id, url = node.server.new(assigned_time=300)
            chrome.get(url)
            first = chrome.execute_async_script("window.firstControl.then(arguments[0])")
            asked = chrome.execute_script(
                'return performance.getEntriesByType("navigation")[0].fetchStart'
            )
            from_link.append(first)
            from_page.append(first - asked)
            chrome.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": 1})
            chrome.get("about:blank")
            node.server.delete(session_id)
        slow = f"{SLOWER}x slower, fast 3G"
        row(f"first control of the page, {slow}", statistics.median(from_page), 1500, "ms")
        row(
            "... the central server's redirection included",
            statistics.median(from_link),
            None,
            "ms",
        )


MOVE = """
    const [frames, done] = arguments;
    const canvas = document.querySelector("#plot-0 canvas");
    const gaps = [];
    let last = null;
    const frame = (now) => {
        if (last !== null) gaps.push(now - last);
        last = now;
        if (gaps.length === frames) return done(gaps);
        if (gaps.length % 2) {
            const deltaY = gaps.length % 4 === 1 ? 1 : -1;
            canvas.dispatchEvent(new WheelEvent("wheel", { deltaY, ctrlKey: true }));
        } else {
            canvas.dispatchEvent(new PointerEvent("pointermove", { buttons: 1, movementX: 2 }));
        }
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
"""


def measure_plot(directory: Path) -> None:
    """Six lanes of an hour that a hand moves and zooms: script, style, painting."""
    lab = StandIn()
    names = [f"s{number}" for number in range(LANES)]
    lab.devices = [device(name, name, "value", unit=name) for name in names]
    lab.values = dict.fromkeys(names, 1.0)
    lab.page = [[{"plot": names, "span": 3600, "label": None}]]
    try:
        with browser(directory / "plot") as chrome:
            chrome.set_script_timeout(120)
            chrome.get(lab.url)
            chrome.execute_async_script(FILL, names, POINTS)
            chrome.execute_async_script(MOVE, FRAMES)  # compiled and warm now
            chrome.execute_cdp_cmd("Performance.enable", {})
            chrome.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
            before = thread_time(chrome)
            gaps = chrome.execute_async_script(MOVE, FRAMES)
            spent = thread_time(chrome) - before
        slow = f"six lanes of an hour, {SLOWER}x slower"
        row(f"{slow}: the page's thread for each frame", spent / FRAMES, 16, "ms")
        row(f"{slow}: between two frames, median", statistics.median(gaps), 1000 / 60, "ms")
        row(f"{slow}: ... 95 of 100", statistics.quantiles(gaps, n=20)[18], None, "ms")
    finally:
        lab.fall_silent()


def thread_time(chrome: Chrome) -> float:
    """Milliseconds for which the page's thread has had a processor."""
    metrics = chrome.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return 1000 * float(next(each["value"] for each in metrics if each["name"] == "ThreadTime"))


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
