"""When a lab's files have changed, and when the node may start again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from labnode.cli.autoreload import Reload, Watcher, command
from labnode.clock import ManualClock


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a lab whose module is imported, and a neighbour that is not."""
    for name in ("board.yaml", "lab.py", "other.py", "other.yaml", "notes.txt", "views/page.tpl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name, 1)
    is_imported(tmp_path / "lab.py", monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path: Path, at: int) -> None:
    path.touch()
    os.utime(path, (at, at))


def is_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, f"of_the_lab_{path.stem}", module)


def seen(watcher: Watcher) -> list[str]:
    """What a watcher tells in three looks, once each."""
    return [path.name for _ in range(3) for path in watcher.changed()]


# --- what has changed ---


@pytest.mark.parametrize("name", ["board.yaml", "lab.py", "views/page.tpl"])
def test_a_file_of_the_lab_that_is_saved_has_changed_once(lab: Path, name: str) -> None:
    watcher = Watcher(lab / "board.yaml")
    assert seen(watcher) == []
    save(lab / name, 2)
    assert seen(watcher) == [Path(name).name]


@pytest.mark.parametrize("name", ["other.py", "other.yaml", "notes.txt"])
def test_a_file_that_is_not_of_the_lab_does_not_count(lab: Path, name: str) -> None:
    watcher = Watcher(lab / "board.yaml")
    save(lab / name, 2)
    assert seen(watcher) == []


def test_a_clock_that_went_back_hides_nothing(lab: Path) -> None:
    watcher = Watcher(lab / "board.yaml")
    save(lab / "lab.py", 0)
    assert seen(watcher) == ["lab.py"]


def test_a_file_that_is_gone_has_changed(lab: Path) -> None:
    watcher = Watcher(lab / "board.yaml")
    seen(watcher)
    (lab / "lab.py").unlink()
    assert seen(watcher) == ["lab.py"]


def test_a_file_that_is_still_being_saved_is_waited_for(lab: Path) -> None:
    watcher = Watcher(lab / "board.yaml")
    seen(watcher)
    for at in (2, 3, 4):
        save(lab / "lab.py", at)
        assert watcher.changed() == []
    assert watcher.changed() == [lab / "lab.py"]


def test_what_is_imported_only_later_has_not_changed_by_that(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(lab / "board.yaml")
    is_imported(lab / "other.py", monkeypatch)
    assert seen(watcher) == []
    save(lab / "other.py", 2)
    assert seen(watcher) == ["other.py"]


def test_what_is_saved_while_it_is_loaded_has_changed(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(lab / "board.yaml")
    is_imported(lab / "other.py", monkeypatch)
    save(lab / "other.py", 2)
    assert seen(watcher) == ["other.py"]


def test_after_a_mistake_a_new_file_may_mend_it(lab: Path) -> None:
    watcher = Watcher(lab / "board.yaml")
    watcher.widen()
    assert seen(watcher) == []
    save(lab / "missing.py", 2)
    save(lab / "other.py", 2)
    assert seen(watcher) == ["missing.py", "other.py"]


# --- when to start again ---


class Check:
    """A check that goes on until a test gives it a code."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.killed = False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.killed, self.code = True, -9

    def wait(self) -> int:
        assert self.code is not None
        return self.code


class Scene:
    """A node that waits, without the node; a look is a second."""

    def __init__(self, lab: Path) -> None:
        self.lab = lab
        self.clock = ManualClock()
        self.stop = self.clock.event()
        self.checks: list[Check] = []
        self.said: list[str] = []
        self.complaints: list[str] = []
        self.busy = False
        self.times = 1
        self.reload = Reload(
            Watcher(lab / "board.yaml"),
            self.stop,
            check=self.check,
            busy=lambda: self.busy,
            clock=self.clock,
            say=self.said.append,
            complain=self.complaints.append,
        )
        self.look()

    def check(self) -> Check:
        self.checks.append(Check())
        return self.checks[-1]

    def look(self, times: int = 1) -> bool:
        return any(self.reload.wait(0) for _ in range(times))

    def save(self, name: str = "lab.py") -> Check:
        """The check of a file that was saved."""
        self.times += 1
        save(self.lab / name, self.times)
        assert not self.look(2)
        return self.checks[-1]


@pytest.fixture
def scene(lab: Path) -> Scene:
    return Scene(lab)


def test_it_starts_again_when_the_check_has_found_nothing(scene: Scene) -> None:
    check = scene.save()
    assert not scene.look(3)
    check.code = 0
    assert scene.look()
    assert scene.reload.due.is_set()
    assert (scene.said, scene.complaints) == (["lab.py has changed: starting again"], [])


def test_nothing_is_checked_while_nothing_changes(scene: Scene) -> None:
    assert not scene.look(5)
    assert scene.checks == []


def test_mistakes_are_told_and_it_goes_on(scene: Scene) -> None:
    scene.save().code = 2
    assert not scene.look(5)
    assert scene.said == []
    assert scene.complaints == ["lab.py has changed and has mistakes; the node goes on as it was."]
    scene.save().code = 0
    assert scene.look()


def test_a_module_that_hangs_is_told_and_its_check_is_ended(scene: Scene) -> None:
    check = scene.save()
    scene.clock.advance(61)
    assert not scene.look(3)
    assert check.killed
    (complaint,) = scene.complaints
    assert "takes too long to be loaded" in complaint


def test_it_waits_for_a_session_that_starts_or_is_disposed(scene: Scene) -> None:
    scene.busy = True
    scene.save().code = 0
    assert not scene.look(5)
    scene.busy = False
    assert scene.look()
    assert len(scene.said) == 1


def test_a_mistake_that_is_saved_while_it_waits_keeps_it(scene: Scene) -> None:
    scene.busy = True
    scene.save().code = 0
    scene.look()
    scene.save().code = 2
    scene.busy = False
    assert not scene.look(3)


def test_a_file_that_is_saved_again_is_checked_anew(scene: Scene) -> None:
    first = scene.save()
    second = scene.save()
    assert first.killed
    second.code = 0
    assert scene.look()


def test_several_files_are_told_in_one_sentence(scene: Scene) -> None:
    save(scene.lab / "board.yaml", 9)
    scene.save().code = 0
    scene.look()
    assert scene.said == ["board.yaml and 1 more have changed: starting again"]


def test_a_stop_is_no_new_start_and_ends_the_check(scene: Scene) -> None:
    check = scene.save()
    scene.stop.set()
    assert scene.look()
    assert check.killed
    assert not scene.reload.due.is_set()


@pytest.mark.parametrize("how", [["-m", "labnode"], ["/bin/labnode"], ["-X", "dev", "x.py"]])
def test_it_starts_again_as_it_was_started(how: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", *how, "run", "x.yaml"])
    monkeypatch.setattr(sys, "argv", ["labnode", "run", "x.yaml"])
    assert command("check", "y.yaml") == [sys.executable, *how, "check", "y.yaml"]
    monkeypatch.setattr(sys, "orig_argv", ["python", *how])
    monkeypatch.setattr(sys, "argv", ["labnode"])
    assert command() == [sys.executable, *how]


def test_a_file_that_the_board_includes_is_watched_too(lab: Path) -> None:
    watcher = Watcher(Path("board.yaml"))
    watcher.watch([Path("board.yaml"), Path("other.yaml")])
    save(lab / "other.yaml", 2)
    assert seen(watcher) == ["other.yaml"]
