"""A release as the real pip fills it, from wheels that are made here: no index is asked."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Sequence
from datetime import datetime
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from labnode.install import release as module
from labnode.install.extras import add
from labnode.install.lock import (
    Component,
    Library,
    bill_of_materials,
    lock_text,
    sha256,
)
from labnode.install.release import Pip, fill
from tests.kit.programs import ran


def wheel(directory: Path, name: str, version: str, *lines: str) -> Path:
    """A wheel with one empty module; `lines` go to its METADATA."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": "\n".join(
            ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines, ""]
        ),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{file},{_digest(text)},{len(text)}" for file, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Bench:
    """Wheels, a lock of them, and the virtual environment that a release becomes."""

    def __init__(self, directory: Path, tools: Path) -> None:
        self.tools = tools
        self.release = directory / "release"
        self.wheels = directory / "wheels"
        self.locks = directory / "locks"
        self.wheels.mkdir()
        self.locks.mkdir()
        part = wheel(
            self.wheels,
            "part",
            "1.5",
            "License-Expression: MIT",
            "Requires-Dist: pip; extra == 'x'",
        )
        self.lock(Library("part", "1.5", {part.name: sha256(part)}))
        self.labnode = wheel(self.wheels, "labnode", "0.9", "Requires-Dist: part>=1")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.release], check=True)

    def add_extra(self, *, wheels: bool) -> Path:
        """The extra "nice", of one library, which the lock in the release names."""
        nice = wheel(self.wheels, "nice", "2", "Requires-Dist: part")
        lock = self.release / "share/labnode/lock/nice.txt"
        lock.parent.mkdir(parents=True)
        lock.write_text(lock_text([Library("nice", "2", {nice.name: sha256(nice)})], "For tests."))
        add(self.release, "nice", Pip(self.tools, self.wheels if wheels else None))
        return nice

    def lock(self, *libraries: Library) -> None:
        (self.locks / "runtime.txt").write_text(lock_text(libraries, "For tests."))

    def fill(self, *, wheels: bool, debian: Sequence[str] = ()) -> None:
        pip = Pip(self.tools, self.wheels if wheels else None)
        fill(self.release, self.labnode, pip, debian=debian, left_out=["unused"])

    @property
    def bill(self) -> Any:
        return json.loads((self.release / "share/labnode/sbom.cdx.json").read_text())

    def can_import(self, name: str) -> bool:
        return ran([self.release / "bin/python", "-I", "-c", f"import {name}"]).returncode == 0


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tools") / "venv"
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    return directory


@pytest.fixture
def bench(tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path, tools)
    monkeypatch.setattr(module, "LOCKS", bench.locks)
    # What stands in for the index: pip gets no other one.
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(bench.wheels))
    return bench


def test_a_release_has_labnode_and_its_libraries_and_nothing_that_installs(bench: Bench) -> None:
    (bench.locks / "runtime.txt").write_text(
        (bench.locks / "runtime.txt").read_text()
        + lock_text([Library("unused", "1", {"unused-1-py3-none-any.whl": "0" * 64})], "")
    )
    bench.fill(wheels=True)
    assert bench.can_import("labnode, part")
    assert not bench.can_import("pip")
    assert not bench.can_import("setuptools")
    assert not bench.can_import("unused")


def test_a_wheel_that_was_tampered_with_is_not_installed(bench: Bench) -> None:
    """By an index: pip itself compares the hashes."""
    wheel(bench.wheels, "part", "1.5", "Summary: another one")
    with pytest.raises(subprocess.CalledProcessError):
        bench.fill(wheels=False)
    assert not bench.can_import("part")
    assert not bench.can_import("labnode")


def test_a_release_has_a_bill_of_its_materials(bench: Bench) -> None:
    bench.fill(wheels=False)
    bill = bench.bill
    assert complete(bill)
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/labnode@0.9"
    (part,) = bill["components"]
    assert part["purl"] == "pkg:pypi/part@1.5"
    assert part["hashes"] == [
        {"alg": "SHA-256", "content": sha256(bench.wheels / "part-1.5-py3-none-any.whl")}
    ]
    assert part["licenses"] == [{"license": {"name": "MIT"}}]
    assert {each["ref"]: each["dependsOn"] for each in bill["dependencies"]} == {
        "pkg:pypi/labnode@0.9": ["pkg:pypi/part@1.5"],
        "pkg:pypi/part@1.5": [],
    }


