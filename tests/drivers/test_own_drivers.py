"""The drivers of docs/examples: whole, in a visit without hardware, and on what they are for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from labnode.board import Board, load_board
from labnode.drivers.gpio.factories import MockPin, mock_factory
from labnode.errors import BadInput, ConfigError, DeviceError, Interlocked
from labnode.testing import LabClient
from tests.kit.boards import OpenBoards
from tests.kit.scpi import Supply, TcpPlug, plugged

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


def copy(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """A lab's folder with a driver and its board, changed where the test's hardware is."""
    (folder / f"{name}.py").write_text((EXAMPLES / f"{name}.py").read_text())
    text = (EXAMPLES / f"{name}.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


@pytest.fixture
def boards(tmp_path: Path) -> Iterator[OpenBoards]:
    boards = OpenBoards(tmp_path)
    yield boards
    boards.close()


# --- in a simulation ---


def test_a_student_dims_the_simulated_lamp_within_its_limits(tmp_path: Path) -> None:
    with LabClient(copy(tmp_path, "wled"), state_dir=tmp_path) as lab:
        student = lab.student()
        assert student.post("/api/devices/lamp/set", [40]).status == 200
        assert lab.value("lamp") == 40
        refused = student.post("/api/devices/lamp/set", [61])
        assert (refused.status, "from 0 to 60 in steps of 1" in refused.text) == (400, True)
        assert "stand_in" not in lab.agent.board.snapshot["lamp"]
        lab.finish(student)
        assert lab.value("lamp") == 0


def test_a_student_tares_the_simulated_scale_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    board = copy(tmp_path, "hx711")
    with LabClient(board, state_dir=tmp_path) as lab:
        student = lab.student()
        assert lab.value("weight") == 20
        student.post("/api/devices/weight/tare")
        assert lab.value("weight") == 0
        lab.finish(student)
        lab.student()
        assert lab.value("weight") == 20


def test_no_tare_gets_around_the_interlock_of_the_full_vessel(tmp_path: Path) -> None:
    board = copy(tmp_path, "hx711", ('{value: "20 + 980 * valve", lag: 10}', "140"))
    with LabClient(board, state_dir=tmp_path) as lab:
        student = lab.student()
        refused = student.post("/api/devices/weight/tare")
        assert (refused.status, refused.json["message"]) == (
            400,
            "140 g is more than can be tared (100)",
        )
        assert lab.value("weight") == 140


def test_a_student_draws_a_current_from_the_simulated_battery(tmp_path: Path) -> None:
    with LabClient(copy(tmp_path, "electronic_load"), state_dir=tmp_path) as lab:
        student = lab.student()
        student.post("/api/devices/current/set", [2])
        assert (lab.value("current"), lab.value("voltage")) == (2, 12.5)
        assert student.post("/api/devices/current/set", [2.1]).status == 400
        lab.finish(student)
        assert (lab.value("current"), lab.value("voltage")) == (0, 12.6)


def test_the_test_of_the_page_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(tmp_path, "wled")
    monkeypatch.chdir(tmp_path)
    page = (EXAMPLES.parent / "own-driver.md").read_text()
    (block,) = re.findall(r"```python\n(from labnode\.testing .*?)```", page, re.DOTALL)
    exec(block, {})


# --- the lamp ---


class WledLamp(ThreadingHTTPServer):
    """A lamp's web server on loopback, with the part of its JSON API that sets the brightness."""

    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        self.state: dict[str, Any] = {"on": True, "bri": 128}  # as after its power was cut
        super().__init__(("127.0.0.1", port), _Answer)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), name="lamp")
        self._thread.start()

    def unplug(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: WledLamp

    def do_GET(self) -> None:
        self._send(self.server.state if self.path == "/json/state" else None)

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.state |= said
        self._send({"success": True})

    def _send(self, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(200 if said else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def lamp() -> Iterator[WledLamp]:
    lamp = WledLamp()
    yield lamp
    lamp.unplug()


@pytest.fixture
def lit(boards: OpenBoards, lamp: WledLamp, tmp_path: Path) -> Board:
    """The board with the lamp, which is off, as `open` has made it."""
    here = f"127.0.0.1:{lamp.server_port}"
    path = copy(tmp_path, "wled", ("192.168.1.40", here), ("max_per_second: 5", "check_every: 1"))
    board = boards.open_file(load_board(path))
    boards.until(board, "lamp", value=0)
    assert lamp.state["on"] is False
    return board


def test_the_lamp_shows_what_it_has_confirmed_and_is_off_after_a_reset_and_at_the_end(
    boards: OpenBoards, lamp: WledLamp, lit: Board
) -> None:
    lit.command("lamp", "set", [30])
    boards.until(lit, "lamp", value=30)
    assert lamp.state == {"on": True, "bri": 76}
    with pytest.raises(BadInput, match=r"a number from 0 to 60 in steps of 1, not 0\.5"):
        lit.command("lamp", "set", [0.5])
    lit.reset()
    assert (lamp.state["on"], lit.snapshot["lamp"]["value"]) == (False, 0)
    lit.command("lamp", "set", [60])
    boards.until(lit, "lamp", value=60)
    lit.close()
    assert lamp.state["on"] is False


def test_somebody_else_dims_the_lamp_and_the_page_shows_it(
    boards: OpenBoards, lamp: WledLamp, lit: Board
) -> None:
    lamp.state = {"on": True, "bri": 51}
    boards.until(lit, "lamp", value=20)


def test_a_lamp_that_goes_away_is_unknown_and_off_as_soon_as_it_is_there_again(
    boards: OpenBoards, lamp: WledLamp, lit: Board
) -> None:
    lamp.unplug()
    lit.command("lamp", "set", [50])
    boards.until(lit, "lamp", value=None)
    assert "does not answer" in lit.snapshot["lamp"]["error"]
    with pytest.raises(DeviceError, match="has not confirmed that it is 0"):
        lit.reset()  # nobody gets a board whose lamp may be on
    again = WledLamp(lamp.server_port)
    try:
        boards.until(lit, "lamp", value=0)
        assert again.state["on"] is False
        assert "error" not in lit.snapshot["lamp"]
        lit.close()
    finally:
        again.unplug()


def test_what_is_no_lamp_is_told(boards: OpenBoards, lamp: WledLamp, lit: Board) -> None:
    lamp.state = {"colour": "red"}
    boards.until(
        lit, "lamp", error=f"127.0.0.1:{lamp.server_port} does not answer as a WLED lamp does"
    )


# --- the scale ---


class Converter:
    """An HX711 at two mock pins: each pulse brings the next bit of `number` to the data pin."""

    def __init__(self, data: Any, number: int | None) -> None:
        self.number = number  # None: it has none ready, after the one that is being read
        self._data = data
        self._convert()

    def clocked(self) -> None:
        assert self._word is not None
        self._sent += 1
        if self._sent <= 24:
            self._show(bool(self._word >> (24 - self._sent) & 1))
        else:  # input A with gain 128 again
            self._convert()

    def _convert(self) -> None:
        self._sent = 0
        self._word = None if self.number is None else self.number & 0xFFFFFF
        self._show(self._word is None)

    def _show(self, level: bool) -> None:
        (self._data.drive_high if level else self._data.drive_low)()


class DataPin(MockPin):
    """The mock pin at DOUT, whose level is the converter's, whatever the pull-up."""

    def _set_pull(self, value: str) -> None:
        self._pull = value


class ClockPin(MockPin):
    """The mock pin at PD_SCK."""

    converter: Converter | None = None

    def _change_state(self, value: Any) -> bool:
        changed: bool = super()._change_state(value)
        if changed and value and self.converter is not None:
            self.converter.clocked()
        return changed


@pytest.fixture
def scale(boards: OpenBoards, tmp_path: Path) -> tuple[Board, Converter]:
    pins = mock_factory()
    clock, data = pins.pin("GPIO6", pin_class=ClockPin), pins.pin("GPIO5", pin_class=DataPin)
    clock.converter = converter = Converter(data, 10_000)
    path = copy(tmp_path, "hx711", ("digits: 1", "sample_every: 0.1"), ("3s", "0.5s"))
    driver = path.with_suffix(".py")  # a slow machine may take longer than a converter waits
    text = driver.read_text()
    assert "LONGEST_PULSE = 60e-6" in text
    driver.write_text(text.replace("LONGEST_PULSE = 60e-6", "LONGEST_PULSE = 60"))
    return boards.open_file(load_board(path), pins=pins), converter


@pytest.mark.parametrize(("number", "grams"), [(100_000, 234.0), (-100_000, -234.0), (1, 0.002)])
def test_the_scale_reads_24_bits_as_a_signed_number(
    boards: OpenBoards, scale: tuple[Board, Converter], number: int, grams: float
) -> None:
    board, converter = scale
    boards.until(board, "weight", value=23.4)
    converter.number = number
    boards.until(board, "weight", value=grams)


def test_the_tare_lasts_until_the_next_student(
    boards: OpenBoards, scale: tuple[Board, Converter]
) -> None:
    board, converter = scale
    with pytest.raises(DeviceError, match="nothing has been weighed yet"):
        board.command("weight", "tare", None)
    boards.until(board, "weight", value=23.4)
    board.command("weight", "tare", None)
    assert board.snapshot["weight"]["value"] == 0
    converter.number = 20_000
    boards.until(board, "weight", value=23.4)
    board.reset()
    assert board.snapshot["weight"]["value"] == 46.8


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (None, "the HX711 has no number ready: is it wired and powered?"),
        (0x7FFFFF, "the load cell is overloaded or not connected"),
    ],
)
def test_a_scale_that_weighs_nothing_says_why_and_what_depends_on_it_stays_off(
    boards: OpenBoards, scale: tuple[Board, Converter], number: int | None, sentence: str
) -> None:
    board, converter = scale
    boards.until(board, "weight", value=23.4)
    converter.number = number
    boards.until(board, "weight", error=sentence)
    boards.until(board, "weight", stale=True)
    with pytest.raises(Interlocked):
        board.command("valve", "on", None)


def test_a_reading_whose_clock_was_high_for_too_long_is_lost(
    boards: OpenBoards, scale: tuple[Board, Converter]
) -> None:
    board, _ = scale
    driver: Any = board.file.devices["weight"]
    boards.until(board, "weight", value=23.4)
    driver.close()
    driver.open()
    driver.services = SlowClock(driver.services)
    driver._io.stop()
    assert driver.read() is None


class SlowClock:
    """Services on a machine that does something else for two minutes between two lines."""

    def __init__(self, services: Any) -> None:
        self._services = services
        self._now = 0.0
        self.clock = self

    def now(self) -> float:
        self._now += 120
        return self._now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._services, name)


