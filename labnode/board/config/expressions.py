"""Expressions over the values of devices: "temp > 75 and not stale(temp)", parsed, never eval."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from labnode.schema import did_you_mean

_LONGEST = 1000  # characters
_DEEPEST = 30  # parentheses and nots inside each other
_MOST = 200  # parts; each is a step of recursion at most

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|==|!=|&&|\|\||[-+*/<>!().,])|(?P<end>$)|(?P<other>.))",
    re.ASCII | re.DOTALL,
)
WORDS = frozenset({"and", "or", "not", "true", "false"})  # no device can have these names
Words = str | bool | int | float  # what an expression may look like to YAML

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "max": max, "min": min}


@dataclass(frozen=True)
class Readings:
    """The board's snapshot as an expression sees it.

    With `patient`, what is still awaiting its first reading is missing, but not stale.
    """

    snapshot: Mapping[str, Mapping[str, Any]]
    patient: bool = False

    def value(self, device: str) -> Any:
        """None: missing."""
        return self.snapshot.get(device, {}).get("value")

    def target(self, device: str) -> Any:
        """What an output is driven to; None: missing."""
        state = self.snapshot.get(device, {})
        return state.get("target", state.get("value"))

    def connected(self, device: str) -> bool:
        state = self.snapshot.get(device, {"connected": False})
        return "error" not in state and bool(state.get("connected", True))

    def stale(self, device: str) -> bool:
        """Whether the value is missing or too old to be trusted."""
        if self.patient and self.snapshot.get(device, {}).get("awaited"):
            return False
        return self.value(device) is None or bool(self.snapshot[device].get("stale", False))


class ExpressionError(ValueError):
    """The text is not an expression; says at which character and what was expected."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression; `names` are the devices whose state it reads."""

    text: str
    names: frozenset[str]
    _root: Node

    @classmethod
    def parse(cls, text: str, devices: Collection[str]) -> Expression:
        """Parse `text`, which may name `devices`; ExpressionError when it cannot be."""
        if len(text) > _LONGEST:
            raise ExpressionError(f"the expression is longer than {_LONGEST} characters")
        parser = _Parser(text, devices)
        root = parser.parse()
        return cls(text, frozenset(parser.names), root)

    def evaluate(self, readings: Readings) -> Any:
        """A number or a bool; None when it depends on a value that is missing.

        A comparison or a calculation with a missing value is missing, and so is a division by
        zero; `and` and `or` need only one side where that is decisive.
        """
        return self._root(readings)


Node = Callable[[Readings], Any]  # a part of an expression: its value, None when that is missing


def _constant(value: bool | float) -> Node:
    return lambda _readings: value


def _reading(read: Callable[[Readings, str], Any], device: str) -> Node:
    return lambda readings: read(readings, device)


def _calculation(function: Callable[..., Any], *operands: Node) -> Node:
    def evaluate(readings: Readings) -> Any:
        values = [operand(readings) for operand in operands]
        if not all(isinstance(value, int | float) for value in values):
            return None
        try:
            if not all(math.isfinite(value) for value in values):  # nan > 75 would be false
                return None
            result = function(*values)
            return result if math.isfinite(result) else None
        except (ZeroDivisionError, OverflowError):
            return None

    return evaluate


def _negation(operand: Node) -> Node:
    def evaluate(readings: Readings) -> Any:
        value = operand(readings)
        return None if value is None else not value

    return evaluate


