"""The administration's page: how the node is, and what a person may do about it."""

from labnode.web.admin.app import Admin, administration

__all__ = ["Admin", "administration"]
