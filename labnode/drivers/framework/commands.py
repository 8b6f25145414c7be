"""Commands: the methods of a driver that people and programs may call, with checked arguments."""

from __future__ import annotations

import inspect
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from labnode.errors import BadInput
from labnode.locale import Joined, Message, Wording, reworded
from labnode.schema import Between, any_of, did_you_mean, sentence_of, shown

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "_labnode_command"
_KINDS = {
    bool: Message("yaml.true-or-false"),
    int: Message("yaml.a-whole-number"),
    float: Message("yaml.a-number"),
    str: Message("yaml.a-text"),
}
_ANY = (bool, float, str)
_LONGEST = 71  # characters of a text that came
_NO_LIMITS = Between(None)
_NO_TYPE = (inspect.Parameter.empty, None)


@dataclass(frozen=True)
class Parameter:
    """One argument of a command or a task.

    `kind` is bool, int, float, str, any (of them) or choice; `limits` are those of a number.
    """

    name: str
    kind: str
    expected: str | Wording
    default: Any = inspect.Parameter.empty
    optional: bool = False  # null is a value
    choices: tuple[Any, ...] = ()
    limits: Between = _NO_LIMITS

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    def describe(self) -> dict[str, Any]:
        """JSON for the page."""
        choices = {"choices": list(self.choices)} if self.choices else {}
        default = {} if self.required else {"default": self.default}
        limits = {"min": self.limits.low, "max": self.limits.high}
        given = {key: limit for key, limit in limits.items() if limit is not None}
        return {"name": self.name, "type": self.kind, **choices, **default, **given}

    def accept(self, value: Any) -> Any:
        """The value as the method gets it; ValueError when it is not what is expected.

        A float may come as a whole number, but true is never a number here, nor 1 true.
        """
        if value is None and self.optional:
            return None
        if self.choices:
            if any(value == choice and type(value) is type(choice) for choice in self.choices):
                return value
        elif self.kind in ("float", "any") and type(value) in (int, float):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number) and self._is_within(number):
                return number
        elif self.kind == "int" and type(value) is int:
            if self._is_within(value):
                return value
        elif (self.kind == type(value).__name__ and self.kind not in ("int", "float")) or (
            self.kind == "any" and isinstance(value, bool | str)
        ):
            return value
        raise ValueError(must_be(f"'{self.name}'", self.expected, _came(value)))

    def _is_within(self, number: float) -> bool:
        low, high = self.limits.low, self.limits.high
        return (low is None or low <= number) and (high is None or number <= high)


@dataclass(frozen=True)
class Command:
    """A method of a driver, with its parameters."""

    name: str
    parameters: tuple[Parameter, ...]
    students: bool = True  # False: only for Python and sequences

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Command:
        """The command of a method; TypeError when a parameter's type is none of JSON's."""
        hints = get_type_hints(function, include_extras=True)
        _, *parameters = inspect.signature(function).parameters.values()
        return cls(
            name=function.__name__,
            parameters=tuple(_parameter(function, p, hints.get(p.name)) for p in parameters),
            students=getattr(function, _MARK),
        )

    def describe(self) -> dict[str, Any]:
        """JSON for the page."""
        return {"name": self.name, "parameters": [p.describe() for p in self.parameters]}

    def bind(self, where: str, arguments: Any) -> dict[str, Any]:
        """Arguments by name from a list (by position), an object (by name) or None.

        `where` names the command in errors, "heater.set".
        """
        given = self._by_name(where, arguments)
        bound: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name not in given:
                if parameter.required:
                    name, expected = parameter.name, parameter.expected
                    raise BadInput(
                        Message("error.argument-missing", where=where, name=name, expected=expected)
                    )
                continue
            try:
                bound[parameter.name] = parameter.accept(given[parameter.name])
            except ValueError as error:
                raise BadInput(Joined(f"{where}: ", sentence_of(error))) from None
        return bound

    def _by_name(self, where: str, arguments: Any) -> Mapping[str, Any]:
        names = [parameter.name for parameter in self.parameters]
        if arguments is None:
            return {}
        if isinstance(arguments, Mapping):
            for name in arguments:
                if name not in names:
                    hint = did_you_mean(str(name), names)
                    raise BadInput(Joined(self._unlike(where, repr(str(name))), hint))
            return arguments
        if isinstance(arguments, Sequence) and not isinstance(arguments, str | bytes):
            if len(arguments) > len(names):
                raise BadInput(self._unlike(where, len(arguments)))
            return dict(zip(names, arguments, strict=False))
        raise BadInput(Message("error.arguments-shape", where=where, value=_came(arguments)))

    def _unlike(self, where: str, given: str | int) -> Message:
        count = len(self.parameters)
        if not count:
            return Message("error.no-arguments", where=where, given=given)
        commas = [part for p in self.parameters for part in (", ", f"{p.name}: ", p.expected)]
        wanted = Joined(*commas[1:])
        if count == 1:
            return Message("error.one-argument", where=where, wanted=wanted, given=given)
        return Message("error.arguments", where=where, count=count, wanted=wanted, given=given)


