"""The stand-in for the central server: it does what the real one was seen to do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from labnode.clock import Event, ManualClock
from labnode.errors import BadInput, Busy, Forbidden, LabnodeError, StartFailed
from labnode.weblab.caller import NoAnswer
from labnode.weblab.fake import CentralServer, SessionEnd

WSGIApp = Callable[[Any, Any], Any]

DIALECTS = {
    "json": {},
    "json texts": {"api": "0"},
    "form": {"request_format": "form"},
    "json .php": {"extension": ".php"},
    "form .php": {"request_format": "form", "extension": ".php"},
}


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[WSGIApp], str]]:
    """Serves a WSGI application on loopback until the test ends; gives its address."""
    running: list[tuple[WSGIServer, threading.Thread]] = []

    def start(app: WSGIApp) -> str:
        server = make_server("127.0.0.1", 0, app, handler_class=_Quiet)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="lab")
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join(5)
        server.server_close()


@dataclass
class ScriptedLab:
    """Answers each request with the next of `replies`: (status, body); notes what was asked."""

    replies: list[tuple[int, Any]]

    def __post_init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        status, body = self.replies.pop(0)
        headers = [("Content-Type", "application/json")]
        if status == 503 and isinstance(body, dict) and "wait" in body:
            headers.append(("Retry-After", str(body["wait"])))
        start_response(f"{status} Whatever", headers)
        return [body.encode() if isinstance(body, str) else json.dumps(body).encode()]


class Waits(Event):
    """An event that lets a manual clock run instead of waiting, and notes for how long."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        self.clock.advance(timeout or 0)
        return self.is_set() or timeout is None


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stop(clock: ManualClock) -> Waits:
    return Waits(clock)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
def test_a_whole_session_in_every_dialect(
    node: Any, serve: Any, stop: Waits, dialect: dict[str, Any]
) -> None:
    node.sessions.deletes_needed = 3
    server = CentralServer(serve(node.app), "weblab", "secret", clock=node.clock, **dialect)
    server.check()
    session_id, url = server.new(
        name="Ada Lovelace",
        username="ada",
        username_unique="ada@weblab",
        assigned_time=120,
        back="https://weblab.example/ñ",
        locale="es",
        experiment_name="thermal",
        category_name="Control",
        client_initial_data={"level": [1, {"deep": "é"}]},
        reservation_id="r-1",
    )
    assert url.endswith("/lab1/callback/token-1")
    (request,) = node.sessions.started
    assert request.username == "ada"
    assert request.username_unique == "ada@weblab"
    assert request.full_name == "Ada Lovelace"
    assert (request.length, request.elapsed, request.counts_start) == (120.0, 0.0, True)
    assert (request.locale, request.back) == ("es", "https://weblab.example/ñ")
    assert (request.experiment_name, request.category_name) == ("thermal", "Control")
    assert request.client_data == {"level": [1, {"deep": "é"}]}
    assert request.reservation_id == "r-1"

    seen: list[float | LabnodeError] = []

    def leave_after_three(answer: float | LabnodeError) -> None:
        seen.append(answer)
        if len(seen) == 3:
            node.sessions.all[session_id].state = "disposed"

    server.watch(session_id, leave_after_three, stop, stop.clock)
    assert seen == [5, 5, 5, -1]
    node.sessions.all[session_id].state = "active"
    assert server.delete(session_id, stop) == SessionEnd("Deleted", 3, clean=True)
    assert stop.seconds == [5, 5, 5, 2, 2]


def test_a_session_is_polled_at_once_and_then_when_the_lab_says(
    serve: Any, clock: ManualClock, stop: Waits
) -> None:
    lab = ScriptedLab([(200, {"should_finish": n}) for n in (3, 1.5, 2, -1)])
    seen: list[Any] = []
    CentralServer(serve(lab), "w", "p", clock=clock).watch("abc", seen.append, stop)
    assert seen == [3, 1.5, 2, -1]
    assert stop.seconds == [3, 1.5, 2]
    assert set(lab.asked) == {"GET /weblab/sessions/abc/status"}


