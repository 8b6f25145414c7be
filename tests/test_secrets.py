"""`!secret NAME`: found beside the settings or the board, and shown to nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from click.testing import CliRunner

from labnode.board import load_board
from labnode.cli.main import main
from labnode.errors import ConfigError
from labnode.schema import Between, Duration, Secrets, Section, Text, build, load_yaml
from labnode.settings import load_settings

SECRET = "hunter2-and-more-of-it"


def short(value: str) -> str:
    if len(value) > 3:
        raise ValueError(f"expected at most 3 letters, not {value!r}")
    return value


@dataclass(kw_only=True)
class Options:
    token: str = ""
    number: int = 0
    path: Path | None = None
    wait: Duration = 0
    share: Annotated[float, Between(0, 1)] = 0
    short: Annotated[str, short] = ""
    mode: Literal["a", "b"] = "a"
    words: Text | None = None
    anything: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    section: Section | None = None

    def __post_init__(self) -> None:
        if "bad" in self.headers:
            raise ValueError(f"the header {self.headers['bad'][:12]}… is bad")


Read = Callable[[str], Options]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    beside(tmp_path)

    def read(text: str) -> Options:
        path = tmp_path / "x.yaml"
        path.write_text(text)
        return build(Options, load_yaml(path, None, Secrets(tmp_path).get))

    return read


def beside(
    directory: Path, text: str = f"token: {SECRET}\npin: 4711\nwait: 5s\n", mode: int = 0o640
) -> Path:
    path = directory / "secrets.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def told(action: Callable[[], object], directory: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        action()
    return [str(problem).replace(f"{directory}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("token: !secret token", "token", SECRET),
        ("token: !secret  token ", "token", SECRET),
        ("number: !secret pin", "number", 4711),
        ("wait: !secret wait", "wait", 5),
        ("path: !secret token", "path", Path(SECRET)),
        ("anything: !secret token", "anything", SECRET),
        ("anything: {a: [!secret token]}", "anything", {"a": [SECRET]}),
        ("headers: {Authorization: !secret token}", "headers", {"Authorization": SECRET}),
        ("words: {en: !secret token}", "words", Text({"en": SECRET})),
        ("anything: &a !secret token\ntoken: *a", "token", SECRET),
    ],
)
def test_a_secret_is_what_stands_in_its_file(
    read: Read, text: str, name: str, value: object
) -> None:
    assert getattr(read(text), name) == value


@pytest.mark.parametrize(
    "text",
    [
        "number: !secret token",
        "wait: !secret token",
        "share: !secret pin",
        "short: !secret token",
        "mode: !secret token",
        "headers: !secret token",
        "headers: {bad: !secret token}",
        "words: {en: !secret token, 5: x}",
        "token: [!secret token]",
        "!secret token: 5",
    ],
)
def test_a_secret_that_does_not_fit_is_not_shown(read: Read, tmp_path: Path, text: str) -> None:
    (problem,) = told(lambda: read(text), tmp_path)
    assert problem.startswith("x.yaml:1: ")
    assert "4711" not in problem
    assert SECRET[:6] not in problem


def test_it_says_what_was_expected_and_which_secret_is_not_that(read: Read, tmp_path: Path) -> None:
    assert told(lambda: read("\nnumber: !secret token"), tmp_path) == [
        "x.yaml:2: 'number': expected a whole number, which !secret token is not"
    ]


def test_a_section_and_the_repr_of_the_options_show_only_the_name(
    read: Read,
) -> None:
    options = read("section: {a: !secret token}\ntoken: !secret token")
    assert options.section is not None
    assert options.section.value == {"a": "!secret token"}
    assert options.section.revealed == {"a": SECRET}
    assert SECRET not in repr(options)


def test_a_name_that_is_not_there_is_told_with_what_is(read: Read, tmp_path: Path) -> None:
    assert told(lambda: read("token: !secret tocken\nwait: !secret"), tmp_path) == [
        "x.yaml:1: there is no secret 'tocken' in secrets.yaml; did you mean 'token'?",
        "x.yaml:2: expected the name of a secret, such as !secret wifi_password",
    ]


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        (None, 0, "x.yaml:1: there is no file secrets.yaml with secrets in it"),
        ("token: a", 0o644, "secrets.yaml: every user can read these secrets: chmod 640 "),
        ("- token", 0o600, "secrets.yaml:1: expected a mapping of secrets, such as "),
        ("\ntoken: [a]", 0o600, "secrets.yaml:2: the secret 'token' has to be a text or a number"),
        ("token:", 0o600, "secrets.yaml:1: the secret 'token' has to be a text or a number"),
        ("token: 'a", 0o600, "secrets.yaml:1: a quote is not closed"),
    ],
)
def test_a_file_of_secrets_that_cannot_be_used_is_told_so(
    read: Read, tmp_path: Path, text: str | None, mode: int, problem: str
) -> None:
    if text is None:
        (tmp_path / "secrets.yaml").unlink()
    else:
        beside(tmp_path, text, mode)
    (found,) = told(lambda: read("token: !secret token"), tmp_path)
    assert found.startswith(problem)


def test_without_a_secret_in_use_nobody_looks_at_the_file(read: Read, tmp_path: Path) -> None:
    beside(tmp_path, "token: [", 0o666)
    assert read("token: x").token == "x"


def test_a_board_has_its_secrets_beside_the_settings_else_beside_itself(tmp_path: Path) -> None:
    board, etc = tmp_path / "boards" / "b.yaml", tmp_path / "etc"
    board.parent.mkdir()
    etc.mkdir()
    board.write_text("schema: 1\ntitle: !secret title\ndevices:\n")
    beside(board.parent, "title: here")
    assert str(load_board(board).title) == "here"
    assert str(load_board(board, settings=etc / "n.yaml").title) == "here"
    beside(etc, "title: there")
    assert str(load_board(board, settings=etc / "n.yaml").title) == "there"


def test_what_a_board_is_told_about_a_secret_device_shows_none(tmp_path: Path) -> None:
    board = tmp_path / "b.yaml"
    beside(tmp_path)
    board.write_text(
        "schema: 1\ndevices:\n  a: !secret token\n  b: {driver: !secret token, pin: 4}\n"
        "simulate: {c: !secret token}\npage: [[!secret token]]\nmodule: !secret token\n"
    )
    problems = told(lambda: load_board(board), tmp_path)
    assert len(problems) >= 5
    assert not any(SECRET[:6] in problem for problem in problems)


def test_settings_have_secrets_too_and_then_everybody_may_read_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    beside(tmp_path, "weblab: 31415926\n", 0o600)
    path = tmp_path / "node.yaml"
    path.write_text("weblab: {username: weblab, password: !secret weblab}\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="expected a text or a list, which !secret weblab is not"):
        load_settings(path, {}, {})
    beside(tmp_path, "weblab: '31415926'\n", 0o600)
    settings = load_settings(path, {}, {})
    assert settings.weblab is not None
    assert settings.weblab.passwords == ("31415926",)
    assert not caplog.records


@pytest.mark.parametrize("command", ["check", "bootconfig", "pinout"])
def test_commands_find_the_secrets_beside_the_settings(tmp_path: Path, command: str) -> None:
    (tmp_path / "etc").mkdir()
    beside(tmp_path / "etc", "title: Heating\n", 0o600)
    (tmp_path / "etc/n.yaml").write_text("weblab: {username: w, password: swordfish-and-chips}\n")
    board = tmp_path / "b.yaml"
    board.write_text("schema: 1\ntitle: !secret title\ndevices:\n")
    found = CliRunner().invoke(main, [command, str(board), "--settings", f"{tmp_path}/etc/n.yaml"])
    assert found.exit_code == 0, found.output
    missing = CliRunner().invoke(main, [command, str(board)])
    assert f"{board}:2: there is no file {tmp_path}/secrets.yaml with secrets in it" in (
        missing.output
    )


BOARD = Path(__file__).parents[1] / "boards" / "thermal.yaml"


@pytest.mark.parametrize("secret", [SECRET, "4711815"])
def test_wherever_a_secret_stands_in_a_board_no_message_shows_it(
    tmp_path: Path, secret: str
) -> None:
    """Each value of a shipped board in turn is made a secret."""
    beside(tmp_path, f"token: {secret}\n")
    (tmp_path / "thermal.py").touch()
    board = tmp_path / "thermal.yaml"
    told: dict[str, str] = {}
    lines = BOARD.read_text().splitlines()
    places = [n for n, line in enumerate(lines) if ": " in line and not line.startswith("#")]
    for number in places:
        changed = lines[number].partition(": ")[0] + ": !secret token"
        board.write_text("\n".join([*lines[:number], changed, *lines[number + 1 :], ""]))
        try:
            load_board(board)
        except ConfigError as error:
            told[changed] = str(error)
    assert len(told) > len(places) / 3
    assert [changed for changed, message in told.items() if secret[:6] in message] == []
