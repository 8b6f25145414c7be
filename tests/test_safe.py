"""`labnode safe`: the command, what it says, and when it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.gpio.factories import mock_factory
from labnode.errors import DeviceError
from labnode.node.state_dir import StateDir
from tests.kit.commands import Run, labnode_with
from tests.kit.scpi import Supply, TcpPlug, plugged

BOARD = """\
schema: 1
devices:
  heater: {driver: relay, pin: GPIO17, safe: true}
  fan: {driver: pwm_output, pin: GPIO18, safe: 1.0}
"""


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What stands in for the Pi's pins."""
    factory = mock_factory()
    monkeypatch.setattr(factory, "close", lambda: None)  # to be looked at afterwards
    monkeypatch.setattr(
        "labnode.drivers.gpio.factories.real_factory", lambda work_dir=None: factory
    )
    yield factory
    factory.reset()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "board.yaml").write_text(BOARD)
    return labnode_with(capsys, "safe")


def test_it_says_what_it_has_made_safe(run: Run, pins: Any) -> None:
    assert run("board.yaml") == (0, "board.yaml: safe: heater on, fan 1.0\n", "")
    assert pins.pin("GPIO17").state is True


def test_the_board_can_come_from_the_settings_of_the_node(
    run: Run, pins: Any, tmp_path: Path
) -> None:
    (tmp_path / "node.yaml").write_text("board: board.yaml\n")
    assert run("--settings", "node.yaml")[0] == 0
    assert pins.pin("GPIO17").state is True


def test_early_in_boot_only_outputs_on_pins_are_opened(run: Run, pins: Any, tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text(
        BOARD + "  plug: {driver: http_switch, on_url: http://127.0.0.1:9/on, "
        "off_url: http://127.0.0.1:9/off}\n"
    )
    assert run("board.yaml", "--pins") == (0, "board.yaml: safe: heater on, fan 1.0\n", "")
    assert run("board.yaml")[0] == 1


IMPORTED = """
import sys
before = set(sys.modules)
from labnode.cli import main
from labnode.drivers.gpio import factories
factories.real_factory = lambda work_dir: factories.mock_factory()
try:
    main(["safe", "relay.yaml"])
finally:
    new = [sys.modules[name] for name in set(sys.modules) - before]
    print(*{module.__name__ for module in new if getattr(module, "__file__", None)})
"""
FRAMEWORK = {
    *("bank", "commands", "driver", "expressions", "input", "output"),
    *("readings", "registry", "services"),
}


def test_it_imports_what_the_board_needs_and_nothing_else(run: Run, tmp_path: Path) -> None:
    """A Pi Zero 2 W is given 2 s for this, and imports are most of it."""
    (tmp_path / "relay.yaml").write_text(
        "schema: 1\ndevices: {heater: {driver: relay, pin: GPIO17}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True
    )
    said, _, names = done.stdout.partition("\n")
    assert said == "relay.yaml: safe: heater off"
    imported = set(names.split())
    tops = {name.partition(".")[0] for name in imported}
    assert tops - sys.stdlib_module_names == {"labnode", "click", "yaml", "gpiozero", "colorzero"}
    assert not imported & {"asyncio", "ctypes", "http.client", "multiprocessing", "sqlite3", "ssl"}
    drivers = {name.removeprefix("labnode.drivers.") for name in imported if "drivers." in name}
    assert drivers == {
        *("framework", "buses", "gpio", "tools"),
        *(f"framework.{name}" for name in FRAMEWORK),
        "buses.bus_pins",
        *("gpio.digital_output", "gpio.factories", "gpio.gpiochips", "gpio.pin"),
    }


def test_it_refuses_while_a_node_has_the_board(run: Run, pins: Any, tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state", None)
    code, out, err = run("board.yaml", "--state-dir", "state")
    state.close()
    assert (code, out) == (1, "")
    assert err == "labnode: A labnode is running with the state directory state.\n"
    assert pins.pin("GPIO17").function == "input"
    assert run("board.yaml", "--state-dir", "state")[0] == 0


def test_where_no_node_has_ever_run_nothing_is_left_behind(
    run: Run, pins: Any, tmp_path: Path
) -> None:
    assert run("board.yaml", "--state-dir", "state")[0] == 0
    assert not (tmp_path / "state").exists()


def test_an_output_that_is_not_safe_is_told_and_the_code_is_1(
    run: Run, pins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(pin: str) -> Any:
        raise DeviceError(f"{pin} cannot be had (GPIO busy): another program has it")

    monkeypatch.setattr(pins, "pin", busy)
    code, out, err = run("board.yaml")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 2
    assert "'heater' is not safe: GPIO17 cannot be had (GPIO busy)" in err


def test_a_machine_without_pins_is_told(run: Run) -> None:
    code, _, err = run("board.yaml")
    assert code == 1
    assert "GPIO" in err


def test_early_in_boot_pins_are_waited_for(
    run: Run, pins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([DeviceError("there is no /dev/gpiochip0"), DeviceError("may not open it"), pins])

    def factory(_work_dir: Path | None = None) -> Any:
        if isinstance(found := next(looks), DeviceError):
            raise found
        return found

    monkeypatch.setattr("labnode.drivers.gpio.factories.real_factory", factory)
    assert run("board.yaml", "--pins") == (0, "board.yaml: safe: heater on, fan 1.0\n", "")
    assert pins.pin("GPIO17").state is True


def test_early_in_boot_one_output_that_fails_is_tried_again_and_holds_up_no_other(
    run: Run, pins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, pin = [], pins.pin

    def busy(name: str) -> Any:
        tried.append(name)
        if tried == ["GPIO17"]:
            raise DeviceError("GPIO17 cannot be had")
        return pin(name)

    monkeypatch.setattr(pins, "pin", busy)
    assert run("board.yaml", "--pins").code == 0
    assert tried[1] == "GPIO18"
    assert (pin("GPIO17").state, pin("GPIO18").state) == (True, 1.0)


def test_pins_that_do_not_come_early_in_boot_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.cli.safe._COME_WITHIN", 0.2)
    code, _, err = run("board.yaml", "--pins")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "GPIO" in err


def test_a_board_without_outputs_needs_no_pins(run: Run, tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text("schema: 1\ndevices: {}\n")
    assert run("board.yaml") == (0, "board.yaml: there are no outputs\n", "")


def test_a_board_with_mistakes_is_told_with_code_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text("schema: 1\ndevices: {heater: {driver: relya}}\n")
    code, _, err = run("board.yaml")
    assert code == 2
    assert "board.yaml:2" in err


def test_without_a_board_it_says_how_to_name_one(run: Run) -> None:
    code, _, err = run()
    assert code == 2
    assert "labnode safe BOARD.yaml" in err


def test_an_instrument_is_made_safe_on_a_machine_without_pins(run: Run, tmp_path: Path) -> None:
    supply = Supply()
    supply.on = True
    with plugged(TcpPlug(supply)) as plug:
        assert isinstance(plug, TcpPlug)
        (tmp_path / "board.yaml").write_text(
            "schema: 1\ndevices:\n"
            "  output: {driver: instrument_switch, instrument: supply, query: 'OUTP?',"
            " on_command: OUTP ON, off_command: OUTP OFF}\n"
            f"  supply: {{driver: instrument, tcp: '{plug.address}'}}\n"
        )
        assert run("board.yaml") == (0, "board.yaml: safe: output off\n", "")
    assert supply.on is False
