"""The client end of the control socket: finds the running node and asks it."""

from __future__ import annotations

import json
import pwd
import socket
from pathlib import Path
from typing import Any

from labnode.control.protocol import address, read_line
from labnode.errors import ConfigError, Forbidden, LabnodeError

_PATIENCE = 40.0  # seconds; longer than the node waits for a slow SD card
_LONGEST = 1 << 20  # bytes of an answer


class NotRunning(LabnodeError):
    """No node runs with this state directory."""

    code = "not-running"


def ask(directory: Path, command: str, **options: Any) -> dict[str, Any]:
    """What the node with the state directory `directory` answers to `command`.

    NotRunning when there is none, Forbidden when it is another user's, LabnodeError with the node's
    sentence when it refuses.
    """
    line = f"{command} {json.dumps(options)}" if options else command
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
            address(directory) as place,
        ):
            connection.settimeout(_PATIENCE)
            connection.connect(place)
            connection.sendall(f"{line}\n".encode())
            answer = json.loads(read_line(connection, timeout=_PATIENCE, limit=_LONGEST))
    except PermissionError:
        raise Forbidden(_who_may(directory)) from None
    except TimeoutError:
        raise LabnodeError(f"The node in {directory} does not answer.") from None
    except ConnectionResetError:
        raise NotRunning(f"The node in {directory} has ended meanwhile.") from None
    except OSError:
        raise NotRunning(f"No labnode is running with the state directory {directory}.") from None
    except ValueError:
        raise NotRunning(f"The node in {directory} ended before it answered.") from None
    if "error" in answer:
        if answer["error"]["code"] == Forbidden.code:
            raise Forbidden(_who_may(directory))
        if answer["error"]["code"] == ConfigError.code:
            raise ConfigError(*answer["error"]["message"].splitlines())
        raise LabnodeError(answer["error"]["message"])
    result: dict[str, Any] = answer["result"]
    return result


def _who_may(directory: Path) -> str:
    try:
        owner = pwd.getpwuid(directory.stat().st_uid).pw_name
    except (OSError, KeyError):
        return f"This user may not look into the state directory {directory}."
    return f"The node in {directory} runs as {owner}: ask it as that user (sudo -u {owner} ...)."
