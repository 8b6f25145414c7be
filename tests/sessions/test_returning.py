"""Users who come back: their folder and their secret wait for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.errors import LabnodeError, StorageError
from labnode.lab import Lab
from labnode.sessions import ANONYMOUS, Session

from .node import SmallNode

Boot = Callable[..., SmallNode]


def own(node: SmallNode, session: Session) -> tuple[str, Path]:
    return node.user(session).secret, node.user(session).folder


def stored(node: SmallNode) -> list[dict[str, Any]]:
    return node.store.select("users", "1")


def test_they_are_the_same_in_the_next_session(node: SmallNode) -> None:
    first = node.connected(username_unique="ada@school")
    before = own(node, first)
    (before[1] / "program.hex").write_text("mine")
    node.delete(first)
    node.clock.advance(7 * 24 * 3600)
    assert own(node, node.connected(username_unique="ada@school")) == before
    assert (before[1] / "program.hex").read_text() == "mine"


def test_they_are_the_same_after_a_restart(boot: Boot) -> None:
    node = boot()
    session = node.connected(username_unique="ada@school")
    before = own(node, session)
    node.delete(session)
    node.stop()
    node = boot()
    assert own(node, node.connected(username_unique="ada@school")) == before


def test_a_session_that_goes_on_after_a_restart_still_has_them(boot: Boot) -> None:
    node = boot()
    before = own(node, node.connected(username_unique="ada@school"))
    node.stop()
    node = boot()
    node.turn()
    (session,) = node.sessions.live()
    assert own(node, session) == before


def test_a_session_from_before_there_were_such_users_gets_them_now(node: SmallNode) -> None:
    session = node.connected(username_unique="ada@school")
    node.store.run(lambda db: db.execute("DELETE FROM users"))
    before = own(node, session)
    node.delete(session)
    assert own(node, node.connected(username_unique="ada@school")) == before


def test_they_are_each_users_own(node: SmallNode) -> None:
    ada = own(node, node.connected(username_unique="ada@school"))
    bob = own(node, node.connected(username_unique="bob@school"))
    assert ada[0] != bob[0]
    assert ada[1] != bob[1]


def test_the_secret_is_long_and_fits_into_urls(node: SmallNode) -> None:
    secret = node.user(node.connected(username_unique="ada@school")).secret
    assert re.fullmatch(r"[\w-]{43}", secret)


def test_the_folder_is_private_and_made_when_it_is_asked_for(
    node: SmallNode, tmp_path: Path
) -> None:
    session = node.connected(username_unique="ada@school")
    assert not (tmp_path / "users").exists()
    folder = node.user(session).folder
    assert folder.parent == tmp_path / "users"
    assert [p.stat().st_mode & 0o777 for p in (folder, folder.parent)] == [0o700, 0o700]
    folder.rmdir()
    assert node.user(session).folder.is_dir()


@pytest.mark.parametrize("name", ["../../evil", "ada/../..", "a" * 5000, "ada\0", "ñandú", "."])
def test_no_name_leads_out_of_the_directory(node: SmallNode, tmp_path: Path, name: str) -> None:
    folder = node.user(node.connected(username_unique=name)).folder
    assert folder.parent == tmp_path / "users"
    assert re.fullmatch(r"[0-9a-f]{32}", folder.name)


def test_a_folder_that_cannot_be_made_is_one_sentence(node: SmallNode, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("in the way")
    session = node.connected(username_unique="ada@school")
    with pytest.raises(StorageError, match="folder cannot be made"):
        _ = node.user(session).folder


@pytest.mark.parametrize("what", ["secret", "folder"])
def test_without_a_unique_name_there_is_nothing_to_keep(node: SmallNode, what: str) -> None:
    session = node.connected()
    with pytest.raises(LabnodeError, match="no unique name"):
        getattr(node.user(session), what)
    assert stored(node) == []


@pytest.mark.parametrize("what", ["secret", "folder"])
def test_nobody_has_neither(what: str) -> None:
    with pytest.raises(LabnodeError, match="Nobody is logged in"):
        getattr(ANONYMOUS, what)


def test_hooks_views_and_tasks_find_them(node: SmallNode, lab: Lab) -> None:
    seen = []
    lab.on_start(lambda client, server: seen.append(lab.user.secret))
    lab.on_dispose(lambda: seen.append(lab.user.secret))

    @lab.task
    def look() -> str:
        return str(lab.user.secret)

    session = node.connected(username_unique="ada@school")
    seen.append(node.run_as(session, lambda: lab.user.secret))
    seen.append(node.run_as(session, look.run_sync).result)
    node.delete(session)
    seen.append(node.user(session).secret)
    assert seen == [node.user(session).secret] * 5


def test_when_they_came_first_and_last_is_known(node: SmallNode) -> None:
    now = node.clock.wall()
    node.delete(node.connected(username_unique="ada@school"))
    node.clock.advance(100)
    node.connected(username_unique="ada@school")
    (row,) = stored(node)
    assert (row["first_seen"], row["last_seen"]) == (now, now + 100)


def test_a_start_writes_them_down_with_the_session_and_looking_does_not(
    node: SmallNode,
) -> None:
    def changes() -> int:
        count: int = node.store.run(lambda db: db.execute("SELECT total_changes()").fetchone()[0])
        return count

    session = node.connected(username_unique="ada@school")
    before = changes()
    for _ in range(3):
        own(node, session)
    assert changes() == before


def test_a_start_that_is_not_stored_leaves_no_user(node: SmallNode) -> None:
    refuse = "CREATE TRIGGER t BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'no'); END"
    node.store.run(lambda db: db.execute(refuse))
    assert node.ask_start(username_unique="ada@school").error
    assert stored(node) == []
