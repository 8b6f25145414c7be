"""What WebSockets may use, and the ways in which they end."""

from __future__ import annotations

from dataclasses import dataclass

from wsproto.frame_protocol import CloseReason


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What WebSockets may use; times in seconds, sizes in bytes."""

    sockets: int = 100
    per_session: int = 16
    handlers: int = 64  # threads
    message: int = 1 << 20  # in either direction
    queue: int = 1 << 20  # that wait, in either direction
    ping_every: float = 20.0  # of silence; a proxy closes what is silent for a minute
    pong_within: float = 20.0
    send_within: float = 10.0  # that a handler waits for its client to read
    close_within: float = 5.0


@dataclass(frozen=True)
class Ending:
    """Why a WebSocket is closed."""

    code: int
    reason: str = ""
    by_client: bool = False


STOPPING = Ending(CloseReason.GOING_AWAY, "stopping")
SESSION_OVER = Ending(4001, "session-over")
TOO_LARGE = Ending(CloseReason.MESSAGE_TOO_BIG, "message-too-big")
TOO_SLOW = Ending(CloseReason.TRY_AGAIN_LATER, "too-slow")
FAILED = Ending(CloseReason.INTERNAL_ERROR, "failed")
LOST = Ending(CloseReason.ABNORMAL_CLOSURE, "lost", by_client=True)
