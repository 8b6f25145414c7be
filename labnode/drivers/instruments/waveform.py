"""A waveform of an oscilloscope or another instrument, as an array."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Annotated, Literal

from labnode.drivers.framework.registry import register
from labnode.drivers.framework.samples import MOST, Sampler, Samples
from labnode.drivers.instruments.devices import InstrumentPart
from labnode.drivers.instruments.dialogue import Dialogue
from labnode.drivers.instruments.formats import Phrase, number
from labnode.errors import DeviceError
from labnode.schema import Between, Doc, Duration

_CODES = {
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "float32": "f",
    "float64": "d",
}
_BLOCK = re.compile(r"#([1-9])")
_BETWEEN = re.compile(r"[,;\s]+")


@register("waveform")
@dataclass(kw_only=True)
class Waveform(Sampler, InstrumentPart):
    """A curve that an instrument has taken: its value is an array.

    `setup` is sent first, then `query` is answered with numbers: a text with commas between them
    (csv), or a block of bytes of definite length (IEEE 488.2). Each number is multiplied by `scale`
    and `offset` is added. Other commands to the instrument wait while it is transmitted.

    Example::

        trace:
          driver: waveform
          instrument: scope
          setup: ["WAV:SOUR CHAN1", "WAV:FORM ASC"]
          query: "WAV:DATA?"
          step_query: "WAV:XINC?"
          unit: V
    """

    query: Annotated[Phrase, Doc("The question that it answers with the numbers.")]
    setup: Annotated[list[Phrase], Doc("What is sent before it.")] = field(default_factory=list)
    format: Annotated[
        Literal["csv", "int8", "uint8", "int16", "uint16", "int32", "float32", "float64"],
        Doc("How the numbers are written."),
    ] = "csv"
    byte_order: Annotated[Literal["big", "little"], Doc("Of numbers of several bytes.")] = "big"
    scale: Annotated[float, Doc("Each number is multiplied by this.")] = 1.0
    scale_query: Annotated[Phrase | None, Doc("The question for it, instead.")] = None
    offset: Annotated[float, Doc("Added to each number, after scale.")] = 0.0
    step: Annotated[float, Between(1e-15), Doc("The step from one number to the next.")] = 1.0
    step_query: Annotated[Phrase | None, Doc("The question for it, instead.")] = None
    points: Annotated[int, Between(2, MOST), Doc("The most numbers; the rest is left out.")] = 2000
    time_limit: Annotated[Duration, Between(0.1, 30), Doc("The longest transmission.")] = 5.0

    def take(self) -> Samples:
        dialogue = self.dialogue
        for phrase in self.setup:
            dialogue.write(phrase)
        if self.setup:
            dialogue.confirm()
        scale = self._asked(dialogue, self.scale_query, self.scale)
        step = self._asked(dialogue, self.step_query, self.step)
        if self.format == "csv":
            raw = numbers_in(dialogue.query(self.query, self.time_limit))
        else:
            block = dialogue.query_block(self.query, self.time_limit)
            raw = numbers_of(block, self.format, self.byte_order)
        return Samples([value * scale + self.offset for value in raw[: self.points]], step)

    def simulated_axis(self) -> tuple[int, float]:
        return min(self.points, 500), self.step

    def _asked(self, dialogue: Dialogue, question: Phrase | None, otherwise: float) -> float:
        return otherwise if question is None else number(dialogue.query(question))


def numbers_in(text: str) -> list[float]:
    """The numbers in a text, with commas or spaces between them; a block's beginning is no number.

    DeviceError where something else is in it.
    """
    if (block := _BLOCK.match(text)) is not None:
        text = text[2 + int(block[1]) :]
    try:
        return [float(word) for word in _BETWEEN.split(text.strip(" ,;\t\r\n")) if word]
    except ValueError as error:
        raise DeviceError(f"what it gave is no list of numbers: {error}") from None


def numbers_of(block: bytes, kind: str, byte_order: str) -> list[float]:
    """The numbers in a block of bytes; DeviceError where it ends inside of one."""
    code = _CODES[kind]
    size = struct.calcsize(code)
    if len(block) % size:
        raise DeviceError(f"its block of {len(block)} bytes is none of {kind} numbers")
    order = ">" if byte_order == "big" else "<"
    return [float(value) for value in struct.unpack(f"{order}{len(block) // size}{code}", block)]
