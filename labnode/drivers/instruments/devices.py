"""What is read from an instrument and set on it: readings, setpoints, switches."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from labnode.clock import earliest
from labnode.drivers.framework.driver import Driver, Ref
from labnode.drivers.framework.output import NumberOutput, Output, SwitchOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowDriver, SlowOutput, SlowSensor
from labnode.drivers.instruments.conversation import Speaker
from labnode.drivers.instruments.dialogue import Dialogue
from labnode.drivers.instruments.driver import Instrument
from labnode.drivers.instruments.formats import Phrase, Template, number, truth
from labnode.locale import Message, Wording
from labnode.schema import Between, Doc, Duration

_COMPLAINS = 5.0  # seconds that a refused command is shown
_QUESTIONS = 4  # that a command takes: itself, its errors, reading back, their errors


class InstrumentRef(Ref):
    """An option that names an instrument of the board."""

    def mistake(self, device: Driver) -> str | Wording:
        fits = isinstance(device, Instrument)
        if fits:
            return ""
        return Message("driver.no-instrument", name=f"'{self}'", kind=device.kind)


@dataclass(kw_only=True)
class InstrumentPart(SlowDriver):
    """Something of an instrument; its slow jobs take places on the instrument's io thread."""

    instrument: Annotated[InstrumentRef, Doc("The device that is the connection.")]

    @property
    def owner(self) -> Instrument:
        owner = self.services.device(self.instrument)
        assert isinstance(owner, Instrument)
        return owner

    def worker(self) -> Speaker:
        first, changed = isinstance(self, Output), self.services.publish
        self._speaker = self.owner.speaker(self.name, changed, self.lost, first=first)
        return self._speaker

    @property
    def dialogue(self) -> Dialogue:
        """What the instrument is spoken to with (io thread); DeviceGone without a connection."""
        return self._speaker.dialogue

    def lost(self) -> None:
        """The connection is gone (hardware thread)."""

    def trouble(self) -> str | None:
        why = None if self.services.simulated else self.owner.status.error
        return super().trouble() if why is None else f"'{self.instrument}' is not connected: {why}"

    def state(self) -> dict[str, Any]:
        if self._io is None or self.owner.status.connected:
            return super().state()
        why = self.trouble()
        error = {} if why is None else {"error": why}
        return {**super().state(), "connected": False, **error}


@dataclass(kw_only=True)
class InstrumentOutput(InstrumentPart, SlowOutput):
    """An output of an instrument; when the connection was lost it is made safe.

    A subclass has `phrase` and `said`, or its own `transmit` and `look`, which use `dialogue`.
    """

    query: Annotated[
        Phrase | None, Doc("The question for its state, after each command and at times.")
    ] = None

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._complaint: str | None = None  # about the last command
        self._complained_until = 0.0

    @property
    def answers_within(self) -> float:
        return _QUESTIONS * self.owner.timeout

    def phrase(self, value: Any) -> str:
        """The command for a value."""
        raise NotImplementedError

    def said(self, answer: str, wanted: Any) -> Any:
        """The value that an answer tells, `wanted` where it is near enough; DeviceError."""
        raise NotImplementedError

    def transmit(self, value: Any) -> Any:
        self.dialogue.write(self.phrase(value))
        self.dialogue.confirm()
        return self._read_back(value)

    def look(self) -> Any:
        return self._read_back(self._wanted)

    def _read_back(self, wanted: Any) -> Any:
        if self.query is None:
            return None
        return self.said(self.dialogue.query(self.query), wanted)

    def reset(self) -> None:
        self._complaint = None
        super().reset()

    def due(self) -> float | None:
        return earliest(super().due(), self._complained_until if self._complaint else None)

    def poll(self) -> None:
        super().poll()
        if self.services.clock.now() >= self._complained_until:
            self._complaint = None

    def state(self) -> dict[str, Any]:
        complaint = {} if self._complaint is None else {"error": self._complaint}
        return {**complaint, **super().state()}

    def _not_confirmed(self, error: Exception) -> None:
        if not self.is_safe(self._wanted):  # to make it safe will work, and hide why it had to be
            self._complaint = str(error)
            self._complained_until = self.services.clock.now() + _COMPLAINS
        super()._not_confirmed(error)

    def lost(self) -> None:
        self._value = None
        Output.reset(self)  # nobody knows what it does: it is safe as soon as it is there again


