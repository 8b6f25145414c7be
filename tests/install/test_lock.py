"""What a release is installed from: the lock files, and wheels that are or are not those of it."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from labnode.drivers.framework.driver import EXTRAS as KNOWN_EXTRAS
from labnode.errors import ConfigError
from labnode.install.lock import (
    EXTRAS,
    LEFT_OUT,
    PROCESSORS,
    PYTHONS,
    Library,
    Platform,
    lock_text,
    missing,
    read_lock,
    requirements,
)
from labnode.install.release import DEBIAN, LOCKS

from .conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = {library.name: library for library in read_lock(LOCKS / "runtime.txt")}
BUILD = {library.name: library for library in read_lock(LOCKS / "build.txt")}
EXTRA = {extra: {lib.name: lib for lib in read_lock(LOCKS / f"{extra}.txt")} for extra in EXTRAS}
PI = Platform("3.13", "aarch64")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(texts: list[str]) -> list[Requirement]:
    return [Requirement(text) for text in texts]


# --- the locks of this project ---


@pytest.mark.parametrize(
    ("texts", "lock"),
    [
        (PROJECT["project"]["dependencies"], RUNTIME),
        (PROJECT["build-system"]["requires"], BUILD),
        *((PROJECT["project"]["optional-dependencies"][extra], EXTRA[extra]) for extra in EXTRAS),
    ],
    ids=["runtime", "build", *EXTRAS],
)
def test_every_dependency_of_the_project_is_locked_in_a_version_that_it_takes(
    texts: list[str], lock: dict[str, Library]
) -> None:
    for each in wanted(texts):
        assert each.specifier.contains(lock[normal(each.name)].version), each


@pytest.mark.parametrize("lock", [RUNTIME, BUILD], ids=["runtime", "build"])
@pytest.mark.parametrize("python", PYTHONS)
def test_what_a_locked_library_needs_is_locked_too(lock: dict[str, Library], python: str) -> None:
    """As far as these libraries are installed here: runtime's are, whatever their versions."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    looked_at = set()
    for name in lock:
        try:
            needs = wanted(requires(name) or [])
        except PackageNotFoundError:
            continue
        looked_at.add(name)
        for need in needs:
            if need.marker is None or need.marker.evaluate(environment):
                assert normal(need.name) in lock.keys() | LEFT_OUT, (name, need)
    assert lock is BUILD or looked_at >= lock.keys() - {"lgpio"}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("processor", [*PROCESSORS, "armv7l", "armv6l"])
def test_there_is_a_wheel_or_a_package_of_debian_for_every_machine(
    python: str, processor: str
) -> None:
    here = Platform(python, processor)
    lacking = set(missing(RUNTIME.values(), here, None))
    assert lacking <= set(DEBIAN)
    assert ("pyyaml" in lacking) == processor.startswith("armv")
    for lock in (BUILD, *EXTRA.values()):
        assert missing(lock.values(), here, None) == []


def test_an_extra_leaves_alone_what_every_release_has() -> None:
    for lock in EXTRA.values():
        assert not lock.keys() & RUNTIME.keys()


def test_drivers_and_the_installer_know_the_same_extras() -> None:
    assert set(EXTRAS) == set(KNOWN_EXTRAS)


def test_a_release_gets_neither_pip_nor_setuptools() -> None:
    assert not LEFT_OUT & RUNTIME.keys()


def test_lgpio_can_be_built_where_nobody_has_it() -> None:
    assert RUNTIME["lgpio"].source


def test_the_locks_are_as_they_are_written() -> None:
    for name in ("runtime.txt", "build.txt", *(f"{extra}.txt" for extra in EXTRAS)):
        text = (LOCKS / name).read_text()
        heading = "\n".join(
            line.removeprefix("# ") for line in text.partition("\n\n")[0].splitlines()
        )
        assert lock_text(read_lock(LOCKS / name), heading) == text


# --- which wheels a machine takes ---