def test_a_failing_status_is_asked_again_every_five_seconds(
    serve: Any, clock: ManualClock, stop: Waits
) -> None:
    lab = ScriptedLab(
        [
            (500, {"error": True}),
            (200, {"message": "?"}),
            (404, "<html>"),
            (200, {"should_finish": -1}),
        ]
    )
    seen: list[Any] = []
    CentralServer(serve(lab), "w", "p", clock=clock).watch("abc", seen.append, stop)
    assert [isinstance(answer, NoAnswer) for answer in seen] == [True, True, True, False]
    assert stop.seconds == [5, 5, 5]


START = (200, {"session_id": "abc", "url": "http://lab/callback/x"})


def test_a_session_is_watched_until_its_slot_ends_whatever_the_lab_says(
    serve: Any, clock: ManualClock, stop: Waits
) -> None:
    lab = ScriptedLab([START, (200, {"should_finish": 4}), (200, {"should_finish": 1000})])
    server = CentralServer(serve(lab), "w", "p", clock=clock)
    session_id, _ = server.new(assigned_time=10)
    server.watch(session_id, lambda _: None, stop)
    assert stop.seconds == [4, 6]


def test_a_zero_means_never_ask_again(serve: Any, clock: ManualClock, stop: Waits) -> None:
    lab = ScriptedLab([START, (200, {"should_finish": 0}), (200, {"should_finish": 0})])
    server = CentralServer(serve(lab), "w", "p", clock=clock)
    session_id, _ = server.new(assigned_time=10)
    server.watch(session_id, lambda _: None, stop)
    server.watch("of another server", lambda _: None, stop)
    assert stop.seconds == [10, None]


def test_watching_ends_when_it_is_told_to(serve: Any, clock: ManualClock, stop: Waits) -> None:
    lab = ScriptedLab([(200, {"should_finish": 5})])
    CentralServer(serve(lab), "w", "p").watch("abc", lambda _: stop.set(), stop)
    assert len(lab.asked) == 1


def test_a_reservation_whose_start_fails_is_sent_again_at_each_resource_check(
    serve: Any, stop: Waits
) -> None:
    lab = ScriptedLab([(503, {"message": "No heat."}), (500, "<html>"), START])
    server = CentralServer(serve(lab), "w", "p")
    assert server.reserve(stop, username="ada") == ("abc", "http://lab/callback/x")
    assert stop.seconds == [30, 30]


def test_a_reservation_that_is_given_up_says_why_it_failed(serve: Any, stop: Waits) -> None:
    stop.set()
    server = CentralServer(serve(ScriptedLab([(503, {"message": "No heat."})])), "w", "p")
    with pytest.raises(StartFailed, match="No heat"):
        server.reserve(stop)


@pytest.mark.parametrize(
    ("replies", "ending", "waits"),
    [
        (
            [(200, {"finished": True, "message": "Deleted"})],
            SessionEnd("Deleted", 1, clean=True),
            [],
        ),
        ([(200, {})], SessionEnd("", 1, clean=True), []),
        (
            [(200, {"finished": False, "ask_again": 2}), (200, {"finished": False}), (200, {})],
            SessionEnd("", 3, clean=True),
            [2, 0.5],
        ),
        ([(200, {"finished": False, "data": "Result=10"})], SessionEnd("", 1, clean=True), []),
        ([(200, {"finished": True, "data": None})], SessionEnd("", 1, clean=True), []),
    ],
    ids=str,
)
def test_an_unfinished_delete_is_repeated_when_the_lab_says(
    serve: Any, stop: Waits, replies: list[Any], ending: SessionEnd, waits: list[float]
) -> None:
    lab = ScriptedLab(replies)
    assert CentralServer(serve(lab), "w", "p").delete("abc", stop) == ending
    assert stop.seconds == waits
    assert set(lab.asked) == {"POST /weblab/sessions/abc"}


