"""External programs as sensors, and what all devices have in common that run programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from labnode.drivers.framework.input import Input
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowDriver, SlowSensor
from labnode.drivers.framework.subprocess import Inquiry
from labnode.errors import DeviceError
from labnode.schema import Between, Doc, Duration

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TEXT = r"(?s:.*)"


@dataclass(kw_only=True)
class RunsPrograms(SlowDriver):
    """A device that runs programs on its io thread, one at a time."""

    def open(self) -> None:
        self.inquiry = Inquiry(self.services.clock)
        super().open()

    def interrupt(self) -> None:
        self.inquiry.end()


@register("command")
@dataclass(kw_only=True)
class ProgramSensor(RunsPrograms, SlowSensor):
    """An external program that runs again and again; its value is its output.

    `run` is the program and its arguments, without a shell. The value is the first number in the
    output, or what `pattern` matches; with `text: true` it is a text. A program that fails, or
    takes longer than `time_limit`, gives no value.

    Example::

        volts: {driver: command, run: [vcgencmd, measure_volts, core], pattern: "volt=([0-9.]+)V"}
    """

    run: Annotated[list[str], Doc("The program and its arguments, as a list.")]
    pattern: Annotated[
        str | None,
        Doc("A regular expression for the value in the output: its group, or else all of it."),
    ] = None
    text: Annotated[bool, Doc("Whether the value is a text and not a number.")] = False
    time_limit: Annotated[Duration, Between(0.1, 3600), Doc("The longest run, in seconds.")] = 5.0
    sample_every: Annotated[Duration, Between(0.2)] = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.run:
            raise ValueError("run needs a program")
        try:
            self._pattern = re.compile(
                self.pattern or (_TEXT if self.text else _NUMBER), re.MULTILINE
            )
        except re.error as error:
            raise ValueError(f"pattern is no regular expression: {error}") from None

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **({"widget": "text"} if self.text else {})}

    def read(self) -> float | str:
        answer = self.inquiry.ask(self.run, self.time_limit)
        found = self._pattern.search(answer)
        if found is None:
            raise DeviceError(f"{self.run[0]} said {answer[:80]!r}, where there is no value")
        value = found[1] if self._pattern.groups else found[0]
        if self.text:
            return value
        try:
            return float(value)
        except (TypeError, ValueError):
            raise DeviceError(f"{self.run[0]} said {value!r}, which is no number") from None

    def arrived(self, value: Any) -> None:
        if self.text:
            Input.arrived(self, value)
        else:
            super().arrived(value)
