"""The catalogues in labnode/locale: complete, and neither more nor less than what the code uses."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache

import pytest

from labnode import errors
from labnode.locale import BUILT_IN, Catalogues, Message, fill
from labnode.schema import Text
from tests.house import ROOT, read_house

FOLDER = ROOT / "labnode" / "locale"
WEB = ROOT / "labnode" / "web"
LANGUAGES = BUILT_IN.languages
SCRIPTS = sorted((WEB / "static").glob("*.js"))
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
ADMIN = ("labnode/web/admin/", "labnode/web/templates/admin", "labnode/web/static/admin")

SAYING = ("Message", "said", "counted")  # wsproto has a Message, too, without a key
INSIDE = ("labnode/locale/__init__.py", "labnode/cli/language.py")
CODES = {error.code for error in vars(errors).values() if hasattr(error, "code")}
CODES |= {"exception", "interrupted", "http"}  # of a task that failed, and of what Bottle refuses

PLACEHOLDER = re.compile(r"\{(\w+)\}")
WORDS = re.compile(r"""words(?:\.(?!get\b)(\w+)|\[["']([^"']+)["']\])""")
FULL_KEY = re.compile(r"""texts\["([^"]+)"\]""")
QUOTED = re.compile(r"""["'`]([^"'`\n]*)["'`]""")
FAMILY = re.compile(r"""["'`]([a-z-]+:)(?:\$?\{|["']\s*\+)""")  # `over:${reason}`, "state:" + state


