"""Values over the time of a session: taken, kept, downloaded."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labnode.clock import Clock
from labnode.errors import ConfigError
from labnode.lab.recordings import Recording
from labnode.testing import LabClient
from tests.kit.labs import lab_of
from tests.kit.waiting import eventually

Make = Callable[..., LabClient]

BOARD = """\
schema: 1
lab: {name: oven, category: Tests}
devices:
  heater: {driver: relay, pin: 17}
  fan: {driver: pwm_output, pin: 18}
  spy: {driver: led, pin: 27, access: system}
"""
RECORD = "record: {devices: [heater, fan], every: 100ms}\n"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as clients:
        yield lambda text=RECORD: clients.enter_context(lab_of(tmp_path, BOARD + text))


def rows(student: Any) -> list[dict[str, str]]:
    reply = student.get("/api/recording.csv")
    return list(csv.DictReader(io.StringIO(reply.text))) if reply.status == 200 else []


def test_a_student_downloads_what_the_devices_showed(lab: Make) -> None:
    student = lab().student()
    student.post("/api/devices/heater/on")
    student.post("/api/devices/fan/set", [0.25])
    assert eventually(lambda: len(rows(student)) > 2 and rows(student)[-1]["heater"] == "1")
    last = rows(student)[-1]
    assert list(last) == ["seconds", "time", "heater", "fan", "heater_valid", "fan_valid"]
    assert last["fan"] == "0.25"
    seconds = [float(row["seconds"]) for row in rows(student)]
    assert seconds == sorted(seconds)
    reply = student.get("/api/recording.csv")
    assert reply.headers["content-disposition"] == 'attachment; filename="oven.csv"'
    assert reply.headers["content-type"].startswith("text/csv")


def test_it_is_there_as_json_too(lab: Make) -> None:
    student = lab().student()
    assert eventually(lambda: student.get("/api/recording.json").json.get("rows"))
    recorded = student.get("/api/recording.json").json
    assert (recorded["devices"], recorded["every"]) == (["heater", "fan"], 0.1)
    assert recorded["rows"][0][1:] == [False, 0.0]
    assert recorded["valid"][0] == [True, True]


def test_a_sensor_that_died_has_no_value(tmp_path: Path) -> None:
    board = """\
schema: 1
lab: {name: oven, category: Tests}
devices:
  temp: {driver: ds18b20, id: 28-0316a4a1f2ff, sample_every: 800ms, stale_after: 1s}
