"""The HTTP server: from sockets to a WSGI application and back, within hard limits."""

from labnode.web.server.connection import Body, Connection
from labnode.web.server.server import WebServer

__all__ = ["Body", "Connection", "WebServer"]
