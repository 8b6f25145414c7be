"""The devices in the order of their file: opened in it, closed against it, whatever fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

from labnode.board.snapshot import reason
from labnode.drivers.base import Driver
from labnode.errors import DeviceError

log = logging.getLogger(__name__)


class Lineup:
    """`opened` are the names in the order of opening, with one that failed half way."""

    def __init__(self, devices: Mapping[str, Driver]) -> None:
        self.opened: list[str] = []
        self._devices = devices

    def open(self) -> None:
        """Open every device until one does not: then a DeviceError says why."""
        for name, driver in self._devices.items():
            self.opened.append(name)
            try:
                driver.open()
            except Exception as error:
                log.exception("device %s did not open", name)
                raise DeviceError(f"'{name}' did not open: {reason(error)}") from error

    def each(
        self, what: str, do: Callable[[Driver], None], names: Collection[str] | None = None
    ) -> list[str]:
        """Do one thing to the devices that are open; a sentence for each that did not."""
        return self._each([n for n in self.opened if names is None or n in names], what, do)

    def close(self) -> list[str]:
        """Close every device, the last one first; a sentence for each that did not."""
        names, self.opened = self.opened, []
        return self._each(names[::-1], "close", lambda driver: driver.close())

    def _each(self, names: list[str], what: str, do: Callable[[Driver], None]) -> list[str]:
        failures = []
        for name in names:
            try:
                do(self._devices[name])
            except Exception as error:
                log.exception("device %s did not %s", name, what)
                failures.append(f"'{name}' did not {what}: {reason(error)}")
        return failures
