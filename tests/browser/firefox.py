"""A headless Firefox, driven by WebDriver BiDi: it listens itself and needs no driver.

The protocol is https://w3c.github.io/webdriver-bidi/; its WebSocket comes from selenium's library.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websocket import WebSocket, create_connection

from tests.kit.waiting import eventually

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
TAB, ENTER, SHIFT, SPACE, RIGHT = "\ue004", "\ue007", "\ue008", " ", "\ue014"
ENOUGH = 30.0  # seconds, for anything
_PREFS = {
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.aboutwelcome.enabled": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """A tab of it; `complaints` is what its console had to say, errors and warnings."""

    def __init__(self, socket: WebSocket) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._number = 0
        self.ask("session.new", capabilities={})
        self.ask("session.subscribe", events=["log.entryAdded"])
        # The first tab never has the focus: keys would press no button in it.
        self._tab = self.ask("browsingContext.create", type="tab")["context"]

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Have a command done; its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "log.entryAdded":
                entry = message["params"]
                if entry["level"] in ("error", "warn"):
                    self.complaints.append(entry["text"])
            elif message.get("id") == self._number:
                assert message["type"] == "success", message
                result: dict[str, Any] = message["result"]
                return result

    def open(self, url: str) -> None:
        self.ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def run(self, expression: str) -> Any:
        """The value of an expression: a text, a number, true, false or None."""
        result = self.ask(
            "script.evaluate",
            expression=expression,
            target={"context": self._tab},
            awaitPromise=True,
        )
        assert result["type"] == "success", result
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        """What is to be seen there; "" if there is nothing."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def until(self, happens: Callable[[], Any], what: str) -> None:
        eventually(happens, what, ENOUGH)

    def sees(self, selector: str, text: str) -> None:
        self.until(lambda: text in self.text(selector), f"{selector} shows {text!r}: it")

    def press(self, key: str, *, held: str = "") -> None:
        """Press and release a key, on what has the focus, while another one is `held`."""
        keys = [("keyDown", key), ("keyUp", key)]
        if held:
            keys = [("keyDown", held), *keys, ("keyUp", held)]
        actions = [{"type": type_, "value": value} for type_, value in keys]
        sources = [{"type": "key", "id": "keyboard", "actions": actions}]
        self.ask("input.performActions", context=self._tab, actions=sources)

    def tab_to(self, selector: str, *, back: bool = False) -> None:
        """Go to it with the Tab key, `back` with Shift, and never through the browser's own bars.

        A page that was left for them has no focus any more, as far as a headless Firefox knows.
        """
        reached = f"document.activeElement.matches({json.dumps(selector)})"
        while not self.run(reached):
            self.press(TAB, held=SHIFT if back else "")
            assert self.run("document.hasFocus()"), f"the Tab key does not lead to {selector}"

    def choose_file(self, selector: str, file: Path) -> None:
        found = self.ask(
            "browsingContext.locateNodes",
            context=self._tab,
            locator={"type": "css", "value": selector},
        )
        element = {"sharedId": found["nodes"][0]["sharedId"]}
        self.ask("input.setFiles", context=self._tab, element=element, files=[str(file)])

    def resize(self, width: int, height: int) -> None:
        viewport = {"width": width, "height": height}
        self.ask("browsingContext.setViewport", context=self._tab, viewport=viewport)

    def picture(self, file: Path) -> None:
        taken = self.ask("browsingContext.captureScreenshot", context=self._tab, origin="document")
        file.write_bytes(base64.b64decode(taken["data"]))


@contextmanager
def firefox(profile: Path) -> Iterator[Firefox]:
    """One while the block lasts; `profile` is an empty folder of its own."""
    assert FIREFOX is not None
    profile.mkdir(parents=True, exist_ok=True)
    lines = (
        f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _PREFS.items()
    )
    (profile / "user.js").write_text("\n".join(lines))
    command = [FIREFOX, "--headless", "--no-remote", "--profile", str(profile)]
    process = subprocess.Popen(
        [*command, "--remote-debugging-port=0"],
        env={"HOME": str(profile), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    listening = profile / "WebDriverBiDiServer.json"
    try:
        eventually(lambda: listening.is_file() and listening.read_text(), "Firefox listens", ENOUGH)
        at = json.loads(listening.read_text())
        url = f"ws://{at['ws_host']}:{at['ws_port']}/session"
        socket = create_connection(url, timeout=ENOUGH, suppress_origin=True)
        try:
            yield Firefox(socket)
        finally:
            socket.close()
    finally:
        process.terminate()
        process.wait(ENOUGH)
