"""The protocol's routes: who gets in, and an answer in JSON whatever is sent."""

from __future__ import annotations

import dataclasses
import io
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labnode.errors import Busy, DeviceError, StartFailed
from labnode.weblab.bodies import MAX_BODY

SESSIONS = "/weblab/sessions/"
LENGTH = "priority.queue.slot.length"
SHORT = {"server_initial_data": {LENGTH: "60"}}
LDE = "/ldl/sessions/"
LDE_SHORT = {"schedule": {"length": 60}}
DELETE = {"action": "delete"}

# Every route: method, path, query, a good body.
ROUTES: list[tuple[str, str, str, Any]] = [
    ("GET", "/weblab/health", "", b""),
    ("GET", SESSIONS + "api", "", b""),
    ("GET", SESSIONS + "api.php", "", b""),
    ("GET", SESSIONS + "test", "", b""),
    ("GET", SESSIONS + "test.php", "", b""),
    ("POST", SESSIONS, "", SHORT),
    ("POST", SESSIONS + "new.php", "", SHORT),
    ("GET", SESSIONS + "session-1/status", "", b""),
    ("GET", SESSIONS + "status.php", "session_id=session-1", b""),
    ("POST", SESSIONS + "status/multiple", "", {"session_ids": ["session-1"]}),
    ("POST", SESSIONS + "session-1", "", DELETE),
    ("POST", SESSIONS + "action.php", "session_id=session-1", DELETE),
    ("DELETE", SESSIONS + "session-1", "", b""),
    ("GET", LDE + "api", "", b""),
    ("GET", LDE + "test", "", b""),
    ("POST", LDE, "", LDE_SHORT),
    ("GET", LDE + "session-1/status", "", b""),
    ("POST", LDE + "status/multiple", "", {"session_ids": ["session-1"]}),
    ("POST", LDE + "session-1", "", DELETE),
    ("DELETE", LDE + "session-1", "", b""),
]
PUBLIC = {"/weblab/health", SESSIONS + "api", SESSIONS + "api.php", LDE + "api"}
SPELLINGS = ["plain", "query", "double slash", "encoded slash", "trailing slash", "HEAD"]


def spelled(spelling: str, method: str, path: str, query: str) -> tuple[str, str]:
    head, _, tail = path.rpartition("/")
    match spelling:
        case "query":
            return method, f"{path}?x=/api&{query}"
        case "double slash":
            return method, f"{head}//{tail}?{query}"
        case "encoded slash":
            return method, f"{head}%2f{tail}?{query}"
        case "trailing slash":
            return method, f"{path}/?{query}"
        case "HEAD":
            return "HEAD", f"{path}?{query}"
    return method, f"{path}?{query}"


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("authorization", ["none", "wrong", "right"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_a_route_answers_at_its_exact_address_and_with_credentials_alone(
    node: Any, route: tuple[str, str, str, Any], authorization: str, spelling: str
) -> None:
    node.call("POST", SESSIONS, SHORT)
    method, path, query, body = route
    verb, target = spelled(spelling, method, path, query)
    reply = node.call(
        verb,
        target,
        body,
        authorization={"none": None, "wrong": node.wrong, "right": node.right}[authorization],
    )
    # An encoded slash is a slash already when the application sees the path.
    exact = spelling in ("plain", "query", "encoded slash") or (
        spelling == "HEAD" and method == "GET"
    )
    if exact and (authorization == "right" or path in PUBLIC):
        assert reply.status == 200
    elif authorization == "right":
        assert reply.status in (404, 405)
    else:
        assert reply.status == 401
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.body == b"" if verb == "HEAD" else isinstance(reply.json, dict)
    starts = path in (SESSIONS, SESSIONS + "new.php", LDE)
    started = authorization == "right" and exact and starts
    assert len(node.sessions.all) == (2 if started else 1)


@pytest.mark.parametrize(
    "path", [SESSIONS, SESSIONS + "new.php", SESSIONS + "session-1", LDE, LDE + "session-1"]
)
@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "PATCH", "OPTIONS", "TRACE"])
def test_no_other_method_starts_or_ends_anything(node: Any, method: str, path: str) -> None:
    node.call("POST", SESSIONS, SHORT)
    reply = node.call(method, path, {**SHORT, **DELETE})
    assert reply.status == 405
    assert "POST" in reply.headers["Allow"]
    assert [session.state for session in node.sessions.all.values()] == ["active"]


def test_what_was_not_the_address_of_a_route_does_not_become_it_by_losing_bytes(node: Any) -> None:
    for path in ("te%FFst", "test%0A", "test%00", "te\u200bst"):
        assert node.call("GET", SESSIONS + path).status == 404
        assert node.call("GET", SESSIONS + path, authorization=None).status == 401


