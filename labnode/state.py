"""The state directory: one node's alone, with its secret key."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

from labnode.errors import ConfigError


class StateDir:
    """Locks `path` (made if it is not there) against a second node until `close()`.

    `secret` is the key that tokens and cookies are derived with: `secret_key` where the settings
    have one, else made once and kept in the directory. ConfigError when the directory cannot be
    used.
    """

    def __init__(self, path: Path, secret_key: str | None) -> None:
        self.path = path
        with contextlib.ExitStack() as undo:
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = undo.enter_context(open(path / "lock", "ab", opener=_private))
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"{path}: another labnode is running with this state directory"
                ) from None
            except OSError as error:
                raise ConfigError(
                    f"{path}: the state directory cannot be used ({error.strerror}); labnode must "
                    "be able to write there (--state-dir or LABNODE_STATE_DIR name another one)"
                ) from None
            try:
                self.secret = secret_key.encode() if secret_key else self._own_secret()
            except OSError as error:
                raise ConfigError(
                    f"{path}: the secret key cannot be kept ({error.strerror})"
                ) from None
            undo.pop_all()

    def close(self) -> None:
        """Let another node have the directory; idempotent."""
        self._lock.close()

    def _own_secret(self) -> bytes:
        file = self.path / "secret_key"
        with contextlib.suppress(FileNotFoundError):
            if secret := file.read_bytes().strip():
                return secret
        secret = secrets.token_urlsafe(32).encode()
        new = self.path / "secret_key.new"
        with open(new, "wb", opener=_private) as out:
            out.write(secret + b"\n")
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)  # a power cut leaves either no key or a whole one
        return secret


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
