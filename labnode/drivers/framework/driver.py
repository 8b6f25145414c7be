"""What every driver is: a dataclass of YAML options with a life cycle, a value and commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from labnode.drivers.framework.commands import Command, mark
from labnode.drivers.framework.services import Services as Services  # noqa: PLC0414
from labnode.schema import Doc, Text, shown

F = TypeVar("F", bound=Callable[..., Any])

Widget = Literal[
    "switch",
    "button",
    "lamp",
    "slider",
    "rgb",
    "dial",
    "value",
    "bank",
    "console",
    "camera",
    "upload",
    "text",
]


@dataclass(frozen=True)
class Claim:
    """Something that only one device of a board can have: a pin, a port.

    Claims of the same `bus` do not exclude each other: the pins of the bus of two I2C parts.
    """

    kind: str
    name: str
    bus: str = field(default="", compare=False)  # "I2C bus 1"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@runtime_checkable
class Claimable(Protocol):
    """An option that claims something (a `Pin` claims its pin)."""

    @property
    def claim(self) -> Claim: ...


class Ref(str):
    """An option that names another device of the board, as in `port: console`."""

    @classmethod
    def from_yaml(cls, value: object) -> Ref:
        """Any name; whether there is such a device is checked when all are known."""
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]\w*", value):
            raise ValueError(f"expected the name of a device, not {shown(value)}")
        return cls(value)


@runtime_checkable
class Lendable(Protocol):
    """A device whose port can be lent to a program, which then has it alone."""

    def lent(self) -> AbstractContextManager[str]:
        """Let go of the port; inside the block its path is the caller's (hardware thread)."""


@runtime_checkable
class Programmable(Protocol):
    """A device that writes images into something (hardware thread; it waits by services.wait)."""

    def program(self, image: Path) -> Any: ...
    def blank(self) -> None: ...


@runtime_checkable
class Conversing(Protocol):
    """A device that texts are sent to and expected from (hardware thread, likewise)."""

    def send(self, text: str) -> None: ...
    def expect(self, pattern: str, timeout: float) -> Any: ...

    def ask(self, text: str, expect: str, timeout: float) -> Any:
        """Send, and wait for what comes after that and fits."""


@runtime_checkable
class Simulatable(Protocol):
    """An input: in a simulation its hardware can be made to show a value."""

    def simulate(self, value: Any) -> None:
        """Make the mock hardware behave as if `value` was there (hardware thread)."""


