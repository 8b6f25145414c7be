"""The tests notice small faults in the rooms that keep a lab safe."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.kit.figures import FigureReporter
from tests.mutants.mutate import Mutant, mutants
from tests.mutants.run import FILES, ROOT, Coverage, Workshop, drawn, judge, reasons

SEED, COUNT = 1, 300
FLOOR = 0.9
OUTPUT = "labnode/drivers/framework/output.py"
INTERLOCKS = "labnode/board/interlocks.py"

SOURCE = '''
"""A docstring."""
LIMIT = 5


class Heater:
    """A docstring."""

    def __init__(self, power: int = 1) -> None:
        self.power = power

    def may(self, value: float, on: bool) -> bool:
        """A docstring."""
        assert value is not None
        log.info("asked %d times", 2)
        if not on and value < LIMIT:
            raise ValueError(
                f"not {value + 1}"
            )
        self.power += 1
        self.drive(value)
        return value >= 2
'''


def test_a_mutant_changes_one_thing_that_runs() -> None:
    changes = {f"{m.where}: {m.before} -> {m.after}" for m in mutants("heater.py", SOURCE)}
    assert changes == {
        ": 5 -> 6",
        "Heater.__init__: 1 -> 2",
        "Heater.may: not on and value < LIMIT -> not on or value < LIMIT",
        "Heater.may: not on -> on",
        "Heater.may: value < LIMIT -> value <= LIMIT",
        "Heater.may: raise ValueError(f'not {value + 1}') -> pass",
        "Heater.may: self.power += 1 -> pass",
        "Heater.may: 1 -> 2",
        "Heater.may: self.drive(value) -> pass",
        "Heater.may: return value >= 2 -> return None",
        "Heater.may: value >= 2 -> value > 2",
        "Heater.may: 2 -> 3",
    }


@pytest.mark.parametrize("file", FILES)
def test_every_mutant_is_python_with_the_same_lines_below(file: str) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    found = mutants(file, source)
    assert len(found) > source.count("\n") / 5
    for mutant in found:
        ast.parse(mutant.source)
        assert mutant.source != source
        assert mutant.source.count("\n") == source.count("\n")


def test_the_same_seed_draws_the_same_mutants() -> None:
    assert drawn(20, 3) == drawn(20, 3)
    assert drawn(20, 3) != drawn(20, 4)


def test_every_reason_is_about_a_mutant_that_can_be_made() -> None:
    every = {m.name for m in drawn(100_000, SEED)}
    assert set(reasons()) <= every


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def one(file: str, change: str) -> Mutant:
    (mutant,) = (m for m in drawn(100_000, SEED, [file]) if change in m.name)
    return mutant


def test_a_fault_that_a_test_notices_is_killed_and_what_none_looks_at_survives(
    workshop: Workshop,
) -> None:
    permit = one(OUTPUT, "Output.put: self.services.permit(value) -> pass")
    tests = ["tests/drivers/test_output.py"]
    assert (
        workshop.verdict(permit, ["tests/drivers/test_output.py::test_a_pulse_ends_by_itself"], 1)
        == "survived"
    )
    assert workshop.verdict(permit, tests, 10.0) == "killed"


def test_a_fork_says_the_same_unless_it_is_no_change_of_one_functions_code(
    workshop: Workshop,
) -> None:
    permit = one(OUTPUT, "Output.put: self.services.permit(value) -> pass")
    constant = one(OUTPUT, " : 0.25 -> 1.25")
    tests = [
        f"tests/drivers/test_output.py::{name}"
        for name in ("test_a_pulse_ends_by_itself", "test_interlocks_are_asked_before_the_hardware")
    ]
    coverage = Coverage(tests={OUTPUT: {permit.line: tests, constant.line: tests}})
    assert list(workshop.verdicts([permit, constant], coverage)) == ["killed", None]
    coverage.tests[OUTPUT][permit.line] = tests[:1]
    assert list(workshop.verdicts([permit], coverage)) == ["survived"]


def test_the_tests_kill_nine_of_ten_mutants(
    workshop: Workshop, long_run: bool, figure: FigureReporter
) -> None:
    if not long_run:
        pytest.skip("takes half an hour: --long")
    coverage = workshop.measure()
    chosen = drawn(COUNT, SEED)
    survivors = [
        mutant.name
        for mutant, verdict in judge(workshop, coverage, chosen)
        if verdict == "survived"
    ]
    killed = 1 - len(survivors) / len(chosen)
    figure(
        "small faults put into interlocks, outputs, sessions and store (mutants)",
        "the tests notice 90 % of them",
        f"{killed:.1%} of {len(chosen)}; the others with their reasons in tests/mutants",
    )
    for file, words in coverage.branches.items():
        figure(f"branch coverage of {file}", "what is not covered is named", words)
    assert killed >= FLOOR, survivors
    unexplained = sorted(set(survivors) - set(reasons()))
    assert not unexplained, "\n".join(["give each of them a test or a reason:", *unexplained])
