"""External programs as sensors and as switches; uhubctl, which switches USB power."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.driver import Claim
from labnode.drivers.framework.input import Input
from labnode.drivers.framework.readings import ValueType
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowDriver, SlowSensor, SlowSwitch
from labnode.drivers.framework.subprocess import Inquiry
from labnode.errors import DeviceError
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration, unlike

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TEXT = r"(?s:.*)"
# A port in the output of uhubctl, and what follows its status up to [the name of a device].
_STATUS = re.compile(r"^\s*Port (\d+): [0-9a-f]{4}([^\[\n]*)", re.M)


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

        load: {driver: command, run: [cat, /proc/loadavg], pattern: "[0-9.]+"}
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
            raise ValueError(Message("driver.run"))
        try:
            self._pattern = re.compile(self.pattern or (_TEXT if self.text else _NUMBER), re.M)
        except re.error as error:
            raise ValueError(
                Message("driver.no-pattern", key="pattern", error=str(error))
            ) from None

    def runs(self) -> dict[str, str]:
        return {self.run[0]: ""}

    @property
    def value_type(self) -> ValueType:
        return ValueType(str if self.text else float)

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


@register("command_switch")
@dataclass(kw_only=True)
class CommandSwitch(RunsPrograms, SlowSwitch):
    """A switch that external programs switch, one for on and one for off.

    Each is a program and its arguments, without a shell. The output of a third one, `run_state`,
    contains `on_pattern` while the switch is on.

    Example::

        scope: {driver: command_switch, run_on: [scope-power, "1"], run_off: [scope-power, "0"]}
    """

    run_on: Annotated[list[str], Doc("The program that switches it on, and its arguments.")]
    run_off: Annotated[list[str], Doc("The program that switches it off, and its arguments.")]
    run_state: Annotated[
        list[str] | None, Doc("The program that prints whether it is on, and its arguments.")
    ] = None
    on_pattern: Annotated[
        str | None, Doc("A regular expression that matches the output of run_state while it is on.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.run_on or not self.run_off or self.run_state == []:
            raise ValueError(Message("driver.run-on-off"))
        if (self.run_state is None) != (self.on_pattern is None):
            raise ValueError(Message("driver.together", one="run_state", other="on_pattern"))
        try:
            self._is_on = re.compile(self.on_pattern or "", re.M)
        except re.error as error:
            raise ValueError(
                Message("driver.no-pattern", key="on_pattern", error=str(error))
            ) from None

    def runs(self) -> dict[str, str]:
        return {argv[0]: "" for argv in (self.run_on, self.run_off, self.run_state) if argv}

    def switch(self, value: bool) -> bool | None:
        self._run(self.run_on if value else self.run_off)
        return self.look()

    def look(self) -> bool | None:
        if self.run_state is None:
            return None
        return bool(self._is_on.search(self._run(self.run_state)))

    def _run(self, argv: list[str]) -> str:
        return self.inquiry.ask(argv, self.time_limit / 2)  # to switch and to look


class HubLocation(str):
    """The location of a hub, 1-1.4, as uhubctl and lsusb -t print it."""

    json_schema = {"type": "string", "pattern": r"^\d+(-\d+(\.\d+)*)?$"}  # noqa: RUF012

    @classmethod
    def from_yaml(cls, value: object) -> HubLocation:
        text = str(value) if type(value) is int else value
        if isinstance(text, str) and re.fullmatch(r"\d+(-\d+(\.\d+)*)?", text):
            return cls(text)
        raise ValueError(unlike(Message("driver.a-hub"), value))


@register("usb_power")
@dataclass(kw_only=True)
class UsbPower(RunsPrograms, SlowSwitch):
    """Switches the power of one port of a USB hub, with the program uhubctl.

    Run uhubctl without arguments to list the hubs that can do this. A Pi 4 switches its four ports
    only together (hubs 2 and 1-1, any port).

    Example::

        board_power: {driver: usb_power, hub: 1-1.4, port: 2, safe: false, min_off_time: 2s}
    """

    programs: ClassVar[Mapping[str, str]] = {"uhubctl": "uhubctl"}

    hub: Annotated[HubLocation, Doc("The location of the hub as uhubctl prints it: 1-1.4.")]
    hub_port: Annotated[int, Between(1, 31), Doc("The number of the hub's port.")] = field(
        metadata={"key": "port"}
    )
    time_limit: Annotated[Duration, Between(0.1, 10)] = 5.0

    def claims(self) -> list[Claim]:
        called = Message("driver.claim-usb-port", hub=str(self.hub), port=self.hub_port)
        claim = Claim("port of USB hub", f"{self.hub}, {self.hub_port}", called=called)
        return [*super().claims(), claim]

    def switch(self, value: bool) -> bool | None:
        self._uhubctl("-a", "on" if value else "off")
        return self.look()  # the output of switching shows the states before and after

    def look(self) -> bool:
        ports = _STATUS.findall(self._uhubctl())
        words = [words.split() for port, words in ports if int(port) == self.hub_port]
        if not words:
            raise DeviceError(f"uhubctl tells nothing of port {self.hub_port} of hub {self.hub}")
        return any("power" in of_port for of_port in words)  # a USB 3 hub is two hubs

    def _uhubctl(self, *action: str) -> str:
        argv = ["uhubctl", "-l", self.hub, "-p", str(self.hub_port), *action]
        return self.inquiry.ask(argv, self.time_limit / 2)  # to switch and to look
