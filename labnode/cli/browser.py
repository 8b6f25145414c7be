"""The browser on this machine's screen."""

from __future__ import annotations

import os
import webbrowser


def open_browser(url: str) -> bool:
    """Show `url`; False without a screen or a browser.

    Without a screen Python would start a text browser over the terminal's output; BROWSER in the
    environment asks for one explicitly.
    """
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")):
        return False
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False