def test_the_clock_of_the_scale_is_left_low(scale: tuple[Board, Converter]) -> None:
    board, _ = scale
    pin = board.pins.pin("GPIO6")
    assert board.file.devices["weight"].rest_level() == {6: False}
    board.close()
    assert (pin.function, pin.state) == ("output", False)


# --- the electronic load ---


class Load(Supply):
    """An electronic load on a battery of 12.6 V."""

    current = 0.0

    def _obey(self, words: list[str]) -> None:
        match words:
            case ["SOUR:CURR", value]:
                self.current = float(value)
            case ["SOUR:INP", ("ON" | "OFF") as word]:
                self.on = word == "ON"
            case _:
                super()._obey(words)

    def _said(self, question: str) -> bytes | None:
        drawn = self.current if self.on else 0.0
        return {
            "*IDN?": b"RIGOL TECHNOLOGIES,DL3021,1,1",
            "SOUR:INP?": b"1" if self.on else b"0",
            "SOUR:CURR?": f"{self.current:.6f}".encode(),
            "MEAS:VOLT?": f"{12.6 - 0.05 * drawn:.4f}".encode(),
        }.get(question) or super()._said(question)


@pytest.fixture
def load() -> Load:
    return Load()


@pytest.fixture
def wire(load: Load) -> Iterator[Any]:
    with plugged(TcpPlug(load)) as plug:
        yield plug


