"""The watchdog: systemd gets signs of life only while all parts of the node work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address

from labnode.clock import Clock
from labnode.system.systemd import Systemd

log = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds for the node's own answer; a stop waits for it, too
_SOURCE = "127.76.110.100"  # its own address: nobody else can use up its rate limit


class Watchdog:
    """Keeps systemd informed at each `turn()`.

    `fault` says what is wrong, or None; `status` is the sentence for `systemctl status`. The node
    is ready once nothing is wrong. While something is, systemd's watchdog is not fed, and at its
    timeout systemd restarts the node.
    """

    def __init__(
        self,
        systemd: Systemd,
        clock: Clock,
        fault: Callable[[], str | None],
        status: Callable[[], str],
    ) -> None:
        self._systemd = systemd
        self._now = clock.now
        self._fault = fault
        self._status = status
        self._ready = not systemd.listens
        self._due = 0.0
        self._sent = ""
        self._trouble: str | None = None

    def turn(self) -> None:
        """Do what is due; called about every second by the main thread."""
        if not self._ready or (self._systemd.watchdog is not None and self._now() >= self._due):
            self._check()
        sentence = f"Not well: {self._trouble}." if self._trouble else self._status()
        if sentence != self._sent:
            self._sent = sentence
            self._systemd.status(sentence)

    def _check(self) -> None:
        trouble = self._fault()
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
    """What is wrong with the web server at `address`, or None; it is asked for `path`.

    503 is fine, too: the server is only busy.
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
    """The address to reach a server that listens at `host` from this machine, and the source."""
    address = ip_address(host.partition("%")[0])
    if address.version == 4 and (address.is_unspecified or address.is_loopback):
        return ("127.0.0.1" if address.is_unspecified else host), (_SOURCE, 0)
    return ("::1" if address.is_unspecified else host), None
