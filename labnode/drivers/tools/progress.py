"""How far a program is, out of what it prints."""

from __future__ import annotations

import re

_PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)? ?%")
_OF = re.compile(r"\b(\d{1,6}) ?/ ?(\d{1,6})\b")


def percent(line: str) -> float | None:
    """From the last "42 %" or "42.5%" in a line, or from a "3/12"."""
    if found := _PERCENT.findall(line):
        return float(min(100, int(found[-1])))
    if (match := _OF.search(line)) and 0 < int(match[2]) >= int(match[1]):
        return 100 * int(match[1]) / int(match[2])
    return None
