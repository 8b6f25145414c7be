"""What students may read of an error."""

from __future__ import annotations

import re
from typing import Any

from labnode.errors import LabnodeError
from labnode.http.replies import error_reply
from labnode.locale import Language, Wording

_DETAILS = re.compile(
    r"\[Errno|(?<![\w.])/(?:dev|sys|proc|run|etc|tmp|opt|home|var)/|\b[A-Z]\w*Error\b"
)


def is_for_students(sentence: str) -> bool:
    """Whether it names neither files nor errors of the system."""
    return _DETAILS.search(sentence) is None


def told(words: str | Wording, code: str, language: Language) -> str:
    """A sentence about an error with this code, in a student's language.

    A sentence that is in English alone is replaced by that of its code in other languages, and one
    that is not for students by a hint at the log, which has it.
    """
    sentence = language.say(words)
    if not is_for_students(sentence):
        return language.texts["error.details"]
    if isinstance(words, str) and language.code != "en":
        return language.texts.get(f"error.{code}", sentence)
    return sentence


def refusal(error: LabnodeError, language: Language) -> Any:
    """The reply to a request of a student's that failed with `error`.

    Whoever writes a program needs the whole English sentence, too: the `detail`.
    """
    message = told(error.words, error.code, language)
    lost = isinstance(error.words, str) and message != error.message
    detail = error.message if lost and is_for_students(error.message) else None
    return error_reply(error, message, detail)