def catalogue(language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return texts


def advice(language: str, key: str) -> str:
    text = catalogue("en").get(key, "…")
    return f'add "{key}": "…" to labnode/locale/{language}.json (in English: {text!r})'


@cache
def messages() -> list[tuple[str, str, frozenset[str] | None]]:
    """Every Message(…) and texts["…"] in labnode: where, the key and the names of its values."""
    found: list[tuple[str, str, frozenset[str] | None]] = []
    for source in read_house():
        for node in ast.walk(source.tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id not in SAYING or not node.args:
                continue
            if source.path in INSIDE and not isinstance(node.args[0], ast.Constant):
                continue
            where, key = source.at(node, f"{node.func.id}(…)"), node.args[0]
            names = frozenset(keyword.arg or "**" for keyword in node.keywords)
            if isinstance(key, ast.JoinedStr) and isinstance(key.values[0], ast.Constant):
                start = str(key.values[0].value)  # f"cli.row:{name}"
                found += [
                    (where, each, names) for each in catalogue("en") if each.startswith(start)
                ]
                continue
            assert isinstance(key, ast.Constant), f"{where} needs its key as a literal"
            ends = ("-one", "-many") if node.func.id == "counted" else ("",)
            many = {"-many": names | {"n"}}
            found += [(where, f"{key.value}{end}", many.get(end, names)) for end in ends]
        found += [(source.path, key, None) for key in FULL_KEY.findall(source.text)]
    return found


@cache
def readers() -> list[tuple[str, str]]:
    """The files that take words by their keys without a section: path, text."""
    files = [*SCRIPTS, *TEMPLATES, *sorted(WEB.rglob("*.py"))]
    return [(str(f.relative_to(ROOT)), f.read_text(encoding="utf-8")) for f in files]


def names_used(section: str) -> Iterator[str]:
    """What the files that show `section` could look up in it."""
    for path, text in readers():
        if path.startswith(ADMIN) or section != "admin":
            yield from (dotted or quoted for dotted, quoted in WORDS.findall(text))
            yield from QUOTED.findall(text)
            yield from (f"{family}*" for family in FAMILY.findall(text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text(language: str) -> None:
    english, texts = catalogue("en"), catalogue(language)
    assert not [advice(language, key) for key in english if not texts.get(key, "").strip()]
    assert not texts.keys() - english.keys(), f"nobody uses these keys of {language}.json"
    assert list(texts) == list(english), f"keep the keys of {language}.json in the order of en.json"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_has_the_placeholders_of_the_english_one(language: str) -> None:
    def placeholders(text: str) -> list[str]:
        return sorted(set(PLACEHOLDER.findall(text)))

    english = catalogue("en")
    wrong = {
        key: f"{language}.json has {placeholders(text)}, en.json {placeholders(english[key])}"
        for key, text in catalogue(language).items()
        if placeholders(text) != placeholders(english[key])
    }
    assert not wrong


def test_no_placeholder_has_the_name_of_the_key_in_stored_words() -> None:
    assert not [key for key, text in catalogue("en").items() if "{message}" in text]


def test_every_message_is_in_the_catalogues_with_the_values_that_it_needs() -> None:
    english = catalogue("en")
    lacking = [f"{at}: {advice('en', key)}" for at, key, _ in messages() if key not in english]
    assert not lacking, f"and to each of the other languages: {LANGUAGES}"
    wrong = [
        f"{at}: {key!r} takes {PLACEHOLDER.findall(english[key])}, not {sorted(names or ())}"
        for at, key, names in messages()
        if names is not None and names != set(PLACEHOLDER.findall(english[key]))
    ]
    assert not wrong


def test_every_word_of_a_page_is_in_the_catalogues() -> None:
    english = catalogue("en")
    lacking = []
    for path, text in readers():
        sections = ["admin"] if path.startswith(ADMIN) else ["page", "site"]
        if path.startswith("labnode/web/static") and "admin" not in sections:
            sections = ["page"]
        for dotted, quoted in WORDS.findall(text):
            name = dotted or quoted
            if not any(f"{section}.{name}" in english for section in sections):
                lacking.append(f"{path}: {advice('en', f'{sections[0]}.{name}')}")
    assert not lacking, f"and to each of the other languages: {LANGUAGES}"


def test_no_text_is_unused() -> None:
    by_message = {key for _, key, _ in messages()}
    used = {section: set(names_used(section)) for section in ("page", "site", "admin")}

    def is_used(key: str) -> bool:
        section, _, name = key.partition(".")
        if key == "language" or (section == "error" and name in CODES):
            return True
        if key in by_message:
            return True
        names = used.get(section, set())
        family, colon, _ = name.partition(":")
        return name in names or f"{family}{colon}*" in names or name.removesuffix(":text") in names

    unused = [key for key in catalogue("en") if not is_used(key)]
    assert not unused, f"remove them from all of {LANGUAGES}, or use them"


def test_a_message_says_the_same_in_each_language() -> None:
    message = Message("file.hex-damaged", what=Message("file.hex-length"), line=3)
    assert str(message) == "The HEX file is damaged: the length is wrong in line 3."
    assert message.pick("es_ES.UTF-8") == (
        "El archivo HEX está dañado: la longitud es incorrecta en la línea 3."
    )


def test_a_value_may_be_a_label_in_several_languages() -> None:
    message = Message("page.interlock-acts", name=Text({"en": "lid", "es": "tapa"}))
    assert message.pick("es") == "Actúa el enclavamiento «tapa»."


def test_a_text_with_braces_in_a_value_is_left_alone() -> None:
    assert fill("{a} and {b} {c}", {"a": "{b}", "b": 1}) == "{b} and 1 {c}"


def test_only_the_languages_in_use_are_read() -> None:
    catalogues = Catalogues()
    assert catalogues.best(["es"]).say(Message("file.empty")) == "El archivo está vacío."
    assert set(catalogues._texts) == {"en", "es"}


def test_git_ignores_no_catalogue_so_a_wheel_has_it() -> None:
    """hatchling packs all of labnode/ that git does not ignore; a release is made of that wheel."""
    ignored = subprocess.run(
        ["git", "check-ignore", *map(str, FOLDER.glob("*.json"))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ignored.stdout == ""


def test_what_every_page_needs_is_sorted_out_once() -> None:
    first, second = (Catalogues().best(["es"]) for _ in range(2))
    assert first.section("page") == second.section("page") != {}
    assert first.section("page") is first.section("page")
