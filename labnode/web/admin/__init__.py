"""The administration's page: the node's state, and buttons for its staff."""

from labnode.web.admin.app import Admin, administration

__all__ = ["Admin", "administration"]
