from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest

from labnode import drivers
from labnode.drivers.framework.driver import Claim, Driver, command
from labnode.drivers.framework.registry import MODULES, Drivers, load_drivers, register, registry
from labnode.drivers.gpio.pin import Pin


@dataclass(kw_only=True)
class Motor(Driver):
    pin: Pin
    brakes: list[Pin] = field(default_factory=list)

    @command
    def run(self) -> None: ...


class Hardware:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_all_drivers_are_found_by_name() -> None:
    assert {"led", "button", "relay", "pwm_output"} <= set(load_drivers())
    assert load_drivers()["led"].kind == "led"


def test_every_driver_of_labnode_is_listed_with_its_module() -> None:
    for module in walk_packages(drivers.__path__, "labnode.drivers."):
        if "._" not in module.name:  # that one needs lgpio
            import_module(module.name)
    written = {kind: cls.__module__ for kind, cls in registry.items()}
    assert {k: m for k, m in written.items() if m.startswith("labnode.drivers.")} == MODULES


def test_a_board_finds_its_own_drivers_and_those_of_labnode() -> None:
    found = Drivers({"carousel": Motor})
    assert (found["carousel"], found["led"].kind) == (Motor, "led")
    assert set(found) == {"carousel", *load_drivers()}
    assert len(found) == len(set(found))
    assert "carousel" not in load_drivers()
    assert "ledd" not in found


def test_nobody_takes_the_name_of_a_driver_that_no_board_has_had_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(registry, "led", raising=False)
    with pytest.raises(ValueError, match="two drivers called 'led'"):
        register("led")(Motor)


def test_a_registered_driver_has_its_name_and_its_commands() -> None:
    try:
        assert register("carousel")(Motor) is Motor
        assert (Motor.kind, list(Motor.commands)) == ("carousel", ["run"])
        with pytest.raises(ValueError, match="two drivers called 'carousel'"):
            register("carousel")(Motor)
    finally:
        registry.pop("carousel", None)


def test_a_driver_that_is_no_dataclass_is_refused() -> None:
    class Plain:
        pass

    with pytest.raises(TypeError, match="Plain is not a dataclass"):
        register("plain")(Plain)  # type: ignore[type-var]


def test_a_driver_claims_what_its_options_claim_in_lists_too() -> None:
    motor = Motor(pin=Pin(4), brakes=[Pin(5), Pin(6)])
    assert motor.claims() == [Claim("pin", name) for name in ("GPIO4", "GPIO5", "GPIO6")]


def test_closing_makes_safe_then_lets_go_of_the_hardware_even_when_that_fails(bench: Any) -> None:
    class Stuck(Motor):
        def reset(self) -> None:
            raise OSError("stuck")

    hardware = Hardware()
    driver = Stuck(pin=Pin(4))
    bench.attach(driver)
    driver.hardware = hardware
    with pytest.raises(OSError, match="stuck"):
        driver.close()
    driver.close()
    assert hardware.closed == 1


def test_closing_what_was_never_opened_is_fine(bench: Any) -> None:
    driver = Motor(pin=Pin(4))
    bench.attach(driver)
    driver.close()
