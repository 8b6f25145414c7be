"""What every output on pins promises, on the real pins of this machine.

A Raspberry Pi with nothing wired to its header does it, or a simulated chip (gpio-sim) whose label
is pinctrl-bcm2711::

    LABNODE_TEST_GPIO=1 python -m pytest tests/drivers/test_contract_on_pins.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.framework.output import Output
from labnode.drivers.gpio.factories import pins_in_use, real_factory
from labnode.errors import DeviceError
from tests.drivers.test_contract import example

ON_PINS = [
    "angular_servo",
    "buzzer",
    "digital_output",
    "digital_output_bank",
    "led",
    "motor",
    "phase_enable_motor",
    "pwm_led",
    "pwm_output",
    "relay",
    "rgb_led",
    "servo",
    "stepper",
    "tonal_buzzer",
]

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("LABNODE_TEST_GPIO") != "1",
        reason="drives real pins: set LABNODE_TEST_GPIO=1 where nothing is wired to them",
    ),
    pytest.mark.parametrize("kind", ON_PINS),
]


@pytest.fixture
def real(bench: Any, tmp_path: Path) -> Iterator[Any]:
    try:
        bench.pins = real_factory(tmp_path)
    except DeviceError as error:
        pytest.skip(str(error))
    bench.simulated = False
    yield bench
    bench.close()
    bench.pins.close()


def unsafe(driver: Output) -> Any:
    return {"rgb_led": "#ffffff", "digital_output_bank": 1}.get(
        driver.kind, getattr(driver, "most", True)
    )


def levels(driver: Output, pins: Any) -> dict[int, bool]:
    return {number: bool(pins.pin(f"GPIO{number}").state) for number in driver.rest_level()}


def test_it_opens_safe_does_what_it_is_told_and_is_left_driven_safe(kind: str, real: Any) -> None:
    driver = example(kind)
    assert isinstance(driver, Output)
    real.open(driver, kind)
    assert driver.target == driver.safe
    real.clock.advance(driver.min_off_time or 0)
    driver.put(unsafe(driver))
    assert not driver.is_safe(driver.target)
    driver.make_safe()
    assert driver.target == driver.safe
    driver.put(unsafe(driver))
    driver.close()
    driver.close()
    assert levels(driver, real.pins) == driver.rest_level()
    assert pins_in_use(real.pins) == []
