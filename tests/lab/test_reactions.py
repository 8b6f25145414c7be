from __future__ import annotations

from pathlib import Path

from tests.kit.labs import lab_of
from tests.kit.waiting import eventually

BOARD = """\
schema: 1
devices:
  bell: {driver: button, pin: 27}
  fan: {driver: pwm_output, pin: 18, deadman: 2s}
  lamp: {driver: led, pin: 17}
sequences:
  reactions:
    ring: {on_press: bell, rest: 0.1, steps: [{set: {fan: 0.5}}, {wait: 10ms}, {set: {lamp: on}}]}
"""


def test_a_student_presses_and_the_lab_reacts_in_their_session_alone(tmp_path: Path) -> None:
    with lab_of(tmp_path, BOARD) as lab:
        board, call = lab.agent.board, lab.agent.worker.call
        student = lab.student(seconds=100)
        call(lambda: board.simulate("bell", True))
        eventually(lambda: lab.value("lamp"), "the lamp is lit")
        assert lab.value("fan") == 0.5
        lab.finish(student)
        assert (lab.value("fan"), lab.value("lamp")) == (0, False)
        call(lambda: board.simulate("bell", False))
        call(lambda: board.simulate("bell", True))
        call(lambda: None)  # what was queued before has run
        assert (lab.value("fan"), lab.value("lamp")) == (0, False)
