"""A student's visit in Firefox, with the keyboard alone; Firefox's console has nothing to say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .firefox import ENTER, FIREFOX, RIGHT, SPACE, Firefox, firefox
from .real_node import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(FIREFOX is None, reason="no Firefox: apt-get install firefox-esr"),
]

BOARDS = Path(__file__).parents[2] / "boards"
BLINK = BOARDS / "firmware" / "uno-blank.hex"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    with firefox(tmp_path_factory.mktemp("firefox")) as browser:
        yield browser


def leave(browser: Firefox) -> None:
    browser.tab_to("#leave", back=True)
    browser.press(ENTER)
    browser.tab_to("dialog [value=yes]")
    browser.press(ENTER)
    browser.sees("#over", "You have left the lab.")


def test_switches_sliders_and_the_picture_by_keyboard(browser: Firefox, tmp_path: Path) -> None:
    with running(BOARDS / "demo.yaml", tmp_path / "state") as node:
        session_id, url = node.server.new(name="Ada", assigned_time=300)
        browser.open(url)
        browser.tab_to("#device-switch [role=switch]")
        browser.press(SPACE)
        browser.sees("#device-lamp .state", "On")
        browser.tab_to("#device-dimmer input")
        browser.press(RIGHT)
        browser.sees("#device-dimmer output", "1%")
        leave(browser)
        assert node.server.delete(session_id).clean
    assert browser.complaints == []


def test_a_file_that_was_built_again_is_sent_as_it_is_now(browser: Firefox, tmp_path: Path) -> None:
    file = tmp_path / "blink.hex"
    file.write_bytes(BLINK.read_bytes())
    with running(BOARDS / "arduino-uno.yaml", tmp_path / "state") as node:
        session_id, url = node.server.new(name="Ada", assigned_time=300)
        browser.open(url)
        browser.sees("#device-console .state", "9600")
        browser.choose_file("#file-mcu", file)
        browser.sees("#device-mcu .chosen", file.name)
        for content in (BLINK.read_bytes(), b"no HEX file\n"):
            file.write_bytes(content)
            browser.tab_to("#send-mcu")
            browser.press(ENTER)
            browser.sees("#device-mcu", "Done" if content == BLINK.read_bytes() else "HEX")
        leave(browser)
        assert node.server.delete(session_id).clean
    assert browser.complaints == []
