"""The systemd journal: log records with fields of their own, through its native socket.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import logging
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from labnode import context
from labnode.audit import session_tag

SOCKET = "/run/systemd/journal/socket"

_PATIENCE = 1.0  # seconds: a slow journal must not block the hardware
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_NEXT_LINE = "\n    "  # of the same record
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9_]")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def log_to_stderr(level: str) -> logging.Handler | None:
    """Log to standard error, or to the journal where that is one: then returns its handler."""
    if is_journal(sys.stderr, os.environ):
        journal = JournalHandler(sys.stderr)
        logging.basicConfig(level=level, handlers=[journal])
        return journal
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    return None


class PrintableFormatter(logging.Formatter):
    """Escapes what is not printable, which may come from the network and act on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


class LineFormatter(PrintableFormatter):
    """Indents all lines of a record but the first, so that none looks like another record."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", _NEXT_LINE)


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is connected to the journal, by systemd's JOURNAL_STREAM.

    A service whose output is redirected still has the variable, so its value is compared.
    """
    try:
        info = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"


class JournalHandler(logging.Handler):
    """Sends records as entries; `record.facts`, a mapping, becomes fields LABNODE_….

    An entry of a session has LABNODE_SESSION, hashed as in all logs, one of a task LABNODE_TASK.
    What the journal refuses goes to `fallback`.
    """

    def __init__(self, fallback: TextIO, address: str = SOCKET) -> None:
        super().__init__()
        # basicConfig() gives its own to handlers without one; level and logger are fields here.
        self.setFormatter(PrintableFormatter("%(message)s"))
        self._fallback = fallback
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_PATIENCE)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry = b"".join(_encoded(name, value) for name, value in self._fields(record))
            self._send(entry)
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                said = self.format(record).replace("\n", _NEXT_LINE)
                self._fallback.write(f"{record.levelname} {record.name}: {said}\n")
        except Exception:  # noqa: BLE001 - as logging does it
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, str]]:
        yield "MESSAGE", self.format(record)
        yield "PRIORITY", str(next((p for level, p in _PRIORITIES if record.levelno >= level), 7))
        yield "SYSLOG_IDENTIFIER", "labnode"
        yield "LOGGER", record.name
        yield "CODE_FILE", record.pathname
        yield "CODE_LINE", str(record.lineno)
        yield "CODE_FUNC", record.funcName or ""
        yield "THREAD_NAME", record.threadName or ""
        facts: dict[str, Any] = dict(getattr(record, "facts", {}))
        session_id = getattr(context.current_user.get(), "session_id", None)
        if session_id is not None:
            facts.setdefault("session", session_tag(str(session_id)))
        if (task := context.current_task.get()) is not None:
            facts.setdefault("task", getattr(task, "task_id", ""))
        for name, value in facts.items():
            yield f"LABNODE_{_NOT_IN_NAMES.sub('_', name.upper())}"[:64], str(value)

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._address)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_as_file(entry)

    def _send_as_file(self, entry: bytes) -> None:
        """Send an entry too long for a datagram as a sealed file in memory."""
        file = os.memfd_create("labnode-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(file, "wb", closefd=False) as out:
                out.write(entry)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))
            self._socket.sendmsg([], [rights], 0, self._address)
        finally:
            os.close(file)


def _encoded(name: str, value: str) -> bytes:
    data = value.encode(errors="replace")
    if b"\n" in data:
        return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data)
    return b"%s=%s\n" % (name.encode(), data)
