"""The browser of the person who sits at this machine."""

from __future__ import annotations

import os
import webbrowser


def open_browser(url: str) -> bool:
    """Show `url` there; False without a screen, or a browser.

    Without a screen Python would start a browser for terminals, over what is to be read there.
    BROWSER in the environment names one that is wanted all the same.
    """
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")):
        return False
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False
