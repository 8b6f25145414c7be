"""What the documents tell lab authors to import goes on working when rooms move."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from labnode import drivers

WAYS = [
    ("labnode.drivers.base", "register"),
    ("labnode.drivers.base", "command"),
    ("labnode.drivers.output", "Output"),
    ("labnode.drivers.pins", "Pin"),
    ("labnode.drivers.tools.base", "Tool"),
    ("labnode.drivers.tools.content", "bad"),
    ("labnode.drivers.tools.known", "Known"),
    ("labnode.drivers.tools.options", "Suffixes"),
    ("labnode.drivers.tools.options", "Word"),
    ("labnode.schema", "Doc"),
    ("labnode.lab", "json_lines"),
]


@pytest.mark.parametrize(("module", "name"), WAYS)
def test_a_name_that_a_document_has_named_can_still_be_imported(module: str, name: str) -> None:
    assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize("name", drivers.__all__)
def test_drivers_gives_authors_what_it_lists(name: str) -> None:
    found: Any = getattr(drivers, name)
    assert found.__module__.startswith("labnode.drivers.")


def test_drivers_says_what_it_does_not_have() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Relais'"):
        exec("from labnode.drivers import Relais", {})
