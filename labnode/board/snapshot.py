"""What every device shows: a snapshot that any thread may read, and the news when it changes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.services import Counting
from labnode.events import Bus, DeviceChanged

log = logging.getLogger(__name__)

T = TypeVar("T")

Snapshot = Mapping[str, dict[str, Any]]


class Snapshots:
    """Reads drivers on the hardware thread; a device that cannot be read has an "error"."""

    def __init__(self, devices: Mapping[str, Driver], bus: Bus, lock: Callable[[str], Any]) -> None:
        nothing: Snapshot = MappingProxyType({name: {"value": None} for name in devices})
        self._latest = (0, nothing)  # replaced as a whole: any thread reads both together
        self._devices = devices
        self._bus = bus
        self._lock = lock  # why a device cannot be commanded as one likes, or None
        self._faults: dict[str, str] = {}  # why the last poll of a device failed, or ""

    @property
    def latest(self) -> Snapshot:
        return self._latest[1]

    def versioned(self) -> tuple[int, Snapshot]:
        """The latest with its version, which grows with each change (any thread)."""
        return self._latest

    def read(self, names: Collection[str]) -> None:
        """Read devices that are open."""
        self._replace({name: self._state(name) for name in names})

    def poll(self, name: str) -> bool:
        """Poll a device; until a poll succeeds, what `read` finds is an error."""
        _, self._faults[name] = self._try(name, self._devices[name].poll)
        return not self._faults[name]

    def forget(self, names: Collection[str]) -> None:
        """These devices are closed: they show nothing."""
        self._faults.clear()
        self._replace({name: {"value": None} for name in names})

    def _state(self, name: str) -> dict[str, Any]:
        state, fault = None, self._faults.get(name)
        if not fault:
            state, fault = self._try(name, self._devices[name].state)
        if state is not None and _is_no_number(state["value"]):
            state, fault = None, "it shows a value that is no number"
        if state is None:
            state = {"value": None, "error": fault}
        lock = self._lock(name)
        return state if lock is None else {**state, "locked": lock}

    def _try(self, name: str, read: Callable[[], T]) -> tuple[T | None, str]:
        try:
            return read(), ""
        except Exception as error:
            if self.latest[name].get("error") != reason(error):  # told once, not at every poll
                log.warning("device %s cannot be read", name, exc_info=True)
            return None, reason(error)

    def _replace(self, states: Mapping[str, dict[str, Any]]) -> None:
        changed = {name: state for name, state in states.items() if state != self.latest[name]}
        if changed:
            version, latest = self._latest
            news = [name for name in changed if _told(changed[name]) != _told(latest[name])]
            self._latest = (version + 1, MappingProxyType({**latest, **changed}))
            for name in news:
                self._bus.publish(DeviceChanged(name, changed[name]["value"]))


def _told(state: Mapping[str, Any]) -> dict[str, Any]:
    """What of a state is news: that it was read once more and is the same is none."""
    return {key: value for key, value in state.items() if key != "sampled"}


def _is_no_number(value: Any) -> bool:
    """Whether it is nan or infinite: nothing to compare with, and no JSON."""
    return isinstance(value, float) and not math.isfinite(value)


def reason(error: Exception) -> str:
    """Why, in one line, whatever the library has put into its exception."""
    return " ".join(str(error).split()) or type(error).__name__


def with_counts(snapshot: Snapshot, devices: Mapping[str, Driver]) -> Snapshot:
    """A snapshot and what some drivers count, which is not in it: it changes all the time."""
    counts = {name: d.counters() for name, d in devices.items() if isinstance(d, Counting)}
    return {name: {**state, **counts.get(name, {})} for name, state in snapshot.items()}


def describe(name: str, driver: Driver, locales: Sequence[str | None]) -> dict[str, Any]:
    """JSON: what a device is called, how it is shown, which commands it has."""
    confirm = driver.confirm
    return {
        "name": name,
        "driver": driver.kind,
        "label": driver.label.pick(*locales) if driver.label else _readable(name),
        "group": driver.group.pick(*locales) if driver.group else None,
        "unit": driver.unit,
        "icon": driver.icon,
        "widget": driver.widget,
        "commands": [each.describe() for each in driver.commands.values() if each.students],
        "confirm": confirm if isinstance(confirm, bool) else confirm.pick(*locales),
        **driver.describe(),
    }


def _readable(name: str) -> str:
    return name.replace("_", " ").capitalize()