@pytest.mark.parametrize("path", ["/weblab/sessions", "/ldl/sessions", "/weblab/", "/ldl/health"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_address_that_is_almost_one_is_a_404_for_those_who_may_ask(
    node: Any, method: str, path: str
) -> None:
    reply = node.call(method, path, SHORT)
    message = "There is nothing at this address."
    assert (reply.status, reply.json["message"]) == (404, message)
    assert node.call(method, path, SHORT, authorization=None).status == 401
    assert node.sessions.started == []


def test_a_second_guesser_of_the_same_address_is_told_to_wait(node: Any) -> None:
    def guess(path: str) -> Any:
        return node.call("GET", SESSIONS + path, authorization=node.wrong, address="192.0.2.66")

    for _ in range(20):
        assert guess("test").status == 401
    reply = guess("test")
    message = "Too many wrong passwords from your address: wait 90 s."
    assert (reply.status, reply.headers["Retry-After"]) == (429, "90")
    assert reply.json == {"valid": False, "error_messages": [message]}
    assert guess("session-1/status").json == {"error": True, "success": False, "message": message}
    assert node.call("GET", SESSIONS + "test", address="192.0.2.1").json == {"valid": True}


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (StartFailed("The heater does not answer."), "The heater does not answer."),
        (DeviceError("Port gone."), "Port gone."),
        (ZeroDivisionError("in a hook"), "The laboratory could not be started."),
    ],
    ids=repr,
)
def test_a_start_that_fails_in_any_way_is_a_503(
    node: Any, trouble: Exception, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    node.sessions.trouble = trouble
    reply = node.call("POST", SESSIONS, SHORT)
    assert reply.status == 503
    assert reply.json == {"error": True, "success": False, "message": message}
    assert "Retry-After" not in reply.headers


def test_a_busy_board_says_when_to_ask_again(node: Any) -> None:
    node.sessions.trouble = Busy("The board is being cleaned.", retry_after=2.1)
    reply = node.call("POST", SESSIONS, SHORT)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "3")


@pytest.mark.parametrize("trouble", [Busy("later"), ZeroDivisionError("in a hook")], ids=repr)
def test_a_delete_that_goes_wrong_is_never_taken_for_finished(
    node: Any, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    node.sessions.trouble = trouble
    reply = node.call("POST", SESSIONS + "session-1", DELETE)
    assert reply.status == 200
    assert reply.json["finished"] is False


def test_a_bug_is_a_500_in_json_and_in_the_log(
    node: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(type(node.sessions), "status")
    reply = node.call("GET", SESSIONS + "session-1/status")
    assert reply.status == 500
    assert reply.json == {
        "error": True,
        "success": False,
        "message": "Something went wrong in the laboratory; its log says what.",
    }
    assert "AttributeError" in caplog.text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("lab.example", "http://lab.example/lab1/callback/token-1"),
        ("10.0.0.5:8080", "http://10.0.0.5:8080/lab1/callback/token-1"),
        ("[2001:db8::1]:80", "http://[2001:db8::1]:80/lab1/callback/token-1"),
        ("", "http://127.0.0.1:8080/lab1/callback/token-1"),
    ],
)
def test_the_students_url_has_the_host_of_the_start(node: Any, host: str, url: str) -> None:
    assert node.call("POST", SESSIONS, SHORT, headers={"Host": host}).json["url"] == url


def test_the_students_url_has_the_public_address_where_the_settings_give_it(node: Any) -> None:
    node.settings = dataclasses.replace(node.settings, base_url="https://labs.example.org/thermal")
    reply = node.call("POST", SESSIONS, SHORT, headers={"Host": "10.0.0.5"})
    assert reply.json["url"] == "https://labs.example.org/thermal/callback/token-1"


@pytest.mark.parametrize(
    "host", ["evil.example", "a b", "lab.example/x", "lab.example:80:80", "\xe9.example", "x@y"]
)
def test_a_host_that_is_not_allowed_or_none_at_all_starts_nothing(node: Any, host: str) -> None:
    node.settings = dataclasses.replace(
        node.settings, allowed_hosts=["lab.example", "10.0.0.5:8080"]
    )
    reply = node.call("POST", SESSIONS, SHORT, headers={"Host": host})
    assert reply.status == 400
    assert reply.json["message"].startswith("Host is ")
    assert node.sessions.started == []


@pytest.mark.parametrize("host", ["LAB.example", "lab.example:8080", "10.0.0.5:8080"])
def test_an_allowed_host_is_allowed_with_any_port_unless_it_names_one(node: Any, host: str) -> None:
    node.settings = dataclasses.replace(
        node.settings, allowed_hosts=["lab.example", "10.0.0.5:8080"]
    )
    assert node.call("POST", SESSIONS, SHORT, headers={"Host": host}).status == 200


