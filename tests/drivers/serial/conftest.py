"""A serial driver on a real pty, whose other end a test holds, and on a simulated device."""

from __future__ import annotations

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.serial import Serial, SerialScript
from tests.kit.services import Thread
from tests.kit.waiting import PATIENCE


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
def make(thread: Thread, cable: Cable) -> Iterator[Make]:
    """Open a serial driver at the cable and wait until it is connected."""
    made: list[Serial] = []

    def make(script: SerialScript | None = None, **options: Any) -> Serial:
        driver = Serial(**{"port": str(cable.path), **options})
        driver.attach("console", thread)  # type: ignore[arg-type]
        driver.scripted = script
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
        return make(script, port="/dev/ttyUSB0", **options)

    return simulate


def received(driver: Serial) -> bytes:
    """All that is left of what has come."""
    return driver.line.received.read(0, 1 << 30)[1]
