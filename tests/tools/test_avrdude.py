"""The real avrdude writes a simulated Arduino through a pty, and everything that can go wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.framework.driver import Ref
from labnode.drivers.tools.avrdude import Avrdude
from labnode.errors import Stopped, ToolFailed

from .bootloader import Arduino, image, intel_hex
from .conftest import Stage

pytestmark = pytest.mark.skipif(
    shutil.which("avrdude") is None, reason="no avrdude here (Debian: apt-get install avrdude)"
)


Mcu = Callable[..., Avrdude]


@pytest.fixture
def arduino() -> Iterator[Arduino]:
    arduino = Arduino()
    yield arduino
    arduino.close()


@pytest.fixture
def mcu(stage: Stage, arduino: Arduino) -> Mcu:
    """The driver on the simulated Arduino; its blank image says "blank"."""
    (stage.folder / "blank.hex").write_text(intel_hex(image("blank\n")))

    def make(**options: Any) -> Avrdude:
        given = {"part": "atmega328p", "programmer": "arduino", "port": arduino.port}
        given |= {"bootloader": 512, "blank_image": Path("blank.hex"), "retries": 0, "timeout": 30}
        driver: Avrdude = stage.open(Avrdude(**{**given, **options}))
        return driver

    return make


def write(folder: Path, data: bytes, name: str = "student.hex") -> Path:
    path = folder / name
    path.write_text(intel_hex(data))
    return path


def test_a_file_is_written_and_verified(mcu: Mcu, arduino: Arduino, stage: Stage) -> None:
    result = mcu().program(write(stage.folder, image("hello\n")))
    assert arduino.image == image("hello\n")
    assert result["writes"] == 1
    assert stage.percents[-1] == 100
    assert stage.percents == sorted(stage.percents)
    assert any("1024 bytes of flash verified" in line for line in stage.lines)


def test_its_progress_is_told_while_it_writes(mcu: Mcu, arduino: Arduino, stage: Stage) -> None:
    arduino.on_page = lambda pages: stage_seen(stage) if pages == 24 else None

    def stage_seen(stage: Stage) -> None:  # the board is slow until it was seen that it is half way
        for _ in range(200):
            if any(0 < percent < 100 for percent in stage.percents):
                return
            arduino.rest()

    mcu(verify=False).program(write(stage.folder, image("hello\n", 4096)))
    assert [percent for percent in stage.percents if 0 < percent < 100]


def test_the_console_lends_its_port_and_gets_it_back(
    mcu: Mcu, arduino: Arduino, stage: Stage
) -> None:
    stage.ports["console"] = arduino.port
    mcu(port=Ref("console")).program(write(stage.folder, image("hello\n")))
    assert stage.lent == ["console lent", "console back"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("verify", "does not read back"),
        ("signature", "not the one that this lab expects"),
        ("garbage", "makes no sense"),
    ],
)
def test_a_faulty_board_ends_with_a_sentence(
    mcu: Mcu, arduino: Arduino, stage: Stage, fault: str, sentence: str
) -> None:
    driver = mcu()
    arduino.fault = fault
    with pytest.raises(ToolFailed, match=sentence):
        driver.program(write(stage.folder, image("hello\n")))
    assert driver.value == "unknown"


def test_a_board_that_does_not_answer_is_given_up(mcu: Mcu, arduino: Arduino, stage: Stage) -> None:
    driver = mcu(timeout=3)
    arduino.fault = "silent"
    with pytest.raises(ToolFailed, match="could not be programmed within 3 s"):
        driver.program(write(stage.folder, image("hello\n")))


def test_a_board_that_is_unplugged_in_the_middle_is_missed_at_once(
    mcu: Mcu, arduino: Arduino, stage: Stage
) -> None:
    driver = mcu()
    arduino.unplug_after = 3
    with pytest.raises(ToolFailed, match="was unplugged"):
        driver.program(write(stage.folder, image("hello\n")))
    assert driver.value == "unknown"


def test_a_board_that_is_not_there_ends_with_a_sentence(
    mcu: Mcu, stage: Stage, tmp_path: Path
) -> None:
    with pytest.raises(ToolFailed, match="cannot be found"):
        mcu(port=str(tmp_path / "ttyACM9")).program(write(stage.folder, image("hello\n")))


def test_a_console_without_a_board_lends_nothing(
    mcu: Mcu, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.drivers.tools.base._PORT_WITHIN", 0.1)
    with pytest.raises(ToolFailed, match="cannot be found"):
        mcu(port=Ref("console")).program(write(stage.folder, image("hello\n")))


def test_a_board_that_is_just_plugged_in_is_waited_for(
    mcu: Mcu, arduino: Arduino, stage: Stage
) -> None:
    begun = stage.clock.now()
    stage.happens(
        lambda: stage.clock.now() > begun + 0.3,
        lambda: stage.ports.update(console=arduino.port),
    )
    mcu(port=Ref("console")).program(write(stage.folder, image("hello\n")))
    assert stage.lent == ["console lent", "console back"]


def test_the_blank_image_takes_the_place_of_a_student_s(
    mcu: Mcu, arduino: Arduino, stage: Stage
) -> None:
    driver = mcu()
    driver.program(write(stage.folder, image("hello\n")))
    assert driver.value == "programmed"
    driver.clean()
    assert arduino.image == image("blank\n")
    assert driver.state() == {"value": "blank", "writes": 2, "part": "atmega328p"}


def test_a_student_s_stop_ends_it(mcu: Mcu, arduino: Arduino, stage: Stage) -> None:
    driver = mcu()
    arduino.fault = "silent"
    stage.happens(lambda: bool(stage.lines), stage.stop)
    with pytest.raises(Stopped):
        driver.program(write(stage.folder, image("hello\n")))
    assert driver.value == "unknown"
