"""The addresses that were once let in, which a restart does not forget."""

from __future__ import annotations

import threading

from labnode.store.store import Store

_MOST = 1000


class KnownAddresses:
    """Those that have shown right credentials to one `side` of the node, at most 1,000. Any thread.

    A new one is written soon, and nobody waits for that; one that is known costs no write. Where
    there are too many, the one is forgotten that has not come for longest.
    """

    def __init__(self, store: Store, side: str) -> None:
        self._store = store
        self._key = f"known-addresses:{side}"
        self._lock = threading.Lock()
        stored = store.recall(self._key)
        texts = stored if isinstance(stored, list) else []
        self._addresses = dict.fromkeys(text for text in texts if isinstance(text, str))

    def __contains__(self, address: object) -> bool:
        with self._lock:
            if address not in self._addresses:
                return False
            self._addresses[str(address)] = self._addresses.pop(str(address))  # used last
            return True

    def add(self, address: str) -> None:
        with self._lock:
            if address in self._addresses:
                return
            self._addresses[address] = None
            if len(self._addresses) > _MOST:
                del self._addresses[next(iter(self._addresses))]
            self._store.remember_soon(self._key, list(self._addresses))
