"""A pin that is read: on or off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import gpiozero

from labnode.drivers.framework.bank import InputBank, number
from labnode.drivers.framework.driver import Widget
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.edges import EdgeInput
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_pins import Group
from labnode.schema import Doc, Duration


@register("digital_input")
@dataclass(kw_only=True)
class DigitalInput(EdgeInput):
    """A pin that is read: on or off.

    With `role: estop` it is an emergency stop: everything is stopped when it comes on, and stays so
    until somebody says that it is over (`labnode clear`), which needs it to be off.

    With `pull_up: true` the pin rests high and is on while something pulls it low; with
    `pull_up: false` it rests low and is on while it is high; with `pull_up: null` it floats, and
    `active_state` says which level is on. Changes shorter than `bounce_time` are not seen.

    Example::

        lid: {driver: digital_input, pin: GPIO27, pull_up: true, bounce_time: 0.05}
    """

    widget: ClassVar[Widget] = "lamp"

    pin: Annotated[Pin, Doc("The pin that is read.")]
    pull_up: Annotated[
        bool | None,
        Doc(
            "true: the pin rests high and is on while it is pulled low; false: it rests low and is "
            "on while it is high; null: it floats."
        ),
    ] = False
    active_state: Annotated[
        bool | None, Doc("With pull_up: null, whether the pin is on while it is high.")
    ] = None
    bounce_time: Annotated[
        Duration | None, Doc("Changes that are shorter than this are not seen.")
    ] = None
    normally_closed: Annotated[
        bool,
        Doc("The contact opens when it is pressed: then it is on, as with a wire that is broken."),
    ] = False
    role: Annotated[
        Literal["estop"] | None, Doc("estop: an emergency stop, which stops everything.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pull_up is None and self.active_state is None:
            raise ValueError("pull_up: null needs active_state: true (high is on) or false")
        if self.pull_up is not None and self.active_state is not None:
            raise ValueError("active_state follows from pull_up; give it with pull_up: null only")
        if self.pin.fixed_pull_up and self.pull_up is not True:
            raise ValueError(f"{self.pin.name} has a resistor that pulls it up: say pull_up: true")

    def open(self) -> None:
        self.hardware = gpiozero.DigitalInputDevice(
            self.pin.name,
            pull_up=self.pull_up,
            active_state=self.active_state,
            bounce_time=self.bounce_time,
            pin_factory=self.services.pins,
        )
        if self.services.simulated and self.normally_closed:
            self.simulate(False)  # at rest: what a mock pin shows is an open contact
        self.hardware.when_activated = self._edge
        self.hardware.when_deactivated = self._edge
        self.watch(self.hardware.pin)
        self.opened()
        self.arrived(self.read())

    @property
    def may_pause(self) -> bool:
        return self.role != "estop"  # samples would have to wait for the hardware thread

    @property
    def value(self) -> bool:
        return self.read()

    def read(self) -> bool:
        return bool(self.hardware.value) != self.normally_closed

    def simulate(self, value: Any) -> None:
        active_high = self.active_state if self.pull_up is None else not self.pull_up
        if (bool(value) != self.normally_closed) == active_high:
            self.hardware.pin.drive_high()
        else:
            self.hardware.pin.drive_low()
        self.arrived(self.read())

    def _sample(self) -> bool:
        return self.read()  # of a mock pin, in a simulation

    def arrived(self, value: Any) -> None:
        super().arrived(value)
        if self.role == "estop" and value:
            self.services.emergency(f"'{self.name}' is pressed")

    def _edge(self) -> None:  # on the pin library's thread
        if self.role == "estop" and self.hardware is not None and self.read():
            # From here: the hardware thread may be busy, and hears of it afterwards.
            self.services.emergency(f"'{self.name}' is pressed")
        self.edge()


@register("button")
@dataclass(kw_only=True)
class Button(DigitalInput):
    """A push button between a pin and ground: on while it is pressed.

    Example::

        stop: {driver: button, pin: GPIO27, role: estop, normally_closed: true}
    """

    pull_up: bool | None = True


@register("digital_input_bank")
@dataclass(kw_only=True)
class DigitalInputBank(InputBank, EdgeInput):
    """Several pins that are read together, as a number: the lights of another board.

    The first of `pins` is the lowest bit. With `pull_up: true` the pins rest high and a bit is 1
    while its pin is pulled low; else they rest low and a bit is 1 while its pin is high.

    Example::

        lights: {driver: digital_input_bank, pins: [GPIO5, GPIO6, GPIO13, GPIO19]}
    """

    pins: Annotated[list[Pin], Doc("The pins, the lowest bit first.")]
    pull_up: Annotated[
        bool, Doc("Whether the pins rest high, and a bit is 1 while its pin is low.")
    ] = False
    bounce_time: Annotated[
        Duration | None, Doc("Changes that are shorter than this are not seen.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for pin in self.pins:
            if pin.fixed_pull_up and not self.pull_up:
                raise ValueError(f"{pin.name} has a resistor that pulls it up: say pull_up: true")

    @property
    def width(self) -> int:
        return len(self.pins)

    def open(self) -> None:
        with Group() as group:
            for pin in self.pins:
                member = gpiozero.DigitalInputDevice(
                    pin.name,
                    pull_up=self.pull_up,
                    bounce_time=self.bounce_time,
                    pin_factory=self.services.pins,
                )
                member.when_activated = member.when_deactivated = self.edge
                group.add(member)
        self.hardware = group
        self.watch(*(member.pin for member in group.members))
        self.opened()
        self.arrived(self.read())

    @property
    def value(self) -> int:
        return self.read()

    def read(self) -> int:
        return number(self.hardware.values)

    def simulate(self, value: Any) -> None:
        for place, member in enumerate(self.hardware.members):
            if bool(int(value) >> place & 1) == self.pull_up:
                member.pin.drive_low()
            else:
                member.pin.drive_high()
        self.arrived(self.read())

    def _sample(self) -> int:
        return self.read()  # of mock pins, in a simulation
