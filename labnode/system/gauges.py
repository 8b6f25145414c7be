"""The present state of a node and its machine, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from labnode.clock import Clock
from labnode.system.pi import Machine, Throttling

Status = Mapping[str, Any]
Snapshot = Mapping[str, Mapping[str, Any]]

_STATES = ("ready", "busy", "draining", "drained", "quarantine", "fault")
_POWER_EVERY = 30.0  # seconds: the firmware may have to be asked by a program
_BYTES = {
    "rx_bytes": ("received", "Bytes that came in."),
    "tx_bytes": ("sent", "Bytes that went out."),
    "dropped_bytes": ("dropped", "Bytes that nobody took in time."),
}


class NodeGauges:
    """The node: `status` is what `labnode status` says, `snapshot` the board's."""

    def __init__(self, status: Callable[[], Status], snapshot: Callable[[], Snapshot]) -> None:
        self._status = status
        self._snapshot = snapshot

    def collect(self) -> Iterator[Any]:
        """Called by the library for each scrape."""
        yield from self._node(self._status())
        yield from self._devices(self._snapshot())

    def _node(self, status: Status) -> Iterator[Any]:
        state = GaugeMetricFamily(
            "labnode_state", "1 for the state it is in, as `labnode status` says.", labels=["state"]
        )
        for name in _STATES:
            state.add_metric([name], float(status["state"] == name))
        yield state
        sessions = GaugeMetricFamily("labnode_sessions", "Sessions now.", labels=["state"])
        for name in ("starting", "active", "disposing"):
            number = sum(session["state"] == name for session in status["sessions"])
            sessions.add_metric([name], number)
        yield sessions
        yield GaugeMetricFamily(
            "labnode_seats", "How many students may use the board at once.", status["users"]
        )
        yield GaugeMetricFamily(
            "labnode_uptime_seconds", "Time since labnode started.", status["uptime"]
        )
        for name, doc in (
            ("quarantine", "1 while the board is in quarantine: it could not be cleaned."),
            ("estop", "1 while the emergency stop is pressed."),
            ("alarm", "1 when the database was unreadable at the start."),
        ):
            yield GaugeMetricFamily(f"labnode_{name}", doc, float(status[name] is not None))
        yield GaugeMetricFamily(
            "labnode_draining", "1 while no new students are let in.", float(status["draining"])
        )
        yield GaugeMetricFamily(
            "labnode_interlocks_latched", "Latched interlocks, which wait for `labnode clear`.",
            len(status["faults"]),
        )  # fmt: skip

    def _devices(self, snapshot: Snapshot) -> Iterator[Any]:
        up = GaugeMetricFamily(
            "labnode_device_up",
            "0 when the device cannot be read, is unplugged or stale.",
            labels=["device"],
        )
        values = GaugeMetricFamily(
            "labnode_device_value",
            "The value on the page, where it is a number.",
            labels=["device"],
        )
        counts = {
            key: CounterMetricFamily(f"labnode_device_{name}_bytes", doc, labels=["device"])
            for key, (name, doc) in _BYTES.items()
        }
        for device, state in snapshot.items():
            broken = "error" in state or state.get("connected") is False or state.get("stale")
            up.add_metric([device], float(not broken))
            if isinstance(value := state.get("value"), int | float):
                values.add_metric([device], float(value))
            for key, family in counts.items():
                if isinstance(number := state.get(key), int):
                    family.add_metric([device], number)
        yield up
        yield values
        yield from counts.values()


class MachineGauges:
    """The machine, and the disk that `directory` is on."""

    def __init__(self, machine: Machine, directory: Path, clock: Clock) -> None:
        self._machine = machine
        self._directory = directory
        self._clock = clock
        self._power: Throttling | None = None
        self._asked_at: float | None = None

    def collect(self) -> Iterator[Any]:
        """Called by the library for each scrape."""
        if (degrees := self._machine.temperature()) is not None:
            yield GaugeMetricFamily(
                "labnode_pi_temperature_celsius", "Temperature of the processor.", degrees
            )
        if (power := self._throttling()) is not None:
            family = GaugeMetricFamily(
                "labnode_pi_throttling",
                "1 while (now), or if ever (since_boot), the firmware reports it.",
                labels=["what", "when"],
            )
            for what in ("undervoltage", "frequency_capped", "throttled", "temperature_limit"):
                family.add_metric([what, "now"], float(what in power.now))
                family.add_metric([what, "since_boot"], float(what in power.since_boot))
            yield family
        try:
            disk = self._machine.disk(self._directory)
        except OSError:
            return
        yield GaugeMetricFamily(
            "labnode_disk_free_bytes", "Free space where the database is.", disk.free
        )
        yield GaugeMetricFamily("labnode_disk_size_bytes", "Size of that disk.", disk.total)
        yield GaugeMetricFamily("labnode_disk_errors", "Errors that ext4 has counted.", disk.errors)
        yield GaugeMetricFamily(
            "labnode_disk_read_only", "1 while that disk is read-only.", float(disk.read_only)
        )

    def _throttling(self) -> Throttling | None:
        now = self._clock.now()
        if self._asked_at is None or now - self._asked_at >= _POWER_EVERY:
            self._asked_at = now
            self._power = self._machine.throttling()
        return self._power
