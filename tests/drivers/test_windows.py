"""What formulas remember, compared with what is simple and keeps everything."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labnode.drivers.logic.windows import FormulaMemory, Window

STEPS = st.lists(
    st.tuples(st.floats(0.01, 5), st.none() | st.floats(-100, 100)), min_size=1, max_size=60
)


def known(steps: list[tuple[float, float | None]], since: float) -> list[tuple[float, float]]:
    """The seconds for which each value was known after `since`."""
    found, now = [], 0.0
    for passed, value in steps:
        begin, now = now, now + passed
        if value is not None and now > since:
            found.append((now - max(begin, since), value))
    return found


@given(STEPS)
def test_averages_and_extremes_are_those_of_the_last_seconds(
    steps: list[tuple[float, float | None]],
) -> None:
    window, now = Window(10.0), 0.0
    for passed, value in steps:
        window.sample(now, value, None)
        now += passed
        window.go_on(now)
    if steps[-1][1] is None:
        assert window.over("avg") is window.over("max") is None
        return
    parts = known(steps, now - 10)
    mean = sum(t * v for t, v in parts) / sum(t for t, _ in parts)
    slack = 2 * 10 / 200 * 200 / max(0.1, sum(t for t, _ in parts))  # a piece at either end
    assert window.over("avg") == pytest.approx(mean, abs=slack)
    values = [value for _, value in parts]
    wider = [value for _, value in known(steps, now - 10.1)]
    low, high = window.over("min"), window.over("max")
    assert low is not None
    assert high is not None
    assert min(wider) <= low <= min(values)
    assert max(values) <= high <= max(wider)


def test_a_flood_of_values_takes_no_more_memory_than_a_few() -> None:
    window = Window(1.0)
    for number in range(5000):
        window.sample(number / 1000, float(number % 7), None)
    assert len(window._pieces) <= 201
    assert len(window._points) <= 202
    assert sys.getsizeof(window._pieces) < 5000
    assert window.over("avg") == pytest.approx(3, abs=0.05)
    assert (window.over("min"), window.over("max")) == (0, 6)


def test_after_a_long_silence_the_window_is_full_of_the_value_that_stayed() -> None:
    window = Window(10.0)
    window.sample(0.0, 5.0, None)
    window.sample(1.0, 7.0, None)
    window.go_on(1e6)
    assert [window.over(name) for name in ("avg", "min", "max", "rate")] == [7, 7, 7, 0]


def test_the_rate_of_a_sampled_ramp_is_its_slope_between_samples_too() -> None:
    window = Window(10.0)
    for second in range(31):
        window.sample(float(second), 3.0 * second, float(second))
        window.go_on(second + 0.9)
        assert window.over("rate") == (None if second == 0 else pytest.approx(3))


def test_the_rate_of_what_no_longer_changes_goes_to_nothing() -> None:
    window = Window(10.0)
    window.sample(0.0, 0.0, None)
    window.sample(5.0, 10.0, None)
    window.go_on(10.0)
    assert window.over("rate") == pytest.approx(1)
    window.go_on(16.0)
    assert window.over("rate") == 0


def test_no_rate_is_taken_across_a_time_that_nobody_knows() -> None:
    window = Window(10.0)
    window.sample(0.0, 0.0, 0.0)
    window.sample(1.0, None, None)
    window.sample(2.0, 50.0, 2.0)
    assert window.over("rate") is None


def test_a_hysteresis_keeps_its_side_until_the_other_is_reached() -> None:
    memory = FormulaMemory([])
    seen = [memory.switched(0, value, 40, 45) for value in (42, 46, 42, 39, 44, None, 46, None, 42)]
    assert seen == [False, True, True, False, False, None, True, None, True]
    assert memory.switched(1, 42, 40, 45) is False
