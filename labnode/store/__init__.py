"""The SQLite database: sessions, tasks, events and the node's own state."""

from labnode.store.store import Happening, NotUnique, Row, Store, Work

__all__ = ["Happening", "NotUnique", "Row", "Store", "Work"]