@dataclass(kw_only=True)
class Driver:
    """One device of a board. Its fields are its YAML options; `@command` methods its controls.

    Every option says in one sentence what it is for, as the last thing in its annotation:
    `Annotated[Pin, Doc("The pin that is driven.")]`. Editors and docs/drivers.md show that; a test
    looks for it. A subclass that gives only another default need not repeat it. The docstring of
    the class is the driver's page in docs/drivers.md; it ends with "Example::" and YAML.

    Options that do not go together are a ValueError with a sentence in `__post_init__`.

    A driver is used by the hardware thread alone (but see `make_safe`), starts no threads and holds
    no locks. It is safe after `open`, after `reset` and after `close`. Only `open` and `close` are
    called while it is not open. A relay, say, is no more than this::

        @register("relay")
        @dataclass(kw_only=True)
        class Relay(Driver):
            widget: ClassVar[Widget] = "switch"

            pin: Annotated[Pin, Doc("The pin that switches the relay.")]
            safe: Annotated[bool, Doc("Whether it is on while nobody uses it.")] = False

            def open(self) -> None:
                self.hardware = gpiozero.OutputDevice(
                    self.pin.name, initial_value=self.safe, pin_factory=self.services.pins
                )

            def reset(self) -> None:
                self.hardware.value = self.safe

            @property
            def value(self) -> bool:
                return bool(self.hardware.value)

            @command
            def set(self, value: bool) -> None:
                self.hardware.value = value
    """

    kind: ClassVar[str] = ""  # "led"; given by @register
    commands: ClassVar[Mapping[str, Command]] = {}  # by name; given by @register
    widget: ClassVar[Widget] = "value"  # how the page shows it
    script: ClassVar[type | None] = None  # a dataclass of what `simulate:` may say of it
    programs: ClassVar[Mapping[str, str]] = {}  # what it runs: program -> Debian's package of it

    label: Annotated[
        Text | None, Doc("What the page calls the device; by default its name on the board.")
    ] = None
    group: Annotated[Text | None, Doc("The heading on the page that the device stands under.")] = (
        None
    )
    unit: Annotated[str, Doc("What the value is measured in, such as °C.")] = ""
    icon: Annotated[str, Doc("A character beside the label (☀), or a picture's name (fan).")] = ""
    access: Annotated[
        Literal["user", "system", "none"],
        Doc(
            "Who may use the device: user is the student, system the board's sequences and the "
            "lab's Python, none only labnode itself."
        ),
    ] = "user"
    confirm: Annotated[
        bool | Text, Doc("Whether the page asks before each command; a text is its question.")
    ] = False

    def attach(self, name: str, services: Services) -> None:
        """Called by the board, once, before anything else."""
        self.name: str = name
        self.services: Services = services
        self.hardware: Any = None
        self.scripted: Any = None

    def follow(self, script: Any) -> None:
        """What `simulate:` says of this device, built as `script`; called before `open`."""
        self.scripted = script

    def claims(self) -> list[Claim]:
        """What this device must have for itself: here, whatever its options claim."""
        values = (getattr(self, option.name) for option in fields(self))
        return [option.claim for value in values for option in _claimables(value)]

    def mistakes(self, folder: Path) -> list[str]:  # noqa: ARG002
        """What is wrong with the files in `folder`, the board's, that its options name."""
        return []

    def boot_config(self) -> list[str]:
        """The lines of the Pi's config.txt that this device cannot work without (see buses.py)."""
        return []

    def rest_level(self) -> dict[int, bool]:
        """For each GPIO that it drives, whether that is high while the device is safe.

        The Pi is told to hold these levels from power-on, long before labnode starts.
        """
        return {}

    def open(self) -> None:
        """Take the hardware, safe from the first moment; `hardware` is what a library gives."""

    def prepare(self) -> None:
        """Before a session, once all devices are safe: it may take its time (services.wait)."""

    def clean(self) -> None:
        """After a session, before all devices are made safe, likewise; failing is a quarantine."""

    def reset(self) -> None:
        """Bring the hardware to its safe state and forget what the last student did."""

    def close(self) -> None:
        """Make safe and let go of the hardware; twice, or after an open that failed, is fine."""
        if self.hardware is None:
            return
        try:
            self.reset()
        finally:
            hardware, self.hardware = self.hardware, None
            hardware.close()

    def make_safe(self) -> None:
        """Drive outputs to safe in an emergency: from any thread, at once, without waiting."""
        self.reset()

    def due(self) -> float | None:
        """When `poll` wants to be called (seconds of `services.clock`); None: not at all."""
        return None

    def poll(self) -> None:
        """Called at the time that `due` says; the board reads the state afterwards."""

    @property
    def value(self) -> Any:
        """The device's value as JSON; None while there is none."""
        return None

    def state(self) -> dict[str, Any]:
        """What the board's snapshot has of this device: "value", and what else is to be seen."""
        return {"value": self.value}

    def describe(self) -> dict[str, Any]:
        """What else the page has to know to show the device (min, max, step ...)."""
        return {}


def command(function: F) -> F:
    """Make a method of a driver a control: `lab.devices.NAME.method()`, HTTP and the page.

    Its parameters are annotated bool, int, float, str or Literal (or one of them | None) and its
    result is JSON. Raise BadInput for a value that is out of range.
    """
    return mark(function)


def private_command(function: F) -> F:
    """A control for Python and sequences alone."""
    return mark(function, students=False)


def _claimables(value: Any) -> Iterator[Claimable]:
    for option in value if isinstance(value, list | tuple) else (value,):
        if isinstance(option, Claimable):
            yield option
