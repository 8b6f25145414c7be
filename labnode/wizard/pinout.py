"""The 40-pin header with what a board uses of it, drawn as text or as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from labnode.locale import Message, Say
from labnode.wizard.wiring import HeaderPin

_COLOURS = {"5V": "#d33", "3V3": "#e80", "GND": "#333", "free": "#fff", "reserved": "#bbb"}
_COLOURS |= {"driven": "#2a7", "in": "#37c"}
_ROW, _TOP, _RADIUS = 26, 62, 9  # pixels
_NARROWEST = 480
_LETTER = 7.4  # the width of one, in pixels


def as_text(title: str, pins: Sequence[HeaderPin], say: Say = str) -> str:
    """Two columns, like the header with the USB sockets at the bottom."""
    rows = list(zip(pins[::2], pins[1::2], strict=True))
    width = max(len(left.label(say)) for left, _ in rows)
    lines = [title, ""]
    for left, right in rows:
        line = f"{left.label(say):>{width}}  {left.name:>6}  {left.position:>2} {_mark(left)}"
        line += f" {_mark(right)} {right.position:<2}  {right.name:<6}  {right.label(say)}"
        lines.append(line.rstrip())
    lines += ["", say(Message("cli.pinout-marks"))]
    return "\n".join(lines) + "\n"


def as_svg(title: str, pins: Sequence[HeaderPin], say: Say = str) -> str:
    """The same in SVG."""
    rows = list(zip(pins[::2], pins[1::2], strict=True))
    side = max(len(pin.label(say)) for pin in pins) * _LETTER + 110
    width, height = max(_NARROWEST, round(2 * side)), _TOP + _ROW * len(rows) + 46
    middle = width / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="monospace" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{middle:g}" y="28" font-size="16" text-anchor="middle">{escape(title)}</text>',
        f'<rect x="{middle - 30:g}" y="{_TOP - 20}" width="60" height="{_ROW * len(rows) + 14}" '
        'rx="4" fill="#e8e8e8" stroke="#999"/>',
    ]
    for row, (left, right) in enumerate(rows):
        y = _TOP + _ROW * row
        parts += _pin_svg(left, left.label(say), middle - 14, y, -1)
        parts += _pin_svg(right, right.label(say), middle + 14, y, 1)
    parts += _legend(middle, height - 14, say)
    return "\n".join(parts) + "\n</svg>\n"


def _mark(pin: HeaderPin) -> str:
    if pin.users:
        return "●"
    return "○" if pin.is_free else "·"


def _pin_svg(pin: HeaderPin, label: str, x: float, y: float, side: int) -> list[str]:
    anchor = "start" if side > 0 else "end"
    used = "bold" if pin.users else "normal"
    corner, side_length = _RADIUS + 2, 2 * _RADIUS + 4
    first = (
        f'<rect x="{x - corner:g}" y="{y - corner:g}" width="{side_length}" '
        f'height="{side_length}" fill="none" stroke="#333"/>'
    )
    parts = [first] if pin.position == 1 else []  # as on the board, where pin 1 is square
    return [
        *parts,
        f'<circle cx="{x:g}" cy="{y}" r="{_RADIUS}" fill="{_colour(pin)}" stroke="#333"/>',
        f'<text x="{x:g}" y="{y + 3.5:g}" font-size="9" text-anchor="middle" '
        f'fill="{"#333" if _colour(pin) == _COLOURS["free"] else "#fff"}">{pin.position}</text>',
        f'<text x="{x + side * 24:g}" y="{y + 4}" text-anchor="{anchor}" fill="#777">'
        f"{pin.name}</text>",
        f'<text x="{x + side * 80:g}" y="{y + 4}" text-anchor="{anchor}" font-weight="{used}">'
        f"{escape(label)}</text>",
    ]


def _colour(pin: HeaderPin) -> str:
    if not pin.is_gpio:
        return _COLOURS[pin.name]
    if not pin.users:
        return _COLOURS["free" if pin.is_free else "reserved"]
    return _COLOURS["in" if pin.rests_high is None else "driven"]


def _legend(middle: float, y: float, say: Say) -> list[str]:
    words = [(key, say(Message(f"cli.pinout:{key}"))) for key in ("driven", "in", "free")]
    words += [("3V3", "3V3"), ("5V", "5V"), ("GND", say(Message("cli.pinout:ground")))]
    width = sum(len(text) * _LETTER + 30 for _, text in words)
    parts, x = [], middle - width / 2
    for key, text in words:
        parts.append(
            f'<circle cx="{x + 6:g}" cy="{y - 4:g}" r="5" fill="{_COLOURS[key]}" stroke="#333"/>'
            f'<text x="{x + 16:g}" y="{y:g}">{text}</text>'
        )
        x += len(text) * _LETTER + 30
    return parts
