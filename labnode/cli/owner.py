"""Who a command works as: root takes the place of the one whose files it is about to touch.

Whoever a directory belongs to decides what is in it: links that lead anywhere, a database that
SQLite reads, a board's Python. Root's rights are not lent to them.
"""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labnode.cli.language import said, told
from labnode.errors import BadInput, ConfigError, LabnodeError

if TYPE_CHECKING:
    from labnode.board import BoardFile
    from labnode.schema import Secrets

_MOST_LINKS = 40  # of a path, as in Linux
_LONGEST = 1 << 16  # bytes that the child of `as_owner` may answer

Owner = tuple[int, int]  # user and group


def owner_of(path: Path, links: int = _MOST_LINKS) -> Owner | None:
    """The first on the way to `path` who is not root; None where all of it is root's.

    From there on it is in their hands where the path leads. What does not exist is its parent's.
    """
    whole = path.absolute()
    for part in (*reversed(whole.parents), whole):
        try:
            found = part.lstat()
        except OSError:
            return None
        if found.st_uid != 0:
            return found.st_uid, found.st_gid
        is_link = stat.S_ISLNK(found.st_mode) and links
        if is_link and (owner := owner_of(part.parent / part.readlink(), links - 1)):
            return owner
    return None


def become_owner(*paths: Path | None) -> None:
    """As root: be the owner of `paths` from now on, for good; of the first that is not root's.

    Other users, and root with what is root's alone, stay who they are. LabnodeError when it cannot
    be done.
    """
    if os.geteuid() != 0:
        return
    for path in paths:
        if path is not None and (owner := owner_of(path)) is not None:
            _become(*owner)
            return


def load_board_as_owner(
    path: Path, *, settings: Path | None = None, state_dir: Path | None = None
) -> BoardFile:
    """`load_board`, after `become_owner`: what a board says in Python does not run as root.

    Secrets beside the settings, which may be for root alone, are read before.
    """
    from labnode.board import load_board

    secrets = secrets_for(path, settings)
    become_owner(state_dir, path)
    return load_board(path, secrets=secrets)


def secrets_for(board: Path, settings: Path | None) -> Secrets:
    """The secrets that `board` may name; those beside `settings` are read now."""
    from labnode.schema import Secrets

    secrets = Secrets(*(file.parent for file in (settings, board) if file is not None))
    if settings is not None and secrets.path.parent == settings.parent:
        secrets.read_now()
    return secrets


def as_owner(work: Callable[[], dict[str, int]], *paths: Path | None) -> dict[str, int]:
    """What `work` returns, done by a process of its own after `become_owner(*paths)`.

    For what root has to finish afterwards. Where nobody has to be become, `work` is done here.
    """
    if os.geteuid() != 0 or not any(path and owner_of(path) for path in paths):
        return work()
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.close(read)
            with os.fdopen(write, "w", encoding="utf-8") as out:
                json.dump(_answer(work, *paths), out)
        except Exception:  # noqa: BLE001 - a bug; the parent says that there was no answer
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)
    os.close(write)
    try:
        with os.fdopen(read, "rb") as answers:
            text = answers.read(_LONGEST)
    finally:
        os.waitpid(child, 0)
    # It has worked with another user's data, so it is believed no more than that user.
    try:
        answer = dict(json.loads(text))
        if "error" not in answer:
            return {str(name): int(number) for name, number in answer.items()}
    except (ValueError, TypeError, RecursionError):
        named = next(path for path in paths if path and owner_of(path))
        raise LabnodeError(said("cli.owner-silent", path=named)) from None
    kind = _KINDS.get(str(answer.get("code")), LabnodeError)
    raise kind("".join(c if c.isprintable() else " " for c in str(answer["error"])))


_KINDS: dict[str, Callable[[str], LabnodeError]] = {
    kind.code: kind for kind in (BadInput, ConfigError)
}


def _answer(
    work: Callable[[], dict[str, int]], *paths: Path | None
) -> dict[str, int] | dict[str, str]:
    try:
        become_owner(*paths)
        return work()
    except LabnodeError as error:
        return {"error": told(error.words), "code": error.code}


def _become(uid: int, gid: int) -> None:
    import pwd

    _leave_terminal()
    try:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            name = str(uid)
            os.setgroups([])
        else:
            name, gid = entry.pw_name, entry.pw_gid
            os.initgroups(name, gid)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise LabnodeError(said("cli.not-become", user=uid, why=error.strerror)) from None
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or _could_return():
        raise LabnodeError(said("cli.not-given-up", user=name))
    for place in (Path(os.__file__).parent, Path(__file__).parent):
        if not os.access(place, os.R_OK | os.X_OK):
            raise LabnodeError(said("cli.owner-reads-not", user=name, place=place))


def _could_return() -> bool:
    try:
        os.setresuid(-1, 0, -1)
    except OSError:
        return False
    return True


def _leave_terminal() -> None:
    """Give up the terminal: with it, a user's program could type into the shell of root (TIOCSTI).

    Ctrl-C still comes. Who leads a session has no shell behind, and would hang up.
    """
    import contextlib
    import fcntl
    import termios

    if os.getsid(0) == os.getpid():
        return
    with contextlib.suppress(OSError):  # there is none
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
        try:
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        finally:
            os.close(terminal)