def test_a_multiple_status_stops_when_its_time_is_over(
    node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = node.sessions.status

    def slow(session_id: str) -> float:
        node.clock.advance(1)
        return float(status(session_id))

    monkeypatch.setattr(node.sessions, "status", slow)
    asked = [f"session-{number}" for number in range(50)]
    path = SESSIONS + "status/multiple"
    reply = node.call("POST", path, {"session_ids": asked, "timeout": 3})
    assert list(reply.json["status"]) == asked[:3]
    reply = node.call("POST", path, {"session_ids": asked, "timeout": 0.001})
    assert list(reply.json["status"]) == asked[:1]
    reply = node.call("POST", path, {"session_ids": asked})
    assert list(reply.json["status"]) == asked[:10]


def test_clocks_that_disagree_are_logged(node: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = {LENGTH: "60", "priority.queue.slot.start.timestamp": node.wall - 3600}
    with caplog.at_level(logging.INFO):
        assert node.call("POST", SESSIONS, {"server_initial_data": server}).status == 200
    assert [record.getMessage() for record in caplog.records] == [
        "The slot of weblab began 3600 s ago by this node's clock"
    ]


def test_bodies_of_more_than_a_mebibyte_are_not_read(node: Any) -> None:
    assert node.call("POST", SESSIONS, b" " * (MAX_BODY + 1)).status == 413
    assert node.call("POST", SESSIONS, SHORT, CONTENT_LENGTH="9" * 30).status == 413
    assert node.sessions.started == []


@pytest.mark.parametrize("length", ["-1", "5.0", "many", "٥", " 5"])
def test_a_length_of_the_body_that_is_no_number_is_a_400(node: Any, length: str) -> None:
    from labnode.weblab.api import bottle

    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length, "wsgi.input": io.BytesIO()}
    environ |= {"PATH_INFO": SESSIONS, "HTTP_AUTHORIZATION": node.right, "REMOTE_ADDR": "::1"}
    environ |= {"wsgi.errors": io.StringIO()}
    statuses: list[str] = []
    list(node.app(environ, lambda status, *_: statuses.append(status)))
    assert statuses == ["400 Bad Request"]
    assert bottle.response.headers["Content-Type"] == "application/json"


def test_a_form_of_bytes_that_are_no_text_is_a_400(node: Any) -> None:
    assert node.call("POST", SESSIONS, b"server_initial_data=%ff").status == 400


CONTENT_TYPES = st.sampled_from(
    [
        "",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data; charset=no-such-charset",
        "text/html; charset=utf-16",
        "\xff\xfe",
    ]
)
BODIES = st.one_of(
    st.binary(),
    st.text().map(str.encode),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b'"\\ud800"', b"\xff\xfe{\x00}\x00"]),
    st.binary().map(lambda tail: b'{"server_initial_data": {"priority.queue.slot.length": ' + tail),
    st.binary().map(lambda tail: b"server_initial_data=" + tail),
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from([route for route in ROUTES if route[0] != "GET"]),
    body=BODIES,
    content_type=CONTENT_TYPES,
    query=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30),
)
def test_no_body_no_content_type_and_no_query_is_a_500_or_starts_anything(
    node: Any, route: tuple[str, str, str, Any], body: bytes, content_type: str, query: str
) -> None:
    method, path, _, _ = route
    reply = node.call(method, f"{path}?{query}", body, content_type=content_type)
    assert reply.status in (200, 400)
    assert isinstance(reply.json, dict)
    assert node.sessions.started == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
KEYS = st.one_of(
    st.sampled_from(["client_initial_data", "server_initial_data", "back", "action"]),
    st.sampled_from(["session_ids", "timeout", "request", "laboratory", "user", "schedule"]),
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from([route for route in ROUTES if route[0] == "POST"]),
    fields=st.dictionaries(KEYS, JSON),
)
def test_no_json_is_a_500(
    node: Any, route: tuple[str, str, str, Any], fields: dict[str, Any]
) -> None:
    method, path, query, _ = route
    reply = node.call(method, f"{path}?{query}", fields)
    assert reply.status in (200, 400)
    assert isinstance(reply.json, dict)


def test_the_wall_clock_may_jump_and_the_protocol_does_not_mind(
    node: Any, start_body: dict[str, Any]
) -> None:
    ten_years = 315_360_000
    for jump in (ten_years, -2 * ten_years):
        node.clock.jump_wall(jump)
        start_body["server_initial_data"]["weblab_reservation_id"] = f"after {jump}"
        assert node.call("POST", SESSIONS, start_body).status == 200
        assert node.sessions.started[-1].elapsed == 0.0