@register("reading")
@dataclass(kw_only=True)
class Reading(InstrumentPart, SlowSensor):
    """A number that an instrument answers to a question, such as a measured voltage.

    The value is the number at the beginning of the answer, or what `pattern` matches. An answer
    that says "out of range" (9.9E37, as in SCPI) is no reading.

    Example::

        current: {driver: reading, instrument: supply, query: "MEAS:CURR?", unit: A}
    """

    query: Annotated[Phrase, Doc("The question that it answers with a number.")]
    pattern: Annotated[
        str | None, Doc("A regular expression for the number: its group, or else all of it.")
    ] = None
    sample_every: Annotated[Duration, Between(0.05)] = 1.0
    digits: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self._pattern = None if self.pattern is None else re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                Message("driver.no-pattern", key="pattern", error=str(error))
            ) from None

    def read(self) -> float:
        return number(self.dialogue.query(self.query), self._pattern)


@register("setpoint")
@dataclass(kw_only=True)
class Setpoint(NumberOutput, InstrumentOutput):
    """A number that is set on an instrument, such as a voltage, within its limits.

    `command` is sent with the number in it; with `query` the value is read back, and must be the
    same up to `tolerance`. `safe` is sent when labnode starts and stops, before and after every
    student, and when the instrument is connected again.

    Example::

        voltage:
          driver: setpoint
          instrument: supply
          command: "VOLT {value:.3f}"
          query: "VOLT?"
          min: 0
          max: 12
          safe: 0
          unit: V
    """

    lowest, highest = -math.inf, math.inf

    command: Annotated[Template, Doc("What is sent, with {value} where the number goes.")]
    min: Annotated[float, Doc("The lowest value that commands may set, besides safe.")]
    max: Annotated[float, Doc("The highest value that commands may set.")]
    safe: float = field()
    tolerance: Annotated[
        float | None,
        Between(0),
        Doc("How far off it may be read back; by default 0.1 % or the last digit."),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("safe", "initial", "min", "max"):
            value = getattr(self, name)
            if value is not None and not math.isclose(
                self.command.rounded(value), value, rel_tol=1e-9, abs_tol=1e-12
            ):
                sent, number = repr(self.command.text(value)), f"{value:g}"
                raise ValueError(Message("driver.digits", key=name, value=number, sent=sent))

    def check(self, where: str, value: Any) -> float:  # noqa: ARG002
        return self.command.rounded(value)

    def phrase(self, value: float) -> str:
        return self.command.text(value)

    def said(self, answer: str, wanted: float) -> float:
        told = number(answer)
        if self.tolerance is not None:
            return wanted if abs(told - wanted) <= self.tolerance else told
        near = math.isclose(told, wanted, rel_tol=0.001) or self.command.rounded(told) == wanted
        return wanted if near else told

    def describe(self) -> dict[str, Any]:
        step = (self.max - self.min) / 100 if self.step is None else self.step
        return {**super().describe(), "step": step}


@register("instrument_switch")
@dataclass(kw_only=True)
class InstrumentSwitch(SwitchOutput, InstrumentOutput):
    """Something of an instrument that is on or off, such as the output of a supply.

    With `query` its state is read back: 1 or ON, 0 or OFF.

    Example::

        output:
          driver: instrument_switch
          instrument: supply
          on_command: OUTP ON
          off_command: OUTP OFF
          query: "OUTP?"
    """

    on_command: Annotated[Phrase, Doc("What switches it on.")]
    off_command: Annotated[Phrase, Doc("What switches it off.")]

    def phrase(self, value: bool) -> str:
        return self.on_command if value else self.off_command

    def said(self, answer: str, wanted: bool) -> bool:  # noqa: ARG002
        return truth(answer)
