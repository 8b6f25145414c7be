"""Pins that are read as on or off, one by one or as a bank: contacts, buttons, sensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from labnode.drivers.framework.bank import InputBank, number
from labnode.drivers.framework.driver import Widget
from labnode.drivers.framework.readings import ValueType
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.edges import LevelInput
from labnode.drivers.gpio.pin import AnyPin, PinGroup, RemotePin
from labnode.locale import Message, Wording
from labnode.schema import Doc, Duration, unlike

_LONGEST_BOUNCE = 1.0  # seconds; contacts are at rest after some milliseconds


@register("digital_input")
@dataclass(kw_only=True)
class DigitalInput(LevelInput):
    """A pin that is read: on or off.

    With `role: estop` it is an emergency stop: everything stops when it comes on. Once it is off
    again, `labnode clear` ends the stop.

    Example::

        lid: {driver: digital_input, pin: GPIO27, pull_up: true, bounce_time: 0.05}
    """

    widget: ClassVar[Widget] = "lamp"

    pin: Annotated[AnyPin, Doc("The pin that is read.")]
    pull_up: Annotated[
        bool | None,
        Doc(
            "true: the pin rests high and is on while it is low; false: it rests low and is on "
            "while it is high; null: it floats."
        ),
    ] = False
    active_state: Annotated[
        bool | None, Doc("With pull_up: null, whether it is on while high.")
    ] = None
    bounce_time: Annotated[Duration | None, Doc("Shorter changes are ignored.")] = None
    normally_closed: Annotated[
        bool, Doc("The contact opens when pressed: it is on while open, or if a wire is broken.")
    ] = False
    role: Annotated[
        Literal["estop"] | None, Doc("estop: an emergency stop, which stops everything.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pull_up is None and self.active_state is None:
            raise ValueError(Message("driver.active-state-needed"))
        if self.pull_up is not None and self.active_state is not None:
            raise ValueError(Message("driver.active-state-follows"))
        if self.role == "estop" and isinstance(self.pin, RemotePin):
            raise ValueError(Message("driver.estop-pin"))
        if self.pin.fixed_pull_up and self.pull_up is not True:
            raise ValueError(Message("driver.pulled-up", pin=self.pin.name))

    def warnings(self) -> list[str | Wording]:
        return [*super().warnings(), *bounce_warnings(self.bounce_time)]

    def open(self) -> None:
        self.hardware = self.pin.input(
            self.services,
            pull_up=self.pull_up,
            active_state=self.active_state,
            bounce_time=self.bounce_time,
        )
        if self.services.simulated and self.normally_closed:
            self.simulate(False)  # at rest: a mock pin shows an open contact
        self.watch(self.hardware.pin)
        self.hardware.when_activated = self.hardware.when_deactivated = self._edge
        self.opened()
        self.arrived(self.read())

    @property
    def value_type(self) -> ValueType:
        return ValueType(bool)

    @property
    def may_pause(self) -> bool:
        return self.role != "estop"  # samples would have to wait for the hardware thread

    def read(self) -> bool:
        return bool(self.hardware.value) != self.normally_closed

    def simulate(self, value: Any) -> None:
        if isinstance(value, str):
            raise ValueError(unlike(Message("yaml.true-or-false"), value))
        active_high = self.active_state if self.pull_up is None else not self.pull_up
        high = (bool(value) != self.normally_closed) == active_high
        (self.hardware.pin.drive_high if high else self.hardware.pin.drive_low)()
        self.arrived(self.read())

    def arrived(self, value: Any) -> None:
        super().arrived(value)
        if self.role == "estop" and value:
            self.services.emergency(f"'{self.name}' is pressed")

    def _edge(self) -> None:  # on the pin library's thread
        self.edge()  # first: the hardware thread looks again, whatever happens here
        if self.role == "estop" and self.hardware is not None and self.read():
            # Here and now: the hardware thread may be busy.
            self.services.emergency(f"'{self.name}' is pressed")


@register("button")
@dataclass(kw_only=True)
class Button(DigitalInput):
    """A push button between a pin and ground: on while it is pressed.

    Example::

        stop: {driver: button, pin: GPIO27, role: estop, normally_closed: true}
    """

    pull_up: bool | None = True


@register("line_sensor")
@dataclass(kw_only=True)
class LineSensor(DigitalInput):
    """A sensor above the floor (TCRT5000, CNY70): on while it sees a dark line.

    Most modules pull the pin low over the line; use `active_state: true` for the others.

    Example::

        line: {driver: line_sensor, pin: GPIO27, bounce_time: 2ms}
    """

    pull_up: bool | None = None
    active_state: bool | None = False


@register("motion_sensor")
@dataclass(kw_only=True)
class MotionSensor(DigitalInput):
    """A passive infrared sensor (HC-SR501): on while somebody moves.

    Example::

        somebody: {driver: motion_sensor, pin: GPIO27}
    """


@register("digital_input_bank")
@dataclass(kw_only=True)
class DigitalInputBank(InputBank, LevelInput):
    """Several pins that are read together, as a number: the lights of another board.

    Example::

        lights: {driver: digital_input_bank, pins: [GPIO5, GPIO6, GPIO13, GPIO19]}
    """

    pins: Annotated[list[AnyPin], Doc("The pins, the lowest bit first.")]
    pull_up: Annotated[
        bool, Doc("Whether the pins are pulled up, and a bit is 1 while its pin is low.")
    ] = False
    bounce_time: Annotated[Duration | None, Doc("Shorter changes are ignored.")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for pin in self.pins:
            if pin.fixed_pull_up and not self.pull_up:
                raise ValueError(Message("driver.pulled-up", pin=pin.name))

    @property
    def width(self) -> int:
        return len(self.pins)

    def warnings(self) -> list[str | Wording]:
        return [*super().warnings(), *bounce_warnings(self.bounce_time)]

    def open(self) -> None:
        self.hardware = PinGroup(
            pin.input(self.services, pull_up=self.pull_up, bounce_time=self.bounce_time)
            for pin in self.pins
        )
        self.watch(*(member.pin for member in self.hardware.members))
        for member in self.hardware.members:
            member.when_activated = member.when_deactivated = self.edge
        self.opened()
        self.arrived(self.read())

    def read(self) -> int:
        return number(self.hardware.values)

    def simulate(self, value: Any) -> None:
        for place, member in enumerate(self.hardware.members):
            high = bool(int(value) >> place & 1) != self.pull_up
            (member.pin.drive_high if high else member.pin.drive_low)()
        self.arrived(self.read())


def bounce_warnings(seconds: float | None) -> list[Message]:
    """A sentence for a bounce time that is so long that it may be meant in milliseconds."""
    if seconds is None or seconds <= _LONGEST_BOUNCE:
        return []
    return [Message("driver.bounce-long", seconds=f"{seconds:g}")]
