"""The watchdog: systemd hears that the node lives only while all of it does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address

from labnode.clock import Clock
from labnode.system.systemd import Systemd

log = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds for the node's own answer; a stop has to wait for it as well
_SOURCE = "127.76.110.100"  # an address of its own: nobody else can use up its share


class Watchdog:
    """Tells systemd how the node is, from `turn()` to `turn()`.

    `look` says what is wrong, or None; `tell` is the sentence for `systemctl status`. The node is
    ready when nothing is wrong for the first time. While something is, systemd's watchdog is not
    fed, and at its end systemd starts the node anew.
    """

    def __init__(
        self,
        systemd: Systemd,
        clock: Clock,
        look: Callable[[], str | None],
        tell: Callable[[], str],
    ) -> None:
        self._systemd = systemd
        self._now = clock.now
        self._look = look
        self._tell = tell
        self._ready = not systemd.listens
        self._due = 0.0
        self._told = ""
        self._trouble: str | None = None

    def turn(self) -> None:
        """Do what is due; called about every second by the main thread."""
        if not self._ready or (self._systemd.watchdog is not None and self._now() >= self._due):
            self._look_and_feed()
        told = f"Not well: {self._trouble}." if self._trouble else self._tell()
        if told != self._told:
            self._told = told
            self._systemd.status(told)

    def _look_and_feed(self) -> None:
        trouble = self._look()
        if trouble is None and not self._ready:
            self._systemd.ready()
            self._ready = True
        if trouble is None and self._systemd.watchdog is not None:
            self._systemd.alive()
            self._due = self._now() + self._systemd.watchdog / 3
        if trouble is not None and self._trouble is None:
            log.error("systemd hears no sign of life while this is so: %s.", trouble)
        elif trouble is None and self._trouble is not None:
            log.warning("systemd hears signs of life again.")
        self._trouble = trouble


def ask_web(address: tuple[str, int], path: str) -> str | None:
    """Why the web server at `address` is not well, or None; it is asked for `path`.

    503 is an answer, too: too many ask at the moment.
    """
    host, source = _loopback(address[0])
    connection = HTTPConnection(host, address[1], timeout=_PATIENCE, source_address=source)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
    except TimeoutError:
        return f"its own web server has not answered for {_PATIENCE:g} s"
    except (OSError, HTTPException) as error:
        return f"its own web server does not answer ({error or type(error).__name__})"
    finally:
        connection.close()
    if answer.status in (200, 503):
        return None
    return f"its own web server answers {path} with {answer.status}"


def _loopback(host: str) -> tuple[str, tuple[str, int] | None]:
    """Where a server that listens at `host` is reached from this machine, and as whom."""
    address = ip_address(host.partition("%")[0])
    if address.version == 4 and (address.is_unspecified or address.is_loopback):
        return ("127.0.0.1" if address.is_unspecified else host), (_SOURCE, 0)
    return ("::1" if address.is_unspecified else host), None
