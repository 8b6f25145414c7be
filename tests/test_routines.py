"""What a board does by itself: around sessions, while it is idle, on faults, at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from labnode.clock import Clock, ManualClock
from labnode.errors import ConfigError
from labnode.events import DeviceChanged, Notice
from labnode.testing import LabClient
from labnode.worker import Hook
from tests.kit.clock import WatchedClock
from tests.kit.waiting import eventually

BOARD = """\
schema: 1
lab: {name: oven, category: Tests}
devices:
  heater: {driver: relay, pin: 17}
  lamp: {driver: led, pin: 18}
  door: {driver: button, pin: 27}
"""

DOOR = "{wait_for: {expr: door, timeout: 0}}"  # a step that fails at once

Make = Callable[..., LabClient]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Make]:
    """A running node whose board has `text` besides three devices."""
    clients: list[LabClient] = []

    def make(
        text: str, module: str = "", state: str = "state", clock: Clock | None = None
    ) -> LabClient:
        (tmp_path / "oven.yaml").write_text(BOARD + text)
        if module:
            (tmp_path / "oven.py").write_text(f"from labnode import Lab\nlab = Lab()\n{module}")
        client = LabClient(tmp_path / "oven.yaml", state_dir=tmp_path / state, clock=clock)
        clients.append(client)
        client.seen = client.agent.runtime.bus.subscribe(DeviceChanged, Notice)  # type: ignore[attr-defined]
        return client.__enter__()

    yield make
    for client in clients:
        client.__exit__(None, None, None)


def simulate(lab: LabClient, name: str, value: Any) -> None:
    board = lab.agent.board
    assert board.simulation is not None
    lab.agent.worker.call(lambda: board.simulation.drive(name, value))  # type: ignore[union-attr]
    lab.agent.worker.call(lambda: board.refresh(name))


def seen(lab: LabClient, device: str) -> list[Any]:
    events = lab.seen.drain()  # type: ignore[attr-defined]
    return [e.value for e in events if isinstance(e, DeviceChanged) and e.device == device]


def test_on_start_is_done_before_the_student_comes_and_on_dispose_after(lab: Make) -> None:
    node = lab(
        "sequences:\n"
        "  on_start: {steps: [{pulse: {lamp: 10ms}}, {set: {heater: on}}]}\n"
        "  on_dispose: {steps: [{pulse: {lamp: 10ms}}]}\n"
    )
    student = node.student()
    assert node.value("heater") is True
    assert seen(node, "lamp")[-2:] == [True, False]
    assert node.finish(student)["finished"] is True
    assert (node.value("heater"), seen(node, "lamp")) == (False, [True, False])


def test_a_start_that_fails_is_told_and_everything_is_safe(lab: Make) -> None:
    node = lab(
        "sequences:\n"
        "  on_start: {steps: [{set: {heater: on}}, {wait_for: {expr: door, timeout: 50ms}}]}\n"
    )
    reply = node.start()
    assert reply.status == 503
    assert "on_start: 'door' did not become true within 0.05 s (door is False)" in reply.text
    assert node.value("heater") is False
    (doubt,) = node.server("GET", "/test").json["error_messages"]
    assert doubt.startswith("The last start failed: on_start: 'door' did not become true")


def test_a_start_whose_failure_is_only_warned_of_goes_on(lab: Make) -> None:
    node = lab(
        "sequences: {on_start: {on_error: warn, steps: [{wait_for: {expr: door, timeout: 0}}]}}\n"
    )
    assert node.start().status == 200


@pytest.mark.parametrize("name", ["on_start", "on_dispose"])
def test_a_failure_may_mean_quarantine(lab: Make, name: str) -> None:
    steps = "{on_error: quarantine, steps: [{wait_for: {expr: door, timeout: 0}}]}"
    node = lab(f"sequences: {{{name}: {steps}}}\n")
    reply = node.start()
    if name == "on_dispose":
        node.server("POST", f"/{reply.json['session_id']}", {"action": "delete"})
    why, *_ = node.server("GET", "/test").json["error_messages"]
    assert f"quarantine: {name}: 'door' did not become true" in why


def test_a_step_waits_while_an_output_has_to_rest(lab: Make) -> None:
    node = lab(
        "  slow: {driver: relay, pin: 5, min_off_time: 50ms}\n"
        "sequences:\n"
        "  on_start: {steps: [{set: {slow: on}}, {set: {slow: off}}, {pulse: {slow: 10ms}}]}\n"
    )
    assert node.start().status == 200
    assert [level for level, _ in groupby(seen(node, "slow"))] == [False, True, False, True, False]


def test_a_rest_that_does_not_fit_into_the_timeout_is_told_at_once(lab: Make) -> None:
    node = lab(
        "  slow: {driver: relay, pin: 5, min_off_time: 60s}\n"
        "sequences: {on_start: {timeout: 40s, steps: [{set: {slow: on}}]}}\n"
    )
    reply = node.start()
    assert reply.status == 503
    assert "Slow was switched off a moment ago and has to rest for" in reply.text
    assert "on_start has a timeout of 40 s" in reply.text


def test_starts_that_fail_are_in_the_status_and_for_a_while_in_the_test(lab: Make) -> None:
    clock = ManualClock()
    module = (
        "fails = [1, 2]\n@lab.on_start\ndef start(client, server):\n"
        "    if fails:\n        raise ValueError(f'no link {fails.pop()}')\n"
    )
    node = lab("module: oven.py\n", module, clock=clock)
    status = node.agent.commands.status
    assert (node.server("GET", "/test").json, status()["failing"]) == ({"valid": True}, [])
    for why in ("The last start failed: no link 2", "The last 2 starts failed: no link 1"):
        assert node.start().status == 503
        assert status()["failing"] == [why]
    assert node.server("GET", "/test").json == {"valid": False, "error_messages": [why]}
    clock.advance(120)
    assert node.server("GET", "/test").json == {"valid": True}
    assert status()["failing"] == [why]
    assert node.start().status == 200
    assert status()["failing"] == []


def test_a_sequence_ends_when_its_time_is_over(lab: Make) -> None:
    node = lab(
        "sequences: {on_start: {timeout: 100ms, steps: ["
        "{repeat: {steps: [{wait: 50ms}], until: door and not door}}]}}\n"
    )
    reply = node.start()
    assert reply.status == 503
    assert "on_start took longer than its timeout of 0.1 s" in reply.text


def test_programs_run_in_a_sequence_and_their_failure_is_told(lab: Make) -> None:
    node = lab('sequences: {on_start: {steps: [{run: [sh, -c, "echo no cable; exit 3"]}]}}\n')
    node.agent.board.simulation = None
    assert "the program 'sh' failed: no cable" in node.start().text


def test_a_simulated_board_runs_no_programs(lab: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    node = lab("sequences: {on_start: {steps: [{run: [nothing-like-this, --power, cycle]}]}}\n")
    assert node.start().status == 200
    assert "Simulated, so not run: nothing-like-this --power cycle" in caplog.text


def test_tasks_of_the_lab_run_in_a_sequence(lab: Make) -> None:
    node = lab(
        "sequences: {on_start: {steps: [{task: {name: light, args: {level: true}}}]}}\n"
        "module: oven.py\n",
        "@lab.task(unique='global')\ndef light(level):\n    lab.devices.lamp.set(level)\n",
    )
    node.student()
    assert node.value("lamp") is True


def test_students_are_told_what_a_sequence_notifies(lab: Make) -> None:
    node = lab("sequences: {on_start: {steps: [{notify: {en: Warming up, es: Calentando}}]}}\n")
    student = node.student()
    told = [{"number": 1, "text": {"en": "Warming up", "es": "Calentando"}}]
    assert student.get("/api/state").json["notices"] == told  # who comes only when it was said
    assert student.get("/api/page").json["state"]["notices"] == told
    (notice,) = [e for e in node.seen.drain() if isinstance(e, Notice)]  # type: ignore[attr-defined]
    assert (notice.text, notice.session_id) == (
        {"en": "Warming up", "es": "Calentando"},
        student.session_id,
    )


def test_on_boot_is_done_before_anybody_comes(lab: Make) -> None:
    node = lab("sequences: {on_boot: {steps: [{set: {lamp: on}}]}}\n")
    assert node.value("lamp") is True


def test_a_boot_that_fails_is_a_quarantine(lab: Make) -> None:
    node = lab("sequences: {on_boot: {steps: [{wait_for: {expr: door, timeout: 0}}]}}\n")
    assert "on_boot" in node.server("GET", "/test").text
    assert node.start().status == 503


def test_on_shutdown_is_done_before_the_board_is_closed(lab: Make) -> None:
    node = lab("sequences: {on_shutdown: {steps: [{pulse: {lamp: 10ms}}]}}\n")
    seen(node, "lamp")
    node.agent.stop()
    assert seen(node, "lamp") == [True, False, None]


def test_when_nobody_comes_the_board_idles_once(lab: Make) -> None:
    node = lab("sequences: {on_idle: {after: 50ms, steps: [{pulse: {lamp: 10ms}}]}}\n")
    assert eventually(lambda: seen(node, "lamp")[-1:] == [False])
    student = node.student()
    assert seen(node, "lamp") == []
    node.finish(student)
    assert eventually(lambda: seen(node, "lamp")[-1:] == [False])


def test_a_fault_is_answered_even_while_a_task_waits(lab: Make) -> None:
    node = lab(
        "interlocks: [{name: open, when: door, force: {heater: off}, latch: true}]\n"
        "sequences: {on_fault: {steps: [{set: {lamp: on}}]}}\n"
        "module: oven.py\n",
        "@lab.task(unique='global', label='Heat')\n"
        "def heat():\n"
        "    lab.devices.heater.on()\n"
        "    while lab.wait(60):\n"
        "        pass\n",
    )
    student = node.student()
    student.post("/api/tasks/heat")
    assert eventually(lambda: node.value("heater"))
    simulate(node, "door", True)
    assert node.value("heater") is False
    assert eventually(lambda: node.value("lamp"))


def test_a_self_test_lifts_the_quarantine_that_it_disproves(lab: Make) -> None:
    steps = "{steps: [{wait_for: {expr: door, timeout: 0}}]}"
    node = lab(f"sequences: {{on_boot: {steps}, selftest: {steps}}}\n")
    assert node.agent.sessions.quarantine.why is not None
    simulate(node, "door", True)
    node.agent.runtime.routines._patience = 0.0  # as if ten seconds were over
    node.agent.runtime.routines._wake.set()
    assert eventually(lambda: node.agent.sessions.quarantine.why is None)


def test_a_self_test_never_lifts_an_emergency_stop(lab: Make) -> None:
    node = lab("sequences: {selftest: {every: 1s, timeout: 1s, steps: [{log: all is well}]}}\n")
    node.agent.estop.press("the red button")
    tested = node.agent.runtime.routines._tested_at
    node.agent.runtime.routines._test_times._timetable._due = float("-inf")
    node.agent.runtime.routines._patience = 0.0
    node.agent.runtime.routines._wake.set()
    assert eventually(lambda: node.agent.runtime.routines._tested_at > tested)
    assert node.agent.sessions.quarantine.why is not None


def test_a_self_test_that_fails_is_a_quarantine_and_makes_safe(lab: Make) -> None:
    node = lab(f"sequences:\n  selftest: {{every: 1h, steps: [{{set: {{heater: on}}}}, {DOOR}]}}\n")
    node.agent.runtime.routines._test_times._timetable._due = float("-inf")
    node.agent.runtime.routines._wake.set()
    assert eventually(lambda: node.agent.sessions.quarantine.why)
    assert "selftest: 'door' did not become true" in str(node.agent.sessions.quarantine.why)
    assert eventually(lambda: node.value("heater") is False)


def test_a_student_who_comes_ends_a_self_test_without_a_verdict(lab: Make) -> None:
    node = lab("sequences: {selftest: {every: 1h, steps: [{set: {lamp: on}}, {wait: 50s}]}}\n")
    node.agent.runtime.routines._test_times._timetable._due = float("-inf")
    node.agent.runtime.routines._wake.set()
    assert eventually(lambda: node.value("lamp"))
    node.student()
    assert node.value("lamp") is False
    assert node.agent.sessions.quarantine.why is None


def test_a_self_test_that_is_not_waited_for_any_more_never_runs_but_the_next_one_does(
    lab: Make,
) -> None:
    clock = ManualClock()
    node = lab(
        "sequences: {selftest: {every: 1h, timeout: 5s, steps: [{set: {lamp: on}}]}}\n",
        clock=clock,
    )
    routines, worker = node.agent.runtime.routines, node.agent.worker
    held, let_go, served = Event(), Event(), Event()

    def hold() -> None:
        held.set()
        let_go.wait(20)

    worker.queue(hold)  # the hardware thread has something else to do
    assert held.wait(10)
    routines._test_times._timetable._due = float("-inf")
    routines._wake.set()
    first = eventually(lambda: routines._hook)
    assert eventually(lambda: routines._hook not in (first, None) or clock.advance(1))
    seen(node, "lamp")
    let_go.set()
    shown: list[Any] = []
    assert eventually(lambda: shown.extend(seen(node, "lamp")) or len(shown) >= 2)
    worker.hook(Hook(lambda: None, lambda _: served.set(), 1.0))  # comes after what was before
    assert served.wait(10)
    assert [*shown, *seen(node, "lamp")] == [True, False]


# --- self-tests at times of day; the manual clock begins at eight o'clock ---

MINUTE, HOUR, DAY, YEAR = 60.0, 3600.0, 86400.0, 365.25 * 86400.0


class Morning:
    """A node that tests itself at half past eight, and how often it has."""

    def __init__(
        self,
        make: Make,
        *,
        keys: str = "",
        steps: str = "{set: {lamp: on}}",
        clock: WatchedClock | None = None,
    ) -> None:
        self.clock = clock or WatchedClock()
        self.node = make(
            "session: {timeout: -1}\n"  # students stay as long as their slot is
            f"sequences: {{selftest: {{at: 8:30, {keys}steps: [{steps}]}}}}\n",
            clock=self.clock,
        )
        self.routines = self.node.agent.runtime.routines
        self.settle()

    def settle(self) -> None:
        """Return when the routines have done what is due."""

        def rests() -> bool:
            with self.clock.watch:
                return self.routines._hook is None and self.clock.rests(self.routines._thread.ident)

        assert eventually(rests)

    def let(self, seconds: float) -> int:
        """How many self-tests there are while so many seconds pass."""
        self.clock.advance(seconds)
        self.settle()
        return sum(seen(self.node, "lamp"))

    def jump(self, seconds: float, right: bool = True) -> int:
        """How many there are when the wall clock is set."""
        self.clock.jump_wall(seconds, right)
        return self.let(0)


@pytest.fixture
def in_greenwich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")


@pytest.mark.usefixtures("in_greenwich")
class TestAtTimesOfDay:
    def test_a_self_test_comes_at_its_time_of_day_and_at_no_other(self, lab: Make) -> None:
        morning = Morning(lab)
        assert morning.let(30 * MINUTE - 1) == 0
        assert morning.let(1) == 1
        assert morning.let(DAY - 1) == 0
        assert morning.let(1) == 1

    def test_while_nobody_knows_what_time_it_is_there_is_none(self, lab: Make) -> None:
        clock = WatchedClock()
        clock.jump_wall(0, right=False)
        morning = Morning(lab, clock=clock)
        assert morning.let(2 * DAY) == 0
        assert morning.jump(-20 * HOUR) == 0  # the time server has answered: it is noon
        assert morning.let(DAY) == 1

    def test_what_is_due_when_a_student_is_there_comes_when_they_have_gone(self, lab: Make) -> None:
        morning = Morning(lab)
        student = morning.node.student(HOUR)
        assert morning.let(31 * MINUTE) == 0
        morning.node.finish(student)
        assert morning.let(0) == 1
        assert morning.let(HOUR) == 0

    def test_what_a_student_has_interrupted_comes_again_when_they_have_gone(
        self, lab: Make
    ) -> None:
        morning = Morning(lab, steps="{set: {lamp: on}}, {wait: 5s}")
        morning.clock.advance(30 * MINUTE)
        assert eventually(lambda: morning.node.value("lamp"))
        student = morning.node.student()
        morning.settle()
        assert seen(morning.node, "lamp")[-2:] == [True, False]
        morning.node.finish(student)
        assert eventually(lambda: morning.node.value("lamp"))
        morning.clock.advance(5)
        morning.settle()
        assert seen(morning.node, "lamp") == [True, False]
        assert morning.let(HOUR) == 0

    @pytest.mark.parametrize("jump", [-HOUR, 10 * YEAR, -10 * YEAR])
    def test_a_clock_that_jumps_brings_none_twice_and_the_next_one_comes(
        self, lab: Make, jump: float
    ) -> None:
        morning = Morning(lab)
        assert morning.let(30 * MINUTE) == 1
        assert morning.jump(jump) == 0
        assert morning.let(10 * HOUR) == 0
        assert morning.let(16 * HOUR) == 1

    def test_an_hour_forward_over_the_time_misses_it(self, lab: Make) -> None:
        morning = Morning(lab)
        assert morning.jump(HOUR) == 0
        assert morning.let(23 * HOUR + 30 * MINUTE) == 1

    def test_what_was_missed_while_labnode_was_off_comes_once_if_the_board_says_so(
        self, lab: Make
    ) -> None:
        for keys, number in (("catch_up: true, ", 1), ("", 0)):
            clock = WatchedClock()
            first = Morning(lab, keys=keys, clock=clock)
            assert first.let(30 * MINUTE) == 1
            first.node.agent.stop()
            clock.advance(3 * DAY)
            second = Morning(lab, keys=keys, clock=clock)
            assert second.let(0) == number
            second.node.agent.stop()
            third = Morning(lab, keys=keys, clock=clock)
            assert third.let(0) == 0
            assert third.let(DAY) == 1
            third.node.agent.stop()

    def test_a_quarantine_is_tested_sooner_all_the_same(self, lab: Make) -> None:
        morning = Morning(lab)
        morning.node.agent.sessions.quarantine.impose("on_dispose: it smells")
        morning.routines._wake.set()
        assert morning.let(10) == 1
        assert morning.node.agent.sessions.quarantine.why is None
        assert morning.let(30 * MINUTE) == 1


# --- sequences that come by themselves ---

WATERING = """\
sequences:
  scheduled:
    water: {WHEN, steps: [{set: {lamp: on}}, {log: watered}]}
