"""Expressions over the values of devices: "temp > 75 and not stale(temp)", parsed, never eval."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from labnode.drivers.framework.readings import (
    ARITHMETIC,
    COMPARISONS,
    UNKNOWN,
    Node,
    Readings,
    ValueType,
    bit,
    calculation,
    constant,
    equality,
    junction,
    negation,
    reading,
)
from labnode.locale import Message, Wording
from labnode.schema import any_of, did_you_mean, unlike

_LONGEST = 1000  # characters
_DEEPEST = 30  # parentheses and nots inside each other
_MOST = 200  # parts; each is a step of recursion at most

_TOKEN = re.compile(
    r"\s*(?:(?P<time>(?:\d+\.?\d*|\.\d+)(?:ms|s|m|h|d)\b)"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<text>'[^'\n]*'|\"[^\"\n]*\")"
    r"|(?P<sign><=|>=|==|!=|&&|\|\||[-+*/<>!().,])|(?P<end>$)|(?P<other>.))",
    re.ASCII | re.DOTALL,
)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_WINDOW = 86400.0  # seconds
_RATE_WINDOW = 10.0  # seconds over which a rate is taken that does not say
WORDS = frozenset({"and", "or", "not", "true", "false"})  # no device can have these names
Words = str | bool | int | float  # what an expression may look like to YAML

_FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "max": max, "min": min}
_BACK_IN_TIME = ("avg", "hysteresis", "rate")  # as min and max with a time: for formulas
_MEANT = {"≥": ">=", "≤": "<=", "≠": "!=", "is": "=="}  # what others write
_KINDS = {
    bool: Message("yaml.true-or-false"),
    float: Message("yaml.a-number"),
    str: Message("yaml.a-text"),
}
_NO_NUMBER = Message("driver.text-no-number")
_NO_ORDER = Message("driver.text-no-order")
_NO_TRUTH = Message("driver.text-no-truth")


class ExpressionError(ValueError):
    """The text is not an expression; says at which character and what was expected."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression; `names` are the devices whose state it reads, `values` whose value.

    As the option of a driver its devices and types are checked when all devices are known.
    """

    text: str
    names: frozenset[str]
    kind: type | None  # of its value: bool, float or str; None: nobody knows yet
    values: frozenset[str]
    windows: frozenset[tuple[str, float]]  # the devices that it looks back at, with the seconds
    switches: int  # how many hystereses it has
    _root: Node

    expected = Message("driver.an-expression")
    json_schema: ClassVar[dict[str, Any]] = {"type": ["string", "boolean", "number"]}

    @classmethod
    def parse(
        cls,
        text: str,
        devices: Collection[str] | None,
        *,
        types: Mapping[str, ValueType] | None = None,
        named: Mapping[str, type | None] | None = None,
        history: bool = False,
    ) -> Expression:
        """Parse `text`, which may name `devices` (None: any); ExpressionError when it cannot be.

        `named` are the kinds of other values that it may name. With `history` it may look back.
        """
        if len(text) > _LONGEST:
            raise ExpressionError(Message("driver.expression-long", n=_LONGEST))
        parser = _Parser(text, devices, types or {}, named or {}, history)
        root = parser.parse()
        return cls(
            text,
            frozenset(parser.names),
            root.kind,
            frozenset(parser.values),
            frozenset(parser.windows),
            parser.switches,
            root.value,
        )

    @classmethod
    def from_yaml(cls, value: object) -> Expression:
        """The expression of a driver's option; ValueError with a sentence."""
        if not isinstance(value, str | bool | int | float):
            raise ValueError(unlike(cls.expected, value))
        return cls.parse(
            str(value).lower() if isinstance(value, bool) else str(value), None, history=True
        )

    def to_yaml(self) -> str:
        return self.text

    @property
    def constant(self) -> Any:
        """Its value where it is always the same, else None."""
        return None if self.names else self.evaluate(Readings({}))

    def evaluate(self, readings: Readings) -> Any:
        """A number, a bool or a text; None when it depends on a value that is missing.

        A comparison or a calculation with a missing value is missing, and so is a division by
        zero; `and` and `or` need only one side where that is decisive.
        """
        return self._root(readings)