@pytest.fixture
def bench(wire: TcpPlug, tmp_path: Path) -> Iterator[tuple[OpenBoards, Board]]:
    path = copy(
        tmp_path,
        "electronic_load",
        ("192.168.1.50:5555", wire.address),
        ("stale_after: 5s", "sample_every: 0.05"),
    )
    boards = OpenBoards(tmp_path)  # closed while the instrument is there
    board = boards.open_file(load_board(path))
    boards.until(board, "current", value=0)
    yield boards, board
    boards.close()


def test_the_load_draws_a_current_and_shares_its_connection_with_the_voltage(
    bench: tuple[OpenBoards, Board], load: Load, wire: TcpPlug
) -> None:
    boards, board = bench
    board.command("current", "set", [1.5])
    boards.until(board, "current", value=1.5)
    boards.until(board, "voltage", value=12.525)
    assert (load.on, load.current, wire.connections) == (True, 1.5, 1)
    with pytest.raises(BadInput, match=r"a number from 0 to 2, not 2\.5"):
        board.command("current", "set", [2.5])
    heard = len(load.heard)
    board.reset()
    assert (load.on, load.current) == (False, 0.0)
    commands = [line for line in load.heard[heard:] if not line.endswith("?")]
    assert commands[0] == "SOUR:INP OFF"
    board.command("current", "set", [1])
    boards.until(board, "current", value=1)
    board.close()
    assert (load.on, load.current) == (False, 0.0)


def test_a_load_whose_connection_broke_is_off_as_soon_as_it_is_there_again(
    bench: tuple[OpenBoards, Board], load: Load, wire: TcpPlug
) -> None:
    boards, board = bench
    board.command("current", "set", [2])
    boards.until(board, "current", value=2)
    wire.unplug()
    boards.until(board, "current", value=None, connected=False)
    assert load.on
    wire.plug()
    boards.until(board, "current", value=0, connected=None)
    assert (load.on, load.current) == (False, 0.0)


def test_a_load_cannot_be_safe_while_it_is_on(tmp_path: Path) -> None:
    path = copy(tmp_path, "electronic_load", ("max: 2", "max: 2, safe: 1"))
    with pytest.raises(ConfigError, match="an electronic load is safe when it is off"):
        load_board(path)
