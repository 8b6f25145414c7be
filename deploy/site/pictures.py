"""Takes the pictures of students' pages for docs/pictures/, with Chromium and chromedriver.

    python -m deploy.site.pictures [NAME...]

takes those of all recipes and of all boards, or of those that are named.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
_WIDTH = 900  # pixels
_SHOTS = {"": (1280, 760, "light"), "-phone": (390, 844, "light"), "-dark": (1280, 760, "dark")}


def recipes() -> dict[str, Path]:
    """The board file of each recipe, by the recipe's name."""
    pages = sorted((ROOT / "docs" / "recipes").glob("*.md"))
    found = {page.stem: re.search(r"<!-- board (\S+) -->", page.read_text()) for page in pages}
    return {name: ROOT / match[1] for name, match in found.items() if match}


def take(browser: Chrome, board: Path, picture: Path) -> None:
    """The page of a board in the demo, as high as it is."""
    with _demo(board) as url:
        browser.set_window_size(_WIDTH, 700)
        browser.get(url)
        waiting = WebDriverWait(browser, 60)
        waiting.until(lambda b: b.find_elements("css selector", "#devices .card"))
        waiting.until(lambda b: b.execute_script("return document.readyState") == "complete")
        browser.implicitly_wait(2)
        browser.find_elements("css selector", ".there-is-no-such")  # plots and cameras begin
        height = browser.execute_script("return document.documentElement.scrollHeight")
        browser.set_window_size(_WIDTH, min(1600, height + 160))
        browser.save_screenshot(str(picture))


def take_board(browser: Chrome, board: Path) -> None:
    """A board's page as it comes: on a desktop, on a phone, and dark."""
    with _demo(board) as url:
        browser.get(url)
        for name, (width, height, scheme) in _SHOTS.items():
            feature = {"name": "prefers-color-scheme", "value": scheme}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            WebDriverWait(browser, 60).until(lambda b: b.find_elements("css selector", ".card"))
            browser.implicitly_wait(1)
            browser.find_elements("css selector", ".there-is-no-such")  # plots and cameras begin
            browser.save_screenshot(str(PICTURES / "boards" / f"{board.stem}{name}.png"))


@contextmanager
def _demo(board: Path) -> Iterator[str]:
    """The address of the student's page of a demo."""
    command = [sys.executable, "-u", "-m", "labnode", "demo", board, "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            yield next(line.strip() for line in demo.stdout if line.startswith("http://"))
        finally:
            demo.terminate()


def main(names: list[str]) -> None:
    """Take the pictures of these recipes and boards, or of all."""
    options = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--lang=en"):
        options.add_argument(argument)
    (PICTURES / "boards").mkdir(parents=True, exist_ok=True)
    browser = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        for name, board in recipes().items():
            if not names or name in names:
                take(browser, board, PICTURES / f"{name}.png")
        for board in sorted((ROOT / "boards").glob("*.yaml")):
            if not names or board.stem in names:
                take_board(browser, board)
    finally:
        browser.quit()


if __name__ == "__main__":
    main(sys.argv[1:])
