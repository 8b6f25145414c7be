"""What every driver is: a dataclass of YAML options with a life cycle, a value and commands."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from labnode.clock import Clock
from labnode.drivers.commands import Command, commands_of, mark
from labnode.schema import Doc, Text

D = TypeVar("D", bound="type[Driver]")
F = TypeVar("F", bound=Callable[..., Any])

Widget = Literal["switch", "lamp", "slider", "value"]

registry: dict[str, type[Driver]] = {}


@dataclass(frozen=True)
class Claim:
    """Something that only one device of a board can have: a pin, a port."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@runtime_checkable
class Claimable(Protocol):
    """An option that claims something (a `Pin` claims its pin)."""

    @property
    def claim(self) -> Claim: ...


@runtime_checkable
class Simulatable(Protocol):
    """An input: in a simulation its hardware can be made to show a value."""

    def simulate(self, value: Any) -> None:
        """Make the mock hardware behave as if `value` was there (hardware thread)."""


class Services(Protocol):
    """What a driver is handed by its board."""

    @property
    def pins(self) -> Any:
        """The gpiozero pin factory; every gpiozero device gets it as `pin_factory=`."""

    @property
    def clock(self) -> Clock: ...

    @property
    def simulated(self) -> bool: ...

    def publish(self) -> None:
        """My value has changed: read it again (hardware thread)."""

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` on the hardware thread soon (any thread)."""

    def wait(self, seconds: float) -> bool:
        """Let others use the hardware thread meanwhile; False once the task shall stop."""


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
    programs: ClassVar[Mapping[str, str]] = {}  # what it runs: program -> Debian's package of it
    poll_every: ClassVar[float | None] = None  # seconds between two calls of poll()

    label: Annotated[
        Text | None, Doc("What the page calls the device; by default its name on the board.")
    ] = None
    group: Annotated[Text | None, Doc("The heading on the page that the device stands under.")] = (
        None
    )
    unit: Annotated[str, Doc("What the value is measured in, such as °C.")] = ""
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

    def claims(self) -> list[Claim]:
        """What this device must have for itself: here, whatever its options claim."""
        values = (getattr(self, field.name) for field in fields(self))
        return [option.claim for value in values for option in _claimables(value)]

    def open(self) -> None:
        """Take the hardware, safe from the first moment; `hardware` is what a library gives."""

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

    def poll(self) -> None:
        """Called every `poll_every` seconds; the board reads the value afterwards."""

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


def register(kind: str) -> Callable[[D], D]:
    """Name a driver, as in `driver: led`. It comes above `@dataclass(kw_only=True)`."""

    def add(cls: D) -> D:
        if kind in registry:
            raise ValueError(f"there are two drivers called {kind!r}")
        if not is_dataclass(cls):
            raise TypeError(f"{cls.__name__} is not a dataclass")
        cls.kind = kind
        cls.commands = commands_of(cls)
        registry[kind] = cls
        return cls

    return add


def load_drivers() -> dict[str, type[Driver]]:
    """Every driver that there is, by name."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__package__}.{module.name}")
    return registry


def _claimables(value: Any) -> Iterator[Claimable]:
    for option in value if isinstance(value, list | tuple) else (value,):
        if isinstance(option, Claimable):
            yield option