def mark(function: F, students: bool = True) -> F:
    """Make a method a command."""
    setattr(function, _MARK, students)
    return function


def parameters_of(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The parameters of a task function that a page can ask for, in their order.

    Without an annotation the type is that of the default, else any.
    """
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # of a module that is imported for types only
        hints = {}
    found = []
    for parameter in inspect.signature(function).parameters.values():
        guess = str | float | bool if parameter.default in _NO_TYPE else type(parameter.default)
        with suppress(TypeError):
            found.append(_parameter(function, parameter, hints.get(parameter.name, guess)))
    return tuple(found)


def commands_of(cls: type) -> dict[str, Command]:
    """The commands of a class by name, inherited ones first, in the order they are written."""
    found: dict[str, Command] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            if getattr(member, _MARK, None) is not None:
                found[name] = Command.of(member)
            elif name in found:
                del found[name]  # overridden by something that is not a command
    return found


def _parameter(function: Callable[..., Any], parameter: inspect.Parameter, hint: Any) -> Parameter:
    hint, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    limits = next((note for note in notes if isinstance(note, Between)), _NO_LIMITS)
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [option for option in options if option is not type(None)]
    optional = len(kinds) < len(options)
    choices: tuple[Any, ...] = ()
    expected: str | Wording = ""
    if set(kinds) == set(_ANY):
        kind, expected = "any", any_of(_KINDS[option] for option in _ANY)
    elif len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        kind, choices = "choice", get_args(kinds[0])
        expected = one_of(json.dumps(choice) for choice in choices)
    elif len(kinds) == 1 and kinds[0] in _KINDS:
        kind, expected = kinds[0].__name__, _KINDS[kinds[0]]
    else:
        kind = ""
    if not kind or parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise TypeError(
            f"command {function.__qualname__}: '{parameter.name}' must be annotated as bool, int, "
            "float, str, Literal or bool | float | str, or as one of them | None, so that it can "
            "be checked"
        )
    if limits is not _NO_LIMITS:
        expected = Message("error.within", what=expected, limits=limits.limits)
    if optional:
        expected = any_of([expected, "null"])
    return Parameter(parameter.name, kind, expected, parameter.default, optional, choices, limits)


def must_be(name: str, expected: str | Wording, value: str | float | Wording) -> Message:
    """ "'value' must be a number from 0 to 1, not 7"."""
    return Message("error.must-be", name=name, expected=expected, value=value)


def one_of(choices: Iterable[str]) -> Message:
    """ "one of a, b, c"."""
    return Message("error.one-of", names=", ".join(choices))


def a_number(low: float, high: float, step: float = 0.0) -> Message:
    """ "a number from 0 to 1 in steps of 0.1"; an infinite limit is none."""
    number, limits = Message("yaml.a-number"), None
    if math.isfinite(low) and math.isfinite(high):
        limits = Message("yaml.from-to", low=f"{low:g}", high=f"{high:g}")
    elif math.isfinite(low):
        limits = Message("error.from", low=f"{low:g}")
    elif math.isfinite(high):
        limits = Message("error.to", high=f"{high:g}")
    if step:
        steps = Message("error.in-steps", step=f"{step:g}")
        limits = Message("error.limits-in-steps", limits=limits, steps=steps) if limits else steps
    return Message("error.within", what=number, limits=limits) if limits else number


def _came(value: Any) -> str | Wording:
    return reworded(
        shown(value), lambda text: text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    )
