"""What a plot shows of a long past at once is what its points say one by one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from .conftest import Student
from .standin import StandIn

pytestmark = pytest.mark.browser

WALKS = 40
COLUMNS = 60
EVERY_POINT = 1_000_000_000  # columns: none is wide enough for two points

LOOK = """
    const [walks, few, many, done] = arguments;
    const modules = ["./static/chart.js", "./static/history.js"].map((file) => import(file));
    Promise.all(modules).then(([chart, { history, watch }]) => {
      watch("switch");
      const { times, values } = history("switch");
      done(walks.map((walk) => {
        times.length = values.length = 0;
        times.push(...walk.times);
        values.push(...walk.values.map((value) => value ?? NaN));
        const series = chart.makeSeries({ name: "switch", widget: "value" }, "");
        series.steps = walk.steps;
        return [few, many].map((columns) => {
          const { times, min, max, mean } = chart.look(series, walk.from, walk.to, columns);
          return { points: times.length, min, max, mean };
        });
      }));
    });
"""


def walk(number: int) -> dict[str, Any]:
    """A past with gaps, repeated times and all densities, and a part of it; seconds before now."""
    chance = random.Random(number)
    time, times = -5000.0, []
    while time < -1 and len(times) < 4000:
        times.append(time)
        time += chance.choice([0.0, 0.1, 0.1, 0.1, 1.0]) * chance.choice([1, 1, 1, 20])
    values = [
        None if chance.random() < number / 2000 else chance.gauss(20, 5) for _ in range(len(times))
    ]
    begin, end = sorted(chance.uniform(times[0] - 100, 0.0) for _ in range(2))
    return {
        "times": times,
        "values": values,
        "from": begin,
        "to": end,
        "steps": bool(number % 2),
    }


def test_numbers_of_a_long_past_are_those_of_its_points(student: Student, lab: StandIn) -> None:
    student.open(lab.url)
    student.sees("#device-switch .state", "Off")
    walks = [walk(number) for number in range(WALKS)]
    looks = student.driver.execute_async_script(LOOK, walks, COLUMNS, EVERY_POINT)
    for number, (few, many) in enumerate(looks):
        for what in ("min", "max", "mean"):
            assert few[what] == pytest.approx(many[what], rel=1e-9), f"{what} of walk {number}"
    assert sum(few["points"] for few, _ in looks) < sum(many["points"] for _, many in looks) / 5
