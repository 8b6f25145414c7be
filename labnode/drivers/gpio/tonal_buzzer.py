"""A passive buzzer or a small loudspeaker on a pin: tones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gpiozero.tones import Tone

from labnode.drivers.framework.driver import command
from labnode.drivers.framework.output import NumberOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_output import pwm_device
from labnode.errors import BadInput
from labnode.schema import Doc


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
            raise BadInput(
                f"{self.name}.play: 'note' is a note such as A4 or C#5, not {note!r}"
            ) from None
        self.put(round(frequency, 3), "play")

    @command
    def off(self) -> None:
        self.put(0.0, "off")

    def _allowed(self, value: float) -> bool:
        return value == 0 or super()._allowed(value)
