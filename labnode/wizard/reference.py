"""The lists of options in docs/, from the dataclasses that read the board files."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import textwrap
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from labnode.board.config.board_file import BoardKeys, LabName, SessionSpec
from labnode.board.config.devices import LinkKeys
from labnode.board.config.interlock_rules import RuleForm
from labnode.board.config.page import Item, RecordSpec, StageKeys
from labnode.board.config.picture import PictureKeys, Spot
from labnode.board.config.sequences import SelfTest, SequenceKeys
from labnode.board.config.steps import StepKeys
from labnode.drivers.framework.commands import Command
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.expressions import Words
from labnode.drivers.framework.input import Input, Sensor
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.registry import load_drivers
from labnode.schema import Between, Like, Option, codec_of, default_of, options

_FEW = 3  # keys of a mapping that are named where it is an option
_FAMILIES: dict[str, type[Driver]] = {"output": Output, "sensor": Sensor, "input": Input}


def blocks() -> dict[str, str]:
    """The text between the lines `<!-- NAME -->` and `<!-- end -->` in docs/."""
    return {
        "keys of a board": _table(options(BoardKeys)),
        "keys of lab": _table(options(LabName)),
        "keys of session": _table(options(SessionSpec)),
        "keys of interlocks": "\n\n".join(map(_form, get_args(RuleForm))),
        "keys of sequences": _table(options(SequenceKeys)),
        "keys of a sequence": _table(options(SelfTest)),
        "keys of a step": _steps(),
        "keys of a page": "\n\n".join(_form(form) for form in get_args(Item) if form is not str),
        "keys of a stage": _table(options(StageKeys)),
        "keys of a picture": _table(options(PictureKeys)),
        "keys of a spot": _table(options(Spot)),
        "keys of record": _table(options(RecordSpec)),
        "keys of a link": _table(options(LinkKeys)),
        "options of every driver": _table(options(Driver)),
        "options of every output": _table(_own(Output, Driver)),
        "options of every input": _table(_own(Input, Driver)),
        "options of every sensor": _table(_own(Sensor, Input)),
    }


def refreshed(page: str) -> str:
    """A page of docs/ with its blocks updated; ValueError for an unknown one."""
    known = blocks()

    def block(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise ValueError(f"there is no block {match[1]!r}; the blocks are {', '.join(known)}")
        return f"<!-- {match[1]} -->\n\n{known[match[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- ([a-z ]+) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def drivers() -> str:
    """Every driver, one after the other."""
    found = load_drivers()
    return "\n\n".join(driver(found[kind]) for kind in sorted(found))


def driver(cls: type[Driver]) -> str:
    """The page of one driver: what it is, its options and commands, an example."""
    text, _, example = (inspect.getdoc(cls) or "").partition("Example::")
    family = next((name for name, base in _FAMILIES.items() if issubclass(cls, base)), "driver")
    own = _own(cls, _FAMILIES.get(family, Driver))
    parts = [f"# {cls.kind}", textwrap.dedent(text).strip()]
    parts += [_table(own)] if own else []
    article = "And the" if own else "The"
    parts.append(f"{article} options of [every {family}](../devices.md#every-{family}).")
    if cls.script is not None:
        parts += ["In a simulation, `simulate:` may say of it:", _table(options(cls.script))]
    if cls.commands:
        parts.append("Commands: " + ", ".join(map(_call, cls.commands.values())) + ".")
    parts.append(f"```yaml\ndevices:\n{textwrap.indent(inspect.cleandoc(example), '  ')}\n```")
    return "\n\n".join(parts)


def _own(cls: type[Driver], base: type[Driver]) -> list[Option]:
    """The options of a class that are not those of `base`, or not the same."""
    return [option for option in options(cls) if option not in options(base)]


def _steps() -> str:
    """The table of steps, without defaults."""
    rows = ["| step | what | |", "| --- | --- | --- |"]
    for option in options(StepKeys):
        rows.append(f"| `{option.key}` | {in_words(option.type)} | {option.doc} |")
    return "\n".join(rows)


def _form(form: Any) -> str:
    own = [option.key for option in options(form) if option.key not in ("name", "message")]
    return f"With `{own[0]}`:\n\n{_table(options(form))}"


def _table(known: Iterable[Option]) -> str:
    """Required options first."""
    rows = ["| option | what | default | |", "| --- | --- | --- | --- |"]
    for option in sorted(known, key=lambda option: not option.required):
        default = "required" if option.required else _default(option)
        cells = (f"`{option.key}`", in_words(option.type), default, option.doc)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default(option: Option) -> str:
    if default_of(option) is None:
        return ""
    return f"`{_yaml(codec_of(option.type).write(option.default))}`"


def in_words(kind: Any) -> str:
    """What a person writes for a type, in a few words: "a number from 0 to 1"."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        like = next((item.kind for item in arguments if isinstance(item, Like)), None)
        limits = "".join(f" {item}" for item in arguments if isinstance(item, Between))
        read = any(hasattr(item, "from_yaml") for item in arguments)
        return (_plain(kind) if read else in_words(like or arguments[0])) + limits
    if origin in (Union, types.UnionType):
        members = [in_words(m) for m in arguments if m is not types.NoneType]
        if set(get_args(Words)) <= set(arguments):
            others = [in_words(m) for m in arguments if m not in get_args(Words)]
            members = ["an expression", *others]
        return " or ".join(dict.fromkeys(members))
    if origin is Literal:
        return " or ".join(f"`{_yaml(choice)}`" for choice in arguments)
    if origin is list and arguments:
        return _list_of(in_words(arguments[0]))
    return _plain(kind)


def _list_of(words: str) -> str:
    for one, many in (("a list of", "lists of"), ("a mapping with", "mappings with")):
        if words.startswith(one):
            return f"a list of {words.replace(one, many, 1)}"
    if " or " in words:
        return f"a list of: {words}"
    return f"a list of {words.removeprefix('a ').removeprefix('an ')}s"


def _plain(kind: Any) -> str:
    if hasattr(kind, "from_yaml") and not hasattr(kind, "expected"):
        return "a text"
    if dataclasses.is_dataclass(kind) and not hasattr(kind, "from_yaml"):
        keys = [f"`{option.key}`" for option in options(kind)]  # type: ignore[arg-type]
        if len(keys) <= _FEW:
            return f"a mapping with {', '.join(keys)}"
    return str(codec_of(kind).expected).partition(" such as ")[0].rstrip(",")


def _call(command: Command) -> str:
    given = []
    for parameter in command.parameters:
        default = "" if parameter.required else f" = {json.dumps(parameter.default)}"
        given.append(f"{parameter.name}{default}")
    return f"`{command.name}({', '.join(given)})`"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
