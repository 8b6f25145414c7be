from __future__ import annotations

import os
from pathlib import Path

import pytest

from labnode.drivers.gpio import gpiochips
from labnode.drivers.gpio.gpiochips import Chip, find_chip, list_chips
from labnode.errors import DeviceError


def test_the_chip_is_found_by_its_label_whatever_its_number() -> None:
    pi5 = [Chip(0, "gpio-brcmstb@107d508500"), Chip(4, "pinctrl-rp1"), Chip(10, "other")]
    assert find_chip(pi5) == Chip(4, "pinctrl-rp1")
    assert find_chip([Chip(0, "pinctrl-bcm2711"), Chip(1, "raspberrypi-exp-gpio")]).number == 0
    assert find_chip([Chip(7, "pinctrl-bcm2835")]).number == 7


def test_of_two_names_for_one_chip_the_first_is_taken() -> None:
    assert find_chip([Chip(0, "pinctrl-rp1"), Chip(4, "pinctrl-rp1")]).number == 0


def test_other_chips_are_named_in_the_sentence() -> None:
    with pytest.raises(DeviceError, match=r"pinctrl-rp1.*gpiochip0 is INT33FC.*--simulate"):
        find_chip([Chip(0, "INT33FC:00")])


def test_chips_are_listed_by_number_and_what_is_no_chip_says_so(tmp_path: Path) -> None:
    for name in ("gpiochip10", "gpiochip2", "gpiochipx", "gpiomem"):
        (tmp_path / name).touch()
    label = "not a GPIO chip"
    assert list_chips(tmp_path) == [Chip(2, label), Chip(10, label)]


def test_the_label_comes_from_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpiochip0").touch()
    reply = b"gpiochip0".ljust(32, b"\0") + b"pinctrl-rp1".ljust(32, b"\0") + b"\x36\0\0\0"
    monkeypatch.setattr(gpiochips.fcntl, "ioctl", lambda descriptor, request, space: reply)
    assert list_chips(tmp_path) == [Chip(0, "pinctrl-rp1")]


def test_a_chip_that_may_not_be_opened_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpiochip0").touch()

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeviceError, match=r"may not open .*gpiochip0: add it to the group 'gpio'"):
        list_chips(tmp_path)
