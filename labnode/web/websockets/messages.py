"""Messages: from what a lab sends to frames, and back from frames to what a lab receives."""

from __future__ import annotations

import json
from typing import Any

from wsproto.events import BytesMessage, TextMessage

from labnode.errors import BadInput


def encoded(message: Any, limit: int) -> tuple[str | bytes, int]:
    """A message as it is sent, and its size in bytes; BadInput when it cannot be sent."""
    data: str | bytes
    try:
        if isinstance(message, bytes | bytearray | memoryview):
            data = bytes(message)
        elif isinstance(message, dict | list):
            data = json.dumps(message, allow_nan=False)
        elif isinstance(message, str):
            data = message
        else:
            raise TypeError(f"{type(message).__name__} is none of str, bytes, dict and list")
        size = len(data if isinstance(data, bytes) else data.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"This is not a message for a WebSocket: {error}.") from None
    if size > limit:
        raise BadInput(f"The message has {size} bytes; a WebSocket takes at most {limit}.")
    return data, size


def framed(message: str | bytes) -> TextMessage | BytesMessage:
    """A message for the protocol."""
    return TextMessage(message) if isinstance(message, str) else BytesMessage(message)


class Assembly:
    """Puts the parts of messages together, each of which has at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.too_large = False
        self._limit = limit
        self._size = 0
        self._parts: list[bytes | bytearray] = []

    def add(self, part: TextMessage | BytesMessage) -> str | bytes | None:
        """The whole message, if this is its last part."""
        data = part.data.encode() if isinstance(part, TextMessage) else part.data
        if data:  # or a message of a million empty frames would have a million parts
            self._parts.append(data)
            self._size += len(data)
        if self._size > self._limit:
            self.too_large = True
            self._parts.clear()
            return None
        if not part.message_finished:
            return None
        whole = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return whole.decode() if isinstance(part, TextMessage) else whole
