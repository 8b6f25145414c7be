"""The spool: files come in, wait, and are gone; nothing of them stays in memory either."""

from __future__ import annotations

import hashlib
import shutil
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from labnode.errors import ConfigError
from labnode.lab.spool import NoRoom, Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def names(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool.folder.iterdir())


def test_a_file_that_is_kept_waits_under_a_name_that_nobody_chose(spool: Spool) -> None:
    first, second = spool.begin("ada", 100), spool.begin("ada", 100)
    first.write(b"hel")
    first.write(b"lo")
    second.discard()
    path = first.keep(".hex")
    assert (path.read_bytes(), path.suffix, first.size) == (b"hello", ".hex", 5)
    assert first.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert names(spool) == [path.name]
    first.discard()
    assert path.exists(), "what was kept is not thrown away by whoever brought it"


def test_nobody_else_may_read_it(spool: Spool) -> None:
    spooled = spool.begin("ada", 100)
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(spooled.path.stat().st_mode) == 0o600
    spooled.discard()


def test_the_files_of_a_session_go_with_it_and_those_of_others_stay(spool: Spool) -> None:
    kept = [spool.begin(owner, 100).keep(".bin") for owner in ("ada", "ada", "bob")]
    spool.empty("ada")
    assert names(spool) == [kept[2].name]


def test_a_file_is_removed_and_one_that_is_none_of_its_own_stays(
    spool: Spool, tmp_path: Path
) -> None:
    other = tmp_path / "blank.hex"
    other.touch()
    spool.remove(spool.begin("ada", 100).keep(".hex"))
    spool.remove(other)
    assert (names(spool), other.exists()) == ([], True)


def test_who_throws_away_a_thousand_files_leaves_nothing_behind(spool: Spool) -> None:
    for number in range(1000):
        spooled = spool.begin("ada", 100)
        assert spool.coming_in("ada") == spool.coming_in() == 1
        if number % 2:
            spooled.discard()
        else:
            spool.remove(spooled.keep(".hex"))
    assert spool.coming_in() == 0
    assert spool._files == []


def test_what_the_last_node_has_left_is_gone(spool: Spool) -> None:
    spool.begin("ada", 100).keep(".hex")
    assert names(Spool(spool.folder)) == []


def test_a_disk_that_would_be_full_takes_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2 << 20, 1 << 20, 1 << 20))
    with pytest.raises(NoRoom):
        spool.begin("ada", 1000)
    assert names(spool) == []


@pytest.mark.parametrize("suffix", ["", "hex", "/../x", ".HEX", ".a/b", ". "])
def test_its_names_have_an_ending_of_the_node_s_own(spool: Spool, suffix: str) -> None:
    spooled = spool.begin("ada", 100)
    with pytest.raises(ValueError, match="no ending"):
        spooled.keep(suffix)
    spooled.discard()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(ConfigError, match=r"state/spool: .* cannot be kept \(Not a directory\)"):
        Spool(tmp_path / "state" / "spool")
