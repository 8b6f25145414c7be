"""The part of the page where a student lets programs of their own in."""

from __future__ import annotations

from pathlib import Path

import pytest

from labnode.client import LabError, connect

from .conftest import Student
from .real_node import running

pytestmark = pytest.mark.browser

BOARD = """
schema: 1
title: Bench
lab: {name: bench}
devices:
  lamp: {driver: led, pin: GPIO22}
"""


def test_a_student_lets_a_program_in_and_shuts_it_out_again(
    student: Student, tmp_path: Path
) -> None:
    (tmp_path / "bench.yaml").write_text(BOARD)
    with running(tmp_path / "bench.yaml", tmp_path / "state") as node:
        _, url = node.server.new(assigned_time=120)
        student.open(url)
        student.click("#programs summary")
        student.click("#programs-allow")
        student.sees("#programs", "Whoever has this address can use the lab")
        address = str(student.find("#programs input").get_property("value"))
        connect(address).lamp.on()
        student.sees("#device-lamp .state", "On")
        student.open(node.url)  # a reload shows the same address
        student.click("#programs summary")
        student.until(
            lambda: student.find("#programs input").get_property("value") == address, "the address"
        )
        student.click("#programs-withdraw")
        student.sees("#programs", "A program of yours can do what this page can")
        with pytest.raises(LabError):
            connect(address)
        student.go_away()
