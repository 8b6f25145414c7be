"""Banks: outputs and inputs of several bits that are one number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.commands import must_be
from labnode.drivers.framework.driver import Driver, Widget, command
from labnode.drivers.framework.input import Input
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.readings import ValueType
from labnode.errors import BadInput
from labnode.locale import Joined, Message
from labnode.schema import Doc


@dataclass(kw_only=True)
class Bank(Driver):
    """Several bits, with names; a subclass has `width`. The first bit is the lowest, 1."""

    widget: ClassVar[Widget] = "bank"

    bits: Annotated[list[str] | None, Doc("The names of the bits, the lowest bit first.")] = None

    @property
    @abstractmethod
    def width(self) -> int:
        """The number of bits."""

    @property
    def value_type(self) -> ValueType:
        return ValueType(float, width=self.width)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits is not None and len(self.bits) != self.width:
            names = len(self.bits)
            raise ValueError(Message("driver.names-of-bits", names=names, bits=self.width))

    def describe(self) -> dict[str, Any]:
        names = {} if self.bits is None else {"bits": self.bits}
        return {**super().describe(), "width": self.width, **names}


@dataclass(kw_only=True)
class OutputBank(Bank, Output):
    """An output of several bits; a subclass has `drive(value: int)` and `value`."""

    safe: int = 0
    initial: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("safe", "initial"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1 << self.width:
                raise ValueError(must_be(name, self._values(), value))

    def check(self, where: str, value: Any) -> int:
        if not 0 <= value < 1 << self.width:
            raise BadInput(Joined(f"{where}: ", must_be("'value'", self._values(), value)))
        return int(value)

    @command
    def set(self, value: int) -> None:
        self.put(value)

    @command
    def set_bit(self, bit: int, value: bool) -> None:
        """Bit 0 is the lowest; the others stay as they are."""
        if not 0 <= bit < self.width:
            wrong = must_be("'bit'", _up_to(self.width - 1), bit)
            where = f"{self.name}.set_bit"
            raise BadInput(Joined(where, ": ", wrong))
        mask = 1 << bit
        self.put(self.value | mask if value else self.value & ~mask, "set_bit")

    def _values(self) -> Message:
        return _up_to((1 << self.width) - 1)


@dataclass(kw_only=True)
class InputBank(Bank, Input):
    """An input of several bits; a subclass has `read`."""

    at_first: ClassVar[Any] = 0


def _up_to(high: int) -> Message:
    limits = Message("yaml.from-to", low=0, high=high)
    return Message("error.within", what=Message("yaml.a-whole-number"), limits=limits)


def number(bits: Sequence[Any]) -> int:
    """The number that these bits make, the lowest first."""
    return sum(1 << place for place, bit in enumerate(bits) if bit)