record: {devices: [temp], every: 100ms}
"""
    with lab_of(tmp_path, board) as node:
        student, runtime = node.student(), node.agent.runtime

        def simulate(value: float | None) -> None:
            runtime.worker.call(lambda: runtime.board.simulate("temp", value))

        simulate(21.5)
        assert eventually(lambda: rows(student) and rows(student)[-1]["temp"] == "21.5")
        assert rows(student)[-1]["temp_valid"] == "1"
        simulate(None)
        assert eventually(lambda: rows(student)[-1]["temp"] == "")
        assert rows(student)[-1]["temp_valid"] == "0"
        recorded = student.get("/api/recording.json").json
        assert (recorded["rows"][-1][1], recorded["valid"][-1]) == (None, [False])


def test_after_the_session_it_can_still_be_downloaded(lab: Make) -> None:
    node = lab()
    student = node.student()
    student.post("/api/devices/heater/on")
    assert eventually(lambda: rows(student) and rows(student)[-1]["heater"] == "1")
    node.finish(student)
    assert eventually(lambda: "1" in [row["heater"] for row in rows(student)])
    number = len(rows(student))
    another = node.student()
    assert eventually(lambda: rows(another))
    assert len(rows(student)) == number
    assert "1" not in [row["heater"] for row in rows(another)]


def test_the_page_knows_of_it_and_the_farewell_offers_it(lab: Make) -> None:
    node = lab()
    student = node.student()
    assert student.get("/api/board").json["record"] == {"devices": ["heater", "fan"]}
    node.finish(student)
    farewell = student.get("/", HTTP_ACCEPT="text/html").text
    assert 'api/recording.csv" download>CSV' in farewell
    assert 'api/recording.json" download>JSON' in farewell


def test_without_a_recording_none_is_offered(lab: Make) -> None:
    node = lab("")
    student = node.student()
    assert student.get("/api/board").json["record"] is None
    node.finish(student)
    assert "recording.csv" not in student.get("/", HTTP_ACCEPT="text/html").text


def test_students_who_share_a_board_have_a_recording_each(lab: Make) -> None:
    node = lab(f"{RECORD}session: {{users: 2}}\n")
    ada = node.student(username="ada")
    assert eventually(lambda: rows(ada))
    ada.post("/api/devices/heater/on")
    assert eventually(lambda: rows(ada)[-1]["heater"] == "1")
    bob = node.student(username="bob")
    assert eventually(lambda: rows(bob))
    assert {row["heater"] for row in rows(bob)} == {"1"}
    assert rows(ada)[0]["heater"] == "0"
    node.finish(ada)
    number = len(rows(bob))
    assert eventually(lambda: len(rows(bob)) > number)  # one who leaves ends only the own one


def test_nobody_else_can_download_it(lab: Make) -> None:
    node = lab()
    node.student()
    assert node.browser().get("/api/recording.csv").status == 403


def test_a_board_without_recording_says_so(lab: Make) -> None:
    reply = lab("").student().get("/api/recording.csv")
    assert (reply.status, reply.json["message"]) == (404, "Nothing was recorded in this session.")


def test_a_restart_goes_on_with_the_recording(lab: Make) -> None:
    first = lab()
    student = first.student(600)
    student.post("/api/devices/heater/on")
    assert eventually(lambda: rows(student) and rows(student)[-1]["heater"] == "1")
    cookies = student._cookies
    first.agent.stop()
    second = lab()
    student._client = second
    student._cookies = cookies
    assert eventually(lambda: rows(student) and rows(student)[-1]["heater"] == "0")
    assert "1" in [row["heater"] for row in rows(student)]


def test_old_recordings_are_deleted(lab: Make, tmp_path: Path) -> None:
    directory = tmp_path / "state" / "recordings"
    directory.mkdir(parents=True)
    for name, age in (("old", 40 * 86400), ("young", 86400)):
        file = directory / f"{name}.json.gz"
        file.write_bytes(gzip.compress(b"{}"))
        wall = Clock().wall()
        os.utime(file, (wall - age, wall - age))
    lab()
    assert eventually(lambda: [file.name for file in directory.iterdir()] == ["young.json.gz"])


def test_a_long_session_fits_into_memory() -> None:
    recording = Recording(["a"], 0.0, 1.0)
    for second in range(100_000):
        if second % int(recording.every) == 0:
            recording.add([float(second), second])
    assert len(recording.rows) < 20_000
    assert recording.every == 8
    steps = {b[0] - a[0] for a, b in zip(recording.rows, recording.rows[1:], strict=False)}
    assert steps == {8.0}


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ("{devices: [haeter]}", "there is no device 'haeter'; did you mean 'heater'?"),
        ("{devices: [spy]}", "'spy' has access: system, so no recording"),
        ("{devices: []}", "needs the name of one device at least"),
        ("{devices: [fan, fan]}", "a device is recorded once"),
        ("{devices: [fan], every: 1ms}", "expected a number from 0.1 to 3600"),
        ("{every: 1}", "missing key 'devices'"),
    ],
)
def test_recordings_that_cannot_be_are_told(record: str, sentence: str, lab: Make) -> None:
    with pytest.raises(ConfigError) as caught:
        lab(f"record: {record}\n")
    assert ".yaml:7: " in str(caught.value)
    assert sentence in str(caught.value)


def test_a_folder_that_cannot_be_made_is_a_sentence(lab: Make, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "recordings").touch()
    with pytest.raises(ConfigError, match=r"recordings: .* cannot be kept \(File exists\)"):
        lab()
