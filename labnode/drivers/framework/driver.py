"""What every driver is: a dataclass of YAML options with a life cycle, a value and commands."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from labnode.drivers.framework.commands import Command, mark
from labnode.drivers.framework.readings import UNKNOWN, ValueType
from labnode.drivers.framework.services import Services as Services  # noqa: PLC0414
from labnode.locale import Message, Wording
from labnode.schema import Doc, Text, unlike

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
    "samples",
]


@dataclass(frozen=True)
class Claim:
    """Something that one device of a board has for itself: `Claim("pin", "GPIO17")`.

    A board file in which two devices claim the same is refused. `kind` is what it is, for people.
    Claims with the same `bus` ("I2C bus 1") may be shared: two I2C parts share the pins of theirs.
    `called` is what it is in several languages, if it is more than its kind and its name.
    """

    kind: str
    name: str
    bus: str = field(default="", compare=False)  # "I2C bus 1"
    called: Wording | None = field(default=None, compare=False)

    @property
    def words(self) -> str | Wording:
        """What people call it."""
        return self.called or f"{self.kind} {self.name}"

    def __str__(self) -> str:
        return str(self.words)


@runtime_checkable
class Claimable(Protocol):
    """An option that claims something (a `Pin` claims its pin)."""

    @property
    def claim(self) -> Claim: ...


@runtime_checkable
class PinOfDevice(Protocol):
    """An option that is a pin of another device, which has to be open before."""

    @property
    def device(self) -> str: ...
    @property
    def pin(self) -> str: ...


@dataclass(frozen=True)
class PinUse:
    """What a device does with a pin of another one."""

    device: str
    active_high: bool  # an output that is high while it is on


@runtime_checkable
class PinProvider(Protocol):
    """A device whose pins others may use, as in `pin: expander.A3`."""

    pin_uses: dict[str, PinUse]  # by pin; filled when the board file is read

    def pin_claim(self, pin: str) -> Claim:
        """What a device on this pin claims; ValueError when there is no such pin."""

    def refusal(self, pull_up: bool | None) -> str | Wording | None:
        """Why there are no inputs with this `pull_up` (false: pulled down), if so."""


class Ref(str):
    """An option that names another device of the board, as in `port: console`.

    It is a text, the name; `self.services.device(name)` is the device, which is open before this
    one. A subclass refuses devices that do not fit in `mistake`.
    """

    @classmethod
    def from_yaml(cls, value: object) -> Ref:
        """Any name; whether there is such a device is checked when all are known."""
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]\w*", value):
            raise ValueError(unlike(Message("driver.device-name"), value))
        return cls(value)

    def mistake(self, device: Driver) -> str | Wording:  # noqa: ARG002
        """Why it cannot be this device, in a sentence; "" if it can."""
        return ""


@runtime_checkable
class Lendable(Protocol):
    """A device that can lend its port to a program."""

    def lent(self) -> AbstractContextManager[str]:
        """The path of the port, which is the caller's alone inside the block (hardware thread)."""


@runtime_checkable
class Programmable(Protocol):
    """A device that programs a board with images (hardware thread; waits by services.wait)."""

    def program(self, image: Path) -> Any: ...
    def blank(self) -> None: ...


@runtime_checkable
class Conversing(Protocol):
    """A device to send text to and expect text from (hardware thread; waits by services.wait)."""

    def send(self, text: str) -> None: ...
    def expect(self, pattern: str, timeout: float) -> Any: ...

    def ask(self, text: str, expect: str, timeout: float) -> Any:
        """Send, and wait for an answer that matches."""


@runtime_checkable
class Simulatable(Protocol):
    """An input whose value can be set in a simulation."""

    def simulate(self, value: Any) -> None:
        """Make the mock hardware show `value` (hardware thread)."""


@dataclass(frozen=True, kw_only=True)
class StateWords:
    """What the page says instead of on and off."""

    on: Annotated[Text, Doc("Instead of On.")]
    off: Annotated[Text, Doc("Instead of Off.")]


@runtime_checkable
class Derived(Protocol):
    """A device whose value follows from what others show (hardware thread)."""

    @property
    def sources(self) -> Collection[str]:
        """The devices that it follows from."""

    @property
    def remembers(self) -> bool:
        """Whether it follows from what they showed before, too."""

    def derive(self, snapshot: Mapping[str, Mapping[str, Any]]) -> bool:
        """Follow the board's snapshot; whether its own state has changed."""

    def suppose(self, snapshot: Mapping[str, Mapping[str, Any]]) -> Any:
        """The value that it would have, for one that does not remember."""


@dataclass(frozen=True)
class Requires:
    """What a driver needs of the machine besides programs; install.sh provides it."""

    groups: tuple[str, ...] = ()  # whose devices it opens, such as "input"
    packages: tuple[str, ...] = ()  # Debian packages
    extras: tuple[str, ...] = ()  # of labnode: libraries that only some boards need

    def __post_init__(self) -> None:
        for extra in self.extras:
            if extra not in EXTRAS:
                names = ", ".join(EXTRAS)
                raise ValueError(Message("driver.no-extra", name=extra, names=names))


