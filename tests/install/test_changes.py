"""What an installation changes is done, told or undone: on files in a directory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from labnode.install.changes import (
    Change,
    Changes,
    Failed,
    Interrupted,
    KeepCopy,
    Remove,
    SetLink,
    WriteFile,
)


def tree(directory: Path) -> dict[str, object]:
    """Everything below a directory: content, mode and time of files, where links lead."""
    found: dict[str, object] = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            found[str(path)] = str(path.readlink())
        elif path.is_file():
            found[str(path)] = (path.read_text(), status.st_mode, status.st_mtime_ns)
        else:
            found[str(path)] = status.st_mode
    return found


class Note(Change):
    """Writes down what is asked of it; `fails` names the method that raises `error`."""

    def __init__(self, notes: list[str], name: str, fails: str = "", error: str = "") -> None:
        self._notes = notes
        self._name = name
        self._fails = fails
        self._error = error

    @property
    def sentence(self) -> str:
        return f"change {self._name}"

    def do(self) -> None:
        self._note("do")

    def undo(self) -> None:
        self._note("undo")

    def finish(self) -> None:
        self._note("finish")

    def _note(self, what: str) -> None:
        self._notes.append(f"{what} {self._name}")
        if self._fails == what:
            raise Interrupted(143) if self._error == "interrupted" else Failed("it does not work")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a file, a link and a directory in it."""
    home = tmp_path / "home"
    (home / "board").mkdir(parents=True)
    (home / "board/board.yaml").write_text("devices: {}\n")
    (home / "settings").write_text("port: 80\n")
    (home / "settings").chmod(0o600)
    os.utime(home / "settings", ns=(10**18, 10**18))
    (home / "current").symlink_to("one")
    return home


def every_change(home: Path) -> list[Change]:
    return [
        WriteFile(home / "new/deep/file", "new\n"),
        WriteFile(home / "settings", "port: 81\n"),
        SetLink(home / "current", "two"),
        SetLink(home / "links/first", "one"),
        KeepCopy(home / "board", home / "board.old", "keep the board"),
        KeepCopy(home / "settings", home / "settings.before", "keep the settings"),
        Remove(home / "board"),
    ]


# --- each change, and back ---


@pytest.mark.parametrize("number", range(7))
def test_a_change_that_is_undone_leaves_everything_as_it_was(home: Path, number: int) -> None:
    before = tree(home)
    change = every_change(home)[number]
    assert change.needed()
    change.do()
    assert tree(home) != before
    change.undo()
    assert tree(home) == before


@pytest.mark.parametrize("number", range(7))
def test_a_change_that_was_not_begun_is_undone_without_harm(home: Path, number: int) -> None:
    before = tree(home)
    every_change(home)[number].undo()
    assert tree(home) == before


def test_all_changes_are_undone_from_the_last_to_the_first(home: Path) -> None:
    before = tree(home)
    changes = Changes(dry=False)
    for change in every_change(home):
        changes.make(change)
    changes.take_back()
    assert tree(home) == before


def test_a_file_gets_its_content_its_mode_and_the_directories_above_it(home: Path) -> None:
    change = WriteFile(home / "a/b/secret", "word\n", 0o600)
    change.do()
    assert (home / "a/b/secret").read_text() == "word\n"
    assert (home / "a/b/secret").stat().st_mode & 0o777 == 0o600
    assert not WriteFile(home / "a/b/secret", "word\n").needed()


def test_directories_that_have_got_something_else_meanwhile_stay(home: Path) -> None:
    change = WriteFile(home / "a/b/file", "x")
    change.do()
    (home / "a/other").write_text("somebody's own")
    change.undo()
    assert (home / "a/other").exists()
    assert not (home / "a/b").exists()


def test_what_was_removed_is_gone_when_the_command_has_succeeded(home: Path) -> None:
    changes = Changes(dry=False)
    changes.make(Remove(home / "board"))
    changes.keep()
    assert not [path for path in home.iterdir() if "board" in path.name]
    assert not Remove(home / "board").needed()


def test_a_removal_that_a_power_cut_has_stopped_is_finished_by_the_next(home: Path) -> None:
    Remove(home / "board").do()
    changes = Changes(dry=False)
    assert changes.make(Remove(home / "board"))
    changes.keep()
    assert not [path for path in home.iterdir() if "board" in path.name]


@pytest.fixture
def overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system on which directories that were there before cannot be renamed."""
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.is_dir() and not self.name.endswith((".partial", ".removed")):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)


@pytest.mark.usefixtures("overlay")
def test_a_directory_that_cannot_be_renamed_is_removed_and_comes_back(home: Path) -> None:
    before = tree(home)
    change = Remove(home / "board")
    change.do()
    assert not (home / "board").exists()
    change.undo()
    assert tree(home) == before


def test_what_a_power_cut_has_left_is_not_taken_for_the_present(home: Path) -> None:
    (home / "board.removed").mkdir()
    before = tree(home)
    Remove(home / "board").undo()
    assert tree(home) == before


def test_an_older_copy_is_replaced_and_comes_back_if_that_is_undone(home: Path) -> None:
    (home / "board.old").mkdir()
    (home / "board.old/mine").write_text("older")
    before = tree(home)
    change = KeepCopy(home / "board", home / "board.old", "keep the board")
    change.do()
    assert not (home / "board.old/mine").exists()
    change.undo()
    assert tree(home) == before


# --- all changes of a command ---


def test_a_dry_run_tells_what_it_would_do_and_does_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(home)
    changes = Changes(dry=True)
    for change in every_change(home):
        changes.make(change)
    assert tree(home) == before
    said = capsys.readouterr().err.splitlines()
    assert f"install.sh: write {home}/settings" in said
    assert f"install.sh: remove {home}/board" in said
    assert changes.any


def test_a_change_that_fails_half_way_is_undone_with_those_before_it() -> None:
    notes: list[str] = []
    changes = Changes(dry=False)
    changes.make(Note(notes, "a"))
    with pytest.raises(Failed):
        changes.make(Note(notes, "b", fails="do"))
    changes.take_back()
    assert notes == ["do a", "do b", "undo b", "undo a"]


def test_an_interrupted_change_is_undone_too() -> None:
    notes: list[str] = []
    changes = Changes(dry=False)
    with pytest.raises(Interrupted):
        changes.make(Note(notes, "a", fails="do", error="interrupted"))
    changes.take_back()
    assert notes == ["do a", "undo a"]


def test_a_change_that_cannot_be_undone_is_told_and_passed_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    notes: list[str] = []
    changes = Changes(dry=False)
    changes.make(Note(notes, "a"))
    changes.make(Note(notes, "b", fails="undo"))
    changes.take_back()
    assert notes == ["do a", "do b", "undo b", "undo a"]
    assert "could not undo 'change b': it does not work" in capsys.readouterr().err


def test_what_is_kept_is_finished_and_not_undone() -> None:
    notes: list[str] = []
    changes = Changes(dry=False)
    changes.make(Note(notes, "a"))
    changes.keep()
    changes.take_back()
    assert notes == ["do a", "finish a"]


def test_a_refusal_ends_a_command_and_not_its_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Failed, match="no systemd"):
        Changes(dry=False).refuse("there is no systemd")
    Changes(dry=True).refuse("there is no systemd")
    assert capsys.readouterr().err == "install.sh: there is no systemd\n"
