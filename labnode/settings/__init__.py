"""The node's settings: what they are, what they may be, and where they come from."""

from labnode.settings.load import load_settings
from labnode.settings.model import AdminAccess, Client, Credentials, Settings

__all__ = ["AdminAccess", "Client", "Credentials", "Settings", "load_settings"]
