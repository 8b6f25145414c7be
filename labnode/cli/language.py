"""What commands say, in the language of the terminal."""

# ruff: noqa: PLC0415 - `labnode --help` needs no catalogue
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

import click


def locales(environ: Mapping[str, str]) -> list[str]:
    """The languages that an environment asks for, the best first, as gettext(3) reads it."""
    asked = (environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next(filter(None, asked), "C")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return []
    return [*environ.get("LANGUAGE", "").split(":"), locale]


def said(key: str, /, **values: object) -> str:
    """A text of the catalogues with its {placeholders} filled."""
    from labnode.locale import Message

    return told(Message(key, **values))


def told(words: object) -> str:
    """A text, or what has it in several languages (`Wording`), for the terminal's reader."""
    from labnode.locale import BUILT_IN, Wording

    if not isinstance(words, Wording):
        return str(words)
    return BUILT_IN.best(locales(os.environ)).say(words)


def counted(key: str, number: int, /, **values: object) -> str:
    """The text KEY-one or KEY-many, about a number of things."""
    return said(f"{key}-one", **values) if number == 1 else said(f"{key}-many", n=number, **values)


def confirmed(question: str, *, enter: bool) -> bool:
    """The answer to a question, asked until it is yes or no; Enter alone is yes if `enter`."""
    yes, no = said("cli.answer-yes"), said("cli.answer-no")
    default = yes if enter else no
    letters = [word[0].upper() if word == default else word[0] for word in (yes, no)]
    while True:
        asked = f"{question} [{'/'.join(letters)}]"
        word = click.prompt(asked, default=default, show_default=False).strip().lower() or default
        for whole in (yes, no):
            if whole.startswith(word):
                return whole == yes


class HelpFormatter(click.HelpFormatter):
    """Writes help in the language of the terminal; a text without a translation stays as it is."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        super().__init__(indent_increment, width, max_width)
        self._texts = _help_texts()

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        for each in ("[OPTIONS]", "COMMAND [ARGS]..."):
            args = args.replace(each, self._said(each))
        super().write_usage(prog, args, prefix or f"{self._said('Usage:')} ")

    def write_heading(self, heading: str) -> None:
        super().write_heading(self._said(heading))

    def write_text(self, text: str) -> None:
        super().write_text("\n\n".join(map(self._said, text.split("\n\n"))))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        said: Sequence[tuple[str, str]] = [(name, self._option(text)) for name, text in rows]
        super().write_dl(said, col_max, col_spacing)

    def _option(self, text: str) -> str:
        """The help of an option or a command; may end with "  [default: 20]" or "  [required]"."""
        words, bracket, more = text.partition("  [")
        more = more.replace("default:", f"{self._said('default')}:")
        more = more.replace("required]", f"{self._said('required')}]")
        return f"{self._said(words)}{bracket}{more}"

    def _said(self, text: str) -> str:
        return self._texts.get(" ".join(text.split()), text)


class HelpContext(click.Context):
    """The context of a command whose help is in all languages."""

    formatter_class = HelpFormatter

    def get_usage(self) -> str:
        """In English, because it stands above an error of click's, which is in English."""
        formatter = click.HelpFormatter(width=self.terminal_width, max_width=self.max_content_width)
        self.command.format_usage(self, formatter)
        return formatter.getvalue().rstrip("\n")


def _help_texts() -> Mapping[str, str]:
    asked = locales(os.environ)
    if not asked or asked[0].startswith("en"):
        return {}
    from labnode.locale import BUILT_IN, help_texts

    return help_texts(BUILT_IN.best(asked).code)
