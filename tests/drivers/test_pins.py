from __future__ import annotations

import sys
from typing import Any

import gpiozero
import pytest

from labnode.drivers.framework.driver import Claim
from labnode.drivers.gpio import factories
from labnode.drivers.gpio.factories import mock_factory, pins_in_use, real_factory
from labnode.drivers.gpio.gpiochips import Chip
from labnode.drivers.gpio.pin import Pin
from labnode.errors import DeviceError


@pytest.mark.parametrize("written", [17, "17", "GPIO17", "gpio17", "BOARD11", "BCM17"])
def test_a_pin_is_written_as_gpiozero_accepts_it(written: Any) -> None:
    pin = Pin.from_yaml(written)
    assert (pin, pin.name, pin.claim) == (Pin(17), "GPIO17", Claim("pin", "GPIO17"))


def test_all_pins_of_the_header_can_be_mocked() -> None:
    factory = mock_factory()
    for number in range(28):
        factory.pin(Pin(number).name)


def test_the_factory_tells_which_pins_are_in_use() -> None:
    factory = mock_factory()
    led = gpiozero.LED("GPIO17", pin_factory=factory)
    button = gpiozero.DigitalInputDevice("BOARD13", pin_factory=factory)
    assert pins_in_use(factory) == ["GPIO17", "GPIO27"]
    led.close()
    button.close()
    assert pins_in_use(factory) == []


def test_a_mock_output_keeps_its_level_when_it_closes_and_an_input_floats() -> None:
    factory = mock_factory()
    gpiozero.LED("GPIO17", initial_value=True, pin_factory=factory).close()
    gpiozero.DigitalInputDevice("GPIO4", pull_up=True, pin_factory=factory).close()
    assert (factory.pin("GPIO17").function, factory.pin("GPIO17").state) == ("output", True)
    assert factory.pin("GPIO4").function == "input"


def test_a_mock_pin_settles_on_the_nearer_level_when_pwm_ends() -> None:
    factory = mock_factory()
    for value, level in ((0.7, True), (0.3, False)):
        pwm = gpiozero.PWMOutputDevice("GPIO18", initial_value=value, pin_factory=factory)
        assert factory.pin("GPIO18").state == value
        pwm.close()
        assert factory.pin("GPIO18").state == level


def test_a_mock_pin_remembers_a_bounded_history() -> None:
    factory = mock_factory()
    led = gpiozero.LED("GPIO17", pin_factory=factory)
    for _ in range(3000):
        led.toggle()
    led.close()
    assert len(factory.pin("GPIO17").states) == len(factory.pin("GPIO17").levels) == 1000


def test_without_lgpio_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factories, "list_chips", lambda: [Chip(0, "pinctrl-bcm2711")])
    monkeypatch.setitem(sys.modules, "lgpio", None)
    monkeypatch.delitem(sys.modules, "labnode.drivers.gpio._lgpio", raising=False)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
    with pytest.raises(DeviceError, match=r"need the Python library lgpio.*python3-lgpio"):
        real_factory()


def test_without_a_chip_the_sentence_names_the_way_without_hardware(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(factories, "list_chips", list)
    with pytest.raises(DeviceError, match=r"no GPIO pins.*--simulate"):
        real_factory()
