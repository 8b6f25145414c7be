"""`labnode run --reload`: a real node that starts again with what was saved."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.kit.waiting import eventually

from .machine import Machine, Node

BOARD = "schema: 1\nmodule: lab.py\ndevices: {led: {driver: led, pin: GPIO17}}\n"
MODULE = """
from words import WORD
from labnode import Lab
lab = Lab()

@lab.app.get("/word")
def word():
    return WORD

@lab.on_dispose
def dispose():
    print("disposing", flush=True)
    print("disposed, cut off:", lab.wait(5) is False, flush=True)
"""


class Reloading(Node):
    entry = Path(sys.executable).parent / "labnode"  # as lab developers start it


@pytest.fixture
def node(machine: Machine) -> Node:
    (machine.home / "board.yaml").write_text(BOARD)
    (machine.home / "lab.py").write_text(MODULE)
    says(machine, "'old'")
    return machine.keep(
        Reloading(machine.home, "--reload", "--port", free_port(), board=Path("board.yaml"))
    )


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def says(machine: Machine, word: str) -> None:
    """Save what the route of the lab answers, in a file that its module imports."""
    (machine.home / "words.py").write_text(f"WORD = {word}\n")


def test_what_is_saved_is_served_and_mistakes_are_not(machine: Machine, node: Node) -> None:
    student = node.student()
    assert student.get("/word").text == "old"

    says(machine, "'new and better'")
    assert node.output.wait_for("changed")[0] in "words.py has changed: starting again"
    node.output.wait_for(r" at http://\S+/$")
    assert student.get("/word").text == "new and better"  # the same session

    says(machine, "'broken")
    mistakes = "words.py has changed and has mistakes; the node goes on as it was."
    eventually(lambda: mistakes in node.errors, mistakes)
    assert "labnode: words.py:1: SyntaxError: unterminated string literal" in node.errors
    assert student.get("/word").text == "new and better"

    node.stop()


def test_a_clean_up_is_not_cut_off(machine: Machine, node: Node) -> None:
    student = node.student()
    student.leave()
    node.output.wait_for("^disposing$")
    says(machine, "'new and better'")
    node.output.wait_for(r" at http://\S+/$")
    said = [line for line in node.output.seen if line.startswith("dispos")]
    assert said == ["disposing", "disposed, cut off: False"]

    node.stop()
