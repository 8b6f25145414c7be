"""`picture:`: a picture of the board, and where on it the devices are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from labnode.board.config.devices import Lookup
from labnode.drivers.framework.bank import Bank
from labnode.drivers.framework.driver import Driver
from labnode.files import lies_in
from labnode.locale import Joined, Message
from labnode.schema import (
    Between,
    Doc,
    Like,
    Section,
    Text,
    build,
    did_you_mean,
    quoted,
    sentence_of,
)

Shape = Literal["led", "slide", "push", "reading", "digits"]
Segment = Literal["a", "b", "c", "d", "e", "f", "g", "dp"]

MOST_BYTES = 2 << 20
_MOST_PIXELS = 8192  # of a side
_KINDS = (".svg", ".png", ".jpg", ".jpeg")
_ROW = 0.07  # of the picture's height: what is nearer than this is in one row
_COLOURS = ("red", "orange", "yellow", "green", "blue", "white")
_NO_PLACE = Message("board.no-place")
_TWO_NUMBERS = Message("board.two-numbers", example="[0.31, 0.62]")

# The shapes that show a device with this widget, the usual one first.
_SHAPES: dict[str, tuple[Shape, ...]] = {
    "switch": ("slide", "led", "reading"),
    "button": ("push", "led", "reading"),
    "lamp": ("led", "slide", "push", "reading"),
    "slider": ("reading", "led", "digits"),
    "dial": ("reading", "digits"),
    "rgb": ("led", "reading"),
    "value": ("reading", "digits"),
    "text": ("reading", "digits"),
    "bank": ("reading", "digits"),
}


def _pair(place: list[float] | None) -> list[float] | None:
    if place is not None and len(place) != 2:
        raise ValueError(Message("yaml.unlike", expected=_TWO_NUMBERS, value=len(place)))
    return place


def _colour(name: str | None) -> str | None:
    if name is not None and name not in _COLOURS and not re.fullmatch("#[0-9a-fA-F]{6}", name):
        wrong = Message("yaml.unlike", expected=Message("board.colour"), value=quoted(name))
        colours = Message("board.there-are", names=", ".join(_COLOURS))
        raise ValueError(Joined(wrong, did_you_mean(name, _COLOURS) or colours))
    return name


@dataclass(frozen=True, kw_only=True)
class Spot:
    """How a device is shown on the picture."""

    at: Annotated[
        list[Annotated[float, Between(0, 1)]] | None,
        _pair,
        Doc(
            "Where its middle is, as shares of the picture's width and height from the top left; "
            "without it the device stands below the picture."
        ),
    ] = None
    size: Annotated[
        float | None, Between(0.005, 1), Doc("How wide it is, as a share of the picture's width.")
    ] = None
    shape: Annotated[
        Shape | None, Doc("How it looks; without it as is usual for the kind of device.")
    ] = None
    rotate: Annotated[float, Between(-360, 360), Doc("How far it is turned, in degrees.")] = 0.0
    color: Annotated[
        str | None, _colour, Doc("The colour of an LED or of digits: a name or #rrggbb.")
    ] = None
    segments: Annotated[
        list[Segment] | None,
        Doc("Digits of a bank: the segment that each bit lights, the lowest first."),
    ] = None
    digits: Annotated[int, Between(1, 16), Doc("How many digits a number or a text is given.")] = 4


@dataclass(frozen=True, kw_only=True)
class PictureKeys:
    """The keys under `picture:`."""

    file: Annotated[str, Doc("An SVG, PNG or JPEG beside the board file.")]
    alt: Annotated[Text | None, Doc("What is to be seen on it, for those who do not see it.")] = (
        None
    )
    devices: Annotated[
        dict[str, Section],
        Like(dict[str, Spot]),
        Doc("The devices on it by name; a bit of a bank is NAME.3, or NAME.sw3 by its own name."),
    ] = field(default_factory=dict)


@dataclass(frozen=True)
class PlacedSpot:
    """A device, or one bit of a bank, on the picture."""

    device: str
    bit: int | None
    shape: Shape
    spot: Spot

    def describe(self) -> dict[str, Any]:
        """As the page gets it: what is not said is left out."""
        spot = self.spot
        told: dict[str, Any] = {"bit": self.bit, "at": spot.at, "size": spot.size}
        told |= {"color": spot.color, "rotate": spot.rotate or None}
        if self.shape == "digits":
            told |= {"segments": spot.segments, "digits": spot.digits}
        known = {key: value for key, value in told.items() if value is not None}
        return {"device": self.device, "shape": self.shape, **known}


@dataclass(frozen=True)
class PictureSpec:
    """The board's picture, with its size in pixels (of an SVG: its own units)."""

    file: Path
    width: float
    height: float
    alt: Text | None
    spots: tuple[PlacedSpot, ...]

    def describe(self, locales: Sequence[str | None]) -> dict[str, Any]:
        return {
            "width": self.width,
            "height": self.height,
            "alt": None if self.alt is None else self.alt.pick(*locales),
            "devices": [each.describe() for each in in_reading_order(self.spots)],
        }


