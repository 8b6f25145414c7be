"""The HTTP server: from sockets to a WSGI application and back, within hard limits."""

from labnode.http.connection import Connection
from labnode.http.server import WebServer

__all__ = ["Connection", "WebServer"]
