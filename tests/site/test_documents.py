"""What the documents say is so: links lead somewhere, commands exist, code can be used."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from labnode.board import load_board
from labnode.cli.main import main
from labnode.errors import ConfigError, Problem
from labnode.install.options import COMMANDS, read_options
from labnode.schema import options, parse_yaml
from labnode.settings import Settings, load_settings

from .documents import PAGES, ROOT, TEXTS, Block, blocks, dead, read, words

_MOST_WORDS = 2500

# Programs of other people that shell blocks may name.
_OTHERS = """
. ansible-playbook cat cd cp curl do done for git install journalctl npm rm sed ssh sudo systemctl
tee useradd
"""


@pytest.mark.parametrize("path", TEXTS)
def test_every_link_leads_somewhere(path: str) -> None:
    assert dead(path) == []


def test_no_page_is_too_long() -> None:
    assert {page: n for page in PAGES if (n := words(page)) > _MOST_WORDS} == {}


# Words that nobody says aloud.
_STILTED = re.compile(r"\b(whoever|of whom|of which|nobody's|anew|(?:is|are) told)\b", re.I)


@pytest.mark.parametrize("path", TEXTS)
def test_the_documents_are_in_words_that_a_colleague_would_say(path: str) -> None:
    assert [match[0] for match in _STILTED.finditer(read(path))] == []


# --- YAML ---


def yaml_blocks() -> list[Block]:
    """Those of drivers are their examples, which tests/wizard/test_board_schema.py checks."""
    pages = [page for page in TEXTS if not page.startswith("docs/drivers/")]
    return [block for page in pages for block in blocks(page, "yaml")]


# What a part of a board file names that is in another part.
_ELSEWHERE = re.compile(
    r"there is no (device|task|file|driver '(wled|hx711|electronic_load)')|the board has no picture"
)


@pytest.mark.parametrize("block", yaml_blocks(), ids=str)
def test_every_yaml_block_is_part_of_a_board_or_of_settings(block: Block, tmp_path: Path) -> None:
    value = parse_yaml(block.text, str(block)).value
    assert isinstance(value, dict)
    if set(value) <= {option.key for option in options(Settings)}:
        credentials = {} if {"weblab", "clients"} & set(value) else {"weblab": _CREDENTIALS}
        load_settings(None, {}, {**value, **credentials})
        return
    if all(isinstance(part, str) for part in value.values()):
        return  # secrets: any names and texts
    if "steps" in value:
        value = {"sequences": {"on_boot": value}}
    elif all(isinstance(part, dict) and "driver" in part for part in value.values()):
        value = {"devices": value}
    path = tmp_path / "board.yaml"
    path.write_text(json.dumps({"schema": 1, "devices": {}, **value}))
    assert [p for p in problems(path) if not _ELSEWHERE.search(str(p.message))] == []


def problems(board: Path) -> list[Problem]:
    """What is wrong with a board file."""
    try:
        load_board(board)
    except ConfigError as error:
        return error.problems
    return []


_CREDENTIALS = {"username": "x", "password": "long enough for this"}


# --- Python ---


def python_blocks() -> list[Block]:
    return [block for page in TEXTS for block in blocks(page, "python")]


@pytest.mark.parametrize("block", python_blocks(), ids=str)
def test_every_python_block_compiles_and_imports_what_there_is(block: Block) -> None:
    text = re.sub(r"^(from .*\n\n)    ", r"\1class Driver:\n    ", block.text)  # a part of a class
    for node in ast.walk(ast.parse(text, str(block))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labnode"):
            name = (node.module or "").replace("labnode_client", "labnode.client")  # a copy of it
            module = importlib.import_module(name)
            assert [a.name for a in node.names if not hasattr(module, a.name)] == []


# --- shell ---


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command: a line may have several."""
    for line in text.splitlines():
        reader = shlex.shlex(line, posix=True, punctuation_chars="|;&")
        reader.whitespace_split = True
        words: list[str] = []
        for word in reader:
            if set(word) <= set("|;&"):
                yield words
                words = []
            else:
                words.append(word)
        yield words


def lines() -> Iterator[tuple[str, list[str]]]:
    """Every command of every shell block: where it is, and its words."""
    for page in TEXTS:
        for block in blocks(page, "sh"):
            text = re.sub(r"\\\n\s*", " ", block.text)
            for command in commands(text):
                left = list(command)
                while left and (left[0] == "sudo" or re.match(r"-u$|[A-Z_]+=", left[0])):
                    left = left[2:] if left[0] == "-u" else left[1:]
                if left:
                    yield str(block), left


@pytest.mark.parametrize(("where", "words"), list(lines()), ids=lambda x: str(x)[:60])
def test_every_command_in_a_shell_block_exists_with_these_options(
    where: str, words: list[str]
) -> None:
    program, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "labnode":
        _parse(main, rest)
    elif program == "./install.sh":
        _parse_install(rest)
    elif program.startswith("python") and rest[0] == "-m":
        assert importlib.util.find_spec(rest[1]) or rest[1] in ("venv", "pip")
    else:
        assert program in {*_OTHERS.split(), "ruff", "mypy", "pip"}, f"{where}: {program}"
    named = [word for word in words if re.match(r"(boards|deploy|docs|tests)/[\w./-]+$", word)]
    assert [word for word in named if not (ROOT / word).exists()] == [], where


def _parse(command: click.Command, words: list[str]) -> None:
    """Raises where a command or an option does not exist, or an argument is missing."""
    if isinstance(command, click.Group):
        assert words, f"{command.name} does nothing by itself"
        assert words[0] in command.commands, words[0]
        _parse(command.commands[words[0]], words[1:])
        return
    with click.Context(command, info_name=command.name) as context:
        command.parse_args(context, list(words))


def _parse_install(words: list[str]) -> None:
    command, rest = (words[0], words[1:]) if not words[0].startswith("-") else ("install", words)
    if command == "test":
        assert set(rest) <= {"--audit", "--tools", "--long", "tests/drivers", "-k", "relay"}, rest
    elif command in ("demo", "docs"):
        assert not rest
    else:
        assert command in COMMANDS
        present = [word for word in rest if not word.endswith(".pub")]
        read_options(
            command, [w for w in present if w not in ("--ssh-key", "--tunnel-host-key")], {}
        )


# --- inside sentences ---


@pytest.mark.parametrize("path", TEXTS)
def test_every_command_and_option_in_a_sentence_exists(path: str) -> None:
    wrong = []
    for code in re.findall(r"`labnode ([a-z][^`]*)`", read(path)):
        command: click.Command = main
        words = code.split()
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        named = {name for option in command.params for name in option.opts} | {"--help"}
        unknown = {w for w in re.findall(r"(?<![\w-])--[a-z-]+", " ".join(words)) if w not in named}
        if command is main or unknown:
            wrong.append(code)
    assert wrong == []