def _junction(decisive: bool, left: Node, right: Node) -> Node:
    """`or` (True is decisive), or `and` (False is)."""

    def evaluate(readings: Readings) -> Any:
        missing = False
        for side in (left, right):
            value = side(readings)
            if value is None:
                missing = True
            elif bool(value) is decisive:
                return decisive
        return None if missing else not decisive

    return evaluate


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, devices: Collection[str]) -> None:
        self.names: set[str] = set()
        self._text = text
        self._devices = devices
        self._tokens = [
            (match.lastgroup or "", match[match.lastgroup or 0], match.start(match.lastgroup or 0))
            for match in _TOKEN.finditer(text)
        ]
        self._next = 0
        self._depth = 0
        self._parts = 0

    def parse(self) -> Node:
        root = self._any()
        kind, word, _ = self._tokens[self._next]
        if kind != "end":
            if word in _COMPARISONS:
                raise self._wrong("one comparison at a time, as in 'a < b and b < c'")
            raise self._expected("and, or, a comparison or the end")
        return root

    def _any(self) -> Node:
        node = self._all()
        while self._take("or", "||"):
            node = self._part(_junction(True, node, self._all()))
        return node

    def _all(self) -> Node:
        node = self._not()
        while self._take("and", "&&"):
            node = self._part(_junction(False, node, self._not()))
        return node

    def _not(self) -> Node:
        if self._take("not"):
            return self._part(_negation(self._deeper(self._not)))
        return self._comparison()

    def _comparison(self) -> Node:
        node = self._sum()
        sign = self._take(*_COMPARISONS)
        if sign:
            node = self._part(_calculation(_COMPARISONS[sign], node, self._sum()))
        return node

    def _sum(self) -> Node:
        node = self._product()
        while sign := self._take("+", "-"):
            node = self._part(_calculation(_ARITHMETIC[sign], node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._factor()
        while sign := self._take("*", "/"):
            node = self._part(_calculation(_ARITHMETIC[sign], node, self._factor()))
        return node

    def _factor(self) -> Node:
        if self._take("!"):
            return self._part(_negation(self._deeper(self._factor)))
        if self._take("-"):
            return self._part(_calculation(operator.neg, self._deeper(self._factor)))
        if self._take("("):
            node = self._deeper(self._any)
            self._need(")")
            return node
        kind, word, _ = self._tokens[self._next]
        if kind == "number":
            self._next += 1
            return self._part(_constant(float(word)))
        if kind == "name" and word in ("true", "false"):
            self._next += 1
            return self._part(_constant(word == "true"))
        if kind == "name" and word not in WORDS:
            return self._part(self._named())
        raise self._expected("a device, a number or '('")

    def _named(self) -> Node:
        if self._tokens[self._next + 1][1] == "(":
            return self._call()
        device = self._device()
        if not self._take("."):
            return _reading(Readings.value, device)
        if not self._take("connected"):
            raise self._expected("'connected'")
        return _reading(Readings.connected, device)

    def _call(self) -> Node:
        function = self._tokens[self._next][1]
        known = ("stale", *_FUNCTIONS)
        if function not in known:
            hint = did_you_mean(function, known) or f"; there are {', '.join(sorted(known))}"
            raise self._wrong(f"there is no function '{function}'{hint}")
        self._next += 2
        if function == "stale":
            node: Node = _reading(Readings.stale, self._device())
        else:
            operands = [self._deeper(self._any)]
            while function != "abs" and self._take(","):
                operands.append(self._deeper(self._any))
            # One operand: max of one number is that number, and not of what is in it.
            alone = len(operands) == 1 and function != "abs"
            node = operands[0] if alone else _calculation(_FUNCTIONS[function], *operands)
        self._need(")")
        return node

    def _device(self) -> str:
        kind, word, _ = self._tokens[self._next]
        if kind != "name" or word in WORDS:
            raise self._expected("a device")
        if word not in self._devices:
            hint = did_you_mean(word, self._devices)
            raise self._wrong(self._advice() or f"there is no device '{word}'{hint}")
        self._next += 1
        self.names.add(word)
        return word

    def _take(self, *words: str) -> str:
        """The next token when it is one of `words`, else ""."""
        word = self._tokens[self._next][1]
        if word not in words:
            return ""
        self._next += 1
        return word

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise self._expected(f"'{sign}'")

    def _deeper(self, rule: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"more than {_DEEPEST} things are inside each other")
        node = rule()
        self._depth -= 1
        return node

    def _part(self, node: Node) -> Node:
        self._parts += 1
        if self._parts > _MOST:
            raise self._wrong(f"the expression has more than {_MOST} parts")
        return node

    def _expected(self, expected: str) -> ExpressionError:
        kind, word, _ = self._tokens[self._next]
        if advice := self._advice():
            return self._wrong(advice)
        return self._wrong(f"expected {expected}, not {'the end' if kind == 'end' else repr(word)}")

    def _advice(self) -> str:
        """What to write instead of what people often write; "" where that is unknown."""
        kind, word, start = self._tokens[self._next]
        _, following, after = self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        before, last, _ = self._tokens[self._next - 1] if self._next else ("", "", 0)
        advice = ""
        if word == "=" and last in ("==", "!="):
            advice = f"write '{last}', with two signs"
        elif word == "=" and following in ("<", ">"):
            advice = f"write '{following}=' and not '={following}'"
        elif word == "=":
            advice = "'=' compares nothing: write '==', or '>' or '<'"
        elif kind == "name" and word not in WORDS and word.lower() in WORDS:
            advice = f"write '{word.lower()}', in small letters"
        elif before == "number" and word == "," and following[:1].isdigit() and after == start + 1:
            advice = f"write {last}.{following}, with a point"
        elif before == "number" and word not in WORDS and kind in ("name", "other"):
            unit = self._text[start:].split()[0].rstrip(")")
            advice = f"numbers have no unit in an expression: write {last}, without '{unit}'"
        elif kind == "other" and word in "'\"":
            advice = "expressions have no texts: compare numbers, or true and false"
        return advice

    def _wrong(self, sentence: str) -> ExpressionError:
        return ExpressionError(f"at character {self._tokens[self._next][2] + 1}: {sentence}")