EXTRAS = {"visa": ("pyvisa", "pyvisa_py")}  # with their modules


def extra_is_installed(extra: str) -> bool:
    """Whether the libraries of an extra of labnode are there."""
    return all(find_spec(module) is not None for module in EXTRAS[extra])


def adding_extra(extra: str) -> str:
    """The command that installs an extra of labnode where labnode runs from."""
    script = Path(sys.prefix) / "share" / "labnode" / "install.sh"
    if script.is_file():  # a release: there is no pip in it
        return f"sudo {script} upgrade"
    return f"{sys.executable} -m pip install 'labnode[{extra}]'"


@dataclass(kw_only=True)
class Driver:
    """One device of a board. Its fields are its YAML options, its `@command` methods its commands.

    A subclass is a dataclass, with `@register("name")` and `@dataclass(kw_only=True)` above it.
    Each option has one sentence that says what it is for, as the last part of its annotation:
    `Annotated[Pin, Doc("The pin that is driven.")]`. Editors and the documents show it. A subclass
    that only changes a default need not repeat the sentence. The docstring of the class is the
    driver's page in the documents; it ends with "Example::" and YAML.

    The board calls `open`, then for each session `prepare`, `clean` and `reset`, then `close`.
    While the device is not open, only `open` and `close` are called. The device is safe after
    `open`, `reset` and `close`. Only the hardware thread uses a driver (but see `make_safe`). A
    driver starts no threads and holds no locks.

    A driver finds its name on the board in `self.name`, what the board offers in `self.services`,
    and keeps the library's object in `self.hardware`; `close` closes that.

    Some attributes of the class say more. `widget` is how the page shows the value: "switch",
    "button", "lamp", "slider", "rgb", "dial", "value", "bank", "console", "camera", "upload",
    "text" or "samples". `programs` are the programs that it runs, each with its Debian package.
    `requires` is what else it needs of the machine. `simulates = True` says that a lab's own driver
    reaches no hardware in a simulation.
    """

    kind: ClassVar[str] = ""  # "led"; given by @register
    commands: ClassVar[Mapping[str, Command]] = {}  # by name; given by @register
    widget: ClassVar[Widget] = "value"  # how the page shows it
    script: ClassVar[type | None] = None  # a dataclass: what `simulate:` may contain
    programs: ClassVar[Mapping[str, str]] = {}  # that it runs: program -> its Debian package
    requires: ClassVar[Requires] = Requires()  # besides pins, ports, cameras, USB, SPI and I2C
    simulates: ClassVar[bool] = False  # a lab's own driver: reaches no hardware in a simulation

    label: Annotated[
        Text | None, Doc("The name on the page; by default the device's name on the board.")
    ] = None
    group: Annotated[Text | None, Doc("The heading above the device on the page.")] = None
    unit: Annotated[str, Doc("The unit of the value, such as °C.")] = ""
    words: Annotated[
        StateWords | None,
        Doc("What the page says instead of On and Off: {on: Open, off: Closed}."),
    ] = None
    size: Annotated[Literal["normal", "large"], Doc("How large the page shows the value.")] = (
        "normal"
    )
    icon: Annotated[str, Doc("A character beside the label (☀), or a picture's name (fan).")] = ""
    access: Annotated[
        Literal["user", "system", "none"],
        Doc(
            "Who may use the device: students (user), only the board's sequences and the lab's "
            "Python (system), or only labnode itself (none)."
        ),
    ] = "user"
    confirm: Annotated[
        bool | Text, Doc("Whether the page asks before each command; a text is the question.")
    ] = False

    def __post_init__(self) -> None:
        """Check the options; ValueError with a sentence for those that contradict each other.

        A subclass calls `super().__post_init__()` first.
        """

    def attach(self, name: str, services: Services) -> None:
        """The board calls this once, before anything else."""
        self.name: str = name
        self.services: Services = services
        self.hardware: Any = None
        self.scripted: Any = None

    def follow(self, script: Any) -> None:
        """Take what `simulate:` says about this device, a `script`; called before `open`."""
        self.scripted = script

    def claims(self) -> list[Claim]:
        """What no other device of the board may use; by default the pins and ports of its options.

        A subclass adds to `super().claims()`.
        """
        return [item.claim for item in self._option_items() if isinstance(item, Claimable)]

    def remote_pins(self) -> list[PinOfDevice]:
        """The pins of other devices among its options: these are open before and after it."""
        return [item for item in self._option_items() if isinstance(item, PinOfDevice)]

    def _option_items(self) -> Iterator[Any]:
        """The values of its options, those of lists one by one."""
        for option in fields(self):
            value = getattr(self, option.name)
            yield from value if isinstance(value, list | tuple) else [value]

    def uses(self) -> list[str]:
        """The devices that its options name: they are opened before it, and closed after it."""
        named = [value for f in fields(self) if isinstance(value := getattr(self, f.name), Ref)]
        return [*named, *dict.fromkeys(pin.device for pin in self.remote_pins())]

    def mistakes(self, folder: Path) -> Sequence[str | Wording]:  # noqa: ARG002
        """What is wrong with the files that its options name, in the board's `folder`."""
        return []

    def misfits(
        self,
        devices: Mapping[str, Driver | None],  # noqa: ARG002
    ) -> Iterator[tuple[str, str | Wording]]:
        """What does not fit among the devices that its options name: an option, and why not.

        `devices` are all of the board, None where one has mistakes of its own.
        """
        return iter(())

    def warnings(self) -> Sequence[str | Wording]:
        """Options that are allowed but probably a mistake, a sentence each, for `labnode check`."""
        return []

    def runs(self) -> Mapping[str, str]:
        """The programs that it runs, each with its Debian package ("" if unknown).

        By default `programs`; for a driver whose options choose the program.
        """
        return self.programs

    def extras(self) -> Collection[str]:
        """The extras of labnode that it needs, with these options."""
        return self.requires.extras

    def boot_config(self) -> list[str]:
        """The lines that this device needs in the Pi's config.txt, such as "dtparam=i2c_arm=on"."""
        return []

    def rest_level(self) -> dict[int, bool]:
        """The level of each GPIO that it drives, by number, while the device is safe; True is high.

        `labnode bootconfig` has the Pi's firmware set these levels at power-on, long before labnode
        starts.
        """
        return {}

    def open(self) -> None:
        """Open the hardware, so that it is safe from the first moment; call `opened` at the end.

        DeviceError, or what the library raises, if that does not work.
        """
        self.opened()

    def opened(self) -> None:
        """For `open` to call at its end."""

    def prepare(self) -> None:
        """Get ready for a session, once all devices are safe.

        It may take long; it waits with `services.wait`. If it raises an exception, the start of the
        session fails.
        """

    def clean(self) -> None:
        """Clean up after a session, before all devices are reset.

        If it raises an exception, the board is quarantined.
        """

    def reset(self) -> None:
        """Bring the hardware to its safe state and forget what the last student did.

        Called before and after each session. If it raises an exception, no student gets the board.
        """

    def close(self) -> None:
        """Make the hardware safe and release it; also called twice, or after a failed `open`."""
        if self.hardware is None:
            return
        try:
            self.park()
        finally:
            hardware, self.hardware = self.hardware, None
            hardware.close()

    def park(self) -> None:
        """Make the hardware safe in a way that lasts after it is released; by default `reset`."""
        self.reset()

    def make_safe(self) -> None:
        """Drive outputs to safe in an emergency, at once and without waiting (any thread)."""
        self.reset()

    def await_safe(self, seconds: float) -> None:
        """Wait until what `make_safe` began is done, at most `seconds` (any thread)."""

    def stay_safe(self) -> None:
        """Make safe again what a command has changed since `make_safe` (hardware thread)."""
        self.make_safe()

    def due(self) -> float | None:
        """When to call `poll` next, in seconds of `services.clock`; None: not at all."""
        return None

    def poll(self) -> None:
        """Do what is due, within a few milliseconds; the board reads `state` afterwards."""

    @property
    def value(self) -> Any:
        """The value as JSON data, in the device's unit; None while there is none.

        Reading it does not use the hardware for longer than a few milliseconds.
        """
        return None

    @property
    def value_type(self) -> ValueType:
        """What type the value has, as far as it is known before it is read.

        Expressions in the board file are checked with it.
        """
        return UNKNOWN

    def state(self) -> dict[str, Any]:
        """What pages and expressions get of this device: a dictionary with "value" and more.

        A subclass adds to `super().state()`: "error" is a sentence about what is wrong now.
        """
        return {"value": self.value}

    @property
    def called(self) -> Text:
        """What people read: the label, else the name as words."""
        return self.label or Text(self.name.replace("_", " ").capitalize())

    def describe(self) -> dict[str, Any]:
        """What else the page needs to show the device, such as "min", "max" and "step".

        A subclass adds to `super().describe()`. It is asked once per page.
        """
        return {}


def command(function: F) -> F:
    """Make a method of a driver a command: `lab.devices.NAME.method()`, HTTP and the page.

    Annotate its parameters as bool, int, float, str or a Literal, or as one of these | None; they
    are checked before it is called. Numbers get limits by `Annotated[int, Between(1, 60)]`. The
    result is JSON data. Raise BadInput for a value that is out of range.
    """
    return mark(function)


def private_command(function: F) -> F:
    """Make a method a command for the lab's Python and sequences only, not for students."""
    return mark(function, students=False)
