from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import BadInput, DeviceError, NotFound

WIRED = """
devices:
  latch: {driver: relay, pin: 17, active_high: false}
  fan: {driver: pwm_output, pin: 18}
  door: {driver: button, pin: 27}
  windy: {driver: digital_input, pin: 22}
  alarm: {driver: digital_input, pin: 23}
simulate:
  alarm: door and windy
  door: "!latch"
  windy: fan > 0.5
"""


@pytest.fixture
def wired(rig: Callable[..., Any]) -> Any:
    wired = rig(WIRED)
    wired.board.open()
    wired.news()
    return wired


def test_inputs_follow_their_links_from_the_beginning(wired: Any) -> None:
    assert wired.values() == {
        "latch": False, "fan": 0.0, "door": True, "windy": False, "alarm": False,
    }  # fmt: skip


def test_an_input_has_followed_before_the_command_is_answered(wired: Any) -> None:
    wired.board.command("latch", "on")
    assert wired.values()["door"] is False
    assert wired.news() == [("latch", True), ("door", False)]


def test_an_input_may_follow_an_input_in_whatever_order_they_are_written(wired: Any) -> None:
    wired.board.command("fan", "set", [0.7])
    assert wired.news() == [("fan", 0.7), ("windy", True), ("alarm", True)]


def test_the_edges_that_links_make_bring_no_news_twice(wired: Any) -> None:
    wired.board.command("latch", "on")
    wired.news()
    wired.serve()
    assert wired.news() == []


def test_an_input_driven_by_hand_stays_so_until_its_link_has_news(wired: Any) -> None:
    wired.board.simulation.drive("door", False)
    wired.board.command("fan", "on")
    assert (wired.values()["door"], wired.values()["alarm"]) == (False, False)
    wired.board.command("latch", "on")
    wired.board.command("latch", "off")
    assert wired.values()["door"] is True


def test_what_is_driven_by_hand_is_followed_by_what_is_linked_to_it(wired: Any) -> None:
    wired.board.command("fan", "on")
    wired.board.simulation.drive("door", False)
    assert wired.values()["alarm"] is False


def test_the_links_hold_again_after_the_board_is_opened_anew(wired: Any) -> None:
    wired.board.close()
    wired.board.open()
    assert wired.values()["door"] is True


def test_only_inputs_that_exist_can_be_driven(wired: Any) -> None:
    with pytest.raises(BadInput, match="'latch' cannot be simulated: a relay is no input"):
        wired.board.simulation.drive("latch", True)
    with pytest.raises(NotFound, match="no device 'dor'; did you mean 'door'"):
        wired.board.simulation.drive("dor", True)
    wired.board.close()
    with pytest.raises(DeviceError, match="'door' is not open"):
        wired.board.simulation.drive("door", True)


OVEN = """
devices:
  heater: {driver: relay, pin: 17}
  warm: {driver: thermometer}
  room: {driver: thermometer}
simulate:
  warm: {value: 20 + 60 * heater, lag: 10s}
  room: {value: 20 + 10 * heater, lag: 100s, noise: 0.1}
"""


def test_what_is_driven_by_hand_stays_while_others_move(
    rig: Callable[..., Any], thermometer: Any
) -> None:
    oven = rig(OVEN)
    oven.board.open()
    oven.board.command("heater", "on")
    oven.board.simulate("warm", 50.0)
    for _ in range(20):
        oven.clock.advance(1.0)
        oven.board.poll()
    assert oven.values()["warm"] == 50.0
    assert oven.values()["room"] != 20.0
    oven.board.command("heater", "off")  # there is news: it goes on from where it is
    oven.clock.advance(1.0)
    oven.board.poll()
    assert 40 < oven.values()["warm"] < 50


def test_a_sensor_that_has_died_stays_dead_until_it_is_driven_again(
    rig: Callable[..., Any], thermometer: Any
) -> None:
    oven = rig(OVEN.replace("{driver: thermometer}", "{driver: thermometer, stale_after: 3}"))
    oven.board.open()
    oven.board.command("heater", "on")
    oven.board.simulate("warm", None)
    oven.board.command("heater", "off")  # as an interlock would do it that hangs on the sensor
    for _ in range(5):
        oven.clock.advance(1.0)
        oven.board.poll()
    assert oven.board.snapshot["warm"]["stale"] is True
    oven.board.simulate("warm", 30.0)
    assert oven.board.snapshot["warm"]["stale"] is False


def test_what_cannot_be_shown_changes_nothing(rig: Callable[..., Any], thermometer: Any) -> None:
    oven = rig(OVEN)
    oven.board.open()
    with pytest.raises(BadInput, match="'warm' cannot show 'hello'"):
        oven.board.simulate("warm", "hello")
    oven.clock.advance(1.0)
    oven.board.poll()
    assert "error" not in oven.board.snapshot["warm"]


def test_a_value_that_is_no_number_is_an_error_and_no_value(
    rig: Callable[..., Any], thermometer: Any
) -> None:
    oven = rig(OVEN)
    oven.board.open()
    for value in (float("nan"), float("inf")):
        oven.board.simulate("warm", value)
        assert oven.board.snapshot["warm"] == {
            "value": None, "error": "it shows a value that is no number",
        }  # fmt: skip


def test_an_input_whose_link_has_no_value_yet_can_be_driven_by_hand(
    rig: Callable[..., Any], thermometer: Any
) -> None:
    oven = rig(
        OVEN.replace("20 + 60 * heater", "20 / heater")  # missing while the heater is off
    )
    oven.board.open()
    oven.board.simulate("warm", 50.0)
    for _ in range(3):
        oven.clock.advance(1.0)
        oven.board.poll()
    assert oven.values()["warm"] == 50.0


def test_a_board_with_hardware_has_no_simulation(rig: Callable[..., Any]) -> None:
    from labnode.drivers.gpio.factories import mock_factory

    real = rig(WIRED, simulate=False, pins=mock_factory())
    real.board.open()
    assert real.board.simulation is None
    assert real.values()["door"] is False


def test_an_encoder_that_is_reset_for_a_session_keeps_its_link(rig: Callable[..., Any]) -> None:
    made = rig(
        "devices:\n  knob: {driver: rotary_encoder, a: 17, b: 27, max_steps: 0}\n"
        "  hand: {driver: rotary_encoder, a: 5, b: 6, max_steps: 0}\n"
        "simulate: {knob: 10 + 5}\n"
    )
    made.board.open()
    made.board.simulate("hand", 4)
    for _ in range(2):
        made.board.reset()
        assert made.values() == {"knob": 15.0, "hand": 4.0}
    made.board.command("knob", "reset")  # a person's reset is seen until the link says more
    assert made.values()["knob"] == 0.0
