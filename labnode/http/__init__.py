"""The HTTP server: from sockets to a WSGI application and back, within hard limits."""

from labnode.http.connection import Body, Connection
from labnode.http.server import WebServer

__all__ = ["Body", "Connection", "WebServer"]
