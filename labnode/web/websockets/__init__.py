"""WebSockets: open pages, off the pool of the web server, within limits of their own."""

from labnode.web.websockets.channel import Channel, Receiver
from labnode.web.websockets.limits import Ending, Limits
from labnode.web.websockets.websocket import WebSocket, WebSocketClosed
from labnode.web.websockets.websockets import WebSockets

__all__ = [
    "Channel",
    "Ending",
    "Limits",
    "Receiver",
    "WebSocket",
    "WebSocketClosed",
    "WebSockets",
]
