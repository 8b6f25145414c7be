"""What a start and a click pass: few enough to be followed, and all that they have to pass."""

from __future__ import annotations

import os
import re
import sys

import pytest

from tests.chains import MOST
from tests.house import ROOT
from tests.kit.programs import ran


@pytest.fixture(scope="module")
def chains() -> dict[str, str]:
    """What the command prints of each; a process of its own, because a profiler slows all down."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = ran([sys.executable, "-m", "tests.chains"], cwd=ROOT, env=environ, timeout=120)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    parts = re.split(r"^== (\w+) .*$", result.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", MOST)
def test_few_classes_stand_between_a_request_and_its_effect(
    chains: dict[str, str], name: str
) -> None:
    (number,) = re.findall(r"^(\d+) classes: ", chains[name], re.MULTILINE)
    assert 5 < int(number) <= MOST[name], chains[name]


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("start", ["RequestReader.feed", "Sessions.start", "Store.insert", "Lab.prepare > run"]),
        ("click", ["RequestReader.feed", "Worker.call", "Board.command", "Output.put", "drive"]),
    ],
)
def test_the_steps_that_count_are_among_them(
    chains: dict[str, str], name: str, steps: list[str]
) -> None:
    assert [step for step in steps if step not in chains[name]] == []
