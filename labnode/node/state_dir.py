"""The state directory, which one node locks, and its secret key."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from labnode.errors import Busy, ConfigError, Forbidden
from labnode.files import private
from labnode.locale import Message


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
                self._lock = undo.enter_context(_locked(path, "ab"))
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
        """Unlock the directory; idempotent."""
        self._lock.close()

    def _own_secret(self) -> bytes:
        file = self.path / "secret_key"
        with contextlib.suppress(FileNotFoundError):
            if secret := file.read_bytes().strip():
                return secret
        secret = secrets.token_urlsafe(32).encode()
        new = self.path / "secret_key.new"
        with open(new, "wb", opener=private) as out:
            out.write(secret + b"\n")
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)  # a power cut leaves either no key or a whole one
        return secret


@contextlib.contextmanager
def without_node(path: Path) -> Iterator[None]:
    """Keep nodes from using the state directory `path` during the block.

    Busy if one uses it, Forbidden if this user may not find out. Does nothing where no node has
    ever run.
    """
    with contextlib.ExitStack() as undo:
        try:
            undo.enter_context(_locked(path, "rb"))
        except FileNotFoundError:
            pass
        except BlockingIOError:
            raise Busy(Message("cli.is-running", directory=path)) from None
        except OSError as error:
            words = Message("cli.unseen", directory=path, why=error.strerror)
            raise Forbidden(words) from None
        yield


def _locked(directory: Path, mode: Literal["ab", "rb"]) -> BinaryIO:
    """The lock of a state directory, held until it is closed; "ab" makes it."""
    lock = open(directory / "lock", mode, opener=private)  # noqa: SIM115 - the caller closes it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock
