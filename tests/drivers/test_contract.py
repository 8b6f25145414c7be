"""What every driver promises to its board, checked for each one that is registered."""

from __future__ import annotations

import inspect
import json
import threading
from typing import Any

import pytest

from labnode.drivers.framework.driver import Derived, Driver, PinProvider, Simulatable
from labnode.drivers.framework.input import Input
from labnode.drivers.framework.output import NumberOutput, Output
from labnode.drivers.framework.registry import load_drivers
from labnode.drivers.gpio.factories import pins_in_use
from labnode.errors import BadInput
from labnode.schema import build, options, parse_yaml

DRIVERS = load_drivers()
OUTPUTS = [kind for kind, driver in DRIVERS.items() if issubclass(driver, Output)]
INPUTS = [kind for kind, driver in DRIVERS.items() if issubclass(driver, Input)]

every_driver = pytest.mark.parametrize("kind", DRIVERS)
every_output = pytest.mark.parametrize("kind", OUTPUTS)
every_input = pytest.mark.parametrize("kind", INPUTS)


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
        assert getattr(driver, "target", driver.value) == driver.safe


def unsafe(output: Output) -> Any:
    """A value that the output takes, which is not its safe one."""
    limits, choices = ("most", "least", "max", "min"), output.value_type.choices
    numbers = [getattr(output, name) for name in limits if hasattr(output, name)]
    for value in (True, False, *numbers, 1, 0, "#ffffff", "something", *choices):
        try:
            accepted = output.accept("test", value)
        except BadInput:
            continue
        if not output.is_safe(accepted):
            return accepted
    raise AssertionError(f"nothing can be done with {output.kind}")


def pins_of(driver: Driver, bench: Any) -> list[Any]:
    """The mock pins that it drives."""
    used = [bench.pins.pin(name) for name in pins_in_use(bench.pins)]
    return [pin for pin in used if pin.function == "output"]


@every_driver
def test_each_of_its_options_says_in_a_sentence_what_it_is_for(kind: str) -> None:
    script = DRIVERS[kind].script
    for option in options(DRIVERS[kind]) + (options(script) if script else ()):
        assert option.doc.endswith("."), f"{kind}.{option.key} is not explained: Doc(...)"


@every_driver
def test_its_example_opens_safe_and_its_state_is_json(driver: Driver) -> None:
    assert_safe(driver)
    assert json.loads(json.dumps(driver.state())) == driver.state()
    assert driver.state()["value"] == driver.value
    json.dumps([driver.describe(), *(command.describe() for command in driver.commands.values())])


@every_driver
def test_its_value_is_of_the_type_that_expressions_expect(driver: Driver) -> None:
    kind, value = driver.value_type.kind, driver.value
    if kind is not None and value is not None:
        assert isinstance(value, int | float if kind is float else kind)
        assert isinstance(value, bool) == (kind is bool)


@every_driver
def test_simulated_it_has_no_thread_but_what_ends_when_it_is_closed(kind: str, bench: Any) -> None:
    before = set(threading.enumerate())
    driver = bench.open(example(kind), "thing")
    started = set(threading.enumerate()) - before
    # What a page looks at for long has its io thread: the peer that is simulated speaks on it.
    talks = DRIVERS[kind].widget in ("console", "camera")
    assert {thread.name for thread in started} == ({"io-thing"} if talks else set())
    driver.close()
    assert not any(thread.is_alive() for thread in started)


@every_driver
def test_it_is_safe_after_a_reset_and_another(driver: Driver, bench: Any) -> None:
    if isinstance(driver, Output):
        bench.clock.advance(driver.min_off_time or 0)
        driver.put(unsafe(driver))
        assert not driver.is_safe(driver.target)
    for _ in range(2):
        driver.reset()
        assert_safe(driver)


@every_driver
def test_it_closes_twice_and_leaves_no_pin_reserved(driver: Driver, bench: Any) -> None:
    driver.close()
    driver.close()
    assert pins_in_use(bench.pins) == []


@every_driver
def test_it_opens_again_after_it_was_closed(driver: Driver) -> None:
    driver.close()
    driver.open()
    assert_safe(driver)


@every_driver
def test_what_was_never_opened_can_be_closed(kind: str, bench: Any) -> None:
    driver = example(kind)
    bench.attach(driver, kind)
    driver.close()


@every_driver
def test_it_claims_every_pin_that_it_uses(driver: Driver, bench: Any) -> None:
    claimed = {claim.name for claim in driver.claims() if claim.kind == "pin"}
    assert set(pins_in_use(bench.pins)) <= claimed  # those of a bus are the kernel's


@every_driver
def test_it_states_the_level_that_each_pin_it_drives_has_from_power_on(
    driver: Driver, bench: Any
) -> None:
    used = pins_of(driver, bench)
    driver.close()
    left = {pin.info.name: bool(pin.state) for pin in used}
    assert left == {f"GPIO{pin}": level for pin, level in driver.rest_level().items()}


@every_driver
def test_it_is_an_input_to_simulate_or_has_commands_or_follows_others_or_is_looked_at(
    driver: Driver,
) -> None:
    shown = isinstance(driver, Derived | PinProvider) or driver.widget == "camera"
    assert isinstance(driver, Simulatable) or driver.commands or shown


@every_output
def test_it_shows_what_it_was_told_and_not_nearly_that(kind: str, bench: Any) -> None:
    output = bench.open(example(kind), kind)
    value = unsafe(output)
    if isinstance(output, NumberOutput):
        value = output.accept("test", output.nearest((output.least + 2 * output.most) / 3))
    output.force(value)
    state = output.state()
    assert state.get("target", state["value"]) == value  # or an interlock would force it for ever


@every_output
def test_an_output_is_driven_safe_from_the_first_moment(driver: Output, bench: Any) -> None:
    for pin in pins_of(driver, bench):
        number = int(pin.info.name.removeprefix("GPIO"))
        assert pin.levels[0] == driver.rest_level()[number]


@every_output
def test_an_output_that_was_on_is_left_driven_at_its_rest_level(driver: Output, bench: Any) -> None:
    used = pins_of(driver, bench)
    bench.clock.advance(driver.min_off_time or 0)
    driver.put(unsafe(driver))
    driver.close()
    for pin in used:
        number = int(pin.info.name.removeprefix("GPIO"))
        assert (pin.function, bool(pin.state)) == ("output", driver.rest_level()[number])


@every_output
def test_an_output_is_made_safe_from_another_thread(driver: Output, bench: Any) -> None:
    bench.clock.advance(driver.min_off_time or 0)
    driver.put(unsafe(driver))
    thread = threading.Thread(target=driver.make_safe, name="emergency")
    thread.start()
    thread.join()
    assert_safe(driver)


@every_output
def test_an_interlock_can_force_an_output_to_what_it_takes_and_back(driver: Output) -> None:
    value = unsafe(driver)
    driver.force(value)
    assert driver.target == value
    driver.force(driver.safe)
    assert_safe(driver)


@every_input
def test_a_simulated_input_shows_what_it_is_told(driver: Input) -> None:
    for value in (1, 0, 1):
        driver.simulate(value)
        assert driver.value == value
        assert driver.state()["value"] == value
