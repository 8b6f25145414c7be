"""What every device shows: a snapshot that any thread may read, and what changed in it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from labnode.board.interlocks import Interlocks
from labnode.drivers.framework.driver import Derived, Driver
from labnode.drivers.framework.services import Counting
from labnode.errors import DeviceError
from labnode.events import DeviceChanged

log = logging.getLogger(__name__)

T = TypeVar("T")

Snapshot = Mapping[str, dict[str, Any]]


class Snapshots:
    """Reads drivers on the hardware thread; a device that cannot be read has an "error"."""

    def __init__(
        self,
        devices: Mapping[str, Driver],
        derived: Mapping[str, Derived],
        interlocks: Interlocks,
    ) -> None:
        """`derived` are those of the devices that follow from others, in order."""
        empty: Snapshot = MappingProxyType({name: {"value": None} for name in devices})
        self.versioned = (0, empty)  # with each change the next; any thread reads both together
        self._devices = devices
        self._derived = derived
        self._interlocks = interlocks
        self._poll_errors: dict[str, str] = {}  # why the last poll of a device failed, or ""

    @property
    def latest(self) -> Snapshot:
        return self.versioned[1]

    def read(self, names: Collection[str]) -> list[DeviceChanged]:
        """Read devices that are open; what changed."""
        return self._replace({name: self._state(name) for name in names})

    def derive(self, opened: Collection[str]) -> list[DeviceChanged]:
        """Let devices that are open follow from others; what changed."""
        changes: list[DeviceChanged] = []
        for name, driver in self._derived.items():
            if name in opened and driver.derive(self.latest):
                changes += self.read([name])
        return changes

    def poll(self, name: str) -> bool:
        """Poll a device; until a poll succeeds, what `read` finds is an error."""

        def poll() -> None:
            self._devices[name].poll()
            self._devices[name].due()  # which a lab's own driver may get wrong, too

        _, self._poll_errors[name] = self._try(name, poll)
        return not self._poll_errors[name]

    def forget(self, names: Collection[str]) -> list[DeviceChanged]:
        """These devices are closed: they show nothing; what changed."""
        self._poll_errors.clear()
        return self._replace({name: {"value": None} for name in names})

    def _state(self, name: str) -> dict[str, Any]:
        state, error = None, self._poll_errors.get(name)
        if not error:
            state, error = self._try(name, lambda: _state_of(self._devices[name]))
        if state is None:
            state = {"value": None, "error": error}
        lock = self._interlocks.lock(name)
        if lock is None:
            return state
        held = {"held": True} if self._interlocks.holds(name) else {}
        return {**state, "locked": lock, **held}

    def _try(self, name: str, read: Callable[[], T]) -> tuple[T | None, str]:
        try:
            return read(), ""
        except Exception as error:
            if self.latest[name].get("error") != reason(error):  # logged once, not at every poll
                log.warning("device %s cannot be read", name, exc_info=True)
            return None, reason(error)

    def _replace(self, states: Mapping[str, dict[str, Any]]) -> list[DeviceChanged]:
        version, latest = self.versioned
        changed = {name: state for name, state in states.items() if state != latest[name]}
        if changed:
            self.versioned = (version + 1, MappingProxyType({**latest, **changed}))
        return [
            DeviceChanged(name, state["value"])
            for name, state in changed.items()
            if {**state, "sampled": 0} != {**latest[name], "sampled": 0}  # not the same once more
        ]


def _state_of(driver: Driver) -> dict[str, Any]:
    """The driver's state; DeviceError when others could not use it."""
    state = driver.state()
    if not isinstance(state, dict) or "value" not in state:
        raise DeviceError("its state has no 'value'")
    if isinstance(state["value"], float) and not math.isfinite(state["value"]):
        raise DeviceError("it shows a value that is no number")
    return state


def reason(error: BaseException) -> str:
    """Why, in one line, whatever the library has put into its exception."""
    return " ".join(str(error).split()) or type(error).__name__


def with_counts(snapshot: Snapshot, devices: Mapping[str, Driver]) -> Snapshot:
    """A snapshot and what some drivers count, which changes too often to be in it."""
    counts = {name: d.counters() for name, d in devices.items() if isinstance(d, Counting)}
    return {name: {**state, **counts.get(name, {})} for name, state in snapshot.items()}


def describe(name: str, driver: Driver, locales: Sequence[str | None]) -> dict[str, Any]:
    """JSON for the page: a device's label, how it is shown, and its commands."""
    confirm = driver.confirm
    words = driver.words
    return {
        "name": name,
        "driver": driver.kind,
        "label": driver.called.pick(*locales),
        "group": driver.group.pick(*locales) if driver.group else None,
        "unit": driver.unit,
        "icon": driver.icon,
        "widget": driver.widget,
        "commands": [each.describe() for each in driver.commands.values() if each.students],
        "confirm": confirm if isinstance(confirm, bool) else confirm.pick(*locales),
        **({"size": driver.size} if driver.size != "normal" else {}),
        **({"words": {k: w.pick(*locales) for k, w in vars(words).items()}} if words else {}),
        **driver.describe(),
    }
