"""What programs print when they fail, and what a student reads instead."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from functools import partial

from labnode.drivers.framework.subprocess import Cause, Ended
from labnode.errors import ToolFailed
from labnode.locale import Message, Wording, fill
from labnode.schema import Text


@dataclass(frozen=True)
class Known:
    """A message of a program: a regular expression, and what it means.

    A lab's own tool has `words=Text({"en": …, "eu": …})`, or `en` and `es`; `{name}` in a text is
    the group of that name. `final`: trying again is no use; `hopeless`: the program is ended at
    once; `despite`: it has failed even if its exit code is 0.
    """

    pattern: str
    en: InitVar[str] = ""
    es: InitVar[str] = ""
    words: Wording = field(kw_only=True, default=Text(""))
    final: bool = False
    hopeless: bool = False
    despite: bool = False

    def __post_init__(self, en: str, es: str) -> None:
        if en:
            object.__setattr__(self, "words", Text({"en": en, "es": es or en}))

    def find(self, line: str) -> ToolFailed | None:
        match = re.search(self.pattern, line, re.IGNORECASE)
        if match is None:
            return None
        words, found = self.words, match.groupdict()
        if found and isinstance(words, Text) and isinstance(words.words, Mapping):
            words = Text({language: fill(text, found) for language, text in words.words.items()})
        return ToolFailed(words, final=self.final)


NOT_THERE = Message("tool.not-there")
UNPLUGGED = Message("tool.unplugged")

# What several programs say: `wrong_chip(r"unknown chip id")` is a Known.
not_there = partial(Known, words=NOT_THERE)
unplugged = partial(Known, words=UNPLUGGED)
silent = partial(Known, words=Message("tool.silent"))
wrong_chip = partial(Known, words=Message("tool.wrong-chip"), final=True, despite=True)
not_verified = partial(Known, words=Message("tool.not-verified"), despite=True)
interrupted = partial(Known, words=Message("tool.interrupted"))
too_large = partial(Known, words=Message("tool.too-large"), final=True)
not_for_it = partial(Known, words=Message("tool.not-for-it"), final=True)
misconfigured = partial(Known, words=Message("tool.misconfigured"), final=True)

COMMON = (
    Known(
        r"permission denied|access denied|insufficient permissions|LIBUSB_ERROR_ACCESS",
        words=Message("tool.not-allowed"),
        final=True,
    ),
    Known(
        r"device or resource busy|resource busy|LIBUSB_ERROR_BUSY|port is busy",
        words=Message("tool.in-use"),
    ),
    Known(r"no space left on device", words=Message("tool.no-space"), final=True),
)


def hopeless(lines: Iterable[str], known: Sequence[Known]) -> ToolFailed | None:
    """The failure that the first hopeless message in `lines` means."""
    endings = [message for message in known if message.hopeless]
    found = (message.find(line) for line in lines for message in endings)
    return next((error for error in found if error is not None), None)


def judged(program: str, ended: Ended, timeout: float, known: Sequence[Known]) -> ToolFailed | None:
    """Why a program failed, None when it did not."""
    if ended.cause is Cause.TIMEOUT:
        return ToolFailed(Message("tool.timeout", seconds=f"{timeout:g}"))
    if ended.cause is Cause.FLOOD:
        return ToolFailed(Message("tool.flood", program=program))
    messages = [m for m in (*known, *COMMON) if m.despite or not ended.well]
    for message in messages:  # the most telling ones come first in their list
        for line in ended.output:
            if (error := message.find(line)) is not None:
                return error
    if ended.well:
        return None
    return ToolFailed(_failed(program, ended))


def _failed(program: str, ended: Ended) -> Message:
    if ended.code < 0:
        return Message("tool.ended", program=program, signal=_signal(-ended.code))
    last = ended.output[-1].rstrip(". ") if ended.output else ""
    if not last:
        return Message("tool.failed", program=program, code=ended.code)
    return Message("tool.failed-saying", program=program, code=ended.code, last=last)


def missing(program: str, package: str | None) -> Message:
    """Why a program cannot be run that this machine has not got."""
    if package is None:
        return Message("tool.missing", program=program)
    return Message("tool.missing-package", program=program, package=package)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
