"""What a person gets wrong: one clear sentence for each mistake, exit code 2, no traceback.

The same without processes, and more of it, is in tests/test_cli.py.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.programs import ran

from .machine import PROBE, Machine, environment

GOOD = "schema: 1\ndevices: {led: {driver: led, pin: GPIO17}}\n"
BAD = "schema: 1\ndevices: {led: {driver: led, pim: GPIO17}}\n"

Refused = Callable[..., list[str]]


@pytest.fixture
def refused(machine: Machine) -> Refused:
    """Run a command that has to be refused; returns its sentences."""

    def refused(*arguments: str | Path, code: int = 2, **env: str) -> list[str]:
        result = machine.labnode(*arguments, **env)
        lines = result.stderr.splitlines()
        assert result.returncode == code, result
        assert result.stdout == ""
        assert all(line.startswith("labnode: ") for line in lines), result.stderr
        return [line.removeprefix("labnode: ") for line in lines]

    return refused


@pytest.fixture
def board(machine: Machine) -> Path:
    path = machine.home / "board.yaml"
    path.write_text(GOOD)
    return path


def test_a_board_with_mistakes_is_told_as_such_and_starts_nothing(
    refused: Refused, board: Path
) -> None:
    board.write_text(BAD)
    state = board.parent / "state"
    assert sorted(refused("run", board, "--simulate", "--state-dir", state)) == [
        f"{board}:2: unknown key 'pim' in device 'led'; did you mean 'pin'?",
    ]
    assert not state.exists()


def test_a_port_in_use_is_told(refused: Refused, board: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for command in (["run", "--simulate"], ["demo", "--no-browser"]):
            (sentence,) = refused(*command, board, "--port", port)
            assert sentence.startswith(f"port {port} of 127.0.0.1 is already in use; stop that")


def test_an_address_of_another_machine_is_told(refused: Refused, board: Path) -> None:
    (sentence,) = refused("run", board, "--simulate", "--host", "192.0.2.1", "--port", "0")
    assert sentence.startswith("host '192.0.2.1' is not an address of this machine")


def test_a_file_in_the_way_of_the_state_directory_is_told(refused: Refused, board: Path) -> None:
    (sentence,) = refused("run", board, "--simulate", "--state-dir", board)
    assert sentence.startswith(f"{board}: the state directory cannot be used (File exists)")


@pytest.mark.parametrize("name", ["control.sock", "labnode.db"])
def test_a_directory_in_the_way_of_a_file_is_told(refused: Refused, board: Path, name: str) -> None:
    state = board.parent / "state"
    (state / name).mkdir(parents=True)
    (sentence,) = refused("run", board, "--simulate", "--port", "0", "--state-dir", state)
    assert sentence.startswith(f"{state / name}: ")


def test_pins_that_this_machine_does_not_have_are_told(refused: Refused, board: Path) -> None:
    if list(Path("/dev").glob("gpiochip*")):
        pytest.skip("this machine has pins")
    (sentence,) = refused("run", board, "--port", "0", code=1, LABNODE_LOG_LEVEL="CRITICAL")
    assert "pins" in sentence


def test_a_node_that_is_not_there_is_told(refused: Refused) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        where = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        (sentence,) = refused("fake", "new", "--url", where, code=1)
    assert sentence.startswith(f"{where} cannot be reached: connection refused; is labnode running")


def test_a_thread_that_a_module_starts_keeps_no_command(machine: Machine) -> None:
    env = {"LABNODE_TEST_TRACE": "1", "LABNODE_TEST_THREAD": "1"}
    checked = machine.labnode("check", PROBE, **env)
    assert (checked.returncode, checked.stdout) == (0, f"{PROBE}: OK, 5 devices\n")
    refused = machine.labnode("run", PROBE, "--simulate", "--host", "192.0.2.1", **env)
    assert refused.returncode == 2
    assert "not an address of this machine" in refused.stderr
    assert refused.stderr.endswith("labnode: The process ends without: forgotten.\n")


def test_the_console_script_is_the_same_command(machine: Machine) -> None:
    script = Path(sys.executable).parent / "labnode"
    result = ran([script, "check", "gone.yaml"], env=environment(machine.home))
    assert (result.returncode, result.stderr) == (2, "labnode: gone.yaml: there is no such file\n")
