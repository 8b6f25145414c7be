"""The table of a comparison as a picture for the documents: an SVG of text and bars."""

from __future__ import annotations

import math
from html import escape

from tests.benchmarks.compare import Comparison, Row

WIDTH, ROW, TOP = 1010, 26, 86
COLUMNS = {
    "what": 16,
    "theirs": 470,
    "ours": 570,
    "factor": 650,
}  # theirs, ours and factor end there
AXIS, END = 700, 980  # where 1 × is, and 1,000 ×
LEFT = 664  # what is worse than weblablib's ends there
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2933; }
.head { font-weight: 600; } .title { font-size: 17px; font-weight: 600; }
.small { font-size: 11px; }
.right { text-anchor: end; } .middle { text-anchor: middle; }
.better { fill: #2f855a; } .worse { fill: #c53030; } .goal { stroke: #1f2933; stroke-width: 2; }
.line { stroke: #cbd2d9; }
"""


def draw(result: Comparison) -> str:
    """Figures of both, how many times labnode's is better, and the goal as a mark on the bar."""
    rows = [row for row in result.rows() if row.theirs is not None]
    height = TOP + ROW * len(rows) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>labnode beside weblablib</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 28, "labnode beside weblablib, in turns on one machine", "title"),
        _text(16, 46, result.machine, "small"),
        _text(COLUMNS["theirs"], TOP - 12, "weblablib", "head right"),
        _text(COLUMNS["ours"], TOP - 12, "labnode", "head right"),
        _text(COLUMNS["factor"], TOP - 12, "better by", "head right"),
    ]
    for power in range(4):
        x = AXIS + power * (END - AXIS) / 3
        parts.append(_text(x, TOP - 12, f"{10**power:,} ×", "small middle"))
        parts.append(f'<path class="line" d="M{x:.0f} {TOP - 6}V{TOP + ROW * len(rows)}"/>')
    for number, row in enumerate(rows):
        parts += _row(row, TOP + ROW * number + 17)
    bottom = TOP + ROW * len(rows) + 24
    legend = f"The mark is the goal. Other processes used {result.noise_text}."
    return "\n".join([*parts, _text(16, bottom, legend, "small"), "</svg>", ""])


def _row(row: Row, y: int) -> list[str]:
    what, theirs, ours, *_ = row.cells
    parts = [
        _text(COLUMNS["what"], y, what),
        _text(COLUMNS["theirs"], y, theirs, "right"),
        _text(COLUMNS["ours"], y, ours, "right"),
    ]
    factor = better_by(row)
    if factor is None:
        return parts
    start, end = sorted((AXIS, _x(factor)))
    bar = f'x="{start:.0f}" y="{y - 11}" width="{max(1, end - start):.0f}" height="14"'
    parts.append(f'<rect class="{"better" if factor >= 1 else "worse"}" {bar}/>')
    parts.append(_text(COLUMNS["factor"], y, f"{factor:,.3g} ×", "right"))
    wanted = row.figure.ratio
    if wanted is not None:
        x = _x(wanted if row.figure.more else 1 / wanted)
        parts.append(f'<path class="goal" d="M{x:.0f} {y - 14}v20"/>')
    return parts


def better_by(row: Row) -> float | None:
    """How many times labnode's figure is better; None where one of them is nothing."""
    if not row.ours or not row.theirs:
        return None
    return row.ours / row.theirs if row.figure.more else row.theirs / row.ours


def _x(factor: float) -> float:
    return min(END, max(LEFT, AXIS + math.log10(factor) * (END - AXIS) / 3))


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y}" class="{kind}">{escape(text)}</text>'
