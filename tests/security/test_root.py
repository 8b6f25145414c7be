"""What root may be made to do: nothing with the files of somebody else but as that user."""

from __future__ import annotations

import io
import os
import pty
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import cast

import pytest

import labnode
from labnode.cli import owner
from labnode.cli.main import main
from labnode.clock import ManualClock
from labnode.errors import LabnodeError
from labnode.store import Store
from tests.kit.programs import ran
from tests.kit.waiting import PATIENCE

pytestmark = pytest.mark.root

CLONE = Path(labnode.__file__).parents[1]
SOMEBODY = CLONE.stat().st_uid or 65534
"""A user who may read labnode and is not root."""

WHO = """\
import os
try:
    os.setresuid(-1, 0, -1)
except OSError:
    back = "no way back"
else:
    back = "root again"
try:
    os.close(os.open("/dev/tty", os.O_RDWR))
except OSError:
    terminal = "no terminal"
else:
    terminal = "a terminal"
with open({who!r}, "a") as out:
    print(*os.getresuid(), *set(os.getgroups()) & {{0}}, back, terminal, file=out)
raise SystemExit("that is all")
"""
NOBODY_ELSE = f"{SOMEBODY} {SOMEBODY} {SOMEBODY} no way back no terminal\n"


@pytest.fixture(autouse=True)
def _somebody_can_start_python() -> None:
    command = [sys.executable, "-m", "labnode", "-h"]
    try:
        starts = ran(command, user=SOMEBODY, cwd="/", env=environment()).returncode == 0
    except PermissionError:
        starts = False
    if not starts:
        pytest.skip("this Python or this clone lies where root alone gets in")


