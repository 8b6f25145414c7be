"""The picture of a board: where its devices are on it, and what may be wrong with that."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from labnode.board import files_named, load_board
from labnode.board.config.picture import MOST_BYTES, PictureSpec
from labnode.errors import ConfigError

DEVICES = """
schema: 1
devices:
  lamp: {driver: digital_input, pin: 17}
  relay: {driver: relay, pin: 18}
  reset: {driver: digital_output, pin: 19, pulse: 100ms}
  light: {driver: rgb_led, red: 20, green: 21, blue: 22}
  temp: {driver: cpu_temperature}
  switches: {driver: digital_output_bank, pins: [23, 24], bits: [sw0, sw1]}
  digit: {driver: digital_input_bank, pins: [4, 5, 6, 7, 8, 9, 10]}
  port: {driver: serial, port: /dev/ttyX}
  spy: {driver: led, pin: 16, access: system}
picture:
"""
SVG = '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 150"></svg>'
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 640, 480)
JPEG = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc2\0\x11\x08" + struct.pack(">HH", 480, 640) + bytes(9)

Read = Callable[[str], PictureSpec]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(picture: str) -> PictureSpec:
        (tmp_path / "board.svg").write_text(SVG)
        (tmp_path / "x.yaml").write_text(DEVICES + picture)
        found = load_board(tmp_path / "x.yaml").picture
        assert found is not None
        return found

    return read


def test_each_device_has_the_shape_that_is_usual_for_it(read: Read) -> None:
    names = ("lamp", "relay", "reset", "light", "temp", "switches.1", "digit.0", "digit")
    devices = "".join(f"    {name}: {{at: [0.1, 0.2]}}\n" for name in names)
    picture = read(f"  file: board.svg\n  devices:\n{devices}")
    shapes = [spot.shape for spot in picture.spots]
    assert shapes == ["led", "slide", "push", "led", "reading", "slide", "led", "reading"]
    assert (picture.width, picture.height) == (300, 150)


def test_the_page_is_told_what_the_file_says_in_reading_order(read: Read) -> None:
    picture = read(
        "  file: board.svg\n  alt: {en: A board, es: Una placa}\n  devices:\n"
        "    temp: {shape: reading}\n"
        "    digit: {at: [0.5, 0.9], shape: digits, segments: [g, f, e, d, c, b, a]}\n"
        "    relay: {at: [0.9, 0.12], rotate: 90, size: 0.05}\n"
        "    switches.sw1: {at: [0.1, 0.1], shape: led, color: red}\n"
    )
    assert picture.describe(["es"]) == {
        "width": 300,
        "height": 150,
        "alt": "Una placa",
        "devices": [
            {"device": "switches", "bit": 1, "shape": "led", "at": [0.1, 0.1], "color": "red"},
            {"device": "relay", "shape": "slide", "at": [0.9, 0.12], "size": 0.05, "rotate": 90},
            {
                "device": "digit",
                "shape": "digits",
                "at": [0.5, 0.9],
                "segments": [*"gfedcba"],
                "digits": 4,
            },
            {"device": "temp", "shape": "reading"},
        ],
    }


@pytest.mark.parametrize(
    ("spot", "message"),
    [
        ("lmap: {}", "x.yaml:16: there is no device 'lmap'; did you mean 'lamp'?"),
        ("spy: {}", "'spy' has access: system, so no place on the picture"),
        ("port: {}", "'port' cannot be on the picture: a serial has a card of its own"),
        ("lamp.1: {}", "'lamp' has no bits: a digital_input is no bank"),
        ("switches.sw2: {}", "'switches' has no bit 'sw2'; it has the bits 0 to 1; did you mean"),
        ("temp: {shape: slide}", "a cpu_temperature is shown as reading or digits"),
        ("relay: {shape: push}", "; a push button has `hold: true` or a `pulse`"),
        ("switches: {shape: digits}", "; a digit has 7 or 8 bits, one for each segment"),
        ("digit: {segments: [a, b]}", "'digit' has 7 bits: give a segment for each of them"),
        ("temp: {shape: digits, segments: [a]}", "'temp' has no segments"),
        ("lamp: {at: [0.5]}", "expected two numbers such as [0.31, 0.62], not 1"),
        ("lamp: {at: [0.5, 62]}", "expected a number from 0 to 1, not 62"),
        ("lamp: {color: gren}", "not 'gren'; did you mean 'green'?"),
        ("lamp: {shape: bulb}", "'bulb'"),
        ("lamp: {att: [0, 0]}", "unknown key 'att' in 'lamp' on the picture; did you mean 'at'?"),
    ],
)
def test_what_is_wrong_with_a_spot_is_told(read: Read, spot: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"  file: board.svg\n  devices:\n    {spot}\n")
    assert message in str(caught.value)
    assert "x.yaml:16: " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "size"),
    [
        ("a.png", PNG, (640, 480)),
        ("a.jpg", JPEG, (640, 480)),
        ("a.svg", b'<svg viewBox="0,0 20 10.5">', (20, 10.5)),
    ],
)
def test_the_size_is_read_from_the_picture(
    read: Read, tmp_path: Path, name: str, content: bytes, size: tuple[float, float]
) -> None:
    (tmp_path / name).write_bytes(content)
    picture = read(f"  file: {name}\n")
    assert (picture.width, picture.height) == size


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.gif", b"GIF89a", "expected an SVG, PNG or JPEG file, not 'a.gif'"),
        ("bord.svg", None, "did you mean 'board.svg'?"),
        ("../a.svg", None, "expected a picture beside the board or below it, not '../a.svg'"),
        ("/etc/a.svg", None, "expected a picture beside the board or below it"),
        ("a.svg", b"<html></html>", "'a.svg' is no SVG with a size"),
        ("a.svg", b'<svg width="3" height="4">', "'a.svg' is no SVG with a size"),
        ("a.png", SVG.encode(), "'a.png' is no PNG with a size"),
        ("a.jpg", PNG, "'a.jpg' is no JPG with a size"),
        ("a.jpg", JPEG[:11], "'a.jpg' is no JPG with a size"),
        ("a.svg", b'<svg viewBox="0 0 9000 10">', "'a.svg' is 9000 x 10: at most 8192"),
        ("a.svg", SVG.encode() + bytes(MOST_BYTES), "'a.svg' is larger than 2 MiB"),
    ],
)
def test_what_is_no_picture_beside_the_board_is_told(
    read: Read, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.yaml:14: ") as caught:
        read(f"  file: {name}\n")
    assert message in str(caught.value)


def test_a_link_out_of_the_boards_folder_is_no_picture(read: Read, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside.svg"
    outside.write_text(SVG)
    (tmp_path / "a.svg").symlink_to(outside)
    with pytest.raises(ConfigError, match="expected a picture beside the board"):
        read("  file: a.svg\n")


def test_the_installer_copies_the_picture_with_the_board(read: Read, tmp_path: Path) -> None:
    read("  file: board.svg\n")
    assert files_named(tmp_path / "x.yaml") == [Path("board.svg"), Path("x.yaml")]
