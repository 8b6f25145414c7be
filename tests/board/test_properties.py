"""Whatever is commanded, shown and broken: outputs keep their limits, and interlocks hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labnode.board.config.interlock_rules import Mutex, Require, When
from labnode.drivers.framework.output import NumberOutput, Output
from labnode.drivers.framework.readings import Readings
from labnode.drivers.framework.registry import load_drivers, register, registry
from labnode.errors import LabnodeError
from tests.board.conftest import Rig, Thermometer

PINS = [5, 6, 12, 13, 16, 17, 18, 19, 20, 21]
SWITCHES = ["a", "b", "c", "d"]
LEVELS = ["fan", "pump"]
OUTPUTS = [*SWITCHES, *LEVELS]
CONDITIONS = [
    "door", "not door", "hot > 50", "hot < 10", "stale(hot)", "door and hot > 20",
    "a and not fan > 0.5", "hot + 10 > 60 or door", "not stale(hot)",
]  # fmt: skip

BOUND = 0.6  # seconds until what an output did not obey has been tried again
SLOW: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

# ------------------------------------------------------------------ random boards


@st.composite
def switches(draw: st.DrawFn, pin: int) -> str:
    options = [f"driver: relay, pin: {pin}", f"safe: {draw(st.sampled_from(['off', 'off', 'on']))}"]
    options.append(f"active_high: {draw(st.sampled_from(['true', 'false']))}")
    for name in ("max_on_time", "min_off_time", "pulse"):
        if draw(st.booleans()):
            options.append(f"{name}: {draw(st.sampled_from(['200ms', '1s', '3s']))}")
    if draw(st.booleans()):
        options.append(f"max_per_second: {draw(st.sampled_from([1, 5]))}")
    return ", ".join(options)


@st.composite
def levels(draw: st.DrawFn, pin: int) -> str:
    low, high = draw(st.sampled_from([(0, 1), (0.2, 0.8), (0, 0.5)]))
    safe = draw(st.sampled_from([0, 0, 1]))
    options = [f"driver: pwm_output, pin: {pin}, min: {low}, max: {high}, safe: {safe}"]
    if draw(st.booleans()):
        options.append("max_on_time: 2s")
    return ", ".join(options)


@st.composite
def rules(draw: st.DrawFn, number: int) -> str:
    kind = draw(st.sampled_from(["mutex", "require", "when"]))
    condition = draw(st.sampled_from(CONDITIONS))
    some = draw(st.lists(st.sampled_from(OUTPUTS), min_size=2, max_size=3, unique=True))
    if kind == "mutex":
        wait = draw(st.sampled_from(["0", "500ms", "2s"]))
        return f"{{name: r{number}, mutex: [{', '.join(some)}], wait: {wait}}}"
    if kind == "require":
        return f"{{name: r{number}, require: {condition}, for: [{', '.join(some)}]}}"
    force = {name: draw(st.sampled_from(["off", "on"])) for name in some if name in SWITCHES}
    force |= {name: draw(st.sampled_from(["0", "0.5"])) for name in some if name in LEVELS}
    forced = ", ".join(f"{name}: {value}" for name, value in force.items())
    more = draw(st.sampled_from(["", ", latch: true", ", for_time: 1s"]))
    return f"{{name: r{number}, when: {condition}, force: {{{forced}}}{more}}}"


@st.composite
def boards(draw: st.DrawFn) -> str:
    pins = iter(PINS)
    lines = ["devices:", "  door: {driver: button, pin: 27}"]
    lines.append("  hot: {driver: thermometer, sample_every: 500ms, stale_after: 2s}")
    lines += [f"  {name}: {{{draw(switches(next(pins)))}}}" for name in SWITCHES]
    lines += [f"  {name}: {{{draw(levels(next(pins)))}}}" for name in LEVELS]
    count = draw(st.integers(0, 4))
    lines.append("interlocks:" if count else "interlocks: []")
    lines += [f"  - {draw(rules(number))}" for number in range(count)]
    return "\n".join(lines) + "\n"


ACTIONS = st.one_of(
    st.tuples(
        st.just("switch"), st.sampled_from(SWITCHES), st.sampled_from(["on", "off", "toggle"])
    ),
    st.tuples(st.just("level"), st.sampled_from(LEVELS), st.floats(-0.5, 1.5)),
    st.tuples(st.just("show"), st.just("door"), st.booleans()),
    st.tuples(st.just("show"), st.just("hot"), st.one_of(st.none(), st.floats(-20, 100))),
    st.tuples(st.just("pass"), st.sampled_from([0.05, 0.3, 1.0, 5.0]), st.none()),
    st.tuples(st.just("break"), st.sampled_from(OUTPUTS), st.integers(1, 3)),
    st.tuples(st.just("reset"), st.none(), st.none()),
    st.tuples(st.just("clear"), st.none(), st.none()),
)

# ------------------------------------------------------------------ the board under test


@dataclass
class Trial:
    """A board, how often outputs shall fail from now on, and since when they are on."""

    rig: Rig
    failing: dict[str, int] = field(default_factory=dict)
    on_since: dict[str, float] = field(default_factory=dict)
    failed_at: float = float("-inf")

    def __post_init__(self) -> None:
        for name in OUTPUTS:
            self._make_fragile(name, self.outputs[name])

    def _make_fragile(self, name: str, output: Output) -> None:
        right = output.drive

        def drive(value: Any) -> None:
            if self.failing.get(name, 0) > 0:
                self.failing[name] -= 1
                self.failed_at = self.rig.clock.now()
                raise OSError(f"{name} does not obey")
            right(value)

        def force(value: Any) -> None:
            self.on_since.pop(name, None)  # however long an interlock wants it
            Output.force(output, value)

        output.drive = drive  # type: ignore[method-assign]
        output.force = force  # type: ignore[method-assign]

    @property
    def outputs(self) -> dict[str, Any]:
        return dict(self.rig.board.file.devices)

    def value(self, name: str) -> Any:
        return self.rig.board.snapshot[name]["value"]

    def do(self, action: tuple[str, Any, Any]) -> None:
        kind, name, argument = action
        board = self.rig.board
        try:
            if kind == "switch":
                board.command(name, argument)
            elif kind == "level":
                board.command(name, "set", [argument])
            elif kind == "show":
                board.simulate(name, argument)
            elif kind == "break":
                self.failing[name] = argument
            elif kind == "reset":
                board.reset()
            elif kind == "clear":
                board.clear_faults()
        except LabnodeError:
            pass  # refused or failed, and told so
        self.rig.serve()
        if kind == "pass":
            self.wait(name)

    def wait(self, seconds: float) -> None:
        """Let time pass as the hardware thread does: from one due moment to the next."""
        end = self.rig.clock.now() + seconds
        for _ in range(1000):
            due = self.rig.board.poll()
            self.check()
            left = end - self.rig.clock.now()
            if left <= 0:
                return
            self.rig.clock.advance(min(left, max(due, 0.001) if due is not None else left))
        raise AssertionError("the board is never at rest")

    def recover(self) -> None:
        """Nothing fails any more, and what was to be tried again has been."""
        self.failing.clear()
        self.wait(1.0)

    # -------------------------------------------------------------- what always holds

    def check(self) -> None:
        now = self.rig.clock.now()
        obeying = {name for name in OUTPUTS if not self.failing.get(name)}
        for name in OUTPUTS:
            self.check_limits(name, now, obeying)
        if obeying == set(OUTPUTS) and now - self.failed_at > BOUND:
            self.check_rules()

    def check_limits(self, name: str, now: float, obeying: set[str]) -> None:
        output, value = self.outputs[name], self.value(name)
        if value is None:  # it could not be read, and that is told
            assert "error" in self.rig.board.snapshot[name]
            return
        if isinstance(output, NumberOutput):
            allowed = value in (0.0, output.safe) or output.least <= value <= output.most
            assert allowed, f"{name} is {value}"
        forced = self.rig.board.interlocks.lock(name) is not None
        if output.is_safe(value) or forced or name not in obeying:
            self.on_since.pop(name, None)
            return
        since = self.on_since.setdefault(name, now)
        longest = min(t for t in (output.pulse, output.max_on_time, 1e9) if t is not None)
        assert now - since <= longest + 0.3, f"{name} is on for {now - since} s"

    def check_rules(self) -> None:
        readings = Readings(self.rig.board.snapshot)
        file = self.rig.board.file
        for rule in file.interlocks:
            if isinstance(rule, Mutex):
                held = {name for r in file.interlocks if isinstance(r, When) for name in r.force}
                on = [n for n in rule.devices if not self.outputs[n].is_safe(self.value(n))]
                assert len(on) <= 1 or held & set(on), f"{on} are on together"
            elif isinstance(rule, Require) and rule.expression.evaluate(readings) is not True:
                unsafe = [n for n in rule.devices if not self.outputs[n].is_safe(self.value(n))]
                assert not unsafe, f"{unsafe} against {rule.name}"
            elif isinstance(rule, When) and not rule.for_time and self.acts(rule, readings):
                for name, value in rule.force.items():
                    fine = self.value(name) == value or self.outputs[name].is_safe(self.value(name))
                    another = any(
                        name in other.force and other is not rule
                        for other in file.interlocks
                        if isinstance(other, When)
                    )
                    assert fine or another, f"{name} is not {value}, as {rule.name} says"

    @staticmethod
    def acts(rule: When, readings: Readings) -> bool:
        return bool(rule.expression.evaluate(readings))


@contextmanager
def trial(text: str) -> Iterator[Trial]:
    load_drivers()
    register("thermometer")(Thermometer)
    try:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "x.yaml"
            path.write_text(f"schema: 1\n{text}")
            rig = Rig(path)
            rig.board.open()
            tried = Trial(rig)
            try:
                yield tried
            finally:
                tried.failing.clear()
                rig.board.close()
    finally:
        del registry["thermometer"]


@settings(max_examples=60, **SLOW)
@given(boards(), st.lists(ACTIONS, min_size=5, max_size=40))
def test_limits_and_interlocks_hold_whatever_happens(
    text: str, actions: list[tuple[str, Any, Any]]
) -> None:
    with trial(text) as tried:
        for action in actions:
            tried.do(action)
            if not any(tried.failing.values()):
                tried.recover()
                tried.check()
        tried.recover()
        tried.check()


@settings(max_examples=30, **SLOW)
@given(boards(), st.lists(ACTIONS, max_size=25))
def test_after_a_reset_every_output_is_safe_unless_an_interlock_holds_or_has_moved_it(
    text: str, actions: list[tuple[str, Any, Any]]
) -> None:
    with trial(text) as tried:
        for action in actions:
            tried.do(action)
        tried.failing.clear()
        tried.rig.board.reset()
        rules = [rule for rule in tried.rig.board.file.interlocks if isinstance(rule, When)]
        for name in OUTPUTS:
            held = tried.rig.board.interlocks.lock(name) is not None
            # One may be over by what it does: `when: a`, `force: {a: off}`.
            moved = any(rule.force.get(name) == tried.value(name) for rule in rules)
            assert held or moved or tried.outputs[name].is_safe(tried.value(name)), name


@settings(max_examples=30, **SLOW)
@given(boards(), st.lists(ACTIONS, max_size=25))
def test_after_closing_and_after_a_halt_every_pin_is_driven_at_its_safe_level(
    text: str, actions: list[tuple[str, Any, Any]]
) -> None:
    with trial(text) as tried:
        for action in actions:
            tried.do(action)
        tried.failing.clear()
        board = tried.rig.board
        levels: dict[int, bool] = {}
        for name in OUTPUTS:
            levels |= tried.outputs[name].rest_level()
        pins = board.pins
        board.halt("test")
        tried.rig.serve()
        assert {pin: bool(pins.pin(f"GPIO{pin}").state) for pin in levels} == levels
        board.resume()
        board.close()
        assert {pin: bool(pins.pin(f"GPIO{pin}").state) for pin in levels} == levels
        assert {pins.pin(f"GPIO{pin}").function for pin in levels} == {"output"}
