"""Export: what a lab has recorded, as text for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any


def json_lines(actions: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Each of `lab.actions()` as a line of JSON, its newline included.

    Example::

        with open("actions.jsonl", "w") as file:
            file.writelines(json_lines(lab.actions()))
    """
    for action in actions:
        yield json.dumps(action) + "\n"
