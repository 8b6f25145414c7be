"""What every driver promises to its board, checked for each one that is registered."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from labnode.drivers.base import Driver, Simulatable, load_drivers
from labnode.drivers.pins import pins_in_use
from labnode.schema import build, options, parse_yaml

DRIVERS = load_drivers()

pytestmark = pytest.mark.parametrize("kind", DRIVERS)


def example(kind: str) -> Driver:
    """The driver built from the YAML after "Example::" in the docstring of its class."""
    _, _, text = (inspect.getdoc(DRIVERS[kind]) or "").partition("Example::")
    assert text.strip(), f"{kind} shows no example"
    ((name, options),) = parse_yaml(inspect.cleandoc(text), f"{kind}.yaml").items()
    assert options.child("driver").value == kind
    return build(DRIVERS[kind], options, name=name, ignore={"driver"})


@pytest.fixture
def driver(kind: str, bench: Any) -> Any:
    return bench.open(example(kind), kind)


def assert_safe(driver: Driver) -> None:
    if hasattr(driver, "safe"):
        assert driver.value == driver.safe


def test_each_of_its_options_says_in_a_sentence_what_it_is_for(kind: str) -> None:
    for option in options(DRIVERS[kind]):
        assert option.doc.endswith("."), f"{kind}.{option.key} is not explained: Doc(...)"


def test_its_example_opens_safe_and_its_state_is_json(driver: Driver) -> None:
    assert_safe(driver)
    assert json.loads(json.dumps(driver.state())) == driver.state()
    assert driver.state()["value"] == driver.value
    json.dumps([driver.describe(), *(command.describe() for command in driver.commands.values())])


def test_it_is_safe_after_a_reset_and_another(driver: Driver) -> None:
    if hasattr(driver, "set"):
        driver.set(type(driver.value)(1))
        driver.set(type(driver.value)(0))
    for _ in range(2):
        driver.reset()
        assert_safe(driver)


def test_it_is_safe_after_make_safe(driver: Driver) -> None:
    for name in ("on", "off"):
        if name in driver.commands:
            getattr(driver, name)()
        driver.make_safe()
        assert_safe(driver)


def test_it_closes_twice_and_leaves_no_pin_reserved(driver: Driver, bench: Any) -> None:
    driver.close()
    driver.close()
    assert pins_in_use(bench.pins) == []


def test_it_opens_again_after_it_was_closed(driver: Driver) -> None:
    driver.close()
    driver.open()
    assert_safe(driver)


def test_it_claims_every_pin_that_it_uses(driver: Driver, bench: Any) -> None:
    claimed = {claim.name for claim in driver.claims() if claim.kind == "pin"}
    assert set(pins_in_use(bench.pins)) <= claimed  # those of a bus are the kernel's


def test_it_states_the_level_that_each_pin_it_drives_has_from_power_on(
    driver: Driver, bench: Any
) -> None:
    used = [bench.pins.pin(name) for name in pins_in_use(bench.pins)]
    driver.close()
    left = {pin.info.name: bool(pin.state) for pin in used if pin.function == "output"}
    assert left == {f"GPIO{pin}": level for pin, level in driver.rest_level().items()}


def test_it_is_an_input_to_simulate_or_it_has_commands(driver: Driver) -> None:
    assert isinstance(driver, Simulatable) or driver.commands
