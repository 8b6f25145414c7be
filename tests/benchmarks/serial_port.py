"""A serial port by way of the agent and a page's WebSocket, beside the port itself.

python -m tests.benchmarks.serial_port
"""

from __future__ import annotations

import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from labnode.weblab.fake import CentralServer
from tests.benchmarks.table import head, row
from tests.process.machine import PASSWORD, USERNAME, Student, environment
from tests.web.sockets import Page

ROUNDS = 500
LETTER = b"sixteen letters\n"
RATE = 300_000  # bytes per second: 3 Mbaud, with a start and a stop bit
SECONDS = 10
FLOOD = 30_000_000  # bytes, as fast as they go

ECHO = """
import os, sys
far = int(sys.argv[1])
while True:
    os.write(far, os.read(far, 65536))
"""

BOARD = """
schema: 1
devices:
  echo: {{driver: serial, port: {echo}}}
  flood: {{driver: serial, port: {flood}, baudrate: 3000000}}
"""


def main() -> None:
    head()
    with tempfile.TemporaryDirectory() as directory, pty() as (far, echo), pty() as (talker, flood):
        peer = subprocess.Popen([sys.executable, "-c", ECHO, str(far)], pass_fds=[far])
        try:
            raw = sorted(raw_rounds(echo))
            with node(Path(directory), BOARD.format(echo=echo, flood=flood)) as url:
                page = opened(url, "echo")
                measure_echo(page, raw)
                measure_flood(opened(url, "flood"), talker)
        finally:
            peer.kill()
            peer.wait()


@contextmanager
def pty() -> Iterator[tuple[int, str]]:
    """The far end of a port and the path of the near one."""
    far, near = os.openpty()
    tty.setraw(near)
    path = os.ttyname(near)
    try:
        yield far, path
    finally:
        os.close(far)
        os.close(near)


@contextmanager
def node(home: Path, board: str) -> Iterator[str]:
    (home / "bench.yaml").write_text(board)
    command = [sys.executable, "-m", "labnode", "run", str(home / "bench.yaml"), "--port", "0"]
    with (home / "errors").open("w") as errors:
        process = subprocess.Popen(
            [*command, "--state-dir", str(home / "state")],
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://[^/]+", line)
        assert found, (home / "errors").read_text()
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=20)


_students: dict[str, Student] = {}


def opened(url: str, device: str) -> Page:
    """A page's WebSocket at a port, its first message read."""
    if url not in _students:
        _students[url] = Student(*CentralServer(url, USERNAME, PASSWORD).new(assigned_time=600))
    place = urlsplit(url)
    address = (place.hostname or "", place.port or 0)
    page = Page(address, f"/api/devices/{device}/console", url, _students[url].cookie)
    page.ask()
    assert page.read_head() == 101
    page.json()
    return page


# --- the echo ---


def raw_rounds(path: str) -> list[float]:
    """Seconds from writing to the port until all has come back."""
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)

    def back() -> None:
        left = len(LETTER)
        while left:
            left -= len(os.read(port, left))

    try:
        return rounds(lambda: os.write(port, LETTER), back)
    finally:
        os.close(port)


def measure_echo(page: Page, raw: list[float]) -> None:
    def back() -> None:
        left = len(LETTER)
        while left:
            message = page.message()
            left -= len(message) if isinstance(message, bytes) else 0

    through = sorted(rounds(lambda: page.send(LETTER), back))
    row("a port's echo, median", 1000 * statistics.median(raw), None, "ms")
    row("… through agent and WebSocket, median", 1000 * statistics.median(through), None, "ms")
    added = 1000 * (statistics.median(through) - statistics.median(raw))
    row("… which adds, median", added, 3, "ms")
    added = 1000 * (through[int(0.99 * ROUNDS)] - raw[int(0.99 * ROUNDS)])
    row("… which adds, 99 of 100", added, None, "ms")


def rounds(send: Callable[[], object], back: Callable[[], None]) -> list[float]:
    seconds = []
    for number in range(ROUNDS + 20):
        began = time.perf_counter()
        send()
        back()
        if number >= 20:
            seconds.append(time.perf_counter() - began)
        time.sleep(0.002)
    return seconds


# --- 3 Mbaud ---


def measure_flood(page: Page, far: int) -> None:
    data = random.Random(1).randbytes(RATE * SECONDS)
    heard, dropped, _ = listened(page, far, data, RATE)
    wrong = dropped or (0 if heard == data else len(data))
    row(f"3 Mbaud for {SECONDS} s: bytes missing or wrong at the page", wrong, 0, "B")
    data = random.Random(2).randbytes(FLOOD)
    heard, dropped, seconds = listened(page, far, data, None)
    row(f"{FLOOD // 1_000_000} MB at once", FLOOD / seconds / 1e6, None, "MB/s")
    row("… too fast for the page, which was told how many are missing", dropped, None, "B")


def listened(page: Page, far: int, data: bytes, rate: int | None) -> tuple[bytearray, int, float]:
    """What the page got of `data`, how much it was told that it did not, and how long it took."""
    heard = bytearray()
    dropped = 0
    talker = threading.Thread(target=talk, args=(far, data, rate))
    began = time.perf_counter()
    talker.start()
    while len(heard) + dropped < len(data):
        message = page.message()
        if isinstance(message, bytes):
            heard += message
        elif '"dropped"' in message:
            dropped += int(re.findall(r'"bytes": (\d+)', message)[0])
    talker.join()
    return heard, dropped, time.perf_counter() - began


def talk(far: int, data: bytes, rate: int | None) -> None:
    began = time.perf_counter()
    said = 0
    while said < len(data):
        if rate is not None:
            due = int((time.perf_counter() - began) * rate)
            if due <= said:
                time.sleep(0.001)
                continue
            said += os.write(far, data[said : min(due, said + 4096)])
        else:
            said += os.write(far, data[said : said + 4096])


if __name__ == "__main__":
    main()