@dataclass(frozen=True)
class _Part:
    """A part while it is parsed."""

    value: Node
    kind: type | None = None
    start: int = 0  # its first token
    type: ValueType = UNKNOWN  # of a device
    word: str | None = None  # of a text in quotes


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(
        self,
        text: str,
        devices: Collection[str] | None,
        types: Mapping[str, ValueType],
        named: Mapping[str, type | None],
        history: bool,
    ) -> None:
        self.names: set[str] = set()
        self.values: set[str] = set()
        self.windows: set[tuple[str, float]] = set()
        self._text = text
        self._devices = devices
        self._types = types
        self._named_values = named
        self._history = history
        self.switches = 0
        self._tokens = [
            (match.lastgroup or "", match[match.lastgroup or 0], match.start(match.lastgroup or 0))
            for match in _TOKEN.finditer(text)
        ]
        self._next = 0
        self._depth = 0
        self._parts = 0

    def parse(self) -> _Part:
        root = self._any()
        kind, word, _ = self._tokens[self._next]
        if kind != "end":
            if word in COMPARISONS:
                raise self._wrong(Message("driver.one-comparison"))
            raise self._expected(Message("driver.or-the-end"))
        return root

    # ------------------------------------------------------------------ rules

    def _any(self) -> _Part:
        part = self._all()
        while self._take("or", "||"):
            part = self._joined(True, part, self._all())
        return part

    def _all(self) -> _Part:
        part = self._not()
        while self._take("and", "&&"):
            part = self._joined(False, part, self._not())
        return part

    def _joined(self, decisive: bool, left: _Part, right: _Part) -> _Part:
        values = [self._truth(part).value for part in (left, right)]
        return self._made(junction(decisive, *values), bool, left.start)

    def _not(self) -> _Part:
        if self._take("not"):
            start = self._next - 1
            return self._made(negation(self._truth(self._deeper(self._not)).value), bool, start)
        return self._comparison()

    def _comparison(self) -> _Part:
        left = self._sum()
        sign = self._take(*COMPARISONS)
        if not sign:
            return left
        right = self._sum()
        if sign in ("==", "!="):
            self._check_alike(left, right)
            return self._made(equality(sign, left.value, right.value), bool, left.start)
        for part in (left, right):
            self._check_no_text(part, _NO_ORDER)
        return self._made(calculation(COMPARISONS[sign], left.value, right.value), bool, left.start)

    def _sum(self) -> _Part:
        part = self._product()
        while sign := self._take("+", "-"):
            part = self._calculated(ARITHMETIC[sign], part, self._product())
        return part

    def _product(self) -> _Part:
        part = self._factor()
        while sign := self._take("*", "/"):
            part = self._calculated(ARITHMETIC[sign], part, self._factor())
        return part

    def _factor(self) -> _Part:
        start = self._next
        if self._take("!"):
            return self._made(negation(self._truth(self._deeper(self._factor)).value), bool, start)
        if self._take("-"):
            return self._calculated(operator.neg, self._deeper(self._factor))
        if self._take("("):
            part = self._deeper(self._any)
            self._need(")")
            return part
        kind, word, _ = self._tokens[start]
        return self._named() if kind == "name" and word not in WORDS else self._literal()

    def _literal(self) -> _Part:
        start, (kind, word, _) = self._next, self._tokens[self._next]
        self._next += 1
        if kind == "number":
            return self._made(constant(float(word)), float, start)
        if kind == "name" and word in ("true", "false"):
            return self._made(constant(word == "true"), bool, start)
        if kind != "text":
            self._next = start
            raise self._expected(any_of([Message("driver.a-device"), _KINDS[float], "'('"]))
        self._count()
        return _Part(constant(word[1:-1]), str, start, word=word[1:-1])

    def _named(self) -> _Part:
        start, word = self._next, self._tokens[self._next][1]
        if self._tokens[self._next + 1][1] == "(":
            return self._call()
        if word in self._named_values:
            self._next += 1
            kind = self._named_values[word]
            return self._made(lambda readings: readings.named.get(word), kind, start)
        device = self._device()
        kind_of = self._types.get(device, UNKNOWN)
        self._count()
        if not self._take("."):
            self.values.add(device)
            return _Part(reading(Readings.value, device), kind_of.kind, start, kind_of)
        if self._take("connected"):
            return _Part(reading(Readings.connected, device), bool, start)
        if self._take("bit"):
            self.values.add(device)
            return _Part(bit(device, self._bit_number(device, kind_of)), bool, start)
        raise self._expected(any_of(["'connected'", *(["'bit'"] if kind_of.width else [])]))

    def _bit_number(self, device: str, kind_of: ValueType) -> int:
        if kind_of.kind not in (None, float) or (kind_of.kind is float and not kind_of.width):
            what = _KINDS[kind_of.kind or float]
            raise self._wrong(Message("driver.no-bits", name=device, what=what))
        self._need("(")
        kind, word, _ = self._tokens[self._next]
        last = (kind_of.width or 64) - 1
        if kind != "number" or not word.isdigit() or int(word) > last:
            raise self._expected(Message("driver.a-bit", name=device, last=last))
        self._next += 1
        self._need(")")
        return int(word)

    # ------------------------------------------------------------------ functions

    def _call(self) -> _Part:
        start, function = self._next, self._tokens[self._next][1]
        known = ("stale", *_FUNCTIONS)
        if function not in (*known, *_BACK_IN_TIME):
            known = (*known, *_BACK_IN_TIME) if self._history else known
            there = Message("board.there-are", names=", ".join(sorted(known)))
            hint = did_you_mean(function, known) or there
            raise self._wrong(Message("driver.no-function", name=function, hint=hint))
        if function in _BACK_IN_TIME and not self._history:
            raise self._only_in_formulas(function)
        self._next += 2
        if function == "stale":
            part = self._made(reading(Readings.stale, self._device()), bool, start)
        elif function == "hysteresis":
            part = self._hysteresis(start)
        elif function in _BACK_IN_TIME:
            part = self._over(function, start)
        else:
            part = self._of_numbers(function, start)
        self._need(")")
        return part

    def _of_numbers(self, function: str, start: int) -> _Part:
        operands = [self._deeper(self._any)]
        while function != "abs" and self._take(","):
            if self._tokens[self._next][0] == "time" and len(operands) == 1:
                self._next = start + 2
                return self._over(function, start)
            operands.append(self._deeper(self._any))
        # One operand: max of one number is that number, and not of what is in it.
        alone = len(operands) == 1 and function != "abs"
        return operands[0] if alone else self._calculated(_FUNCTIONS[function], *operands)

    def _over(self, function: str, start: int) -> _Part:
        """`avg(x, 10s)`: what a value was over a time until now."""
        if not self._history:
            raise self._only_in_formulas(f"{function}(x, 10s)")
        device = self._device()
        kind = self._types.get(device, UNKNOWN).kind
        if kind is str:
            raise self._wrong(Message("driver.is-a-text", name=device), start + 2)
        seconds = _RATE_WINDOW
        if function != "rate" or self._tokens[self._next][1] == ",":
            self._need(",")
            seconds = self._time()
        self.values.add(device)
        self.windows.add((device, seconds))
        return self._made(lambda readings: readings.over(function, device, seconds), float, start)

    def _time(self) -> float:
        kind, word, _ = self._tokens[self._next]
        if kind != "time":
            raise self._expected(Message("driver.a-time"))
        unit = word.lstrip("0123456789.")
        seconds = float(word.removesuffix(unit)) * _SECONDS[unit]
        if not 0 < seconds <= _LONGEST_WINDOW:
            raise self._wrong(Message("driver.looks-back-a-day"))
        self._next += 1
        return seconds

    def _hysteresis(self, start: int) -> _Part:
        """`hysteresis(x, low, high)`: true from above `high` until below `low`."""
        operands = [self._deeper(self._any)]
        for _ in range(2):
            self._need(",")
            operands.append(self._deeper(self._any))
        for part in operands:
            self._check_no_text(part, _NO_NUMBER)
        value, low, high = (part.value for part in operands)
        place = self.switches
        self.switches += 1
        return self._made(lambda of: of.switched(place, value(of), low(of), high(of)), bool, start)

    # ------------------------------------------------------------------ types

    def _truth(self, part: _Part) -> _Part:
        self._check_no_text(part, _NO_TRUTH)
        return part

    def _calculated(self, function: Callable[..., Any], *operands: _Part) -> _Part:
        for part in operands:
            self._check_no_text(part, _NO_NUMBER)
        values = [part.value for part in operands]
        return self._made(calculation(function, *values), float, operands[0].start)

    def _check_no_text(self, part: _Part, why: Message) -> None:
        if part.kind is str:
            raise self._wrong(why, part.start)

    def _check_alike(self, left: _Part, right: _Part) -> None:
        kinds = {left.kind, right.kind}
        if str in kinds and kinds - {str, None}:
            one, two = (_KINDS[part.kind or str] for part in (left, right))
            raise self._wrong(Message("driver.never-equal", one=one, other=two), left.start)
        for part, other in ((left, right), (right, left)):
            choices = part.type.choices
            if other.word is not None and choices and other.word not in choices:
                there = Message("driver.is-one-of", names=", ".join(choices))
                hint = did_you_mean(other.word, choices) or there
                device, word = self._tokens[part.start][1], other.word
                never = Message("driver.is-never", name=device, text=word, hint=hint)
                raise self._wrong(never, other.start)

    # ------------------------------------------------------------------ tokens

    def _device(self) -> str:
        kind, word, _ = self._tokens[self._next]
        if kind != "name" or word in WORDS:
            raise self._expected(Message("driver.a-device"))
        if self._devices is not None and word not in self._devices:
            hint = did_you_mean(word, [*self._devices, *self._named_values])
            if not hint and self._next and self._tokens[self._next - 1][1] in ("==", "!="):
                hint = Message("driver.text-in-quotes", text=word)
            unknown = Message("board.no-device", name=repr(word), hint=hint)
            raise self._wrong(self._advice() or unknown)
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

    def _deeper(self, rule: Callable[[], _Part]) -> _Part:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(Message("driver.expression-deep", n=_DEEPEST))
        part = rule()
        self._depth -= 1
        return part

    def _made(self, value: Node, kind: type | None, start: int) -> _Part:
        self._count()
        return _Part(value, kind, start)

    def _count(self) -> None:
        self._parts += 1
        if self._parts > _MOST:
            raise self._wrong(Message("driver.expression-parts", n=_MOST))

    # ------------------------------------------------------------------ sentences

    def _expected(self, expected: str | Wording) -> ExpressionError:
        kind, word, _ = self._tokens[self._next]
        if advice := self._advice():
            return self._wrong(advice)
        found = Message("driver.the-end") if kind == "end" else repr(word)
        return self._wrong(Message("yaml.unlike", expected=expected, value=found))

    def _only_in_formulas(self, what: str) -> ExpressionError:
        return self._wrong(Message("driver.only-in-formulas", what=what))

    def _advice(self) -> Message | None:
        """What to write instead of what people often write; None where that is unknown."""
        kind, word, start = self._tokens[self._next]
        _, following, after = self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        before, last, _ = self._tokens[self._next - 1] if self._next else ("", "", 0)
        advice = None
        if word == "=" and last in ("==", "!="):
            advice = Message("driver.write-two-signs", sign=last)
        elif word in _MEANT:
            advice = Message("driver.write-instead", right=_MEANT[word], wrong=word)
        elif last + word == "<>":
            advice = Message("driver.write-instead", right="!=", wrong="<>")
        elif word == "=" and following in ("<", ">"):
            advice = Message("driver.write-instead", right=f"{following}=", wrong=f"={following}")
        elif word == "=":
            advice = Message("driver.write-equals")
        elif kind == "name" and word not in WORDS and word.lower() in WORDS:
            advice = Message("driver.write-small", word=word.lower())
        elif before == "number" and word == "," and following[:1].isdigit() and after == start + 1:
            advice = Message("driver.write-point", number=f"{last}.{following}")
        elif kind == "time":
            number = word.rstrip("msdh")
            unit = word.removeprefix(number)
            advice = Message("driver.no-unit", number=number, unit=unit)
        elif before == "number" and word not in WORDS and kind in ("name", "other"):
            unit = self._text[start:].split()[0].rstrip(")")
            advice = Message("driver.no-unit", number=last, unit=unit)
        elif kind == "other" and word in "'\"":
            advice = Message("driver.no-second", quote=word)
        return advice

    def _wrong(self, why: str | Wording, token: int | None = None) -> ExpressionError:
        place = self._tokens[self._next if token is None else token][2] + 1
        return ExpressionError(Message("driver.at-character", place=place, why=why))
