"""The generated pages of docs/ are fresh. After a change, write them all anew with

LABNODE_TEST_WRITE=1 python -m pytest tests/site/test_pages.py
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

import bottle
import pytest

from deploy.site import classes, http_api, pages
from labnode.drivers.framework.registry import load_drivers
from labnode.testing import LabClient

from .documents import ROOT

WRITE = bool(os.environ.get("LABNODE_TEST_WRITE"))
STALE = "stale; write it anew: LABNODE_TEST_WRITE=1 python -m pytest tests/site/test_pages.py"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    for kind, cls in load_drivers().items():
        assert cls.__module__.startswith("labnode."), f"another test has left the driver {kind}"
    return pages.pages()


def test_the_generated_pages_are_fresh(made: dict[str, str]) -> None:
    if WRITE:
        for path, text in made.items():
            (pages.DOCS / path).write_text(text, encoding="utf-8")
    found = {path: (pages.DOCS / path) for path in made}
    old = [p for p, file in found.items() if not file.is_file() or file.read_text() != made[p]]
    assert not old, STALE


def test_no_page_of_a_driver_is_left_of_one_that_has_gone(made: dict[str, str]) -> None:
    folders = (pages.DOCS / "drivers", pages.DOCS / "reference")
    there = {file.relative_to(pages.DOCS).as_posix() for d in folders for file in d.iterdir()}
    left = there - set(made)
    if WRITE:
        for path in left:
            (pages.DOCS / path).unlink()
        left = set()
    assert not left, STALE


def test_everything_that_the_reference_of_python_shows_has_a_docstring() -> None:
    shown = [item for page in classes.PAGES.values() for item in page.shown.items()]
    silent = [
        f"{cls.__qualname__}.{name}"  # type: ignore[attr-defined]
        for cls, left_out in shown
        for name, member in {"": cls, **classes.members(cls, left_out)}.items()
        if not inspect.getdoc(member)
    ]
    assert silent == []


def test_the_navigation_has_every_driver() -> None:
    text = pages.NAVIGATION.read_text(encoding="utf-8")
    if WRITE:
        pages.NAVIGATION.write_text(text := pages.navigation(text), encoding="utf-8")
    assert text == pages.navigation(text), STALE


def test_the_navigation_has_every_page_once() -> None:
    named = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", pages.NAVIGATION.read_text(), re.MULTILINE)
    there = {path.relative_to(pages.DOCS).as_posix() for path in pages.DOCS.rglob("*.md")}
    assert sorted(named) == sorted(there), "nav: of mkdocs.yml has every page of docs/ once"


def test_the_rules_for_prometheus_use_metrics_that_there_are() -> None:
    rules = (ROOT / "deploy/prometheus/labnode.rules.yml").read_text()
    used = set(re.findall(r"labnode_[a-z0-9_]+", rules))
    histograms = {name.removesuffix("_bucket") for name in used if name.endswith("_bucket")}
    counters = {name for name in used if not name.endswith("_bucket")}
    assert len(used) > 10
    assert counters | histograms <= set(pages.metrics())


# --- the HTTP API ---


@pytest.fixture(scope="module")
def routes() -> Iterator[set[tuple[str, str]]]:
    """The method and the address of every route of a node."""
    found: set[tuple[str, str]] = set()
    add = bottle.Bottle.add_route

    def note(self: Any, route: Any) -> None:
        address = re.sub(r"<(\w+)(:re:(?:[^<>]|<[^>]*>)*)?(:\w+)?>", r"{\1}", route.rule)
        address = re.sub(r"(devices|uploads)/mcu\b", r"\1/{device}", address)  # one route each
        found.add((route.method, re.sub(r"<:re:.*>", ".EXTENSION", address)))
        add(self, route)

    with (
        mock.patch.object(bottle.Bottle, "add_route", note),
        LabClient(
            ROOT / "boards/arduino-uno.yaml",
            admin={"username": "admin", "password": "quite a long one"},
        ),
    ):
        yield found


def test_the_api_that_is_told_is_that_of_the_node(routes: set[tuple[str, str]]) -> None:
    told = {(each.method, each.path) for each in http_api.OPERATIONS}
    there = {(method, path) for method, path in routes if not http_api.OTHERS.search(path)}
    assert told - there == set(), "told, but not there"
    assert there - told == set(), "there, but not told in deploy/site/http_api.py"


def test_the_openapi_file_is_one_and_every_reference_in_it_leads_somewhere() -> None:
    document = http_api.openapi()
    assert document["openapi"].startswith("3.1")
    names = [o["operationId"] for path in document["paths"].values() for o in path.values()]
    assert len(names) == len(set(names)) == len(http_api.OPERATIONS)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references == set(document["components"]["schemas"])
