"""`!secret NAME`: values that are kept in their own file and out of every message."""

from __future__ import annotations

import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from labnode.errors import ConfigError
from labnode.locale import Message, Wording, reworded
from labnode.schema.section import Problems, Section, did_you_mean, quoted
from labnode.schema.yaml_text import load_yaml

FILE = "secrets.yaml"
_TELLING = 5  # characters at the start of a secret that give something away


class SecretText(str):
    """A text that came from `!secret`; its repr, which ends up in logs, does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'!secret'"


class Secrets:
    """The secrets beside the settings or, if there are none, beside the board.

    They are in secrets.yaml, a mapping from names to texts or numbers, in the first of
    `directories` that has one. It is read at the first use.
    """

    def __init__(self, *directories: Path) -> None:
        self._paths = [directory / FILE for directory in directories]
        self._values: dict[str, Any] | None = None

    @property
    def path(self) -> Path:
        """The file that is read or, if there is none, where it should be."""
        return next((path for path in self._paths if path.exists()), self._paths[0])

    def get(self, name: str) -> Any:
        """The secret; ValueError when there is none, ConfigError when the file cannot be used."""
        if not name:
            raise ValueError(Message("yaml.secret-name"))
        if self._values is None:
            self._values = self._read()
        if name not in self._values:
            hint = did_you_mean(name, self._values)
            where = str(self.path)
            raise ValueError(Message("yaml.no-secret", name=quoted(name), file=where, hint=hint))
        return self._values[name]

    def read_now(self) -> None:
        """Read the file before it is used, while that is allowed; `get` says what is wrong."""
        with suppress(ValueError, ConfigError):
            self._values = self._read()

    def _read(self) -> dict[str, Any]:
        path = self.path
        if not path.exists():
            raise ValueError(Message("yaml.no-secrets", file=str(path)))
        with Problems() as problems:
            section = load_yaml(path, problems)
            if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                problems.add(str(path), Message("yaml.secrets-open", file=str(path)))
            if not isinstance(section.content, dict | None):
                problems.add(section, Message("yaml.secrets"))
            for name, value in section.items():
                if value.content in (None, "") or isinstance(value.content, dict | list):
                    problems.add(value, Message("yaml.secret-kind", name=quoted(name)))
        return {name: value.content for name, value in section.items()}


def without_secrets(message: str | Wording, section: Section) -> str | Wording:
    """The message without any of the secrets in `section`."""
    for hidden, placeholder in _hidden(section):
        message = reworded(message, partial(_replaced, old=hidden, new=placeholder))
        if len(hidden) > _TELLING and hidden[:_TELLING] in str(message):  # shortened or escaped
            return Message("yaml.does-not-fit", what=placeholder)
    return message


def _replaced(text: str, old: str, new: str) -> str:
    return text.replace(old, new)


def _hidden(section: Section) -> list[tuple[str, str]]:
    found = [] if section.hidden is None else [(str(section.hidden), str(section.content))]
    for child in [*(child for _, child in section.items()), *section.entries()]:
        found += _hidden(child)
    return sorted(found, key=lambda pair: -len(pair[0]))