class Place:
    """A directory that everybody gets into, with a state directory that belongs to somebody."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state"
        self.roots = path / "roots"
        self.roots.mkdir(mode=0o700)
        self.who = path / "somebody" / "who"
        self.who.parent.mkdir()
        self.state.mkdir(mode=0o700)
        store = Store(self.state / "labnode.db", ManualClock())
        store.run(lambda db: db.execute("INSERT INTO events (at, kind) VALUES (1, 'first')"))
        store.close()
        (self.state / "secret_key").write_text("key of before")
        (self.state / "lock").touch()
        given(self.state)
        given(self.who.parent)

    def board(self) -> Path:
        """A board whose own driver tells as whom it was loaded."""
        (self.path / "board").mkdir()
        path = self.path / "board" / "hostile.yaml"
        path.write_text("schema: 1\ndrivers: [own.py]\ndevices: {a: {driver: virtual}}\n")
        (path.parent / "own.py").write_text(WHO.format(who=str(self.who)))
        return path

    def labnode(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return ran(self.command(*arguments), cwd=self.path, env=environment(**variables))

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "labnode", *map(str, arguments)]

    def kinds(self) -> list[str]:
        with closing(sqlite3.connect(self.state / "labnode.db")) as db:
            return [kind for (kind,) in db.execute("SELECT kind FROM events")]


def given(path: Path) -> None:
    """Give it, with all that is in it, to somebody."""
    for each in (path, *path.rglob("*")):
        os.chown(each, SOMEBODY, SOMEBODY, follow_symlinks=False)


def environment(**variables: str) -> dict[str, str]:
    credentials = {"USERNAME": "weblab", "PASSWORD": "a long password"}
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "PYTHONPATH": os.pathsep.join([str(CLONE), os.environ.get("PYTHONPATH", "")]),
        **{f"LABNODE_WEBLAB_{name}": text for name, text in credentials.items()},
        **variables,
    }


@pytest.fixture
def place() -> Iterator[Place]:
    path = Path(tempfile.mkdtemp(prefix="labnode-root-"))
    path.chmod(0o755)
    try:
        yield Place(path)
    finally:
        shutil.rmtree(path)


def owners(path: Path) -> set[int]:
    return {each.lstat().st_uid for each in (path, *path.rglob("*"))}


# --- backup ---


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_link_called_backups_gives_nobody_roots_directory(place: Place, mode: int) -> None:
    place.roots.chmod(mode)
    (place.state / "backups").symlink_to(place.roots)
    given(place.state)
    told = place.labnode("backup", "--state-dir", place.state)
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1].startswith("labnode: ")
    assert "Traceback" not in told.stderr
    assert owners(place.roots) == {0}
    assert list(place.roots.iterdir()) == []


def test_a_backup_in_the_state_directory_is_its_owners(place: Place) -> None:
    told = place.labnode("backup", "--state-dir", place.state)
    assert told.returncode == 0, told.stderr
    (made,) = (place.state / "backups").iterdir()
    assert owners(place.state) == {SOMEBODY}
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_a_link_in_the_place_of_the_database_shows_root_nothing(place: Place) -> None:
    shutil.copy(place.state / "labnode.db", place.roots / "labnode.db")
    (place.state / "labnode.db").unlink()
    (place.state / "labnode.db").symlink_to(place.roots / "labnode.db")
    given(place.state)
    told = place.labnode("backup", place.path / "b.tar", "--state-dir", place.state)
    assert told.returncode == 1
    assert not (place.path / "b.tar").exists()


def test_root_may_put_a_backup_where_the_owner_may_not_write(place: Place) -> None:
    file = place.roots / "b.tar"
    told = place.labnode("backup", file, "--state-dir", place.state)
    assert told.returncode == 0, told.stderr
    assert told.stdout.endswith("MB; sessions: 0, files of users: 0\n")
    assert list(place.roots.iterdir()) == [file]
    assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    assert not list(place.state.glob(".labnode*"))
    with tarfile.open(file) as tar:
        assert tar.getnames() == ["labnode.db", "secret_key"]


def test_a_backup_by_root_that_fails_leaves_nothing(place: Place) -> None:
    (place.state / "labnode.db").write_bytes(b"x" * 8192)
    told = place.labnode("backup", place.roots / "b.tar", "--state-dir", place.state)
    assert told.returncode == 1
    assert list(place.roots.iterdir()) == []
    assert not list(place.state.glob(".labnode*"))


@pytest.mark.parametrize("link", [False, True])
def test_a_backup_by_root_overwrites_nothing_and_follows_no_link(place: Place, link: bool) -> None:
    file, target = place.roots / "b.tar", place.roots / "target"
    if link:
        file.symlink_to(target)
    else:
        file.write_text("precious")
    told = place.labnode("backup", file, "--state-dir", place.state)
    assert told.returncode == 1
    assert "exists already" in told.stderr
    assert not target.exists()
    assert link or file.read_text() == "precious"


def test_what_the_process_that_fills_it_answers_is_not_trusted(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> dict[str, int]:
        raise LabnodeError("\x1b]0;mine\x07 no")

    with pytest.raises(LabnodeError) as refusal:
        owner.as_owner(refuse, None, place.state)
    assert refusal.value.message == " ]0;mine  no"
    with pytest.raises(LabnodeError, match="ended without an answer"):
        owner.as_owner(lambda: {"size": 1 // 0}, place.state)
    assert "ZeroDivisionError" in capfd.readouterr().err
    for answer in ([1], 5, {"size": "x"}, {"size": None}):
        with pytest.raises(LabnodeError, match="ended without an answer"):
            owner.as_owner(partial(cast, "dict[str, int]", answer), place.state)
    assert owner.as_owner(lambda: {"user": os.getuid()}, place.state) == {"user": SOMEBODY}
    assert os.getuid() == 0


# --- restore ---


def an_archive(place: Place, files: int) -> Path:
    """A backup that root alone may read, with so many files of a user."""
    path = place.roots / "b.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(place.state / "labnode.db", "labnode.db")
        for number in range(files):
            tar.addfile(tarfile.TarInfo(f"users/u/{number}"), io.BytesIO())
    return path


def test_what_root_restores_belongs_to_the_owner(place: Place) -> None:
    archive = an_archive(place, 3)
    told = place.labnode("restore", archive, "--state-dir", place.state)
    assert told.returncode == 0, told.stderr
    assert place.kinds() == ["first"]
    assert len(list((place.state / "users/u").iterdir())) == 3
    assert owners(place.state) == {SOMEBODY}


SWAP = """\
import os, shutil, sys
from labnode.cli.main import main

