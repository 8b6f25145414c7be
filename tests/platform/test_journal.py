"""The journal: entries as its native protocol has them, read at a real socket."""

from __future__ import annotations

import array
import io
import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from labnode import audit, context
from labnode.system.journal import JournalHandler, LineFormatter, is_journal


class Journal:
    """journald's end of its socket."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(5)

    def entry(self) -> dict[str, str]:
        data, rights, _, _ = self.socket.recvmsg(1 << 20, 64)
        for _, _, content in rights:
            (file,) = array.array("i", content[:4])
            with os.fdopen(file, "rb") as sealed:
                sealed.seek(0)
                data = sealed.read()
        return dict(self._fields(data))

    def _fields(self, data: bytes) -> Iterator[tuple[str, str]]:
        while data:
            line, _, rest = data.partition(b"\n")
            if b"=" in line:
                name, _, value = line.partition(b"=")
            else:
                name, size = line, struct.unpack_from("<Q", rest)[0]
                value, rest = rest[8 : 8 + size], rest[9 + size :]
            yield name.decode(), value.decode()
            data = rest


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "socket")
    yield journal
    journal.socket.close()


@pytest.fixture
def fallback() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(journal: Journal, fallback: io.StringIO) -> Iterator[logging.Logger]:
    handler = JournalHandler(fallback, journal.path)
    log = logging.getLogger("labnode.test_journal")
    log.propagate = False
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    yield log
    log.removeHandler(handler)
    handler.close()


def test_an_entry_says_what_how_bad_and_where(log: logging.Logger, journal: Journal) -> None:
    log.warning("it is %d °C", 75)
    entry = journal.entry()
    assert entry["MESSAGE"] == "it is 75 °C"
    assert entry["PRIORITY"] == "4"
    assert entry["LOGGER"] == "labnode.test_journal"
    assert entry["CODE_FUNC"] == "test_an_entry_says_what_how_bad_and_where"
    assert entry["THREAD_NAME"] == "MainThread"
    assert entry["SYSLOG_IDENTIFIER"] == "labnode"


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("error", 3), ("critical", 2)]
)
def test_levels_become_priorities(
    log: logging.Logger, journal: Journal, level: str, priority: int
) -> None:
    getattr(log, level)("x")
    assert journal.entry()["PRIORITY"] == str(priority)


def test_a_traceback_stays_one_entry(log: logging.Logger, journal: Journal) -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        log.exception("It failed.")
    message = journal.entry()["MESSAGE"]
    assert message.startswith("It failed.\nTraceback")
    assert message.endswith("ValueError: no\nway")


def test_what_is_not_printable_is_escaped(log: logging.Logger, journal: Journal) -> None:
    text = "a name: x\x1b[31m\r\u202ey\ud800\tñ"
    for handler in log.handlers:  # pytest's own cannot pass on half a character
        if isinstance(handler, JournalHandler):
            handler.handle(
                log.makeRecord(log.name, logging.WARNING, "x.py", 1, text, (), None, "f")
            )
    assert journal.entry()["MESSAGE"] == r"a name: x\x1b[31m\r\u202ey\ud800" "\tñ"


def test_no_line_on_standard_error_looks_like_another_record(
    log: logging.Logger, journal: Journal, fallback: io.StringIO
) -> None:
    forged = "x\n2026-01-01 00:00:00,000 CRITICAL labnode: all is lost\r\nERROR labnode: \x1b[31m"
    record = logging.makeLogRecord({"name": "labnode", "levelname": "INFO", "msg": forged})
    lines = LineFormatter().format(record).split("\n")
    assert [line.startswith("    ") for line in lines] == [False, True, True]
    assert lines[2] == r"    ERROR labnode: \x1b[31m"
    Path(journal.path).unlink()
    log.error("%s", forged)
    assert [line.startswith("    ") for line in fallback.getvalue().splitlines()] == [
        False,
        True,
        True,
    ]


def test_an_entry_that_is_too_long_for_a_datagram_comes_whole(
    log: logging.Logger, journal: Journal
) -> None:
    text = "x" * 3_000_000
    log.info("%s", text)
    assert journal.entry()["MESSAGE"] == text


def test_a_session_is_told_by_its_hash_and_its_student_not_at_all(
    log: logging.Logger, journal: Journal
) -> None:
    user = SimpleNamespace(session_id="kX2vQ8-secret", full_name="Ada Lovelace", username="ada")
    task = SimpleNamespace(task_id="t1")
    with context.acting(user, task):
        log.info("blink")
    entry = journal.entry()
    assert entry["LABNODE_SESSION"] == "17f03e9d"
    assert entry["LABNODE_TASK"] == "t1"
    assert not any("secret" in value or "ada" in value.lower() for value in entry.values())


def test_what_befalls_a_session_can_be_searched_for(journal: Journal) -> None:
    logger = logging.getLogger("labnode.audit")
    before = (logger.handlers[:], logger.propagate, logger.disabled, logger.level)
    handler = JournalHandler(io.StringIO(), journal.path)
    try:
        audit.log_to(handler)
        audit.started("kX2vQ8-secret", "weblab", 60)
    finally:
        logger.handlers[:], logger.propagate, logger.disabled = before[:3]
        logger.setLevel(before[3])
        handler.close()
    entry = journal.entry()
    assert entry["LABNODE_EVENT"] == "started"
    assert entry["LABNODE_CLIENT"] == "weblab"
    assert entry["LABNODE_SECONDS"] == "60"
    assert entry["MESSAGE"].startswith('{"event": "started"')


def test_without_a_journal_the_line_goes_to_standard_error(
    log: logging.Logger, journal: Journal, fallback: io.StringIO
) -> None:
    Path(journal.path).unlink()
    log.error("the pump is dry")
    assert fallback.getvalue() == "ERROR labnode.test_journal: the pump is dry\n"


def test_only_the_stream_that_systemd_names_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        info = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino + 1}"})
        assert not is_journal(stream, {})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})
