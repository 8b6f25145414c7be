"""The client end of the control socket: finds the running node and asks it."""

from __future__ import annotations

import json
import pwd
import socket
from pathlib import Path
from typing import Any

from labnode.control.protocol import address, read_line
from labnode.errors import ConfigError, Forbidden, LabnodeError
from labnode.locale import Message, Retold

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
        raise LabnodeError(Message("cli.node-silent", directory=directory)) from None
    except ConnectionResetError:
        raise NotRunning(Message("cli.node-ended", directory=directory)) from None
    except OSError:
        raise NotRunning(Message("cli.not-running", directory=directory)) from None
    except ValueError:
        raise NotRunning(Message("cli.node-ended-early", directory=directory)) from None
    if "error" in answer:
        if answer["error"]["code"] == Forbidden.code:
            raise Forbidden(_who_may(directory))
        if answer["error"]["code"] == ConfigError.code:
            raise ConfigError(*answer["error"]["message"].splitlines())
        raise LabnodeError(Retold(answer["error"].get("words", answer["error"]["message"])))
    result: dict[str, Any] = answer["result"]
    return result


def _who_may(directory: Path) -> Message:
    try:
        owner = pwd.getpwuid(directory.stat().st_uid).pw_name
    except (OSError, KeyError):
        return Message("cli.may-not-look", directory=directory)
    return Message("cli.runs-as", directory=directory, owner=owner)
