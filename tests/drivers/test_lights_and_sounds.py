from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_output import RgbLed, TonalBuzzer
from labnode.errors import BadInput

PINS = {"red": Pin(17), "green": Pin(27), "blue": Pin(22)}


def levels(bench: Any) -> list[float]:
    return [bench.level(f"GPIO{pin}") for pin in (17, 27, 22)]


def test_a_colour_is_the_brightness_of_three_lights(bench: Any) -> None:
    mood = bench.open(RgbLed(**PINS))
    mood.set("#FF8000")
    assert levels(bench) == [1, 128 / 255, 0]
    assert mood.value == "#ff8000"


def test_lights_with_a_common_anode_are_dark_on_high_pins(bench: Any) -> None:
    mood = bench.open(RgbLed(**PINS, active_high=False))
    assert levels(bench) == [1, 1, 1]
    mood.on()
    assert levels(bench) == [0, 0, 0]
    mood.close()
    assert levels(bench) == [1, 1, 1]


def test_what_is_left_of_a_safe_colour_is_the_nearest_without_pulses(bench: Any) -> None:
    mood = bench.open(RgbLed(**PINS, safe="#FF9010", active_high=False))
    assert mood.safe == "#ff9010"
    mood.close()
    assert levels(bench) == [0, 0, 1]


@pytest.mark.parametrize("value", ["red", "#ff", "#gg0000", "", "#ff80000"])
def test_what_is_no_colour_is_refused(bench: Any, value: str) -> None:
    mood = bench.open(RgbLed(**PINS), "mood")
    with pytest.raises(BadInput, match=r"mood.set: 'value' must be a colour such as \"#ff8000\""):
        mood.set(value)
    with pytest.raises(ValueError, match="'safe' must be a colour"):
        RgbLed(**PINS, safe=value)


def test_one_light_that_cannot_be_had_lets_go_of_the_others(bench: Any) -> None:
    bench.pins.reserve_pins(bench, "GPIO22")
    with pytest.raises(Exception, match="GPIO22"):
        bench.open(RgbLed(**PINS))
    bench.pins.release_pins(bench, "GPIO22")


def test_a_note_is_a_frequency_and_off_is_silence(bench: Any) -> None:
    speaker = bench.open(TonalBuzzer(pin=Pin(22)), "speaker")
    pin = bench.pins.pin("GPIO22")
    assert (speaker.value, pin.state) == (0, 0)
    speaker.play("A4")
    assert (speaker.value, pin.frequency, pin.state) == (440, 440, 0.5)
    speaker.set(300)
    assert (pin.frequency, pin.state) == (300, 0.5)
    speaker.off()
    assert (speaker.value, pin.state) == (0, 0)


@pytest.mark.parametrize(
    ("note", "sentence"), [("H9", "a note such as A4"), ("A1", "from 220 to 880, not 55")]
)
def test_a_note_that_cannot_be_played_is_refused(bench: Any, note: str, sentence: str) -> None:
    speaker = bench.open(TonalBuzzer(pin=Pin(22)), "speaker")
    with pytest.raises(BadInput, match=sentence):
        speaker.play(note)
