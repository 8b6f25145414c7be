"""WebSockets of a lab: who may open one, what its handler gets, and how it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from labnode import context
from labnode.errors import BadInput, LabnodeError
from labnode.http.websocket import WebSocketLimits
from labnode.lab import Lab
from labnode.sessions import Reason
from labnode.testing import LabClient
from tests.kit.waiting import eventually

from .sockets import BOARD, MODULE, Node, running


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path) as node:
        yield node


def handlers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("websocket-")]


# --- the door ---


def test_a_page_and_a_handler_talk(node: Node) -> None:
    _, cookie = node.session()
    page = node.open("/echo", cookie)
    assert page.send("häé").message() == "häé"
    assert page.send(b"\x00\xff").message() == b"\x00\xff"
    assert page.send("").message() == ""
    page.leave()


def test_what_is_sent_with_the_request_is_read(node: Node) -> None:
    _, cookie = node.session()
    early = Connection(ConnectionType.CLIENT).send(TextMessage("early"))
    page = node.open("/echo", cookie, more=early)
    assert page.message() == "early"


def test_what_a_handler_sends_before_anything_arrives_comes_first(node: Node) -> None:
    _, cookie = node.session()
    page = node.open("/say/hello", cookie)
    assert page.message() == "hello"
    assert page.closing().code == 1000


@pytest.mark.parametrize(
    ("path", "status"), [("/echo", 403), ("/after", 403), ("/nowhere", 404), ("/page", 403)]
)
def test_nobody_gets_an_ordinary_answer(node: Node, path: str, status: int) -> None:
    assert node.refused(path) == status


def test_a_refusal_of_a_websocket_is_json_whatever_link_is_set(tmp_path: Path) -> None:
    with running(tmp_path, unauthorized_link="https://example.org/login") as node:
        assert node.refused("/echo") == 403
        assert node.http("GET", "/echo")[0] == 302


def test_everybody_may_open_a_public_one(node: Node) -> None:
    page = node.open("/who")
    assert page.send("").json() == {"user": "", "active": False, "data": {}}


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://127.0.0.1:1"])
def test_another_origin_or_none_is_refused(node: Node, origin: str | None) -> None:
    _, cookie = node.session()
    assert node.refused("/echo", cookie, Origin=origin) == 403
    assert node.refused("/who", Origin=origin) == 403


@pytest.mark.parametrize("scheme", ["ftp", "chrome-extension", "file", "ws", ""])
def test_the_same_host_by_another_scheme_is_refused(node: Node, scheme: str) -> None:
    _, cookie = node.session()
    assert node.refused("/echo", cookie, Origin=node.origin.replace("http", scheme)) == 403
    assert node.refused("/echo", cookie, Origin=node.origin.replace("http", "https")) == 101


def test_what_the_browser_calls_cross_site_is_refused(node: Node) -> None:
    _, cookie = node.session()
    assert node.refused("/echo", cookie, Sec_Fetch_Site="cross-site") == 403
    assert node.refused("/echo", cookie, Sec_Fetch_Site="same-origin") == 101


def test_a_public_address_behind_a_proxy_is_the_own_origin(tmp_path: Path) -> None:
    with running(tmp_path, base_url="https://labs.example.org/bench") as node:
        assert node.refused("/who") == 403
        assert node.refused("/who", Origin="https://labs.example.org") == 101


def test_an_ordinary_request_is_told_to_upgrade(node: Node) -> None:
    _, cookie = node.session()
    status, headers, _ = node.http("GET", "/echo", Cookie=cookie)
    assert (status, headers["upgrade"]) == (426, "websocket")
    assert node.http("POST", "/echo", Cookie=cookie)[0] == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": None}, 426),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400),
        ({"Sec_WebSocket_Key": "é"}, 400),
        ({"Connection": "keep-alive"}, 400),
        ({"Upgrade": "h2c"}, 426),
        ({"method": "POST"}, 405),
    ],
)
def test_a_malformed_upgrade_is_refused(node: Node, headers: dict[str, str], status: int) -> None:
    _, cookie = node.session()
    assert node.refused("/echo", cookie, **headers) == status


def test_the_connection_goes_on_after_a_refusal(node: Node) -> None:
    page = node.open("/who")  # any page: for its address
    fresh = type(page)(node.address, "/echo", node.origin, "")
    node.pages.append(fresh)
    fresh.ask()
    assert fresh.read_head() == 403
    fresh.path = "/who"
    fresh.ask()
    assert fresh.read_head() == 101


def test_a_session_has_its_share_and_no_more(node: Node) -> None:
    _, cookie = node.session()
    _, other = node.session("bob")
    share = node.agent.runtime.websockets.limits.per_session
    pages = [node.open("/echo", cookie) for _ in range(share)]
    assert node.refused("/echo", cookie) == 503
    node.open("/echo", other)
    pages[0].leave()
    eventually(lambda: node.refused("/echo", cookie) == 101)


# --- handlers ---


def test_receive_gives_up_after_its_timeout(node: Node) -> None:
    _, cookie = node.session()
    assert node.open("/patient", cookie).json() == {"first": None, "closed": False}


def test_iteration_ends_when_the_page_leaves(node: Node) -> None:
    _, cookie = node.session()
    page = node.open("/echo", cookie)
    page.send("x").message()
    page.leave()
    eventually(lambda: node.module.news == [("closed", True, None)])
    eventually(lambda: not handlers())


def test_what_was_sent_before_leaving_is_still_handed_out(node: Node) -> None:
    _, cookie = node.session()
    page = node.open("/switch", cookie)
    page.send("on")
    page.close()
    eventually(lambda: node.agent.board.snapshot["switch"]["value"] is True)


def test_iteration_ends_when_the_page_vanishes(node: Node) -> None:
    _, cookie = node.session()
    page = node.open("/echo", cookie)
    page.send("x").message()
    page.vanish()
    eventually(lambda: not handlers())
    assert node.module.news == [("closed", True, None)]


def test_a_handler_closes_with_a_code_and_cannot_send_any_more(node: Node) -> None:
    _, cookie = node.session()
    closing = node.open("/bye", cookie).send("go").closing()
    assert (closing.code, closing.reason) == (4321, "enough")
    eventually(lambda: node.module.news)
    assert node.module.news == [("error", "The WebSocket is closed (4321 enough).")]


def test_a_handler_that_raises_is_logged_and_closed(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    _, cookie = node.session()
    page = node.open("/broken", cookie)
    assert page.message() == "before"
    assert page.closing().code == 1011
    assert "the handler's own fault" in caplog.text


def test_a_handler_that_sends_much_waits_for_its_reader(node: Node) -> None:
    _, cookie = node.session()
    page = node.open("/count", cookie).send("go")
    for number in range(2000):
        assert page.message() == bytes([number % 256]) * 4096
    assert page.closing().code == 1000


def test_a_client_that_floods_a_slow_handler_has_to_wait(node: Node) -> None:
    _, cookie = node.session()
    page = node.open("/stuck", cookie)
    assert page.message() == "stuck"
    page.socket.settimeout(0.5)
    big = b"x" * 100_000
    with pytest.raises(TimeoutError):
        page.send_raw(page.protocol.send(BytesMessage(big)) * 500)
    node.module.release.set()
    page.socket.settimeout(10)
    assert page.message() == big
    page.vanish()


def test_handlers_use_devices_as_views_do(node: Node) -> None:
    _, cookie = node.session()
    page = node.open("/switch", cookie)
    assert page.send("on").json() == {"switch": True}
    assert page.send("off").json() == {"switch": False}


def test_handlers_that_wait_take_no_seat_of_a_request(node: Node) -> None:
    _, cookie = node.session()
    pages = [node.open("/waiting", cookie) for _ in range(15)]
    assert [page.message() for page in pages] == ["waiting"] * 15
    assert node.open("/switch", cookie).send("on").json() == {"switch": True}
    headers = {"Cookie": cookie, "Origin": node.origin}
    assert node.http("POST", "/api/devices/switch/off", **headers)[0] == 200
    assert all(channel.ending is None for channel in node.channels())


# --- the user and the end of the session ---


def test_the_user_is_looked_at_anew_before_each_message(node: Node) -> None:
    session, cookie = node.session()
    page = node.open("/who", cookie)
    assert page.send("").json() == {"user": "ada", "active": True, "data": {}}
    with context.acting(user=node.agent.sessions.user(session)):
        node.lab.user.data["key"] = 1
    assert page.send("").json() == {"user": "ada", "active": True, "data": {"key": 1}}
    node.end(session)
    assert page.json() == {"event": "dispose", "data": None}
    assert page.send("").json()["active"] is False


def test_the_end_of_the_session_closes_and_wakes_the_handler(node: Node) -> None:
    session, cookie = node.session()
    pages = [node.open("/echo", cookie) for _ in range(3)]
    node.end(session, Reason.TIME)
    for page in pages:
        closing = page.closing()
        assert (closing.code, closing.reason) == (4001, "session-over")
    eventually(lambda: node.module.news == [("closed", True, None)] * 3)


def test_messages_that_arrive_with_the_end_are_not_handed_out(node: Node) -> None:
    session, cookie = node.session()
    page = node.open("/stuck", cookie)
    assert page.message() == "stuck"
    page.send("late")
    page.ping()  # so that it has arrived
    node.end(session)
    node.module.release.set()
    assert page.closing().code == 4001


def test_other_sessions_go_on(node: Node) -> None:
    ada, cookie = node.session()
    _, other = node.session("bob")
    hers, his = node.open("/echo", cookie), node.open("/echo", other)
    node.end(ada)
    assert hers.closing().code == 4001
    assert his.send("still here").message() == "still here"


def test_a_login_level_websocket_outlives_the_session(node: Node) -> None:
    session, cookie = node.session()
    page = node.open("/after", cookie)
    node.end(session)
    assert page.json()["event"] == "dispose"
    assert page.send("").json() == {"user": "ada", "active": False}
    assert node.open("/after", cookie).send("").json() == {"user": "ada", "active": False}
    assert node.refused("/echo", cookie) == 403


def test_a_message_counts_as_a_poll(node: Node) -> None:
    session, cookie = node.session()
    page = node.open("/echo", cookie)
    before = session.last_poll
    page.send("here").message()
    assert session.last_poll > before


def test_a_handler_of_all_threads_leaves_none_for_another(tmp_path: Path) -> None:
    with running(tmp_path, limits=WebSocketLimits(handlers=2)) as node:
        _, cookie = node.session()
        pages = [node.open("/echo", cookie) for _ in range(2)]
        assert node.refused("/echo", cookie) == 503
        pages[0].leave()
        eventually(lambda: node.refused("/echo", cookie) == 101)


def test_where_a_handler_gets_no_thread_its_websocket_is_closed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("websocket-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert node.open("/echo", node.session()[1]).closing().code == 1011
    assert not node.agent.runtime.websockets._threads


def test_without_the_web_server_there_are_no_websockets(tmp_path: Path) -> None:
    (tmp_path / "bench.yaml").write_text(BOARD)
    (tmp_path / "bench.py").write_text(MODULE)
    upgrade = {
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_ORIGIN": "http://lab.test",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_UPGRADE": "websocket",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    with LabClient(tmp_path / "bench.yaml") as lab:
        reply = lab.browser().get("/who", **upgrade)
        assert reply.status == 400
        assert reply.json["message"] == "There are no WebSockets without the web server."
        lab.lab.push("news")  # reaches nobody


# --- push ---


@pytest.mark.parametrize("task", ["on_the_board", "in_the_background"])
def test_a_task_pushes_to_all_pages_of_its_session_alone(node: Node, task: str) -> None:
    session, cookie = node.session()
    _, other = node.session("bob")
    pages = [node.open("/echo", cookie), node.open("/who", cookie)]
    elsewhere = node.open("/echo", other)
    with context.acting(user=node.agent.sessions.user(session)):
        node.lab.functions[task].delay()
    for page in pages:
        event = page.json()
        thread = "hardware" if task == "on_the_board" else "background"
        assert event["event"] == "task"
        assert event["data"]["thread"].startswith(thread)
    assert elsewhere.hears_nothing()


def test_a_view_pushes(node: Node) -> None:
    _, cookie = node.session()
    page = node.open("/echo", cookie)
    assert node.http("POST", "/push", Cookie=cookie, Origin=node.origin)[0] == 200
    assert page.json() == {"event": "view", "data": "ada"}


def test_a_hook_pushes_to_whoever_outlives_the_session(node: Node) -> None:
    session, cookie = node.session()
    active, login = node.open("/echo", cookie), node.open("/after", cookie)
    node.end(session)
    assert login.json() == {"event": "dispose", "data": None}
    assert active.closing().code == 4001


def test_without_a_user_every_session_is_told(node: Node) -> None:
    pages = [node.open("/echo", node.session(name)[1]) for name in ("ada", "bob")]
    stranger = node.open("/who")
    node.lab.push("news", [1, 2])
    assert [page.json() for page in pages] == [{"event": "news", "data": [1, 2]}] * 2
    assert stranger.hears_nothing()


def test_pushing_what_is_not_json_says_so(node: Node) -> None:
    with pytest.raises(BadInput, match="not a message for a WebSocket"):
        node.lab.push("news", object())


# --- declaring ---


def test_a_websocket_has_a_path_of_its_own() -> None:
    lab = Lab()
    lab.websocket("/a")(lambda ws: None)
    for path in ("/a", "b"):
        with pytest.raises(LabnodeError, match="a path of its own"):
            lab.websocket(path)


def test_a_level_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LabnodeError, match="active, login or public, not 'everybody'"):
        Lab().websocket("/a", access="everybody")  # type: ignore[arg-type]


def test_a_handler_takes_the_websocket() -> None:
    with pytest.raises(LabnodeError, match="websocket"):
        Lab().websocket("/a")(lambda: None)


# --- the node ---


def test_the_node_stops_with_websockets_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with running(tmp_path) as node:
        _, cookie = node.session()
        page = node.open("/echo", cookie)
        silent = [node.open("/echo", cookie) for _ in range(5)]
        closed: list[int] = []
        reader = threading.Thread(target=lambda: closed.append(page.closing().code))
        reader.start()
        assert node.agent.stop()
        reader.join()
        assert closed == [1001]
        assert all(each.event().code == 1001 for each in silent)  # type: ignore[attr-defined]
    assert not caplog.records


def test_the_web_server_stops_with_a_websocket_open(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        page = node.open("/echo", node.session()[1])
        stopping = threading.Thread(target=node.agent.web.stop)
        stopping.start()
        assert page.closing().code == 1001
        stopping.join()


def test_a_handler_that_never_returns_does_not_keep_the_node(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path) as node:
        _, cookie = node.session()
        assert node.open("/stuck", cookie).message() == "stuck"
        assert node.agent.stop()
        assert "Handlers of WebSockets still run: websocket-1" in caplog.text
