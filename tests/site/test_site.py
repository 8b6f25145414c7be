"""The documents as a site: it builds without a warning, and needs nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest

from deploy.site.hooks import outside
from tests.kit.programs import ran

from .documents import PAGES, ROOT

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("material", "mkdocstrings_handlers")),
    reason="there is no MkDocs with all its parts here; its extra is `docs`",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", directory]
    done = ran(build, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return directory


def test_every_page_is_in_it_with_a_search(site: Path) -> None:
    names = {path.removeprefix("docs/").removesuffix(".md") for path in PAGES}
    assert {name for name in names if not (site / f"{name}.html").is_file()} == set()
    assert "avrdude" in (site / "search/search_index.json").read_text()


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|iframe)[^>]*\ssrc="(https?:[^"]*)|<link[^>]*href="(https?:[^"]*)'
    )
    for page in site.rglob("*.html"):
        assert loads.findall(page.read_text()) == [], page.name
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*['\"]?https?:[^)]*", styles) == []


def test_files_of_the_project_that_pages_link_to_are_in_it(site: Path) -> None:
    found = [path for page in PAGES for path in outside((ROOT / page).read_text(), page[5:])]
    files = [path for path in found if (ROOT / path).is_file()]
    assert len(files) > 5
    assert [path for path in files if not (site / f"files/{path}.txt").is_file()] == []
    assert "files/boards/demo.yaml.txt" in (site / "first-board.html").read_text()