@pytest.mark.parametrize("reply", [(500, {"error": True}), (200, "<html>"), (401, {})], ids=str)
def test_an_error_on_delete_counts_as_finished_and_is_not_repeated(serve: Any, reply: Any) -> None:
    lab = ScriptedLab([reply])
    ending = CentralServer(serve(lab), "w", "p").delete("abc")
    assert (ending.asked, ending.clean, lab.replies) == (1, False, [])
    assert ending.message


def test_repeating_a_delete_has_an_end(serve: Any, stop: Waits) -> None:
    lab = ScriptedLab([(200, {"finished": False, "message": "Disposing"})] * 5)
    ending = CentralServer(serve(lab), "w", "p").delete("abc", stop, limit=5)
    assert ending == SessionEnd("Disposing", 5, clean=False)


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        ((503, {"message": "In quarantine.", "wait": 30}), Busy, "In quarantine."),
        ((503, {"message": "No heat."}), StartFailed, "No heat."),
        (
            (400, {"message": "length is wrong."}),
            BadInput,
            "does not accept this: length is wrong.",
        ),
        ((429, {"message": "Too many."}), Forbidden, "Too many."),
        ((500, {"message": "A bug."}), NoAnswer, "answered 500: A bug."),
        ((404, "<html>Apache</html>"), NoAnswer, "is not a labnode"),
        ((200, "<html>Apache</html>"), NoAnswer, "is not a labnode"),
        ((200, "[]"), NoAnswer, "is not a labnode"),
        ((200, "[" * 100_000), NoAnswer, "is not a labnode"),
        ((200, {"error": True}), NoAnswer, "is not a labnode"),
        ((401, "Login"), Forbidden, "does not know these credentials (user name 'w')"),
    ],
    ids=str,
)
def test_a_start_that_does_not_work_is_one_clear_error(
    serve: Any, reply: Any, error: type[LabnodeError], message: str
) -> None:
    with pytest.raises(error) as caught:
        CentralServer(serve(ScriptedLab([reply])), "w", "p").new()
    assert message in str(caught.value)


def test_a_board_that_cannot_be_used_says_why(node: Any, serve: Any) -> None:
    node.sessions.quarantine = ["The door is open."]
    server = CentralServer(serve(node.app), "weblab", "secret")
    with pytest.raises(Busy, match=r"^The laboratory cannot be used: The door is open\.$"):
        server.check()


def test_wrong_credentials_are_told_from_a_wrong_address(node: Any, serve: Any) -> None:
    url = serve(node.app)
    with pytest.raises(Forbidden, match="does not know these credentials"):
        CentralServer(url, "weblab", "wrong").check()
    with pytest.raises(NoAnswer, match="is not a labnode"):
        CentralServer(serve(ScriptedLab([(200, {"hello": 1})])), "weblab", "secret").check()


def test_a_node_that_does_not_run_is_said_to_be_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = CentralServer(f"http://127.0.0.1:{port}", "weblab", "secret")
    with pytest.raises(NoAnswer, match="connection refused; is labnode running there"):
        server.status("abc")


def test_a_node_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = CentralServer(url, "weblab", "secret", timeout=0.05)
        with pytest.raises(NoAnswer, match="does not answer in time"):
            server.status("abc")


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "file:///etc/passwd", ""])
def test_an_address_that_is_no_web_address_is_bad_input(url: str) -> None:
    with pytest.raises(BadInput, match="is not the address of a node"):
        CentralServer(url, "weblab", "secret")


def test_what_does_not_speak_http_is_not_a_labnode() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        server = CentralServer(f"http://127.0.0.1:{other.getsockname()[1]}", "w", "p")
        with pytest.raises(NoAnswer, match="is not a labnode"):
            server.status("abc")
        thread.join(5)
