"""A switch that external programs switch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowSwitch
from labnode.drivers.framework.subprocess import Inquiry
from labnode.schema import Doc


@register("command_switch")
@dataclass(kw_only=True)
class CommandSwitch(SlowSwitch):
    """A switch that external programs switch, one for on and one for off.

    Each is a program and its arguments, one by one: no shell sees them. `run_state` is a third one
    that says whether it is on, which it is when `on_pattern` is found in what it says.

    Example::

        scope: {driver: command_switch, run_on: [scope-power, "1"], run_off: [scope-power, "0"]}
    """

    run_on: Annotated[list[str], Doc("The program that switches it on, and its arguments.")]
    run_off: Annotated[list[str], Doc("The program that switches it off, and its arguments.")]
    run_state: Annotated[
        list[str] | None, Doc("The program that says whether it is on, and its arguments.")
    ] = None
    on_pattern: Annotated[
        str | None, Doc("A regular expression that is found in what that says while it is on.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.run_on or not self.run_off or self.run_state == []:
            raise ValueError("run_on, run_off and run_state need a program each")
        if (self.run_state is None) != (self.on_pattern is None):
            raise ValueError("run_state and on_pattern go together")
        try:
            self._is_on = re.compile(self.on_pattern or "", re.M)
        except re.error as error:
            raise ValueError(f"on_pattern is no regular expression: {error}") from None

    def open(self) -> None:
        self._inquiry = Inquiry(self.services.clock)
        super().open()

    def interrupt(self) -> None:
        self._inquiry.end()

    def switch(self, value: bool) -> bool | None:
        self._answer(self.run_on if value else self.run_off)
        return self.look()

    def look(self) -> bool | None:
        return (
            None
            if self.run_state is None
            else bool(self._is_on.search(self._answer(self.run_state)))
        )

    def _answer(self, argv: list[str]) -> str:
        return self._inquiry.ask(argv, self.time_limit / 2)  # two of them are a switch