def in_reading_order(spots: Iterable[PlacedSpot]) -> list[PlacedSpot]:
    """Row by row, each from the left to the right, then what has no place: the way of Tab."""
    placed = [spot for spot in spots if spot.spot.at is not None]
    rows: list[list[PlacedSpot]] = []
    for spot in sorted(placed, key=_y):
        if rows and _y(spot) - _y(rows[-1][0]) < _ROW:
            rows[-1].append(spot)
        else:
            rows.append([spot])
    rest = [spot for spot in spots if spot.spot.at is None]
    return [spot for row in rows for spot in sorted(row, key=_x)] + rest


def _x(spot: PlacedSpot) -> float:
    return (spot.spot.at or [0.0])[0]


def _y(spot: PlacedSpot) -> float:
    return (spot.spot.at or [0.0])[-1]


def read_picture(section: Section, lookup: Lookup, folder: Path) -> PictureSpec | None:
    """What `picture:` says; `folder` is the board's. Its mistakes are added to the problems."""
    if section.content is None:
        return None
    keys = build(PictureKeys, section, lookup.problems, name="picture")
    spots = [
        placed
        for key, entry in section.child("devices").items()
        if (placed := _placed(key, entry, lookup)) is not None
    ]
    if keys is None:
        return None
    try:
        width, height = _size_of(folder, keys.file)
    except OSError as error:
        lookup.problems.add(section.child("file"), str(error))
    except ValueError as error:
        lookup.problems.add(section.child("file"), sentence_of(error))
    else:
        return PictureSpec(folder / keys.file, width, height, keys.alt, tuple(spots))
    return None


def candidates(devices: Mapping[str, Driver]) -> list[dict[str, Any]]:
    """What may be on a picture: its key, its device and bit, the shapes that it may have."""
    found: list[dict[str, Any]] = []
    for name, driver in devices.items():
        shapes = _shapes(driver, None)
        if driver.access != "user" or not shapes:
            continue
        found.append({"key": name, "device": name, "shapes": shapes})
        if isinstance(driver, Bank):
            for bit in range(driver.width):
                label = driver.bits[bit] if driver.bits else str(bit)
                key = f"{name}.{label}"
                shapes = _shapes(driver, bit)
                found.append({"key": key, "device": name, "bit": bit, "shapes": shapes})
    return found


def _placed(key: str, entry: Section, lookup: Lookup) -> PlacedSpot | None:
    name, dot, part = key.partition(".")
    known = lookup.visible(name, entry.key_where, _NO_PLACE)
    spot = build(Spot, entry, lookup.problems, name=Message("board.on-picture", name=key))
    driver = lookup.devices.get(name)
    if not known or driver is None or spot is None:
        return None
    try:
        bit = _bit(name, part, driver) if dot else None
        shape = _shape(key, spot, driver, bit)
    except ValueError as error:
        place = entry.child("shape") if "shape" in entry else entry.key_where
        lookup.problems.add(place, sentence_of(error))
        return None
    return PlacedSpot(name, bit, shape, spot)


def _bit(name: str, part: str, driver: Driver) -> int:
    """The number of a bit that is named by it or by its own name; ValueError."""
    if not isinstance(driver, Bank):
        raise ValueError(Message("board.no-bits", name=name, kind=driver.kind))
    numbers = {str(bit): bit for bit in range(driver.width)}
    numbers |= {label: bit for bit, label in enumerate(driver.bits or ())}
    if part not in numbers:
        hint = did_you_mean(part, driver.bits or ())
        last = driver.width - 1
        raise ValueError(Message("board.no-bit", name=name, bit=repr(part), last=last, hint=hint))
    return numbers[part]


