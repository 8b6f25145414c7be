"""The state directory: one node's alone, with its secret key."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from labnode.errors import ConfigError
from labnode.node.state_dir import StateDir

OpenState = Callable[..., StateDir]


@pytest.fixture
def open_state(tmp_path: Path) -> Iterator[OpenState]:
    with ExitStack() as opened:

        def open_state(path: Path = tmp_path / "state", key: str | None = None) -> StateDir:
            state = StateDir(path, key)
            opened.callback(state.close)
            return state

        yield open_state


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directory_is_made_with_its_parents_for_this_user_alone(
    open_state: OpenState, tmp_path: Path
) -> None:
    open_state(tmp_path / "a" / "b" / "c")
    assert mode(tmp_path / "a" / "b" / "c") == 0o700


def test_nothing_in_it_can_be_read_by_others(open_state: OpenState) -> None:
    state = open_state()
    assert {mode(file) for file in state.path.iterdir()} == {0o600}


def test_the_secret_is_made_once_and_kept(open_state: OpenState) -> None:
    first = open_state()
    first.close()
    assert len(first.secret) >= 32
    assert open_state().secret == first.secret


def test_two_directories_have_two_secrets(open_state: OpenState, tmp_path: Path) -> None:
    assert open_state(tmp_path / "a").secret != open_state(tmp_path / "b").secret


def test_a_secret_from_the_settings_is_taken_and_not_written(open_state: OpenState) -> None:
    state = open_state(key="from the settings, long enough")
    assert state.secret == b"from the settings, long enough"
    assert not (state.path / "secret_key").exists()


def test_a_secret_that_a_power_cut_left_empty_is_made_anew(
    open_state: OpenState, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "secret_key").touch()
    assert len(open_state().secret) >= 32


def test_a_second_node_is_refused(open_state: OpenState) -> None:
    first = open_state()
    with pytest.raises(ConfigError, match="another labnode is running with this state directory"):
        open_state()
    first.close()
    open_state()


def test_a_program_that_the_node_has_started_does_not_hold_the_directory(
    open_state: OpenState,
) -> None:
    state = open_state()
    program = [sys.executable, "-c", "input('ready')"]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, close_fds=False) as tool:
        assert tool.stdout is not None
        assert tool.stdout.read(5) == b"ready"
        state.close()
        open_state()
        tool.communicate(b"\n")


def test_closing_twice_is_fine_and_closes_nothing_else(
    open_state: OpenState, tmp_path: Path
) -> None:
    state = open_state()
    state.close()
    with (tmp_path / "other").open("w") as other:  # gets the number that the lock had
        state.close()
        other.write("still open")


def test_a_file_in_the_way_is_told(open_state: OpenState, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ConfigError, match=r"the state directory cannot be used \(File exists\)"):
        open_state()


def test_a_file_among_the_parents_is_told(open_state: OpenState, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"the state directory cannot be used \(Not a directory"):
        open_state(tmp_path / "file" / "state")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_rights_is_told(open_state: OpenState, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match=r"cannot be used \(Permission denied\); labnode must be"):
        open_state()


def test_a_key_that_cannot_be_read_is_told_and_the_directory_is_free_again(
    open_state: OpenState, tmp_path: Path
) -> None:
    (tmp_path / "state" / "secret_key").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"the secret key cannot be kept \(Is a directory\)"):
            open_state()


def test_a_file_system_without_locks_is_told(
    open_state: OpenState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ConfigError, match=r"the state directory cannot be used \(No locks avail"):
        open_state()
