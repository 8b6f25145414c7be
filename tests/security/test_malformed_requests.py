"""Malformed requests against a real node: every one is answered or closed, none is an accident."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

from labnode.clock import Clock
from tests.kit import malformed
from tests.kit.figures import FigureReporter
from tests.kit.target import RIGHT, Target

SEED = 13
WARM_UP = 500  # requests, after which the node has all that it needs
MOST_MEMORY = 10 << 20  # bytes more than then
LONGEST = 10.0  # seconds
PUBLIC = re.compile(
    r"/static/.*|/favicon.ico|/weblab/(health|sessions/api(.php)?)|/ldl/sessions/api"
)
DETAILS = re.compile(rb"Traceback|GPIO|Error\b(?!\r\n)|pytest-")  # the last: a path of the node's
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d .*|    .*|\{\"time\": .*\}")  # the last: the audit log
LINES_A_MINUTE = 70
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def test_malformed_requests_do_no_harm(
    tmp_path: Path, long_run: bool, figure: FigureReporter
) -> None:
    count = 200_000 if long_run else 2000
    chance = random.Random(SEED)
    statuses: Counter[int] = Counter()
    longest = 0.0
    now = Clock().now
    started = now()
    with Target(tmp_path) as target:
        student = target.student()
        before = 0
        for number in range(WARM_UP + count):
            if number == WARM_UP:
                before = target.memory()
            request = malformed.request(chance, student.cookie, RIGHT)
            began = now()
            got = malformed.answers(target.address, request.encoded())
            longest = max(longest, now() - began)
            found = [int(status) for status in STATUS.findall(got)]
            bad = [status for status in found if status >= 500 and status not in (501, 503, 505)]
            assert not bad, (number, request)
            if request.stranger and not PUBLIC.fullmatch(request.route):
                assert not [s for s in found if 200 <= s < 300 or s == 101], (number, request)
                assert not DETAILS.search(got), (number, request, got)
            statuses.update(found)
        more = target.memory() - before
        assert student.get("/api/board").status == 200
        target.stop()
        log = target.log
    figure(
        "malformed requests: answers 500, longest answer, more memory",
        "0, 10 s, 10 MB",
        f"0, {longest:.1f} s, {more / (1 << 20):.1f} MB ({count:,} requests, seed {SEED})",
    )
    assert more <= MOST_MEMORY
    assert "Traceback" not in log
    assert len(log.split("\n")) < LINES_A_MINUTE * (2 + (now() - started) / 60)
    assert [line for line in log.split("\n")[:-1] if not LOG_LINE.fullmatch(line)] == []
    # They are no requests that fail at the first byte, all of them.
    assert {200, 400, 401, 403, 404, 405, 413, 431} <= set(statuses)
    if long_run:
        assert longest <= LONGEST
