from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from .machine import Machine


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    made.do("start", *([] if os.environ.get("LABNODE_TEST_GO_ON") else ["--fresh"]))
    yield made
    with contextlib.suppress(AssertionError):
        made.do("powercut")
