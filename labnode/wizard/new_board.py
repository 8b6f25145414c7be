"""`labnode new`: a board file from answers to "what is wired?"."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labnode.board import load_board
from labnode.errors import BadInput, ConfigError
from labnode.locale import Message, Wording, reworded

REMARK = Message("cli.new-remark")
"""The comment at the beginning of a board file."""


@dataclass(frozen=True)
class Kind:
    """Something that can be wired: its driver, what it is in words, and what to ask about it.

    `asks` are options with what to ask for each and its default; `fixed` is YAML that all have.
    """

    driver: str
    words: Message
    asks: tuple[tuple[str, Message, str], ...]
    fixed: str = ""


_PIN = ("pin", Message("cli.new-pin"), "")

KINDS = (
    Kind("led", Message("cli.kind:led"), (_PIN,)),
    Kind(
        "relay",
        Message("cli.kind:relay"),
        (_PIN, ("max_on_time", Message("cli.new-longest"), "")),
    ),
    Kind("pwm_output", Message("cli.kind:pwm_output"), (_PIN,), "frequency: 100"),
    Kind("servo", Message("cli.kind:servo"), (_PIN,)),
    Kind("button", Message("cli.kind:button"), (_PIN,)),
    Kind("digital_input", Message("cli.kind:digital_input"), (_PIN,)),
    Kind(
        "serial", Message("cli.kind:serial"), (("port", Message("cli.new-port"), "/dev/ttyUSB0"),)
    ),
    Kind("mjpeg", Message("cli.kind:mjpeg"), (("device", Message("cli.new-file"), "/dev/video0"),)),
    Kind("cpu_temperature", Message("cli.kind:cpu_temperature"), ()),
)


def kind_of(answer: str) -> Kind | None:
    """A kind by its number, from 1 on, or by its driver; None for anything else."""
    for number, kind in enumerate(KINDS, 1):
        if answer.strip() in (str(number), kind.driver):
            return kind
    return None


@dataclass(frozen=True)
class WiredDevice:
    """One device: its name, its kind, the answers to what the kind asks, its label."""

    name: str
    kind: Kind
    values: tuple[str, ...]
    label: str

    def line(self) -> str:
        """The device in a board file."""
        given = zip(self.kind.asks, self.values, strict=False)
        parts = [f"driver: {self.kind.driver}"]
        parts += [f"{option}: {_value(option, value)}" for (option, _, _), value in given if value]
        parts += [self.kind.fixed] if self.kind.fixed else []
        return f"  {self.name}: {{{', '.join([*parts, f'label: {_text(self.label)}'])}}}"


def read_device(text: str) -> WiredDevice:
    """NAME=DRIVER[:VALUE,...] as on the command line; BadInput if it is none."""
    found = re.fullmatch(r"([^=]+)=(\w+)(?::(.*))?", text)
    if found is None:
        raise BadInput(Message("cli.new-option", text=text))
    name, driver, values = found.groups()
    kind = next((kind for kind in KINDS if kind.driver == driver), None)
    if kind is None:
        known = ", ".join(kind.driver for kind in KINDS)
        raise BadInput(Message("cli.new-driver", text=text, known=known))
    given = tuple(values.split(",")) if values else ()
    if len(given) > len(kind.asks):
        raise BadInput(Message("cli.new-values", text=text, driver=driver, n=len(kind.asks)))
    return WiredDevice(
        name, kind, given or tuple(default for _, _, default in kind.asks), title(name)
    )


def title(name: str) -> str:
    """A name as a title: `door_bell` is "Door bell"."""
    words = re.sub(r"[_-]+", " ", name).strip()
    return words[:1].upper() + words[1:]


def board_text(
    name: str, board_title: str, answers: Sequence[WiredDevice], remark: str = str(REMARK)
) -> str:
    """The board file, which begins with a `remark` for people."""
    return "\n".join([
        f"# {remark}",
        "schema: 1",
        f"title: {_text(board_title)}",
        f"lab: {{name: {name}, category: Labs}}",
        "devices:" if answers else "devices: {}",
        *(answer.line() for answer in answers),
    ]) + "\n"  # fmt: skip


def problem(text: str) -> str | Wording | None:
    """What is wrong with a board file of this text, in one sentence; None if nothing is."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "board.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            load_board(path)
        except ConfigError as error:
            message = error.problems[0].message
            return reworded(message, lambda text: text.replace(str(path), path.name))
    return None


def _value(option: str, value: str) -> str:
    return f"GPIO{value}" if option == "pin" and value.isdecimal() else _text(value)


def _text(value: str) -> str:
    """A text for YAML, quoted where it has to be."""
    plain = re.fullmatch(r"[\w/][\w /.+-]*", value) and not re.fullmatch(
        r"(?i)true|false|on|off|yes|no|null|[\d.+-]+", value
    )
    return value if plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
