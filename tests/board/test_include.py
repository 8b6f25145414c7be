"""Board files made of several files: what counts, and where a mistake is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.errors import ConfigError

LED = "devices:\n  led: {driver: led, pin: 4, label: Red}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    return tmp_path


def save(folder: Path, **files: str) -> Path:
    """Files by name ("parts__a" is parts/a.yaml); gives the path of board.yaml."""
    for name, text in files.items():
        (folder / f"{name.replace('__', '/')}.yaml").write_text(text)
    return folder / "board.yaml"


def told(board: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_board(board)
    return [str(problem).replace(f"{board.parent}/", "") for problem in caught.value.problems]


def test_the_devices_of_an_included_file_are_devices_of_the_board(folder: Path) -> None:
    board = load_board(
        save(
            folder,
            board="schema: 1\ninclude: parts/a.yaml\ndevices:\n  fan: {driver: led, pin: 17}\n",
            parts__a="schema: 1\n" + LED,
        )
    )
    assert list(board.devices) == ["led", "fan"]
    assert board.files == (folder / "board.yaml", folder / "parts/a.yaml")


def test_the_file_that_includes_has_the_last_word_key_by_key(folder: Path) -> None:
    board = load_board(
        save(
            folder,
            board="schema: 1\ninclude: [parts/a.yaml]\ndevices:\n  led: {pin: 22}\n",
            parts__a=LED + "session: {max_time: 5, timeout: 7}\n",
        )
    )
    led = board.devices["led"]
    assert (led.pin.number, str(led.label), board.session.max_time) == (22, "Red", 5)  # type: ignore[attr-defined]


def test_the_rows_of_the_page_are_joined_the_included_ones_first(folder: Path) -> None:
    board = load_board(
        save(
            folder,
            board="schema: 1\ninclude: parts/a.yaml\ndevices: {b: {driver: led, pin: 17}}\n"
            "page: [[b]]\n",
            parts__a=LED + "page: [[led]]\n",
        )
    )
    assert board.page == (("led",), ("b",))


def test_a_file_includes_from_where_it_is_and_each_file_counts_once(folder: Path) -> None:
    board = load_board(
        save(
            folder,
            board="schema: 1\ninclude: [parts/a.yaml, parts/b.yaml]\n",
            parts__a="include: c.yaml\n" + LED,
            parts__b="include: c.yaml\ndevices:\n",
            parts__c="page: [[led]]\n",
        )
    )
    assert board.page == (("led",),)
    assert [path.stem for path in board.files] == ["board", "a", "c", "b"]


def test_a_mistake_is_told_with_the_file_and_line_where_it_stands(folder: Path) -> None:
    board = save(
        folder,
        board="schema: 1\ninclude: parts/a.yaml\ndevices:\n  fan: {driver: led, pin: 4}\n",
        parts__a="# the lamp\n" + LED.replace("label", "lable"),
    )
    assert told(board) == [
        "parts/a.yaml:3: unknown key 'lable' in device 'led'; did you mean 'label'?"
    ]
    (folder / "parts/a.yaml").write_text("# the lamp\n" + LED)
    assert told(board) == [
        "board.yaml:4: 'fan' uses pin GPIO4, which 'led' (parts/a.yaml:3) already uses"
    ]


def test_two_included_files_may_not_say_different_things(folder: Path) -> None:
    board = save(
        folder,
        board="schema: 1\ninclude: [parts/a.yaml, parts/b.yaml]\n",
        parts__a=LED + "page: [[led]]\n",
        parts__b="devices:\n  led: {driver: relay}\n  b: {driver: led, pin: 17}\npage: [[b]]\n",
    )
    assert told(board) == [
        "parts/b.yaml:2: 'devices.led.driver' is in another included file too, at parts/a.yaml:2"
    ]


@pytest.mark.parametrize(
    ("include", "problem"),
    [
        ("no.yaml", "board.yaml:2: there is no file 'no.yaml'"),
        ("parts", "board.yaml:2: expected the name of a YAML file, not 'parts'"),
        ("parts/x.txt", "board.yaml:2: expected the name of a YAML file, not 'parts/x.txt'"),
        ("5", "board.yaml:2: expected a YAML file beside the board, not the number 5"),
        ("{a: b}", "board.yaml:2: expected a YAML file beside the board, not a mapping"),
        ("../a.yaml", "board.yaml:2: expected a YAML file beside the board or below it, not '../"),
        ("/etc/a.yaml", "board.yaml:2: expected a YAML file beside the board or below it, not '/"),
        ("board.yaml", "board.yaml:2: the files include each other: board.yaml -> board.yaml"),
        ("parts/up.yaml", "parts/up.yaml:1: expected a YAML file beside the board or below it, "),
        ("parts/tail.yaml", "parts/head.yaml:1: the files include each other: board.yaml -> "),
        ("parts/list.yaml", "parts/list.yaml:1: expected a mapping, such as devices: ..."),
        ("parts/broken.yaml", "parts/broken.yaml:2: a quote is not closed"),
        ("[parts/a.yaml, [b]]", "board.yaml:2: expected a YAML file beside the board, not a list"),
    ],
)
def test_what_cannot_be_included_is_the_only_thing_told(
    folder: Path, include: str, problem: str
) -> None:
    board = save(
        folder,
        board=f"schema: 1\ninclude: {include}\ndevices:\npage: [[led]]\n",
        parts__a=LED,
        parts__up="include: ../board.yaml\n",
        parts__head="include: tail.yaml\n",
        parts__tail="include: head.yaml\n",
        parts__list="- a\n",
        parts__broken="a: 1\nb: 'c\n",
    )
    (found,) = told(board)
    assert found.startswith(problem)


def test_more_files_than_anybody_needs_are_refused(folder: Path) -> None:
    files = {f"a{n}": f"include: a{n + 1}.yaml\n" for n in range(60)}
    board = save(folder, board="schema: 1\ninclude: a0.yaml\ndevices:\n", **files)
    assert told(board) == ["a48.yaml:1: more than 50 files are included"]


def test_an_empty_included_file_adds_nothing(folder: Path) -> None:
    board = load_board(save(folder, board="schema: 1\ninclude: a.yaml\n" + LED, a="# later\n"))
    assert list(board.devices) == ["led"]


def test_an_included_file_has_the_secrets_of_the_board(folder: Path) -> None:
    (folder / "secrets.yaml").write_text("label: Blue\n")
    (folder / "secrets.yaml").chmod(0o600)
    board = save(
        folder,
        board="schema: 1\ninclude: parts/a.yaml\n",
        parts__a="devices:\n  led: {driver: led, pin: 4, label: !secret label}\n",
    )
    assert str(load_board(board).devices["led"].label) == "Blue"