"""


class Garden:
    """A node whose timers have looked at the clock whenever a test goes on."""

    def __init__(self, make: Make, text: str, right: bool = True) -> None:
        self.clock = WatchedClock()
        if not right:
            self.clock.jump_wall(0, right=False)
        self.node = make(text, clock=self.clock)
        self.let(0)

    def let(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.clock.until_waits(self.node.agent.tasks.timers.thread)

    @property
    def watered(self) -> list[str]:
        rows = self.node.agent.store.select("tasks", "name = ?", "water")
        return [row["status"] for row in rows]


@pytest.mark.usefixtures("in_greenwich")
class TestScheduled:
    @pytest.mark.parametrize("when", ["at: 8:30", "every: 30m", "at: [8:30, 20:15], days: fri"])
    def test_it_comes_when_it_should_and_what_it_has_set_is_safe_afterwards(
        self, lab: Make, when: str
    ) -> None:
        garden = Garden(lab, WATERING.replace("WHEN", when))
        garden.let(29 * MINUTE)
        assert garden.watered == []
        garden.let(MINUTE)
        assert eventually(lambda: garden.watered == ["done"])
        assert seen(garden.node, "lamp")[-2:] == [True, False]

    def test_it_waits_while_a_student_is_there(self, lab: Make) -> None:
        text = "session: {timeout: -1}\n" + WATERING.replace("WHEN", "every: 30m")
        garden = Garden(lab, text)
        student = garden.node.student(HOUR)
        seen(garden.node, "lamp")
        garden.let(30 * MINUTE)
        assert garden.watered == ["submitted"]
        assert seen(garden.node, "lamp") == []
        garden.node.finish(student)
        assert eventually(lambda: garden.watered == ["done"])

    def test_one_that_fails_is_a_failed_task_and_may_be_a_quarantine(self, lab: Make) -> None:
        garden = Garden(
            lab,
            "sequences: {scheduled: {water: {at: 8:30, on_error: quarantine, "
            f"steps: [{{set: {{lamp: on}}}}, {DOOR}]}}}}}}\n",
        )
        garden.let(30 * MINUTE)
        assert eventually(lambda: garden.watered == ["failed"])
        assert "water: 'door' did not become" in str(garden.node.agent.sessions.quarantine.why)
        assert garden.node.value("lamp") is False

    def test_students_cannot_start_it(self, lab: Make) -> None:
        garden = Garden(lab, WATERING.replace("WHEN", "every: 30m"))
        assert garden.node.student().post("/api/tasks/water").status == 404

    def test_status_says_that_it_waits_for_a_clock_that_is_set(self, lab: Make) -> None:
        garden = Garden(lab, WATERING.replace("WHEN", "at: 8:30"), right=False)
        status = garden.node.agent.commands.by_name["status"]
        assert "no time server" in str(status()["clock"])
        garden.let(DAY)
        assert garden.watered == []
        garden.clock.confirm_wall()
        assert status()["clock"] is None
        garden.let(0)
        garden.let(DAY)
        assert eventually(lambda: garden.watered == ["done"])


def test_values_that_a_session_begins_with_are_set_after_the_reset(
    lab: Make, tmp_path: Path
) -> None:
    node = lab("  sign: {driver: led, pin: 5, initial: on}\n")
    assert node.value("sign") is False
    student = node.student()
    assert node.value("sign") is True
    node.finish(student)
    assert node.value("sign") is False


def test_a_turn_that_fails_does_not_end_the_upkeep(lab: Make, monkeypatch: Any) -> None:
    node = lab("sequences: {selftest: {every: 1h, steps: [{pulse: {lamp: 10ms}}]}}\n")
    routines = node.agent.runtime.routines
    look, looked = routines._look, []

    def broken() -> None:
        looked.append(1)
        raise OSError("no disk")

    monkeypatch.setattr(routines, "_look", broken)
    routines._wake.set()
    assert eventually(lambda: looked)
    monkeypatch.setattr(routines, "_look", look)
    routines._test_times._timetable._due = float("-inf")
    assert eventually(lambda: seen(node, "lamp")[-1:] == [False])


def test_a_latched_fault_survives_a_restart(lab: Make) -> None:
    rules = "interlocks: [{name: open, when: door, force: {heater: off}, latch: true}]\n"
    first = lab(rules)
    simulate(first, "door", True)
    assert first.server("GET", "/test").json["valid"] is False
    first.agent.stop()
    second = lab(rules)
    assert "open: The interlock 'open' acts." in second.server("GET", "/test").text
    assert second.start().status == 503


def test_a_boot_that_fails_leaves_nothing_on(lab: Make) -> None:
    node = lab(f"sequences: {{on_boot: {{steps: [{{set: {{heater: on}}}}, {DOOR}]}}}}\n")
    assert node.agent.sessions.quarantine.why is not None
    assert node.value("heater") is False


def test_a_fault_is_answered_once_until_it_is_over(lab: Make) -> None:
    node = lab(
        "interlocks: [{name: open, when: door, force: {heater: off}, latch: true}]\n"
        "sequences: {on_fault: {steps: [{pulse: {lamp: 1ms}}]}}\n"
    )
    lamp = seen(node, "lamp")[:0]
    for opened in (True, False, True, False):
        simulate(node, "door", opened)
        assert eventually(lambda: not node.agent.runtime.routines._news._queue)
        node.agent.worker.call(lambda: None)
    assert eventually(lambda: lamp.extend(seen(node, "lamp")) or lamp[-1:] == [False])
    assert lamp == [True, False]
    assert node.agent.worker.call(node.agent.board.clear_faults) == []
    simulate(node, "door", True)
    assert eventually(lambda: seen(node, "lamp"))


def test_after_an_emergency_stop_no_sequence_does_anything(
    lab: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    node = lab("sequences:\n  on_dispose: {steps: [{log: cleaning begins}, {set: {lamp: on}}]}\n")
    student = node.student()
    node.agent.estop.press("the red button")
    node.finish(student)
    assert "cleaning begins" not in caplog.text
    (why,) = node.server("GET", "/test").json["error_messages"]
    assert why == "The board is in quarantine: Emergency stop: the red button"


def test_an_emergency_stop_ends_a_sequence_that_waits(lab: Make) -> None:
    node = lab(
        "sequences: {selftest: {every: 1h, steps: [{set: {lamp: on}}, {wait: 20s}, {log: x}]}}\n"
    )
    routines = node.agent.runtime.routines
    routines._test_times._timetable._due = float("-inf")
    routines._wake.set()
    assert eventually(lambda: node.value("lamp"))
    node.agent.estop.press("the red button")
    assert eventually(lambda: routines._hook is None)
    assert node.value("lamp") is False
    assert node.agent.sessions.quarantine.why == "Emergency stop: the red button"


def test_a_sequence_talks_with_a_serial_device(lab: Make) -> None:
    node = lab(
        "  console: {driver: serial, port: /dev/ttyUSB0}\n"
        "sequences:\n"
        '  on_start: {steps: [{serial: {console: {send: "hello\\n", expect: "you too"}}}]}\n'
        'simulate: {console: {answers: {hello: "you too\\r\\n"}}}\n'
    )
    assert node.start().status == 200


def test_a_serial_device_that_says_nothing_fails_the_start(lab: Make) -> None:
    node = lab(
        "  console: {driver: serial, port: /dev/ttyUSB0}\n"
        "sequences:\n"
        "  on_start: {steps: [{serial: {console: {expect: ready, timeout: 100ms}}}]}\n"
    )
    reply = node.start()
    assert reply.status == 503
    assert "on_start: " in reply.text


def test_a_programmer_writes_an_image_in_a_sequence(lab: Make, tmp_path: Path) -> None:
    (tmp_path / "blank.hex").write_text(":02000000FFCF30\n:00000001FF\n")  # an endless loop
    node = lab(
        "  mcu: {driver: avrdude, part: atmega328p, programmer: arduino, port: /dev/ttyACM0,\n"
        "        accept: [.hex]}\n"
        "sequences: {on_start: {steps: [{program: {mcu: blank.hex}}]}}\n"
        "simulate: {mcu: {takes: 10ms}}\n"
    )
    assert node.start().status == 200
    assert node.value("mcu") == "programmed"


def test_an_interlock_acts_while_the_answer_to_another_fault_waits(lab: Make) -> None:
    node = lab(
        "  hot: {driver: button, pin: 22}\n"
        "interlocks:\n"
        "  - {name: open, when: door, force: {lamp: off}}\n"
        "  - {name: hot, when: hot, force: {heater: off}}\n"
        "sequences: {on_fault: {steps: [{log: begun}, {wait: 30s}]}}\n"
    )
    student = node.student()
    student.post("/api/devices/heater/on")
    board = node.agent.board
    node.agent.worker.call(lambda: board.simulate("door", True))
    assert eventually(lambda: node.agent.worker._hardware._call is not None)
    board.pins.pin("GPIO22").drive_low()  # on the pin library's thread
    assert eventually(lambda: node.value("heater") is False)


def test_a_ramp_keeps_to_how_often_its_output_may_be_commanded(lab: Make) -> None:
    node = lab(
        "  fan: {driver: pwm_output, pin: 13, max_per_second: 4}\n"
        "sequences: {on_start: {steps: [{ramp: {fan: {to: 1.0, over: 2s}}}]}}\n"
    )
    node.student()
    values = seen(node, "fan")
    assert values == sorted(values)
    assert values[-1] == 1.0
    assert len(values) > 5


BUTTON = (
    "sequences:\n"
    "  buttons:\n"
    "    warm_up:\n"
    "      label: {en: Warm up, es: Calentar}\n"
    "      steps: [{set: {lamp: on}}, {wait_for: {expr: door, timeout: 20s}}, {set: {lamp: off}}]\n"
)


def test_a_student_starts_a_sequence_by_a_button_and_sees_how_far_it_is(lab: Make) -> None:
    node = lab(BUTTON)
    student = node.student(locale="es")
    (button,) = student.get("/api/board").json["tasks"]
    assert (button["name"], button["label"]) == ("warm_up", "Calentar")
    task = student.post("/api/tasks/warm_up").json
    assert eventually(lambda: node.value("lamp"))
    address = f"/api/tasks/{task['task_id']}"
    assert eventually(lambda: student.get(address).json["data"].get("percent", 0) > 30)
    assert student.post("/api/tasks/warm_up").status == 409
    simulate(node, "door", True)
    assert eventually(lambda: student.get(address).json["status"] == "done")
    assert student.get(address).json["data"]["percent"] == 100
    assert node.value("lamp") is False


def test_a_student_stops_the_sequence_of_a_button(lab: Make) -> None:
    node = lab(BUTTON)
    student = node.student()
    task = student.post("/api/tasks/warm_up").json
    assert eventually(lambda: node.value("lamp"))
    student.post(f"/api/tasks/{task['task_id']}/stop")
    assert eventually(
        lambda: student.get(f"/api/tasks/{task['task_id']}").json["status"] == "failed"
    )
    assert node.value("lamp") is False


def test_a_button_whose_sequence_fails_says_why(lab: Make) -> None:
    node = lab(BUTTON.replace("20s", "50ms"))
    student = node.student()
    task = student.post("/api/tasks/warm_up").json
    address = f"/api/tasks/{task['task_id']}"
    assert eventually(lambda: student.get(address).json["status"] == "failed")
    assert "'door' did not become true" in student.get(address).json["error"]["message"]
    assert node.agent.sessions.quarantine.why is None
    assert node.value("lamp") is False, "what it has set is safe"


def test_the_sequence_of_a_button_ends_with_its_session(lab: Make) -> None:
    node = lab(BUTTON)
    student = node.student()
    student.post("/api/tasks/warm_up")
    assert eventually(lambda: node.value("lamp"))
    assert node.finish(student)["finished"] is True
    assert node.value("lamp") is False


@pytest.mark.parametrize(
    ("buttons", "sentence"),
    [
        ("{on_start: {label: a, steps: []}}", "'on_start' cannot be the name of a sequence"),
        ("{a-b: {label: a, steps: []}}", "'a-b' cannot be the name of a sequence"),
        ("{a: {steps: []}}", "missing key 'label' in button 'a'"),
        ("{a: {label: a, steps: [{set: {lmap: on}}]}}", "there is no device 'lmap'"),
        ("{a: {label: a, steps: [], on_error: warn}}", "unknown key 'on_error' in button 'a'"),
        ("{heat: {label: a, steps: []}}", "the sequence 'heat' has the name of a task"),
    ],
)
def test_buttons_that_cannot_be_are_told(lab: Make, buttons: str, sentence: str) -> None:
    module = "@lab.task\ndef heat(): ...\n"
    with pytest.raises(ConfigError) as caught:
        lab(f"sequences: {{buttons: {buttons}}}\nmodule: oven.py\n", module)
    assert sentence in str(caught.value)
