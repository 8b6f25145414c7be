"""Waveforms of an instrument: as text, as blocks, shortened for pages, whole as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labnode.clock import Clock
from labnode.drivers.framework.samples import Samples
from labnode.drivers.instruments.dialogue import Dialogue
from labnode.drivers.instruments.waveform import numbers_in
from labnode.errors import Busy, ConfigError, DeviceError
from labnode.testing import LabClient
from tests.kit.scpi import TcpPlug

BOARD = Path(__file__).parent.parent.parent.parent / "boards" / "bench-supply.yaml"

SCOPE = """
  scope: {{driver: instrument, tcp: '{}', timeout: 500ms}}
  trace: {{driver: waveform, instrument: scope, {}}}
"""


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ('query: "WAV:CSV?", step_query: "WAV:XINC?"', 1e-5),
        ('query: "WAV:DATA?", format: int16, scale: 0.001, step: 0.5', 0.5),
    ],
)
def test_a_waveform_comes_as_text_and_as_a_block(
    lab: Any, tcp: TcpPlug, options: str, step: float
) -> None:
    board = lab.open(SCOPE.format(tcp.address, options))
    tcp.supply.volts, tcp.supply.on = 2.0, True
    assert board.snapshot["trace"]["value"] is None
    board.command("trace", "acquire")
    with pytest.raises(Busy, match="'trace' is taking samples already"):
        board.command("trace", "acquire")
    driver: Any = board.file.devices["trace"]
    lab.hand.until(lambda: driver.samples is not None)
    value = board.snapshot["trace"]["value"]
    assert (value["count"], value["step"], value["begin"]) == (100, step, 0)
    assert (value["y"][25], value["y"][75]) == (2, -2)
    assert driver.csv().splitlines()[:2] == ["seconds,trace", "0,0"]
    board.reset()
    assert board.snapshot["trace"]["value"] is None, "the next student sees nothing of it"


def test_what_is_no_waveform_is_an_error_of_the_device(lab: Any, tcp: TcpPlug) -> None:
    board = lab.open(SCOPE.format(tcp.address, 'query: "*IDN?", format: int16'))
    board.command("trace", "acquire")
    lab.until(
        board,
        "trace",
        error="it answers 'LA' to '*IDN?', which begins no block of definite length",
    )


class Tape:
    """A wire on which an answer is there already, in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def send(self, data: bytes, seconds: float) -> None: ...
    def resume(self) -> bool:
        return True

    def close(self) -> None: ...
    def receive(self, seconds: float) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def dialogue(*pieces: bytes) -> Dialogue:
    return Dialogue(Tape(*pieces), Clock(), seconds=1, ending="\n", errors=None)


def test_a_block_may_have_line_ends_in_it_and_come_in_pieces() -> None:
    talk = dialogue(b"#", b"15a\nb", b"\nc", b"\n", b"next\n")
    assert talk.query_block("DATA?") == b"a\nb\nc"
    assert talk.query("IDN?") == "next"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"#0abc\n", "no block of definite length"),
        (b"#2ab\n", "no sane length"),
        (b"#9999999999", "no sane length"),
        (b"#13ab", "does not answer 'DATA\\?' in time"),
    ],
)
def test_what_is_no_block_is_refused(answer: bytes, sentence: str) -> None:
    with pytest.raises(DeviceError, match=sentence):
        dialogue(answer).query_block("DATA?")


def test_text_may_begin_as_a_block_does() -> None:
    assert numbers_in("#800000012 -1.5e-3, 2 ,3,") == [-0.0015, 2, 3]
    with pytest.raises(DeviceError, match="no list of numbers"):
        numbers_in("1,two")


def test_a_page_gets_the_lowest_and_the_highest_of_what_is_too_much() -> None:
    y = [0.0] * 20_000
    y[12_345], y[777] = 5.0, -7.123456789
    shown = Samples(y, step=0.001).shown()
    assert (len(shown["y"]), shown["count"]) == (1000, 20_000)
    assert shown["step"] == pytest.approx(0.02)
    assert (max(shown["y"]), min(shown["y"])) == (5, -7.12346)
    with pytest.raises(DeviceError, match="gave 20001 numbers"):
        Samples([0.0] * 20_001)
    with pytest.raises(DeviceError, match="no number"):
        Samples([float("nan")])


def test_a_student_uses_the_bench_through_the_page() -> None:
    with LabClient(BOARD) as lab:
        student = lab.student()
        assert student.get("/api/devices/trace/samples.csv").status == 404
        for device, value in (("voltage", 6), ("output", True)):
            reply = student.post(f"/api/devices/{device}/set", [value])
            assert reply.status == 200, reply
        assert (lab.value("volts"), lab.value("amps")) == (1.5, 0.1), "the limit is 0.1 A"
        assert student.post("/api/devices/limit/set", [0.5]).status == 200
        assert (lab.value("volts"), lab.value("amps")) == (6, 0.4)
        reply = student.post("/api/devices/trace/acquire")
        value = reply.json["devices"]["trace"]["value"]
        assert (value["count"], value["step"]) == (500, 1e-5)
        assert sum(value["y"]) / 500 == pytest.approx(6, abs=0.05)
        csv = student.get("/api/devices/trace/samples.csv")
        assert csv.headers["content-disposition"] == 'attachment; filename="trace.csv"'
        assert len(csv.text.splitlines()) == 501
        assert student.get("/api/devices/trace/samples.json").json["x_unit"] == "s"
        assert student.get("/api/devices/volts/samples.json").status == 404
        assert student.post("/api/devices/voltage/set", [13]).status == 400
        lab.finish(student)
        assert (lab.value("voltage"), lab.value("output")) == (0, False)
        assert lab.value("trace") is None


def test_arrays_are_neither_recorded_nor_drawn_over_time(lab: Any, tmp_path: Path) -> None:
    text = SCOPE.format("a:1", 'query: "C?"')
    for more in ("record: {devices: [trace]}", "page: [[{plot: [trace]}]]"):
        with pytest.raises(ConfigError, match="'trace' is an array, which has a plot and a CSV"):
            lab.load(f"{text}\n{more}\n")
    with pytest.raises(ConfigError, match="no device 'vlts'"):
        lab.load(f"{text}\nsimulate: {{trace: {{amplitude: vlts}}}}\n")
