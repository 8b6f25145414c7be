"""How many guesses each address has left."""

from __future__ import annotations

import ipaddress
import logging
import math
import threading
from dataclasses import dataclass
from functools import lru_cache

from labnode.clock import Clock

_log = logging.getLogger(__name__)

_AT_ONCE = 20
_EVERY = 90.0  # seconds until one more: with those at once they are 60 in any hour
_MOST_SOURCES = 1000
_REST = "many addresses"  # all those for which there is no room share one budget


@dataclass
class _Spent:
    until: float  # when the whole budget is there again
    refused: bool = False  # which has been logged


class GuessLimit:
    """At most 60 guesses in any hour for each source: 20 at once, then one every 90 s.

    Its memory is bounded. More sources than it has room for share one budget, so nobody gets a new
    budget by having many addresses.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._spent: dict[str, _Spent] = {}

    def take(self, source: str) -> float:
        """Count a guess; not 0 but the seconds to wait where none is left."""
        with self._lock:
            now = self._clock.now()
            spent = self._of(source, now)
            wait = spent.until - now - (_AT_ONCE - 1) * _EVERY
            if wait <= 0:
                spent.until += _EVERY
                return 0.0
            if not spent.refused:
                spent.refused = True
                _log.warning("Too many wrong credentials from %s: refused for now", source)
            return wait

    def give_back(self, source: str) -> None:
        """It was no guess."""
        with self._lock:
            self._of(source, self._clock.now()).until -= _EVERY

    def taken(self, source: str) -> int:
        """How many guesses the source has had since it last had its whole budget."""
        with self._lock:
            now = self._clock.now()
            return math.ceil((self._of(source, now).until - now) / _EVERY)

    def _of(self, source: str, now: float) -> _Spent:
        spent = self._spent.get(source)
        if spent is None and len(self._spent) >= _MOST_SOURCES:
            self._spent = {key: each for key, each in self._spent.items() if each.until > now}
            if len(self._spent) >= _MOST_SOURCES:
                source = _REST
                spent = self._spent.get(source)
        if spent is None or spent.until <= now:
            spent = self._spent[source] = _Spent(now)
        return spent


@lru_cache(1024)
def source_of(address: str) -> str:
    """What one client can have many addresses of, and counts once: an IPv6 network of 64 bits."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip), 64), strict=False))
