"""The control socket: how a command such as `labnode status` reaches the node that is running."""

from labnode.control.client import NotRunning, ask
from labnode.control.server import Command, ControlSocket

__all__ = ["Command", "ControlSocket", "NotRunning", "ask"]
