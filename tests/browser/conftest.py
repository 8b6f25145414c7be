"""A real Chromium for the tests, a student who uses it, and a stand-in for the agent."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.kit.waiting import PATIENCE

from .real_node import Node, running
from .standin import StandIn

FLAGS = [
    "--headless=new",
    "--no-sandbox",  # it shows our own pages only, and many a container lets nobody make one
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--lang=en",
    "--window-size=1200,900",
]


def _first_of(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A headless Chromium, the same one for all tests."""
    chromium = _first_of("chromium", "chromium-browser")
    chromedriver = _first_of("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip(
            "the browser tests need chromium and chromedriver:"
            " apt-get install chromium chromium-driver"
        )
    options = ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    # With both paths given selenium has no reason to look for, or download, anything.
    browser = Chrome(options=options, service=Service(chromedriver))
    try:
        yield browser
    finally:
        browser.quit()


class Student:
    """What a person does with the page and sees on it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self.expects_failures = False  # requests that fail belong to the test
        self.has_no_websocket = False  # as behind a proxy that blocks them: the page polls
        self.complaints: list[str] = []

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What is to be seen there; "" if there is nothing."""
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found[0].text if found else ""

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def leave(self) -> None:
        self.click("#leave")
        self.click("dialog [value=yes]")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, happens: Callable[[], Any], what: str = "") -> Any:
        """Wait until `happens()` is true; its answer."""
        changing = [StaleElementReferenceException]
        wait = WebDriverWait(self.driver, PATIENCE, 0.03, ignored_exceptions=changing)
        return wait.until(lambda _: happens(), what)

    def sees(self, selector: str, text: str) -> None:
        """Wait until `text` is part of what is to be seen there."""
        self.until(lambda: text in self.text(selector), f"{selector} shows {text!r}")

    def sees_in_source(self, selector: str, text: str) -> None:
        """Wait until `text` is there for a screen reader, if not for the eye."""
        self.until(
            lambda: text in str(self.find(selector).get_property("textContent")),
            f"{selector} says {text!r}",
        )

    def drawn(self) -> list[list[str]]:
        """The names of the devices, row by row."""
        script = """return [...document.querySelectorAll("#devices .grid")].map((row) =>
            [...row.querySelectorAll("[data-device]")].map((card) => card.dataset.device))"""
        rows: list[list[str]] = self.run(script)
        return rows

    def emulate(self, command: str, **parameters: Any) -> None:
        self.driver.execute_cdp_cmd(f"Emulation.{command}", parameters)

    def become_phone(self) -> None:
        screen = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        self.emulate("setDeviceMetricsOverride", **screen)
        self.emulate("setTouchEmulationEnabled", enabled=True)

    def go_away(self) -> None:
        """Close the page, and keep in mind what the browser's console had to say about it.

        Every violation of the content security policy is among that.
        """
        for entry in self._console():
            websocket = "WebSocket connection to" in entry["message"]
            expected = self.expects_failures and (websocket or entry["source"] == "network")
            if not (expected or (websocket and self.has_no_websocket)):
                self.complaints.append(entry["message"])
        self.driver.get("about:blank")
        self._console()

    def _console(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return entries


@pytest.fixture
def student(driver: Chrome) -> Iterator[Student]:
    """A student at a desktop browser, who does not accept a single complaint of its console."""
    student = Student(driver)
    yield student
    student.go_away()
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})  # of all paths
    student.emulate("clearDeviceMetricsOverride")
    student.emulate("setTouchEmulationEnabled", enabled=False)
    student.emulate("setEmulatedMedia", media="", features=[])
    assert student.complaints == []


@pytest.fixture
def lab(student: Student) -> Iterator[StandIn]:
    """A stand-in for the agent, at `lab.url`; it outlives the student's page, which has to poll."""
    student.has_no_websocket = True
    lab = StandIn()
    yield lab
    student.go_away()
    lab.fall_silent()


@pytest.fixture
def bench(student: Student, lab: StandIn) -> StandIn:
    """The stand-in with a device for each widget, and its page open."""
    lab.show_all_widgets()
    student.open(lab.url)
    return lab


@pytest.fixture(scope="module")
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """A node for all tests of a module, with its BOARD; its MODULE and SETTINGS, if it has them."""
    folder = tmp_path_factory.mktemp("bench")
    for name, suffix in (("BOARD", "yaml"), ("MODULE", "py")):
        if text := getattr(request.module, name, ""):
            (folder / f"bench.{suffix}").write_text(text)
    settings = getattr(request.module, "SETTINGS", {})
    with running(folder / "bench.yaml", folder / "state", **settings) as node:
        yield node


@pytest.fixture
def visit(student: Student, node: Node) -> Iterator[Student]:
    """A student whose turn it is at the node, with its page open."""
    session_id, url = node.server.new(name="Ada", assigned_time=300)
    student.open(url)
    yield student
    student.go_away()
    assert node.server.delete(session_id).clean
