"""Labs that universities run: each has a visit, in which what it is made of answers, and ends safe.

Those that are worth copying are in boards/, the others in labs/ beside this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.framework.expressions import Expression
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.readings import Readings
from labnode.testing import LabClient, Student
from tests.kit.waiting import eventually

LABS = Path(__file__).parent / "labs"
BOARDS = Path(__file__).parent.parent.parent / "boards"

pytestmark = pytest.mark.usefixtures("own_modules")

# What a student does, "device.command" with its arguments, and what has to come of it: an
# expression, or with "refused" that the lab does not do it.
VISITS: Mapping[str, list[Any]] = {
    "led_and_button": ["led.on", "led and not button", "press.on", "button and not led"],
    "thermal": [("setpoint.set", 50), "temp > 20 and setpoint == 50"],
    "arduino_with_camera": ["button.on", "light", "power.off", "not power"],
    "fpga": [("switches.set", 5), "lights == 10", ("clock.set", 0.5), "counted == 10"],
    "esp32": ["current == 80", "enable.off", "current == 20", ("dac.set", 0.5), "dac == 0.5"],
    "rc_circuit": ["refused source.on", "discharge.off", "source.on", "v_out > 0.5"],
    "dc-motor": [("motor.set", 0.5), "speed > 300 and current == 0.1", ("brake.set", 0.9)],
    "water-tank": [("valve.set", 0), ("pump.set", 1), "inflow == 8 and level > 40"],
    "modem_pair": ["power.on", "carrier", ("attenuator.set", 13), "not carrier"],
    "relay_matrix": ["src_n1.on", "r1_n1.on", "volts == 10", "refused src_n2.on"],
    "network_plug": ["plug.on", "power == 5", ("fan.set", 0.5), "power == 25"],
    "geiger": ["voltage.on", ("shutter.set", 90), "rate > 25", ("absorber.set", 7)],
    "cart": ["left == false", ("cart.set", 2), "cart == 2", ("refused cart.set", 500)],
    "absorber_wheel": ["laser.on", "detector > 2", ("wheel.set", 20), "detector < 2.35"],
    "inverted_pendulum": [("motor.set", -0.5), "angle < -5 and swing == -25"],
    "weather_station": ["heater.on", "air > 1.3", "rain > 3 and wind > 0"],
    "robot_arm": ["power", ("gripper.set", 10), "gripper == 10"],
    "plc": ["run.on", ("inputs.set", 1), "outputs == 1 and belt == 90"],
    "antenna_rotor": ["transmitter.on", "level == -40", ("azimuth.set", 3), "level < -40.4"],
}


def path(name: str) -> Path:
    (found,) = [p for p in (BOARDS / f"{name}.yaml", LABS / f"{name}.yaml") if p.exists()]
    return found


def test_each_lab_in_the_folder_is_visited() -> None:
    assert {file.stem for file in LABS.glob("*.yaml")} <= VISITS.keys()


def do(student: Student, command: str, arguments: list[Any]) -> int:
    """The status of the answer, once the device does not have to rest any more."""
    device, _, name = command.partition(".")

    def answer() -> int:
        status = student.post(f"/api/devices/{device}/{name}", arguments).status
        return 0 if status == 503 else status

    return int(eventually(answer, f"an answer to {command}"))


@pytest.mark.parametrize("name", VISITS)
def test_a_student_visits_the_lab_and_it_is_safe_afterwards(name: str) -> None:
    with LabClient(path(name)) as lab:
        board = lab.agent.board
        student = lab.student(seconds=300)
        assert student.get("/").status == 200
        for step in VISITS[name]:
            command, *arguments = step if isinstance(step, tuple) else (step,)
            refused = command.startswith("refused ")
            command = command.removeprefix("refused ")
            if "." in command and " " not in command:
                status = do(student, command, arguments)
                assert (400 <= status < 500) if refused else status == 200, (step, status)
            else:
                seen = Expression.parse(command, board.file.devices)
                eventually(lambda seen=seen: seen.evaluate(Readings(board.snapshot)), command)
        reply = lab.finish(student)
        while not reply["finished"]:
            reply = lab.finish(student)
        assert lab.server("GET", "/test").json == {"valid": True}
        outputs = {n: d for n, d in board.file.devices.items() if isinstance(d, Output)}
        assert {n: d.target for n, d in outputs.items()} == {n: d.safe for n, d in outputs.items()}
