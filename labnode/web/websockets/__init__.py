"""WebSockets: open pages, off the pool of the web server, within limits of their own."""

from labnode.http.websocket import Channel, Ending, Receiver, WebSocketLimits
from labnode.web.websockets.websocket import WebSocket, WebSocketClosed
from labnode.web.websockets.websockets import WebSockets

__all__ = [
    "Channel",
    "Ending",
    "Receiver",
    "WebSocket",
    "WebSocketClosed",
    "WebSocketLimits",
    "WebSockets",
]
