"""The SQLite database: sessions, tasks, events and the node's own state."""

from labnode.store.known_addresses import KnownAddresses
from labnode.store.pruning import Pruning
from labnode.store.store import Happening, NotUnique, Row, Store, StoredRows, Work

__all__ = [
    "Happening",
    "KnownAddresses",
    "NotUnique",
    "Pruning",
    "Row",
    "Store",
    "StoredRows",
    "Work",
]