@pytest.mark.parametrize(
    ("file", "takes"),
    [
        ("bottle-0.13-py2.py3-none-any.whl", True),
        ("x-1-py3-none-any.whl", True),
        ("x-1-1-py3-none-any.whl", True),
        ("x-1-cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.whl", True),
        ("x-1-cp313-cp313-linux_aarch64.whl", True),
        ("x-1-cp39-abi3-manylinux_2_17_aarch64.whl", True),
        ("x-1-cp314-abi3-manylinux_2_17_aarch64.whl", False),
        ("x-1-cp312-cp312-manylinux_2_17_aarch64.whl", False),
        ("x-1-cp313-cp313-manylinux_2_17_x86_64.whl", False),
        ("x-1-cp313-cp313-musllinux_1_2_aarch64.whl", False),
        ("x-1-cp313-cp313-win_arm64.whl", False),
        ("x-1-py2-none-any.whl", False),
        ("x-1.tar.gz", False),
    ],
)
def test_a_machine_takes_the_wheels_for_its_python_and_processor(file: str, takes: bool) -> None:
    assert PI.takes(file) is takes


def test_a_32_bit_python_on_a_64_bit_kernel_is_32_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Raspberry Pi OS, 32-bit, on a Pi 4."""
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("sys.maxsize", 2**63 - 1)
    assert Platform.this().processor == "aarch64"
    monkeypatch.setattr("sys.maxsize", 2**31 - 1)
    assert Platform.this().processor == "armv7l"


# --- a lock that is not one ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bottle>=0.13\n", "lock.txt:1: this is no line of a lock file: bottle>=0.13"),
        ("bottle==0.13\n", "lock.txt:1: this is no line"),
        (f"--hash=sha256:{'0' * 64}\n", "lock.txt:1: this is no line"),
        ("x==1 \\\n    --hash=md5:00\n", "lock.txt:2: this is no line"),
        (f"x==1 \\\n    --hash=sha256:{'0' * 64}\n", "lock.txt:2: x has not a hash for each file"),
        ("--extra-index-url elsewhere\n", "lock.txt:1: this is no line"),
    ],
)
def test_a_line_without_a_hash_or_a_name_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "lock.txt").write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_lock(tmp_path / "lock.txt")
    assert message in str(raised.value)


# --- a directory of wheels ---


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library with one wheel, which lies in a directory as it should."""
    name = "some_thing-1.0-py3-none-any.whl"
    (tmp_path / name).write_bytes(b"wheel")
    files = {name: hashlib.sha256(b"wheel").hexdigest()}
    return Library("some-thing", "1.0", {**files, "some_thing-1.0.tar.gz": "0" * 64})


def lines(library: Library, directory: Path | None) -> list[str]:
    return list(requirements([library], PI, directory))


def test_the_wheels_of_the_lock_are_asked_for_by_their_hashes_alone(library: Library) -> None:
    assert lines(library, None) == [
        f"some-thing==1.0 --hash=sha256:{hashlib.sha256(b'wheel').hexdigest()}"
    ]


def test_a_directory_with_the_wheels_of_the_lock_will_do(library: Library, tmp_path: Path) -> None:
    assert lines(library, tmp_path) == lines(library, None)


def test_a_wheel_that_is_not_what_the_lock_says_is_refused(
    library: Library, tmp_path: Path
) -> None:
    (tmp_path / "some_thing-1.0-py3-none-any.whl").write_bytes(b"whale")
    with pytest.raises(ConfigError, match="is not the file of that name that labnode was tested"):
        lines(library, tmp_path)


def test_a_wheel_that_somebody_built_counts_as_it_is(library: Library, tmp_path: Path) -> None:
    (tmp_path / "some_thing-1.0-py3-none-any.whl").unlink()
    (tmp_path / "Some.Thing-1.0-cp313-cp313-linux_aarch64.whl").write_bytes(b"own")
    assert lines(library, tmp_path) == [
        f"some-thing==1.0 --hash=sha256:{hashlib.sha256(b'own').hexdigest()}"
    ]


@pytest.mark.parametrize("name", [None, "some_thing-1.1-py3-none-any.whl", "some_thing-1.0.zip"])
def test_a_wheel_of_another_version_is_none(
    library: Library, tmp_path: Path, name: str | None
) -> None:
    there = tmp_path / "some_thing-1.0-py3-none-any.whl"
    there.rename(tmp_path / name) if name else there.unlink()
    assert missing([library], PI, tmp_path) == ["some-thing"]
    with pytest.raises(ConfigError) as raised:
        lines(library, tmp_path)
    assert str(raised.value) == (
        f"there is no wheel of some-thing 1.0 in {tmp_path} for Python 3.13 on aarch64"
    )
