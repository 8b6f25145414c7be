"""PWM on pins, which have a safe level before the first pulse and after the last: dimmed lights,
fans, colours, tones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import gpiozero
from gpiozero.tones import Tone

from labnode.drivers.framework.commands import must_be
from labnode.drivers.framework.driver import Services, Widget, command
from labnode.drivers.framework.output import DutyCycleOutput, NumberOutput, Output
from labnode.drivers.framework.readings import ValueType
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin, PinGroup
from labnode.errors import BadInput
from labnode.locale import Joined, Message
from labnode.schema import Between, Doc, sentence_of

_COLOUR = re.compile(r"#[0-9a-f]{6}")
_LASTS = Message("driver.while-labnode-runs")


@register("pwm_output")
@dataclass(kw_only=True)
class PwmOutput(DutyCycleOutput):
    """PWM on a pin; the value is the duty cycle, from 0 to 1.

    `min` and `max` limit the value; off (0) is always possible. PWM ends with labnode: a `safe`
    between 0 and 1 then becomes the nearer of the two (0.5 becomes 0).

    Example::

        fan: {driver: pwm_output, pin: GPIO18, frequency: 100, safe: 1.0}
    """

    pin: Annotated[Pin, Doc("The pin that is driven.")]
    frequency: Annotated[
        float,
        # lgpio's limits
        Between(0.1, 10_000, Message("driver.hardware-pwm")),
        Doc("The PWM frequency, in Hz."),
    ] = 100.0
    active_high: Annotated[bool, Doc("false: the pin is low during a pulse.")] = True

    def rest_level(self) -> dict[int, bool]:
        return {self.pin.number: rest_level(self.safe, self.active_high)}

    def warnings(self) -> list[Message]:
        return safe_warnings(f"{self.safe:g}", [self.safe], _LASTS)

    def open(self) -> None:
        self.hardware = pwm_device(
            self.services,
            self.pin,
            self.safe,
            frequency=self.frequency,
            active_high=self.active_high,
        )
        self.opened()

    def park(self) -> None:
        self.hardware.value = float(self.safe > 0.5)

    def drive(self, value: float) -> None:
        self.hardware.value = value

    @property
    def value(self) -> float:
        return round(float(self.hardware.value), 6)


@register("pwm_led")
@dataclass(kw_only=True)
class PwmLed(PwmOutput):
    """A dimmable light on a pin, from 0 to 1.

    Example::

        lamp: {driver: pwm_led, pin: GPIO18}
    """


@register("rgb_led")
@dataclass(kw_only=True)
class RgbLed(Output):
    """A light of three colours on three pins; its value is a colour as on the web, "#ff8000".

    Example::

        mood: {driver: rgb_led, red: GPIO17, green: GPIO27, blue: GPIO22, safe: "#000000"}
    """

    widget: ClassVar[Widget] = "rgb"

    red: Annotated[Pin, Doc("The pin of the red light.")]
    green: Annotated[Pin, Doc("The pin of the green light.")]
    blue: Annotated[Pin, Doc("The pin of the blue light.")]
    active_high: Annotated[bool, Doc("false: a light is lit by a low pin (common anode).")] = True
    frequency: Annotated[float, Between(0.1, 10_000), Doc("The PWM frequency, in Hz.")] = 100.0
    safe: str = "#000000"
    initial: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.safe = _colour("safe", self.safe)

    @property
    def value_type(self) -> ValueType:
        return ValueType(str)

    def rest_level(self) -> dict[int, bool]:
        return {pin.number: rest_level(duty, self.active_high) for pin, duty in self._safe_duties()}

    def warnings(self) -> list[Message]:
        return safe_warnings(self.safe, _duties(self.safe), _LASTS)

    def open(self) -> None:
        self.hardware = PinGroup(
            pwm_device(
                self.services, pin, duty, frequency=self.frequency, active_high=self.active_high
            )
            for pin, duty in self._safe_duties()
        )
        self.opened()

    def park(self) -> None:
        self.hardware.values = [float(duty > 0.5) for duty in _duties(self.safe)]

    def check(self, where: str, value: Any) -> str:
        try:
            return _colour("value", value)
        except ValueError as error:
            raise BadInput(Joined(f"{where}: ", sentence_of(error))) from None

    def drive(self, value: str) -> None:
        self.hardware.values = _duties(value)

    @property
    def value(self) -> str:
        return "#" + "".join(f"{round(duty * 255):02x}" for duty in self.hardware.values)

    @command
    def set(self, value: str) -> None:
        self.put(value)

    @command
    def on(self) -> None:
        self.put("#ffffff", "on")

    @command
    def off(self) -> None:
        self.put("#000000", "off")

    def _safe_duties(self) -> Iterable[tuple[Pin, float]]:
        return zip((self.red, self.green, self.blue), _duties(self.safe), strict=True)


@register("tonal_buzzer")
@dataclass(kw_only=True)
class TonalBuzzer(NumberOutput):
    """A passive buzzer or a small loudspeaker on a pin; its value is the tone in Hz, 0 is silence.

    `play` takes the name of a note, by default from A3 (220 Hz) to A5 (880 Hz): `min` and `max`.

    Example::

        speaker: {driver: tonal_buzzer, pin: GPIO22, max_on_time: 5s}
    """

    highest = 10_000.0  # lgpio's limit

    pin: Annotated[Pin, Doc("The pin that is driven.")]
    unit: str = "Hz"
    min: float | None = 220.0
    max: float | None = 880.0
    step: float | None = None

    def rest_level(self) -> dict[int, bool]:
        return {self.pin.number: False}

    def open(self) -> None:
        self.hardware = pwm_device(self.services, self.pin)
        self.reset()
        self.opened()

    def drive(self, value: float) -> None:
        if value:
            self.hardware.frequency = value
        self._tone = value
        self.hardware.value = 0.5 if value else 0.0

    @property
    def value(self) -> float:
        return self._tone

    @command
    def play(self, note: str) -> None:
        """A note by its name: "A4", "C#5"."""
        try:
            frequency = float(Tone.from_note(note).frequency)
        except ValueError:
            expected = Message("driver.a-note")
            wrong = Message("error.is", name="'note'", expected=expected, value=repr(note))
            where = f"{self.name}.play"
            raise BadInput(Joined(where, ": ", wrong)) from None
        self.put(round(frequency, 3), "play")

    @command
    def off(self) -> None:
        self.put(0.0, "off")

    def _allowed(self, value: float) -> bool:
        return value == 0 or super()._allowed(value)


def pwm_device(
    services: Services,
    pin: Pin,
    value: float = 0.0,
    *,
    frequency: float = 100.0,
    active_high: bool = True,
) -> Any:
    """A gpiozero device for PWM on a pin, with `value` from 0 to 1.

    gpiozero makes the pin an output before it sets frequency and value: the pin needs the right
    level already, or a fan with safe value 1 stops and an inverted heater heats.
    """
    services.pins.pin(pin.name).output_with_state(rest_level(value, active_high))
    return gpiozero.PWMOutputDevice(
        pin.name,
        active_high=active_high,
        initial_value=value,
        frequency=frequency,
        pin_factory=services.pins,
    )


def rest_level(value: float, active_high: bool = True) -> bool:
    """The level of a pin for `value` (0 to 1) without PWM."""
    return (value > 0.5) == active_high


def safe_warnings(safe: str, duties: Sequence[float], lasts: Message) -> list[Message]:
    """A warning if a safe value has duty cycles between 0 and 1, which do not last for ever."""
    if not set(duties) - {0.0, 1.0}:
        return []
    levels = [Message("driver.on") if duty > 0.5 else Message("driver.off") for duty in duties]
    if len(levels) == 1:
        pins = Message("driver.pin-is", level=levels[0])
    else:
        red, green, blue = levels
        pins = Message("driver.pins-are", red=red, green=green, blue=blue)
    return [Message("driver.safe-lasts", safe=safe, lasts=lasts, pins=pins)]


def _colour(name: str, value: str) -> str:
    if not _COLOUR.fullmatch(value.lower()):
        raise ValueError(must_be(f"'{name}'", Message("driver.a-colour"), repr(value)))
    return value.lower()


def _duties(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
