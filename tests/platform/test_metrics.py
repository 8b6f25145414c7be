"""The numbers for Prometheus: what is counted and what is read, as its own parser sees them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from labnode.clock import ManualClock
from labnode.events import Bus, FaultChanged, SessionChanged, TaskChanged
from labnode.system.gauges import MachineGauges, NodeGauges
from labnode.system.metrics import Metrics
from labnode.system.pi import Machine

STATUS: dict[str, Any] = {
    "state": "busy",
    "sessions": [{"id": "ab", "state": "active", "time_left": 5.0}],
    "users": 2,
    "uptime": 60.5,
    "quarantine": None,
    "estop": None,
    "faults": [],
    "draining": False,
    "alarm": None,
}


class Node:
    def __init__(self) -> None:
        self.bus = Bus()
        self.clock = ManualClock()
        self.metrics = Metrics(self.bus, self.clock, {"version": "1.2.3"})
        self.metrics.begin()

    def number(self, name: str, **labels: str) -> float | None:
        """One sample of what Prometheus would read; None where there is none."""
        for family in text_string_to_metric_families(self.metrics.text().decode()):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def session(self, *states: tuple[str, float], reason: str | None = None) -> None:
        """One session, so many seconds in each state."""
        for state, seconds in states:
            last = reason if state in ("disposing", "disposed") else None
            self.bus.publish(SessionChanged("the id", state, last))
            self.clock.advance(seconds)


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.metrics.end()


def test_it_says_what_runs(node: Node) -> None:
    assert node.number("labnode_build_info", version="1.2.3") == 1
    assert (node.number("process_resident_memory_bytes") or 0) > 1e6


def test_a_session_is_counted_and_each_of_its_states_timed(node: Node) -> None:
    node.session(("starting", 4), ("active", 50), ("disposing", 7), ("disposed", 0), reason="time")
    assert node.number("labnode_sessions_started_total") == 1
    assert node.number("labnode_sessions_ended_total", reason="time") == 1
    assert node.number("labnode_session_start_seconds_sum") == 4
    assert node.number("labnode_session_active_seconds_sum") == 50
    assert node.number("labnode_session_dispose_seconds_sum") == 7


def test_a_session_that_does_not_start_has_no_time_with_the_board(node: Node) -> None:
    node.session(("starting", 4), ("disposing", 7), ("disposed", 0), reason="start-failed")
    assert node.number("labnode_sessions_ended_total", reason="start-failed") == 1
    assert node.number("labnode_session_active_seconds_count") == 0


def test_a_task_is_timed_however_often_it_tells_of_its_progress(node: Node) -> None:
    for status, seconds in [("submitted", 2), ("running", 3), ("running", 3), ("done", 0)]:
        node.bus.publish(TaskChanged("t", "s", status))
        node.clock.advance(seconds)
    assert node.number("labnode_task_wait_seconds_sum") == 2
    assert node.number("labnode_task_run_seconds_sum") == 6
    assert node.number("labnode_tasks_total", status="done") == 1


def test_what_is_over_is_forgotten(node: Node) -> None:
    node.session(("starting", 1), ("active", 1), ("disposing", 1), ("disposed", 0))
    for status in ("submitted", "running", "failed"):
        node.bus.publish(TaskChanged("t", "s", status))
    node.bus.publish(FaultChanged("hot", "active", "Too hot"))
    node.bus.publish(FaultChanged("hot", "cleared", ""))
    assert node.metrics._states == {}


def test_an_interlock_is_counted_once_each_time_that_it_acts(node: Node) -> None:
    for state in ("active", "active", "latched", "cleared", "active", "cleared"):
        node.bus.publish(FaultChanged("hot", state, "Too hot"))
    assert node.number("labnode_interlock_faults_total", interlock="hot") == 2


def test_more_events_than_a_queue_holds_are_all_counted(node: Node) -> None:
    for number in range(5000):
        node.bus.publish(TaskChanged(f"t{number}", None, "running"))
        node.bus.publish(TaskChanged(f"t{number}", None, "failed"))
    assert node.number("labnode_tasks_total", status="failed") == 5000


def test_warnings_and_errors_are_counted_by_where_they_come_from(node: Node) -> None:
    logging.getLogger("labnode.sessions.state_machine").warning("something")
    logging.getLogger("labnode.sessions.expiry").warning("something")
    logging.getLogger("labnode.worker").error("something")
    logging.getLogger("labnode.worker").info("something")
    assert node.number("labnode_log_records_total", level="warning", room="sessions") == 2
    assert node.number("labnode_log_records_total", level="error", room="worker") == 1
    assert node.number("labnode_log_records_total", level="info") is None


def answer(node: Node, method: str, path: str, status: str, seconds: float = 0.0) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        node.clock.advance(seconds)
        start_response(status, [])
        return [b""]

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
    assert list(node.metrics.counted(app)(environ, lambda *_: None)) == [b""]


def test_answers_are_counted_by_who_asked(node: Node) -> None:
    answer(node, "GET", "/lab1/weblab/sessions/x/status", "200 OK")
    answer(node, "POST", "/lab1/api/devices/led/on", "409 Conflict")
    assert node.number("labnode_http_responses_total", side="server", status="200") == 1
    assert node.number("labnode_http_responses_total", side="student", status="409") == 1


@pytest.mark.parametrize(
    ("method", "path", "counted"),
    [
        ("POST", "/lab1/weblab/sessions/", 1),
        ("POST", "/ldl/sessions/", 1),
        ("POST", "/weblab/sessions/new.php", 1),
        ("POST", "/weblab/sessions/an-id", 0),
        ("POST", "/weblab/sessions/status/multiple", 0),
        ("GET", "/weblab/sessions/", 0),
    ],
)
def test_only_starts_are_timed_as_starts(node: Node, method: str, path: str, counted: int) -> None:
    answer(node, method, path, "200 OK", seconds=12)
    assert node.number("labnode_start_request_seconds_count") == counted
    assert node.number("labnode_start_request_seconds_sum") == 12 * counted


# --- what is at the moment ---


def test_the_node_is_in_one_state(node: Node) -> None:
    node.metrics.registry.register(NodeGauges(lambda: STATUS, dict))
    assert node.number("labnode_state", state="busy") == 1
    assert node.number("labnode_state", state="ready") == 0
    assert node.number("labnode_sessions", state="active") == 1
    assert node.number("labnode_seats") == 2
    assert node.number("labnode_quarantine") == 0


def test_trouble_shows(node: Node) -> None:
    trouble = {**STATUS, "quarantine": "it leaks", "estop": "smoke", "faults": ["hot: Too hot"]}
    node.metrics.registry.register(NodeGauges(lambda: trouble, dict))
    for name in ("quarantine", "estop", "interlocks_latched"):
        assert node.number(f"labnode_{name}") == 1


def test_devices_show_whether_they_work_and_what_they_carry(node: Node) -> None:
    snapshot = {
        "led": {"value": True},
        "temp": {"value": 21.5, "stale": False},
        "gone": {"value": None, "error": "unplugged"},
        "console": {"value": "x", "connected": True, "rx_bytes": 10, "dropped_bytes": 2},
        "off": {"value": None, "connected": False},
    }
    node.metrics.registry.register(NodeGauges(lambda: STATUS, lambda: snapshot))
    up = {name: node.number("labnode_device_up", device=name) for name in snapshot}
    assert up == {"led": 1, "temp": 1, "gone": 0, "console": 1, "off": 0}
    assert node.number("labnode_device_value", device="led") == 1
    assert node.number("labnode_device_value", device="temp") == 21.5
    assert node.number("labnode_device_value", device="console") is None
    assert node.number("labnode_device_received_bytes_total", device="console") == 10
    assert node.number("labnode_device_dropped_bytes_total", device="console") == 2
    assert node.number("labnode_device_sent_bytes_total", device="console") is None


def test_the_machine_shows_its_heat_its_power_and_its_disk(node: Node, tmp_path: Path) -> None:
    for path, text in {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "61000",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50001",
        "proc/mounts": "/dev/mmcblk0p2 / ext4 rw 0 0\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    node.metrics.registry.register(MachineGauges(Machine(tmp_path), tmp_path, node.clock))
    assert node.number("labnode_pi_temperature_celsius") == 61
    assert node.number("labnode_pi_throttling", what="undervoltage", when="now") == 1
    assert node.number("labnode_pi_throttling", what="throttled", when="now") == 0
    assert (node.number("labnode_disk_free_bytes") or 0) > 0
    assert node.number("labnode_disk_read_only") == 0


def test_the_firmware_is_asked_twice_a_minute_at_most(node: Node, tmp_path: Path) -> None:
    asked = []

    class Pi(Machine):
        def throttling(self) -> None:
            asked.append(node.clock.now())

    node.metrics.registry.register(MachineGauges(Pi(tmp_path), tmp_path, node.clock))
    for _ in range(13):
        node.metrics.text()
        node.clock.advance(5)
    assert len(asked) == 3