def test_what_debian_has_is_led_to_alone(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "dist-packages"
    (system / "yaml").mkdir(parents=True)
    for file in ("yaml/__init__.py", "lgpio.py", "_lgpio.py", "apt.py"):
        (system / file).write_text("")
    monkeypatch.syspath_prepend(system)
    monkeypatch.delitem(sys.modules, "yaml")
    bench.fill(wheels=True, debian=["pyyaml", "lgpio"])
    assert bench.can_import("yaml, lgpio, _lgpio, part")
    assert not bench.can_import("apt")
    assert complete(bench.bill)
    assert {each["name"] for each in bench.bill["components"]} == {
        "part",
        "python3-yaml",
        "python3-lgpio",
    }


def test_an_extra_is_importable_and_has_a_bill_of_its_own(bench: Bench) -> None:
    bench.fill(wheels=True)
    nice = bench.add_extra(wheels=True)
    assert bench.can_import("nice, part, labnode")
    (bill,) = bench.release.glob("share/labnode/extras/nice/sbom.cdx.json")
    (library,) = json.loads(bill.read_text())["components"]
    assert library["purl"] == "pkg:pypi/nice@2"
    assert library["hashes"] == [{"alg": "SHA-256", "content": sha256(nice)}]


def test_an_extra_whose_wheel_was_tampered_with_is_not_installed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fill(wheels=True)
    monkeypatch.setattr("tests.install.test_release.sha256", lambda file: "0" * 64)
    with pytest.raises(subprocess.CalledProcessError):
        bench.add_extra(wheels=False)
    assert not bench.can_import("nice")


def test_a_license_that_is_a_whole_text_is_named_by_its_classifier(tmp_path: Path) -> None:
    class Installed:
        name, version, requires = "Some.Thing", "1", None
        metadata = Message()

    Installed.metadata["Classifier"] = "License :: OSI Approved :: MIT License"
    Installed.metadata["License"] = "MIT\n  Permission is hereby granted"
    component = Component.of_wheel(Installed(), "")  # type: ignore[arg-type]
    assert component == Component("some-thing", "1", "pkg:pypi/some-thing@1", "", "MIT License", [])


def complete(bill: dict[str, Any]) -> bool:
    """Whether `bill` has what CycloneDX 1.6 requires, and what a reader of it needs."""
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["specVersion"] == "1.6"
    assert uuid.UUID(bill["serialNumber"].removeprefix("urn:uuid:")).version == 4
    assert bill["version"] == 1
    assert datetime.fromisoformat(bill["metadata"]["timestamp"]).tzinfo
    assert bill["metadata"]["component"]["type"] == "application"
    parts = [bill["metadata"]["component"], *bill["components"]]
    refs = [part["bom-ref"] for part in parts]
    assert len(set(refs)) == len(refs)
    for part in parts:
        assert part["type"] in ("application", "library")
        assert part["name"]
        assert part["version"] or part["purl"].startswith("pkg:deb/")
        assert part["purl"].startswith(("pkg:pypi/", "pkg:deb/debian/"))
        for each in part.get("hashes", []):
            assert each["alg"] == "SHA-256"
            assert len(each["content"]) == 64
    assert {each["ref"] for each in bill["dependencies"]} == set(refs)
    for each in bill["dependencies"]:
        assert set(each["dependsOn"]) <= set(refs)
    return True


def test_a_bill_is_dated_when_the_release_was_made() -> None:
    labnode = Component("labnode", "1", "pkg:pypi/labnode@1")
    bill = bill_of_materials("labnode", [labnode], 1_800_000_000)
    assert bill["metadata"]["timestamp"] == "2027-01-15T08:00:00+00:00"
