"""`labnode demo` as a newcomer sees it."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from .machine import PROBE, SAFE, Machine, Process, Student


def address(demo: Process) -> str:
    """The student's address, which has a line of its own."""
    return demo.output.wait_for(r"^(http://127\.0\.0\.1:\d+/callback/\S+)$")[1]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Process]]:
    """Two demos that end by themselves, at the same time, and what they said."""
    machines = [Machine(tmp_path_factory.mktemp(f"demo{n}")) for n in range(2)]
    board = machines[1].board("session: {", "session: {poll_interval: 1, ")
    over = machines[0].process("demo", "--no-browser", "--port", "0", "--seconds", "2")
    left = machines[1].process("demo", board, "--no-browser", "--port", "0")
    address(over)
    assert Student("", address(left)).leave().json == {"success": True}
    for demo in (over, left):
        assert demo.wait() == 0
        demo.output.all()
    yield {"over": over, "left": left}
    for machine in machines:
        machine.end()


def test_it_says_what_to_do_and_how_it_goes(demos: dict[str, Process]) -> None:
    said = demos["over"].output.seen
    assert said[0] == "The lab is ready. This is the student's address (Ctrl-C ends the demo):"
    assert said[2] == "To look into the board and play the outside world, in another terminal:"
    assert said[-3:] == ["0:02 left", "The session is over.", "The board is clean."]
    assert demos["over"].errors == ""


def test_it_ends_when_the_student_leaves(demos: dict[str, Process]) -> None:
    said = demos["left"].output.seen
    assert "5:00 left" in said
    assert said[-2:] == ["The session is over: the student has left.", "The board is clean."]
    assert demos["left"].errors == ""


def test_it_ends_with_a_clean_board(demos: dict[str, Process]) -> None:
    assert demos["left"].levels() == SAFE
    assert "cleaned" in demos["left"].trace.seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_disposes_and_is_no_failure(machine: Machine, number: int) -> None:
    demo = machine.process("demo", PROBE, "--no-browser", "--port", "0", TMPDIR=str(machine.home))
    student = Student("", address(demo))
    assert student.page.status == 200
    (directory,) = machine.home.glob("labnode-demo-*")
    demo.send(number)
    assert demo.wait() == 0
    assert demo.output.all()[-2:] == ["Stopping.", "The board is clean."]
    assert demo.levels() == SAFE
    assert "cleaned" in demo.trace.seen
    assert demo.errors == ""
    assert not directory.exists()


def test_a_second_ctrl_c_waits_no_longer_for_a_clean_up(machine: Machine) -> None:
    demo = machine.process(
        "demo", PROBE, "--no-browser", "--port", "0", LABNODE_TEST_ON_DISPOSE="wait"
    )
    address(demo)
    demo.send(signal.SIGINT)
    demo.trace.wait_for("on_dispose")
    demo.send(signal.SIGINT)
    assert demo.wait() == 1
    assert demo.levels() == SAFE
    assert "Traceback" not in demo.errors


def test_a_usual_port_that_is_taken_is_no_problem(machine: Machine) -> None:
    with ExitStack() as other:
        with suppress(OSError):  # taken already: just as good
            other.enter_context(socket.create_server(("127.0.0.1", 8080)))
        demo = machine.process("demo", "--no-browser")
        assert not re.search(":8080/", address(demo))
        demo.send(signal.SIGINT)
        assert demo.wait() == 0
    assert demo.errors == ""


def test_a_browser_is_opened_where_there_is_one(machine: Machine) -> None:
    browser = machine.home / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$0.opened"\n')
    browser.chmod(0o700)
    demo = machine.process("demo", "--port", "0", BROWSER=str(browser))
    url = address(demo)
    demo.output.wait_for("^It has been opened in your browser")
    assert (machine.home / "browser.opened").read_text() == f"{url}\n"
    demo.send(signal.SIGINT)
    assert demo.wait() == 0


def test_a_slot_is_never_longer_than_the_board_allows(machine: Machine) -> None:
    demo = machine.process("demo", "--no-browser", "--port", "0", "--seconds", "3600")
    demo.output.wait_for("^The board lets nobody stay longer than 600 s")
    demo.output.wait_for("^10:00 left")
    demo.send(signal.SIGINT)
    assert demo.wait() == 0


OWN = """
from dataclasses import dataclass
from pathlib import Path

from labnode.drivers import NumberOutput, register

@register("supply")
@dataclass(kw_only=True)
class Supply(NumberOutput):
    def open(self):
        Path(__file__).with_name("wire").write_text("OUTP ON")
        self.opened()

    def drive(self, value):
        Path(__file__).with_name("wire").write_text(f"VOLT {value}")
"""


def test_other_commands_find_it_and_a_driver_of_the_lab_reaches_nothing(machine: Machine) -> None:
    (machine.home / "own.py").write_text(OWN)
    board = machine.home / "own.yaml"
    board.write_text(
        "schema: 1\nlab: {name: own}\ndrivers: [own.py]\n"
        "devices: {supply: {driver: supply}, door: {driver: button, pin: 4}}\n"
    )
    tmp = str(machine.home)
    demo = machine.process("demo", str(board), "--no-browser", "--port", "0", TMPDIR=tmp)
    address(demo)
    for arguments, said in (
        (("status",), f"board       own@Labs, {board} (simulated)"),
        (("simulate", "set", "door", "true"), "door                true"),
        (("simulate", "get", "supply"), "supply              0.0  (held by a stand-in)"),
    ):
        assert said in machine.labnode(*arguments, TMPDIR=tmp).stdout
    demo.send(signal.SIGINT)
    assert demo.wait() == 0
    assert "supply: its driver has no simulation" in demo.errors
    assert not (machine.home / "wire").exists()
