"""`labnode simulate`: the outside world of a simulated board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode import control
from labnode.control import ControlSocket
from labnode.errors import LabnodeError
from labnode.testing import LabClient
from tests.kit.labs import lab_of

BOARD = """\
schema: 1
lab: {name: lab, category: Tests}
devices:
  lamp: {driver: led, pin: 17}
  door: {driver: button, pin: 27}
  hall: {driver: cpu_temperature}
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LabClient]:
    with lab_of(tmp_path, BOARD) as client:
        socket = ControlSocket(tmp_path, client.agent.commands.by_name)
        socket.start()
        yield client
        socket.stop(5)


def test_devices_and_pins_are_told(node: LabClient, tmp_path: Path) -> None:
    answer = control.ask(tmp_path, "simulate")
    assert list(answer["devices"]) == ["lamp", "door", "hall"]
    assert answer["devices"]["lamp"] == {"value": False}
    assert answer["pins"]["GPIO17"] == {"function": "output", "level": False}
    assert answer["pins"]["GPIO27"]["function"] == "input"


def test_an_input_shows_what_it_is_told(node: LabClient, tmp_path: Path) -> None:
    answer = control.ask(tmp_path, "simulate", device="door", value=True)
    assert answer["devices"] == {"door": {"value": True}}
    assert node.value("door") is True
    control.ask(tmp_path, "simulate", device="hall", value=41.5)
    assert node.value("hall") == 41.5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "dor"}, "There is no device 'dor'; did you mean 'door'?"),
        ({"device": "dor", "value": True}, "There is no device 'dor'; did you mean 'door'?"),
        ({"device": "lamp", "value": True}, "'lamp' cannot be simulated: a led is no input"),
        ({"device": "hall", "value": "warm"}, "'hall' cannot show 'warm'"),
    ],
)
def test_what_cannot_be_is_told(
    node: LabClient, tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(LabnodeError) as caught:
        control.ask(tmp_path, "simulate", **options)
    assert sentence in str(caught.value)
