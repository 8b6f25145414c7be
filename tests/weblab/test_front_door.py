"""The protocol through the whole site of a node: what gets in, and what it survives."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labnode.clock import ManualClock
from labnode.sessions import Reason
from labnode.testing import LabClient, Reply
from tests.kit.basic_auth import basic
from tests.kit.files import no_file_left_open
from tests.kit.waiting import PATIENCE

BOARD = """\
schema: 1
session: {timeout: -1}
devices:
  heater: {driver: relay, pin: GPIO17, safe: false}
  hot: {driver: virtual, safe: false}
interlocks:
  - {name: too-hot, when: hot, force: {heater: false}, latch: true, message: Too hot}
"""
LENGTH = "priority.queue.slot.length"
DELETE = {"action": "delete"}
W, L = "/weblab/sessions/", "/ldl/sessions/"

# method, path ({} is the session that is there), query, body
ROUTES: list[tuple[str, str, str, Any]] = [
    ("GET", "/weblab/health", "", None),
    *(
        route
        for prefix, start in (
            (W, {"server_initial_data": {LENGTH: 60}}),
            (L, {"schedule": {"length": 60}}),
        )
        for route in (
            ("GET", f"{prefix}api", "", None),
            ("GET", f"{prefix}test", "", None),
            ("POST", prefix, "", start),
            ("GET", prefix + "{}/status", "", None),
            ("POST", f"{prefix}status/multiple", "", {"session_ids": ["{}"]}),
            ("POST", prefix + "{}", "", DELETE),
            ("DELETE", prefix + "{}", "", None),
        )
    ),
    ("GET", f"{W}api.php", "", None),
    ("GET", f"{W}test.php", "", None),
    ("POST", f"{W}new.php", "", {"server_initial_data": {LENGTH: 60}}),
    ("GET", f"{W}status.php", "session_id={}", None),
    ("POST", f"{W}action.php", "session_id={}", DELETE),
]
PUBLIC = {"/weblab/health", f"{W}api", f"{W}api.php", f"{L}api"}
STARTS = {W, L, f"{W}new.php"}


WRONG, RIGHT = ({"HTTP_AUTHORIZATION": basic(f"weblab:{word}")} for word in ("guess", "weblab"))
CREDENTIALS = {"none": {}, "wrong": WRONG, "right": RIGHT}


class Door:
    """Requests of central servers to a node, as its web server would hand them over."""

    def __init__(self, lab: LabClient) -> None:
        self.lab = lab

    def ask(self, method: str, target: str, body: Any = None, **environ: str) -> Reply:
        path, _, query = target.partition("?")
        content = b"" if body is None else json.dumps(body).encode()
        return self.raw(method, f"{unquote(path)}?{query}", content, **environ)

    def raw(self, method: str, target: str, body: bytes, **environ: str) -> Reply:
        began = time.monotonic()
        reply = self.lab.request(method, target, body, **environ)
        assert time.monotonic() - began < 10
        return reply

    def live(self) -> list[str]:
        return [session.id for session in self.lab.agent.sessions.live()]

    def session(self) -> str:
        """The id of the session that is there, or of a new one."""
        if not self.live():
            assert self.lab.start().status == 200
        (session_id,) = self.live()
        return session_id

    def end_all(self) -> None:
        assert self.lab.agent.sessions.end_all(Reason.DELETED, PATIENCE)

    def health(self) -> bool:
        success: bool = self.ask("GET", "/lab1/weblab/health").json["success"]
        return success


@pytest.fixture(scope="module", autouse=True)
def _no_file_is_left_open() -> Iterator[None]:
    """For all tests together: a thread of their node opens its file when it first needs it."""
    with no_file_left_open():
        yield


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("board") / "board.yaml"
    path.write_text(BOARD)
    return path


@pytest.fixture(scope="module")
def door(board: Path) -> Iterator[Door]:
    with LabClient(board, base_url="/lab1") as lab:
        yield Door(lab)


@pytest.mark.parametrize("base", ["/lab1", ""], ids=["base kept", "base stripped"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_nobody_gets_in_by_another_spelling_or_without_credentials(
    door: Door, route: tuple[str, str, str, Any], base: str
) -> None:
    for who, credentials in CREDENTIALS.items():
        for spelling in ("plain", "?x=/api", "//", "%2f", "trailing slash", "HEAD"):
            method, path, query, body = route
            session_id = door.session()
            target = base + path.replace("{}", session_id)
            head, _, tail = target.rpartition("/")
            query = query.replace("{}", session_id)
            if body and "session_ids" in body:
                body = {"session_ids": [session_id]}
            same = spelling in ("plain", "?x=/api", "//", "%2f")
            match spelling:
                case "?x=/api":
                    query = f"x=/api&{query}"
                case "//":
                    target = f"{head}//{tail}"
                case "%2f":
                    target = f"{head}%2f{tail}"
                case "trailing slash":
                    target += "/"
                    same = path.endswith("/")
                case "HEAD":
                    same, method = method == "GET", "HEAD"
            reply = door.ask(
                method, f"{target}?{query}", body, REMOTE_ADDR=f"10.0.0.{len(who)}", **credentials
            )
            case = (who, spelling, method, target, reply.status)
            assert reply.headers["content-type"] == "application/json", case
            may = who == "right" or path in PUBLIC
            if same and may:
                assert reply.status == 200, case
            elif who == "right":
                assert reply.status in (404, 405), case
            else:
                assert reply.status in (401, 429), case
            changes = path in STARTS or route[0] == "DELETE" or body == DELETE
            assert (door.live() != [session_id]) == bool(same and may and changes), case


@pytest.mark.parametrize("path", ["/weblab/../weblab/sessions/x", "/lab1/../weblab/sessions/test"])
def test_dots_in_an_address_lead_nowhere(door: Door, path: str) -> None:
    assert door.ask("GET", path, **RIGHT).status in (401, 403, 404)


def test_both_servers_read_the_same_health(door: Door) -> None:
    ready = {"found": True, "success": True, "message": "The laboratory is ready."}
    door.end_all()
    reply = door.ask("GET", "/lab1/weblab/health")
    assert (reply.status, reply.json) == (200, ready)
    assert "set-cookie" not in reply.headers
    door.lab.agent.sessions.draining = True
    try:
        reply = door.ask("GET", "/lab1/weblab/health", **CREDENTIALS["wrong"])
        why = "The node takes no new sessions: it is being drained."
        assert (reply.status, reply.json) == (
            200,
            {"found": True, "success": False, "message": why},
        )
        refused = door.ask("POST", L, {"schedule": {"length": 60}}, **RIGHT)
        assert refused.json == {
            **{"error": True, "success": False, "message": why},
            **{"should_finish": 2, "finished": False, "ask_again": 2},
        }
        assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    finally:
        door.lab.agent.sessions.draining = False


def test_a_drain_leaves_the_student_who_is_there_alone_until_the_session_is_over(
    door: Door,
) -> None:
    session_id = door.session()
    agent = door.lab.agent
    assert agent.commands.drain() == {"sessions": 1}  # as `install.sh upgrade` asks for
    try:
        assert door.health()
        assert door.ask("GET", f"{W}{session_id}/status", **RIGHT).json == {"should_finish": 5}
        assert door.ask("GET", f"{W}test", **RIGHT).json["valid"] is False
        start = {"server_initial_data": {LENGTH: 60, "weblab_reservation_id": "another"}}
        assert door.ask("POST", W, start, **RIGHT).status == 503
        assert door.live() == [session_id]
        door.end_all()
        assert not door.health()
    finally:
        agent.commands.undrain()
    assert door.health()


def test_a_latched_interlock_leaves_the_student_who_is_there_alone(door: Door) -> None:
    session_id = door.session()
    agent = door.lab.agent
    for hot in (True, False):
        agent.worker.call(partial(agent.board.command, "hot", "set", [hot]))
    try:
        assert agent.board.obstacles()
        assert door.health()
        assert door.ask("GET", f"{W}{session_id}/status", **RIGHT).json == {"should_finish": 5}
        assert door.ask("GET", f"{W}test", **RIGHT).json["valid"] is False
        door.end_all()
        assert not door.health()
    finally:
        agent.commands.clear()
    assert door.health()


def test_health_tells_strangers_no_error_of_the_lab(door: Door) -> None:
    quarantine = door.lab.agent.sessions.quarantine
    quarantine.impose("OSError: /dev/ttyUSB0 is gone")
    try:
        for stranger in ({}, CREDENTIALS["wrong"]):
            reply = door.ask("GET", "/lab1/weblab/health", **stranger)
            assert reply.json["message"] == "The board is in quarantine."
        reply = door.ask("GET", "/lab1/weblab/health", **RIGHT)
        assert "OSError: /dev/ttyUSB0 is gone" in reply.json["message"]
    finally:
        quarantine.clear()


def test_only_the_first_ids_are_answered_when_the_time_is_over(door: Door) -> None:
    ids = [door.session(), *(f"nobody-{number}" for number in range(20_000))]
    reply = door.ask("POST", f"{W}status/multiple", {"session_ids": ids, "timeout": 1e-6}, **RIGHT)
    assert reply.json == {"status": {ids[0]: 5}}
    reply = door.ask("POST", f"{L}status/multiple", {"session_ids": ids}, **RIGHT)
    assert reply.json == {"status": {ids[0]: 5, **dict.fromkeys(ids[1:], -1)}}


def test_the_right_client_is_never_held_up_by_others_who_guess(door: Door) -> None:
    wrong = CREDENTIALS["wrong"]
    statuses = [
        door.ask("GET", f"{W}test", REMOTE_ADDR="192.0.2.66", **wrong).status for _ in range(200)
    ]
    assert statuses == [401] * 20 + [429] * 180
    # Not even the right password helps the one who has guessed so often, and everybody else is
    # answered as ever, also by the address of a proxy that is not trusted.
    assert door.ask("GET", f"{W}test", REMOTE_ADDR="192.0.2.66", **RIGHT).status == 429
    assert door.ask("GET", f"{W}test", REMOTE_ADDR="192.0.2.1", **RIGHT).json == {"valid": True}
    forged = {"REMOTE_ADDR": "192.0.2.2", "HTTP_X_FORWARDED_FOR": "192.0.2.66"}
    assert door.ask("GET", f"{L}test", **forged, **RIGHT).json == {"valid": True}


def test_guessers_behind_a_trusted_proxy_are_told_from_the_server_behind_it(board: Path) -> None:
    with LabClient(board, trusted_proxies=["127.0.0.1"]) as lab:
        door = Door(lab)
        for _ in range(200):
            door.ask("GET", f"{W}test", HTTP_X_FORWARDED_FOR="203.0.113.9", **CREDENTIALS["wrong"])
        for address, status in (("203.0.113.9", 429), ("198.51.100.7", 200)):
            reply = door.ask("GET", f"{W}test", HTTP_X_FORWARDED_FOR=address, **RIGHT)
            assert reply.status == status


@pytest.mark.parametrize(
    ("settings_", "headers", "origin"),
    [
        ({}, {}, "http://lab.test"),
        ({"scheme": "https"}, {}, "https://lab.test"),
        ({}, {"PROTO": "https", "HOST": "labs.example"}, "http://lab.test"),
        ({"trusted_proxies": ["127.0.0.1"]}, {"PROTO": "https", "HOST": "a, b"}, "https://b"),
        ({"base_url": "https://labs.example.org/t"}, {}, "https://labs.example.org/t"),
    ],
)
def test_students_are_sent_to_where_browsers_reach_the_node(
    board: Path, settings_: dict[str, Any], headers: dict[str, str], origin: str
) -> None:
    with LabClient(board, **settings_) as lab:
        forwarded = {f"HTTP_X_FORWARDED_{name}": value for name, value in headers.items()}
        reply = Door(lab).ask("POST", L, {"schedule": {"length": 60}}, **forwarded, **RIGHT)
        assert reply.json["url"].startswith(f"{origin}/callback/")


# --- whatever is sent ---

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["60", "", " 9 ", "1e400", "NaN", "-0", "2026-01-01", "9999-12-31T23:59:59Z"]),
    st.sampled_from(
        [10**400, -1, 0, 1e-320, 1e308, 253402300800, "\ud83d", "\0", "../..", "x" * 9999]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
# Mostly what is good, or nothing would ever get as far as to a session.
GOOD_LENGTHS = st.sampled_from([60, "60", 0.001, 1e9])
LENGTHS = st.one_of(GOOD_LENGTHS, GOOD_LENGTHS, GOOD_LENGTHS, VALUES)
TEXTS = st.one_of(st.text(max_size=20), st.text(max_size=20), st.none(), VALUES)
SLOT = "priority.queue.slot"
SERVER_KEYS = [
    *(f"{SLOT}.start{part}" for part in ("", ".utc", ".timestamp", ".timezone")),
    f"{SLOT}.initialization_in_accounting",
    *(f"request.{part}" for part in ("username", "username.unique", "full_name", "locale")),
    *(f"request.experiment_id.{part}_name" for part in ("experiment", "category")),
    "weblab_reservation_id",
    "reservation_id",
    "anything",
]


def objects(*keys: str, **fixed: Any) -> Any:
    """Objects with some of `keys`, and mostly with the `fixed` ones; or something else."""
    named = st.fixed_dictionaries(fixed, optional=dict.fromkeys(keys, TEXTS))
    return st.one_of(named, named, named, named.map(json.dumps), VALUES)


SERVER_DATA = st.fixed_dictionaries({LENGTH: LENGTHS}, optional=dict.fromkeys(SERVER_KEYS, TEXTS))
WEBLAB_START = st.fixed_dictionaries(
    {"server_initial_data": st.one_of(SERVER_DATA, SERVER_DATA, SERVER_DATA.map(json.dumps))},
    optional={"client_initial_data": objects("back", "level"), "back": VALUES},
)
LDE_START = st.fixed_dictionaries(
    {"schedule": objects("start", length=LENGTHS)},
    optional={
        "request": objects("locale", "ldeReservationId", "user", "server", "backUrl"),
        "laboratory": objects("name", "category"),
        "user": objects("username", "unique", "fullName"),
    },
)
ODD_BODIES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(str.encode),
    st.binary(max_size=50).map(lambda tail: b'{"schedule": {"length": 60}, ' + tail),
    st.binary(max_size=50).map(lambda tail: b"server_initial_data=%7B%22" + tail),
    st.sampled_from([b"[" * 100_000, b'{"schedule":' * 50_000, b'{"schedule": ' + b"9" * 90_000]),
)
CONTENT_TYPES = st.sampled_from(
    ["", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; charset=x"]
)


def check_start(door: Door, path: str, body: bytes, content_type: str) -> None:
    """A start works or is bad input; then nothing was started."""
    for session_id in door.live():
        door.ask("DELETE", f"{W}{session_id}", **RIGHT)
    reply = door.raw("POST", path, body, CONTENT_TYPE=content_type, **RIGHT)
    if reply.status == 200:
        assert set(reply.json) == {"url", "session_id"}
        assert reply.json["url"].startswith("http://lab.test/lab1/callback/")
    else:
        assert reply.status == 400
        assert reply.json["error"] is True
        assert isinstance(reply.json["message"], str)
        assert door.live() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=WEBLAB_START, content_type=CONTENT_TYPES)
def test_no_start_of_weblab_is_a_500(door: Door, fields: Any, content_type: str) -> None:
    check_start(door, W, json.dumps(fields).encode(), content_type)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=LDE_START, content_type=CONTENT_TYPES)
def test_no_start_of_lab_discovery_engine_is_a_500(
    door: Door, fields: Any, content_type: str
) -> None:
    check_start(door, L, json.dumps(fields).encode(), content_type)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from([W, f"{W}new.php", L]), body=ODD_BODIES, content_type=CONTENT_TYPES)
def test_no_bytes_are_a_500(door: Door, path: str, body: bytes, content_type: str) -> None:
    check_start(door, path, body, content_type)


# --- the wall clock ---

TEN_YEARS = 315_360_000


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS], ids=["10 years on", "10 years back"])
def test_a_wall_clock_that_jumps_in_a_session_changes_nothing(board: Path, jump: float) -> None:
    clock = ManualClock()
    with LabClient(board, clock=clock) as lab:
        student = lab.student(100)
        status = f"/{student.session_id}/status"

        def look() -> tuple[Any, ...]:
            return (
                lab.server("GET", status).json,
                student.get("/api/session").json["time_left"],
                student.post("/api/devices/heater/on").json["result"],
                student.post(f"{student.callback}/poll").json,
                student.get(student.callback).status,
            )

        before = look()
        assert before[:2] == ({"should_finish": 5}, 100)
        clock.jump_wall(jump)
        assert look() == before
        clock.advance(97)
        clock.jump_wall(-2 * jump)
        assert look()[:2] == ({"should_finish": 3}, 3)
        clock.advance(3)
        assert lab.server("GET", status).json["should_finish"] in (2, -1)
        assert lab.finish(student) == {"message": "Deleted", "finished": True, "should_finish": -1}
        assert student.get("/api/session").json["reason"] == "time"
