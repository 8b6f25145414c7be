from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.rig import WorkerRig


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[WorkerRig]:
    """A started worker; `@pytest.mark.parametrize("rig", [{...}], indirect=True)` gives options."""
    options: dict[str, Any] = getattr(request, "param", {})
    rig = WorkerRig(**options)
    rig.start()
    yield rig
    rig.close()
