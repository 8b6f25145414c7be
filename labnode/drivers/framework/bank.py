"""Banks: outputs and inputs of several bits that are one number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.driver import Driver, Widget, command
from labnode.drivers.framework.input import Input
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.readings import ValueType
from labnode.errors import BadInput
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
            raise ValueError(f"bits has {len(self.bits)} names for {self.width} bits")

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
                raise ValueError(f"{name} must be {self._values()}, not {value}")

    def check(self, where: str, value: Any) -> int:
        if not 0 <= value < 1 << self.width:
            raise BadInput(f"{where}: 'value' must be {self._values()}, not {value}")
        return int(value)

    @command
    def set(self, value: int) -> None:
        self.put(value)

    @command
    def set_bit(self, bit: int, value: bool) -> None:
        """Bit 0 is the lowest; the others stay as they are."""
        if not 0 <= bit < self.width:
            expected = f"a whole number from 0 to {self.width - 1}"
            raise BadInput(f"{self.name}.set_bit: 'bit' must be {expected}, not {bit}")
        mask = 1 << bit
        self.put(self.value | mask if value else self.value & ~mask, "set_bit")

    def _values(self) -> str:
        return f"a whole number from 0 to {(1 << self.width) - 1}"


@dataclass(kw_only=True)
class InputBank(Bank, Input):
    """An input of several bits; a subclass has `read`."""

    at_first: ClassVar[Any] = 0


def number(bits: Sequence[Any]) -> int:
    """The number that these bits make, the lowest first."""
    return sum(1 << place for place, bit in enumerate(bits) if bit)