def _shape(key: str, spot: Spot, driver: Driver, bit: int | None) -> Shape:
    """The shape of a spot; ValueError where it is none for such a device."""
    shapes = _shapes(driver, bit)
    if not shapes:
        raise ValueError(Message("board.no-shape", name=key, kind=driver.kind))
    shape = spot.shape or ("digits" if spot.segments else shapes[0])
    if shape not in shapes:
        push = shape == "push" and bit is None and _widget(driver) == "switch"
        digit = shape == "digits" and isinstance(driver, Bank)
        hint = Message("board.push-button") if push else ""
        hint = Message("board.digit") if digit else hint
        raise ValueError(
            Message(
                "board.other-shape",
                name=key,
                shape=repr(shape),
                kind=driver.kind,
                shapes=_one_of(shapes),
                hint=hint,
            )
        )
    if shape == "digits" and isinstance(driver, Bank):
        if spot.segments and len(spot.segments) != driver.width:
            raise ValueError(Message("board.segments", name=key, count=driver.width))
    elif spot.segments:
        raise ValueError(Message("board.no-segments", name=key))
    return shape


def _one_of(shapes: tuple[Shape, ...]) -> str | Message:
    """ "led or slide or reading"."""
    found: str | Message = shapes[0]
    for shape in shapes[1:]:
        found = Message("yaml.or", rest=found, last=shape)
    return found


def _widget(driver: Driver) -> str:
    return str(driver.describe().get("widget", driver.widget))


def _shapes(driver: Driver, bit: int | None) -> tuple[Shape, ...]:
    """The shapes that a device, or one of its bits, may have; the usual one first."""
    if bit is not None:
        return ("slide", "led") if "set" in driver.commands else ("led", "slide")
    shapes = _SHAPES.get(_widget(driver), ())
    is_digit = not isinstance(driver, Bank) or driver.width in (7, 8)
    return tuple(shape for shape in shapes if shape != "digits" or is_digit)


def _size_of(folder: Path, name: str) -> tuple[float, float]:
    """The width and the height of a picture; ValueError with a sentence for what is none."""
    path = folder / name
    if Path(name).suffix.lower() not in _KINDS:
        expected = Message("board.picture-file")
        raise ValueError(Message("yaml.unlike", expected=expected, value=quoted(name)))
    if not lies_in(folder, name):
        expected = Message("board.picture-beside")
        raise ValueError(Message("yaml.unlike", expected=expected, value=quoted(name)))
    if not path.is_file():
        beside = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix in _KINDS]
        missing = Message("board.no-file", path=repr(str(path)))
        raise ValueError(Joined(missing, did_you_mean(name, beside)))
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(Message("board.too-large", name=quoted(name), most=MOST_BYTES >> 20))
    content = path.read_bytes()
    reader = {".svg": _svg, ".png": _png}.get(Path(name).suffix.lower(), _jpeg)
    size = reader(content)
    if size is None or min(size) <= 0:
        kind = Path(name).suffix[1:].upper()
        raise ValueError(Message("board.no-size", name=quoted(name), kind=kind))
    if max(size) > _MOST_PIXELS:
        pixels = f"{size[0]:g} x {size[1]:g}"
        raise ValueError(
            Message("board.too-many-pixels", name=quoted(name), size=pixels, most=_MOST_PIXELS)
        )
    return size


def _svg(content: bytes) -> tuple[float, float] | None:
    """Of the `viewBox`, which is what an SVG needs to be drawn at any size."""
    head = re.search(rb"<svg\b[^>]*>", content)
    box = head and re.search(rb"""\bviewBox\s*=\s*["']([^"']*)["']""", head[0])
    numbers = re.split(rb"[\s,]+", box[1].strip()) if box else []
    try:
        _, _, width, height = map(float, numbers)
    except ValueError:
        return None
    return width, height


def _png(content: bytes) -> tuple[float, float] | None:
    """Of the IHDR chunk, which is the first (PNG, section 11.2.2)."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def _jpeg(content: bytes) -> tuple[float, float] | None:
    """Of the frame header: SOF0 to SOF15 without DHT, JPG and DAC (ITU T.81, B.2.2)."""
    at = 2
    if not content.startswith(b"\xff\xd8"):
        return None
    while at + 9 < len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            high, wide = content[at + 5 : at + 7], content[at + 7 : at + 9]
            return int.from_bytes(wide, "big"), int.from_bytes(high, "big")
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None
