"""A serial driver on a real pty, whose other end a test holds, and on a simulated device."""

from __future__ import annotations

import os
import queue
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.clock import Clock
from labnode.drivers.serial import Serial, SerialScript

PATIENCE = 10.0  # seconds after which a wait has failed


class Thread:
    """A board's services, and the test's own thread as its hardware thread."""

    pins = None

    def __init__(self, *, simulated: bool) -> None:
        self.simulated = simulated
        self.clock = Clock()
        self.published = 0
        self.stopping = False
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.post = self._posted.put

    def publish(self) -> None:
        self.published += 1

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        end = time.monotonic() + seconds
        while not self.stopping and not (until and until()):
            try:
                self._posted.get(timeout=max(0.0, end - time.monotonic()))()
            except queue.Empty:
                return True
        return not self.stopping

    def until(self, happens: Callable[[], Any], what: str = "") -> None:
        """Serve what is posted until `happens()`."""
        end = time.monotonic() + PATIENCE
        while not happens():
            assert time.monotonic() < end, f"it never came true: {what}"
            self.wait(0.002, happens)


class Cable:
    """A pty behind a symlink, as udev makes them; the test is the device at its far end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._far = -1
        self.plug()

    def plug(self) -> None:
        """Plug in another device, before the old one is gone if there is one."""
        old = self._far
        self._far, near = os.openpty()
        tty.setraw(near)
        new = self.path.with_suffix(".new")
        new.symlink_to(os.ttyname(near))
        new.replace(self.path)
        os.close(near)
        os.set_blocking(self._far, False)
        if old >= 0:
            os.close(old)

    def plug_silently(self) -> None:
        """Another device, after the old one has gone."""
        self._far = -1
        self.plug()

    def unplug(self) -> None:
        self.path.unlink()
        self.close()

    def close(self) -> None:
        far, self._far = self._far, -1
        if far >= 0:
            os.close(far)

    def say(self, data: bytes) -> None:
        """As much as the cable takes, until all is taken."""
        end = time.monotonic() + PATIENCE
        while data:
            try:
                data = data[os.write(self._far, data) :]
            except BlockingIOError:
                assert time.monotonic() < end, f"{len(data)} bytes were never taken"
                time.sleep(0.0005)

    def hear(self, number: int) -> bytes:
        """The next `number` bytes."""
        heard = bytearray()
        end = time.monotonic() + PATIENCE
        while len(heard) < number:
            try:
                heard += os.read(self._far, number - len(heard))
            except OSError:  # nothing there; or nobody at the near end for a moment
                assert time.monotonic() < end, f"only {bytes(heard[-100:])!r} came"
                time.sleep(0.0005)
        return bytes(heard)

    def hear_everything(self, number: int) -> Heard:
        """Read on a thread, until `number` bytes are there."""
        return Heard(self, number)


class Heard:
    def __init__(self, cable: Cable, number: int) -> None:
        self.data = b""
        self._thread = threading.Thread(target=lambda: self._take(cable.hear(number)))
        self._thread.start()

    def _take(self, data: bytes) -> None:
        self.data = data

    def all(self) -> bytes:
        self._thread.join(3 * PATIENCE)
        return self.data


Make = Callable[..., Serial]


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    cable = Cable(tmp_path / "usb-uno")
    yield cable
    cable.close()


@pytest.fixture
def thread() -> Thread:
    return Thread(simulated=False)


@pytest.fixture
def make(thread: Thread, cable: Cable) -> Iterator[Make]:
    """Open a serial driver at the cable and wait until it is connected."""
    made: list[Serial] = []

    def make(**options: Any) -> Serial:
        driver = Serial(**{"port": str(cable.path), **options})
        driver.attach("console", thread)  # type: ignore[arg-type]
        made.append(driver)
        driver.open()
        if thread.simulated or "port" not in options:
            thread.until(lambda: driver.line.status.connected, "connected")
        return driver

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def console(make: Make) -> Serial:
    return make()


@pytest.fixture
def simulate(make: Make, thread: Thread) -> Make:
    """Open a simulated one with a script."""

    def simulate(script: SerialScript | None = None, **options: Any) -> Serial:
        thread.simulated = True
        driver = Serial(port="/dev/ttyUSB0", **options)
        driver.attach("console", thread)  # type: ignore[arg-type]
        driver.scripted = script
        driver.open()
        simulated.append(driver)
        thread.until(lambda: driver.line.status.connected, "connected")
        return driver

    simulated: list[Serial] = []
    yield simulate  # type: ignore[misc]
    for driver in simulated:
        driver.close()


def received(driver: Serial) -> bytes:
    """All that is left of what has come."""
    return driver.line.received.read(0, 1 << 30)[1]
