from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.gpio.digital_input import DigitalInputBank
from labnode.drivers.gpio.digital_output import DigitalOutputBank
from labnode.drivers.gpio.factories import pins_in_use
from labnode.drivers.gpio.pin import Pin
from labnode.errors import BadInput

PINS = [Pin(17), Pin(27), Pin(22)]


def levels(bench: Any) -> list[float]:
    return [bench.level(pin.name) for pin in PINS]


def test_a_number_is_the_levels_of_pins_the_lowest_bit_first(bench: Any) -> None:
    switches = bench.open(DigitalOutputBank(pins=PINS))
    switches.set(0b110)
    assert (levels(bench), switches.value) == ([0, 1, 1], 6)
    switches.set_bit(0, True)
    switches.set_bit(2, False)
    assert (levels(bench), switches.value) == ([1, 1, 0], 3)


def test_a_bank_of_low_pins_is_safe_from_the_first_moment_and_left_so(bench: Any) -> None:
    switches = bench.open(DigitalOutputBank(pins=PINS, active_high=False, safe=0b001))
    assert levels(bench) == [0, 1, 1]
    switches.set(0b111)
    switches.close()
    assert levels(bench) == [0, 1, 1]


def test_what_does_not_fit_into_a_bank_is_refused(bench: Any) -> None:
    switches = bench.open(DigitalOutputBank(pins=PINS), "switches")
    with pytest.raises(BadInput, match="a whole number from 0 to 7, not 8"):
        switches.set(8)
    with pytest.raises(BadInput, match=r"switches.set_bit: 'bit' must be .* 0 to 2, not 3"):
        switches.set_bit(3, True)
    with pytest.raises(ValueError, match="safe must be a whole number from 0 to 7, not -1"):
        DigitalOutputBank(pins=PINS, safe=-1)
    with pytest.raises(ValueError, match="bits has 1 names for 3 bits"):
        DigitalOutputBank(pins=PINS, bits=["one"])


def test_a_bank_says_how_wide_it_is_and_what_its_bits_are_called(bench: Any) -> None:
    described = DigitalInputBank(pins=PINS, bits=["a", "b", "c"]).describe()
    assert described == {"width": 3, "bits": ["a", "b", "c"]}


@pytest.mark.parametrize("pull_up", [False, True])
def test_a_bank_of_inputs_is_read_as_a_number_and_published_as_it_changes(
    bench: Any, pull_up: bool
) -> None:
    lights = bench.open(DigitalInputBank(pins=PINS, pull_up=pull_up))
    assert lights.value == 0
    for number in (1, 2):
        pin = bench.pins.pin(PINS[number].name)
        (pin.drive_low if pull_up else pin.drive_high)()
        bench.serve()
    assert bench.published == [2, 6]
    lights.simulate(5)
    assert lights.value == 5


def test_a_bank_that_was_closed_lets_go_of_its_pins_and_sees_nothing_more(bench: Any) -> None:
    lights = bench.open(DigitalInputBank(pins=PINS))
    bench.pins.pin("GPIO17").drive_high()
    lights.close()
    bench.serve()
    assert (bench.published, pins_in_use(bench.pins)) == ([], [])
