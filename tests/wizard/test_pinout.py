"""The header drawn with what a board uses of it."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

from labnode.board.config.board_file import BoardFile
from labnode.wizard.pinout import as_svg, as_text
from labnode.wizard.wiring import wiring

Board = Callable[[str], BoardFile]

DEVICES = """
  heater: {driver: relay, pin: GPIO24, active_high: false}
  fan: {driver: pwm_output, pin: 18, safe: 1}
  lid: {driver: button, pin: BOARD13}
"""
SPACE = "{http://www.w3.org/2000/svg}"


def test_the_header_is_as_it_is_on_a_pi(board: Board) -> None:
    pins = wiring(None)
    assert [pin.position for pin in pins] == list(range(1, 41))
    assert {pin.name for pin in pins if not pin.is_gpio} == {"3V3", "5V", "GND"}
    assert [pin.name for pin in pins[:4]] == ["3V3", "5V", "GPIO2", "5V"]
    assert sorted(pin.number for pin in pins if pin.is_free) == list(range(2, 28))
    assert [pin.name for pin in pins if pin.is_reserved] == ["GPIO0", "GPIO1"]


def test_each_pin_says_who_uses_it_and_where_it_rests(board: Board) -> None:
    pins = {pin.name: pin for pin in wiring(board(DEVICES))}
    assert pins["GPIO24"].label() == "heater [safe: high]"
    assert pins["GPIO18"].label() == "fan [safe: high]"
    assert pins["GPIO27"].label() == "lid"
    assert pins["GPIO0"].label() == "(for add-on boards)"
    assert not pins["GPIO27"].is_free
    assert pins["GPIO17"].is_free


def test_a_device_with_several_pins_says_which_is_which(board: Board) -> None:
    file = board(
        "  motor: {driver: motor, forward: GPIO5, backward: GPIO6}\n"
        "  leds: {driver: digital_output_bank, pins: [GPIO16, GPIO20]}"
    )
    pins = {pin.name: pin.users for pin in wiring(file)}
    assert (pins["GPIO5"], pins["GPIO6"]) == (("motor forward",), ("motor backward",))
    assert (pins["GPIO16"], pins["GPIO20"]) == (("leds[0]",), ("leds[1]",))


def test_as_text_it_has_a_row_for_each_pair_of_pins(board: Board) -> None:
    lines = as_text("x.yaml", wiring(board(DEVICES))).splitlines()
    assert lines[0] == "x.yaml"
    assert lines[2:4] == [
        "                        3V3   1 · · 2   5V",
        "                      GPIO2   3 ○ · 4   5V",
    ]
    assert "                lid  GPIO27  13 ● · 14  GND" in lines
    assert "                        3V3  17 · ● 18  GPIO24  heater [safe: high]" in lines
    assert "(for add-on boards)   GPIO0  27 · · 28  GPIO1   (for add-on boards)" in lines
    assert len(lines) == 24


def test_as_a_picture_it_is_svg_with_every_pin_and_every_name(board: Board) -> None:
    file = board(DEVICES)
    drawn = as_svg(file.title.pick(), wiring(file))
    root = ElementTree.fromstring(drawn)
    texts = [element.text for element in root.iter(f"{SPACE}text")]
    assert texts[0] == "The <lab> & more"
    assert {str(number) for number in range(1, 41)} <= set(texts)
    assert {"heater [safe: high]", "fan [safe: high]", "lid"} <= set(texts)
    assert len(list(root.iter(f"{SPACE}circle"))) == 40 + 6


def test_a_picture_is_wide_enough_for_the_longest_name(board: Board) -> None:
    name = "a" * 40
    narrow, wide = (
        ElementTree.fromstring(as_svg("x", wiring(file)))
        for file in (None, board(f"  {name}: {{driver: led, pin: 4}}"))
    )
    assert int(narrow.get("width", 0)) >= 480
    assert int(wide.get("width", 0)) > 2 * 40 * 7
