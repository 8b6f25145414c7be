"""Backup and restore: whole, private, never over anything, and back in place."""

from __future__ import annotations

import io
import os
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labnode.clock import ManualClock
from labnode.node.state_dir import StateDir
from labnode.store import Store, backup
from labnode.store.backup import ArchiveContent, BackupError, new_archive
from tests.kit.commands import Run, labnode_with


class Home:
    """A state directory with a node's things."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = StateDir(path, None)
        self.store = Store(path / "labnode.db", ManualClock())
        (path / "queue.db").write_bytes(b"")
        self.note("first")

    def note(self, kind: str) -> None:
        self.store.run(
            lambda db: db.execute("INSERT INTO events (at, kind) VALUES (1, ?)", (kind,))
        )

    def user_file(self, name: str, text: str) -> None:
        file = self.path / "users" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def stop(self) -> None:
        self.store.close()
        self.state.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "state")
    yield home
    home.stop()


def back_up(state_dir: Path, archive: Path) -> ArchiveContent:
    with new_archive(archive) as out:
        return backup.back_up(state_dir, out, archive.parent)


def restore(archive: Path, state_dir: Path, aside: str) -> ArchiveContent:
    with archive.open("rb") as source:
        return backup.restore(source, state_dir, aside)


def kinds(path: Path) -> list[str]:
    with closing(sqlite3.connect(path / "labnode.db")) as db:
        return [kind for (kind,) in db.execute("SELECT kind FROM events ORDER BY id")]


def test_everything_comes_back_as_it_was_while_the_node_ran(home: Home, tmp_path: Path) -> None:
    home.user_file("abc/program.hex", "42")
    key = (home.path / "secret_key").read_bytes()
    content = back_up(home.path, tmp_path / "b.tar")
    assert (content.sessions, content.files) == (0, 1)
    home.note("second")
    home.user_file("abc/program.hex", "43")
    home.stop()
    (home.path / "secret_key").write_text("another")
    assert restore(tmp_path / "b.tar", home.path, "before") == content
    assert kinds(home.path) == ["first"]
    assert (home.path / "users/abc/program.hex").read_text() == "42"
    assert (home.path / "secret_key").read_bytes() == key
    assert kinds(home.path / "before") == ["first", "second"]
    assert (home.path / "before/users/abc/program.hex").read_text() == "43"
    assert not (home.path / "queue.db").exists()
    store = Store(home.path / "labnode.db", ManualClock())
    assert store.alarm is None
    store.close()


def test_a_backup_is_for_its_owner_alone_and_leaves_nothing_else(
    home: Home, tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir())
    back_up(home.path, tmp_path / "b.tar")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "b.tar"}
    assert stat.S_IMODE((tmp_path / "b.tar").stat().st_mode) == 0o600


def test_a_backup_of_a_node_that_writes_is_of_one_moment(home: Home, tmp_path: Path) -> None:
    done = threading.Event()

    def pair(db: Any) -> None:
        for half in ("left", "right"):
            db.execute("INSERT INTO events (at, kind) VALUES (1, ?)", (half,))

    def write() -> None:
        while not done.is_set():
            home.store.run(pair)

    writer = threading.Thread(target=write, name="writer")
    writer.start()
    try:
        for number in range(5):
            back_up(home.path, tmp_path / f"{number}.tar")
    finally:
        done.set()
        writer.join()
    for number in range(5):
        restore(tmp_path / f"{number}.tar", tmp_path / f"{number}", "before")
        found = kinds(tmp_path / f"{number}")
        assert found.count("left") == found.count("right")
    assert kinds(tmp_path / "4").count("left") > 0


def test_a_backup_that_cannot_be_put_in_place_leaves_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    before = set(tmp_path.iterdir())
    monkeypatch.setattr(backup.os, "replace", refuse)
    with pytest.raises(BackupError, match="Input/output error"):
        back_up(home.path, tmp_path / "b.tar")
    assert set(tmp_path.iterdir()) == before


def test_a_backup_overwrites_nothing(home: Home, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("precious")
    with pytest.raises(BackupError, match=r"b\.tar exists already"):
        back_up(home.path, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_text() == "precious"


def test_an_archive_that_exists_is_told_before_the_work_begins(tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("precious")
    with pytest.raises(BackupError, match="exists already"), new_archive(tmp_path / "b.tar"):
        pytest.fail("the work has begun")


def test_nothing_stays_open_of_an_archive(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with new_archive(tmp_path / "a.tar") as out:
        out.write(b"all of it")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_link_that_leads_nowhere_is_not_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "b.tar").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BackupError, match="exists already"), new_archive(tmp_path / "b.tar"):
        pytest.fail("the work has begun")


def test_a_link_among_the_users_files_is_not_followed(home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of somebody else")
    home.user_file("abc/own", "1")
    (home.path / "users/abc/link").symlink_to(tmp_path / "secret")
    assert back_up(home.path, tmp_path / "b.tar").files == 1
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert tar.getnames() == ["labnode.db", "secret_key", "users/abc/own"]


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BackupError, match=r"needs 8 MiB .* only 1 MiB are free"):
        back_up(home.path, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


@pytest.mark.parametrize("full", ["the archive", "the copy"])
def test_each_of_two_disks_that_is_too_small_is_told(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """The archive is found by its open file, the place of the copy by its name."""

    def usage(where: Any) -> SimpleNamespace:
        is_full = isinstance(where, int) == (full == "the archive")
        return SimpleNamespace(free=1 << 20 if is_full else 1 << 40)

    monkeypatch.setattr(backup.shutil, "disk_usage", usage)
    where = full if full == "the archive" else tmp_path
    with pytest.raises(BackupError, match=f"where {where} is, and only 1 MiB are free"):
        back_up(home.path, tmp_path / "b.tar")


def test_where_the_archive_is_on_another_disk_each_needs_room_only_for_its_own(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = (home.path / "labnode.db").stat().st_size + backup._SPARE
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with os.fdopen(os.memfd_create("b.tar"), "w+b") as out:
        assert backup.back_up(home.path, out, tmp_path).sessions == 0
    with pytest.raises(BackupError, match="A backup needs"):
        back_up(home.path, tmp_path / "b.tar")


def test_the_files_of_users_need_room_in_the_archive(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.user_file("ada/notes", "x" * 100_000)
    free = (home.path / "labnode.db").stat().st_size + backup._SPARE
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with (
        os.fdopen(os.memfd_create("b.tar"), "w+b") as out,
        pytest.raises(BackupError, match="where the archive is"),
    ):
        backup.back_up(home.path, out, tmp_path)


class Disk:
    """What `os.fsync` has written: the size of each file at that moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._written: dict[int, int] = {}
        monkeypatch.setattr(backup.os, "fsync", self._note)

    def _note(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self._written[found.st_ino] = found.st_size

    def has(self, path: Path) -> bool:
        """Whether the file as it is now survives a power cut."""
        found = path.stat()
        return self._written.get(found.st_ino) == found.st_size


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_an_archive_is_on_the_disk_when_it_has_its_name(tmp_path: Path, disk: Disk) -> None:
    with new_archive(tmp_path / "b.tar") as out:
        out.write(b"what is not on the disk yet")
    assert disk.has(tmp_path / "b.tar")


def test_what_is_restored_is_on_the_disk_when_it_is_in_place(
    home: Home, tmp_path: Path, disk: Disk
) -> None:
    home.user_file("abc/program.hex", "42")
    back_up(home.path, tmp_path / "b.tar")
    restore(tmp_path / "b.tar", tmp_path / "new", "before")
    for name in ("labnode.db", "secret_key", "users/abc/program.hex"):
        assert disk.has(tmp_path / "new" / name)
    assert disk.has(tmp_path / "new")


def test_where_no_node_has_run_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"There is no labnode\.db"):
        back_up(tmp_path, tmp_path / "b.tar")


