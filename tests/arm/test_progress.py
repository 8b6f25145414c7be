"""A long run is stopped, goes on, and says at the end what it saw."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.arm.results import forget_failures, results_in, table
from tests.kit.programs import ran

CLONE = Path(__file__).parent.parent.parent
TESTS = """
import os, pytest

def test_one(): pass
def test_two(): assert not os.environ.get("BROKEN"), "it is broken"
def test_three(): pytest.skip("there is no pin here")
"""


class Run:
    def __init__(self, directory: Path) -> None:
        self.results = directory / "results.jsonl"
        self.tests = directory / "test_it.py"
        self.tests.write_text(TESTS)

    def __call__(self, seconds: float = 60, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "LABNODE_TEST_PROGRESS": str(self.results),
            "LABNODE_TEST_SECONDS": str(seconds),
            **more,
        }
        options = "-q -p no:cacheprovider -p no:xdist -p tests.arm.progress --rootdir"
        command = [sys.executable, "-m", "pytest", *options.split()]
        return ran([*command, str(self.tests.parent), str(self.tests)], cwd=CLONE, env=environment)

    def outcomes(self) -> list[str]:
        return [result["outcome"] for result in results_in(self.results).values()]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_run_whose_time_is_over_goes_on_with_the_tests_left(run: Run) -> None:
    run(seconds=0)
    assert run.outcomes() == ["passed"]
    run()
    assert run.outcomes() == ["passed", "passed", "skipped"]
    assert "3 deselected" in run().stdout


def test_what_failed_is_named_and_can_be_run_again(run: Run) -> None:
    run(BROKEN="1")
    assert table("trixie-armhf", results_in(run.results)).splitlines()[2:] == [
        "| trixie-armhf | 1 | 1 | 1 |",
        "",
        "- failed: `test_it.py::test_two`: AssertionError: it is broken",
        "- 1 skipped: there is no pin here",
    ]
    assert forget_failures(run.results) == ["test_it.py::test_two"]
    run()
    assert run.outcomes() == ["passed", "skipped", "passed"]


def test_a_test_that_hangs_is_left_out_after_the_second_time(run: Run) -> None:
    begun = '{"test": "test_it.py::test_one", "outcome": "begun"}\n'
    run.results.write_text(begun)
    assert run.outcomes() == []
    run.results.write_text(begun * 2)
    run()
    assert results_in(run.results)["test_it.py::test_one"]["why"] == "it never ended"