archive, state, target = sys.argv[1:]
copy = shutil.copyfileobj

def swap_and_copy(source, out):
    for name in os.listdir(state):
        path = os.path.join(state, name)
        if name.startswith(".labnode-restore-") and not os.path.islink(path):
            os.rename(path, os.path.join(state, "aside"))
            os.symlink(target, path)
    copy(source, out)

shutil.copyfileobj = swap_and_copy
main(["restore", archive, "--state-dir", state])
"""


def test_a_directory_swapped_for_a_link_leads_restore_nowhere(place: Place) -> None:
    """Whoever the state directory belongs to may rename what root unpacks into, at any moment."""
    target = place.path / "etc"
    (target / "users/u").mkdir(parents=True)
    archive = an_archive(place, 3)
    told = ran(
        [sys.executable, "-c", SWAP, str(archive), str(place.state), str(target)],
        env=environment(),
    )
    assert told.returncode == 1
    assert (place.state / "aside").exists()
    assert [path for path in target.rglob("*") if path.is_file()] == []
    assert owners(target) == {0}


def test_a_link_to_an_archive_of_root_is_not_followed_for_its_owner(place: Place) -> None:
    archive = an_archive(place, 1)
    (place.state / "b.tar").symlink_to(archive)
    given(place.state)
    told = place.labnode("restore", place.state / "b.tar", "--state-dir", place.state)
    assert told.returncode == 1
    assert told.stderr == f"labnode: {place.state / 'b.tar'} cannot be read: Permission denied.\n"
    assert not (place.state / "users").exists()


# --- a board's Python ---

BOARD_COMMANDS = [
    name
    for name, command in main.commands.items()
    if name != "apply"  # which only names the file to the node
    and any(parameter.name in ("board", "boards") for parameter in command.params)
]
OPTIONS = {
    "run": ["--simulate", "--port", "0"],
    "demo": ["--no-browser", "--port", "0"],
    "picture": ["--no-browser", "--port", "0"],  # of which its boards have none
    "prove": ["--out", "GPIO17", "--in", "GPIO27", "--yes"],
}


def test_all_commands_that_take_a_board_are_known() -> None:
    known = "demo check run weblab-config safe doctor prove suggest pinout bootconfig"
    known += " picture schema"
    assert known.split() == BOARD_COMMANDS


@pytest.mark.parametrize("command", BOARD_COMMANDS)
def test_a_boards_python_does_not_run_as_root(place: Place, command: str) -> None:
    board = place.board()
    given(board.parent)
    place.labnode(command, *OPTIONS.get(command, ()), board)
    assert set(place.who.read_text().splitlines(keepends=True)) == {NOBODY_ELSE}


@pytest.mark.parametrize("command", ["run", "weblab-config", "safe", "doctor"])
def test_a_board_of_roots_runs_as_the_owner_of_the_state_directory(
    place: Place, command: str
) -> None:
    board = place.board()
    settings = place.roots / "lab.yaml"  # which the owner may not read, as in /etc/labnode
    settings.write_text(f"board: {board}\nstate_dir: {place.state}\n")
    settings.chmod(0o600)
    place.labnode(command, *OPTIONS.get(command, ()), "--settings", settings)
    assert place.who.read_text() == NOBODY_ELSE


def test_prove_reads_a_board_of_roots_as_the_owner_of_the_state_directory(place: Place) -> None:
    board = place.board()
    place.labnode("prove", *OPTIONS["prove"], "--state-dir", place.state, board)
    assert place.who.read_text() == NOBODY_ELSE


def test_prove_tells_root_what_is_wrong_with_somebodys_board(place: Place) -> None:
    board = place.path / "board.yaml"
    board.write_text("schema: 1\ndevices: {heater: {driver: relay, pin: GPIO17}}\n")
    given(board)
    told = place.labnode("prove", *OPTIONS["prove"], board)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("labnode: GPIO17 is used by the board board.yaml (heater); ")
    board.write_text("schema: 1\ndevices: {a: {driver: virtual}}\n")
    told = place.labnode("prove", "--out", "5", "--in", "5", board)
    assert told.returncode == 2
    assert told.stderr == "labnode: --out and --in are both GPIO5; the wire joins two pins.\n"


def test_secrets_for_root_alone_are_read_before_it_becomes_the_owner(place: Place) -> None:
    board = place.path / "board.yaml"
    board.write_text("schema: 1\ntitle: !secret title\ndevices: {a: {driver: virtual}}\n")
    settings = place.roots / "lab.yaml"
    settings.write_text(f"board: {board}\nstate_dir: {place.state}\n")
    (place.roots / "secrets.yaml").write_text("title: Hidden\n")
    (place.roots / "secrets.yaml").chmod(0o600)
    told = place.labnode("weblab-config", "--settings", settings)
    assert told.returncode == 0, told.stderr


def test_root_checks_boards_of_several_users_one_by_one(place: Place) -> None:
    for name, user in (("one.yaml", SOMEBODY), ("two.yaml", SOMEBODY + 1)):
        (place.path / name).write_text("schema: 1\ndevices: {a: {driver: virtual}}\n")
        os.chown(place.path / name, user, user)
    told = place.labnode("check", "one.yaml", "two.yaml")
    assert told.returncode == 2
    assert "root checks them one by one" in told.stderr
    assert place.labnode("check", "one.yaml").returncode == 0


def test_a_boards_python_has_not_the_terminal_of_root(place: Place) -> None:
    board = place.board()
    given(board.parent)
    child, terminal = pty.fork()
    if child == 0:  # the shell of root
        try:
            ran(place.command("check", board), cwd=place.path, env=environment())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(terminal)
    assert place.who.read_text() == NOBODY_ELSE


def test_a_node_that_root_starts_is_its_owners_and_root_may_ask_it(place: Place) -> None:
    board = place.path / "board.yaml"
    board.write_text("schema: 1\ndevices: {a: {driver: virtual}}\n")
    command = place.command("run", board, "--simulate", "--port", "0", "--state-dir", place.state)
    with subprocess.Popen(
        command, cwd=place.path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as node:
        try:
            assert node.stdout is not None
            url = node.stdout.readline().split()[-1]
            told = place.labnode("status", "--state-dir", place.state)
            assert told.returncode == 0, told.stderr
            made = place.labnode(
                *("fake", "new", "--dont-open-browser", "--url", url),
                XDG_STATE_HOME=str(place.who.parent),
            )
            assert made.returncode == 0, made.stderr
            status = Path(f"/proc/{node.pid}/status").read_text().splitlines()
            (uids,) = (line for line in status if line.startswith("Uid:"))
            assert set(uids.split()[1:]) == {str(SOMEBODY)}
        finally:
            node.terminate()
            node.wait(PATIENCE)
    assert owners(place.state) == owners(place.who.parent) == {SOMEBODY}


def test_root_does_not_reload_for_another_user(place: Place) -> None:
    board = place.path / "board.yaml"
    board.write_text("schema: 1\ndevices: {a: {driver: virtual}}\n")
    told = place.labnode("run", board, "--simulate", "--reload", "--state-dir", place.state)
    assert told.returncode == 1
    assert "--reload" in told.stderr


# --- whose a path is ---


def test_a_path_is_the_first_users_on_the_way_to_it(place: Place) -> None:
    somebodys = place.who.parent
    (somebodys / "link").symlink_to(place.roots)
    (place.path / "by-root").symlink_to(somebodys / "link")
    (place.path / "loop").symlink_to("loop")
    (somebodys / "inside").mkdir()
    user = (SOMEBODY, somebodys.stat().st_gid)
    assert owner.owner_of(somebodys / "inside" / "missing") == user
    assert owner.owner_of(somebodys / "link" / "x") == user
    assert owner.owner_of(place.path / "by-root" / "x") == user
    assert owner.owner_of(place.path / "loop" / "x") is None
    assert owner.owner_of(place.roots / "x") is None
    assert owner.owner_of(place.path / "missing" / "x") is None