def test_a_database_that_cannot_be_read_makes_no_backup(home: Home, tmp_path: Path) -> None:
    home.stop()
    (home.path / "labnode.db").write_bytes(b"This was never a database. " * 400)
    with pytest.raises(BackupError, match="could not be backed up: file is not a database"):
        back_up(home.path, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


# --- archives that cannot be used ---


def archive(path: Path, **files: bytes) -> Path:
    with tarfile.open(path / "bad.tar", "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path / "bad.tar"


def database(path: Path, *statements: str) -> bytes:
    store = Store(path / "other.db", ManualClock())
    for statement in statements:
        store.run(lambda db, statement=statement: db.execute(statement))
    store.close()
    return (path / "other.db").read_bytes()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: archive(p, notes=b"x"), "it has 'notes'"),
        (lambda p: archive(p, **{"..__passwd": b"x"}), r"it has '\.\./passwd'"),
        (lambda p: archive(p, **{"users__..__x": b"x"}), r"it has 'users/\.\./x'"),
        (lambda p: archive(p, secret_key=b"x"), r"it has no labnode\.db"),
        (lambda p: archive(p, **{"labnode.db": b"x" * 4096}), r"no database of labnode's"),
        (
            lambda p: archive(
                p,
                **{
                    "labnode.db": database(
                        p,
                        "PRAGMA writable_schema = on",
                        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master"
                        " WHERE name = 'tasks') WHERE name = 'actions'",
                    )
                },
            ),
            "The database in it is broken: ",
        ),
        (
            lambda p: archive(
                p,
                **{
                    "labnode.db": database(
                        p,
                        "INSERT INTO _sqlite_migrations (migration_set, name) "
                        "VALUES ('labnode', '9999_new')",
                    )
                },
            ),
            "comes from a newer labnode, whose database has 9999_new",
        ),
    ],
)
def test_what_is_no_backup_changes_nothing(
    home: Home, tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    home.stop()
    bad = make(tmp_path)
    before = sorted(home.path.iterdir())
    with pytest.raises(BackupError, match=said):
        restore(bad, home.path, "before")
    assert sorted(home.path.iterdir()) == before
    assert kinds(home.path) == ["first"]


def test_a_file_that_is_no_archive_is_told(home: Home, tmp_path: Path) -> None:
    home.stop()
    (tmp_path / "bad.tar").write_text("hello")
    with pytest.raises(
        BackupError, match=r"bad\.tar is no backup of labnode's, or not a whole one"
    ):
        restore(tmp_path / "bad.tar", home.path, "before")


def test_a_restore_that_fails_in_the_middle_puts_everything_back(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(home.path, tmp_path / "b.tar")
    home.note("second")
    home.stop()

    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_sync", full)
    with pytest.raises(BackupError, match="No space left"):
        restore(tmp_path / "b.tar", home.path, "before")
    assert kinds(home.path) == ["first", "second"]
    assert (home.path / "secret_key").exists()


# --- the commands ---


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return labnode_with(capsys)


def test_without_a_name_the_backup_goes_into_the_state_directory(run: Run, home: Home) -> None:
    code, out, _ = run("backup", "--state-dir", home.path)
    (made,) = (home.path / "backups").iterdir()
    assert code == 0
    assert out.startswith(f"{made}: ")
    assert "sessions: 0, files of users: 0" in out


def test_restore_is_refused_while_the_node_runs(run: Run, home: Home, tmp_path: Path) -> None:
    run("backup", tmp_path / "b.tar", "--state-dir", home.path)
    code, _, err = run("restore", tmp_path / "b.tar", "--state-dir", home.path)
    assert (code, err) == (
        1,
        f"labnode: A labnode is running with the state directory {home.path}.\n",
    )
    home.stop()
    code, out, _ = run("restore", tmp_path / "b.tar", "--state-dir", home.path)
    assert code == 0
    assert "What was there before is in " in out


def test_a_backup_can_be_restored_where_no_node_has_run(
    run: Run, home: Home, tmp_path: Path
) -> None:
    run("backup", tmp_path / "b.tar", "--state-dir", home.path)
    code, _, _ = run("restore", tmp_path / "b.tar", "--state-dir", tmp_path / "new")
    assert code == 0
    assert kinds(tmp_path / "new") == ["first"]
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_file_that_is_not_there_is_told(run: Run, home: Home, tmp_path: Path) -> None:
    home.stop()
    code, _, err = run("restore", tmp_path / "no.tar", "--state-dir", home.path)
    assert (code, err) == (1, f"labnode: There is no file {tmp_path / 'no.tar'}.\n")
