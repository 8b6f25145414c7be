"""What an observer's page has over its WebSocket, on real sockets."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from wsproto.events import CloseConnection

from labnode.http.websocket import WebSocketLimits
from labnode.sessions import Session

from .sockets import Node, running


def observer_of(node: Node, session: Session) -> str:
    """The cookie of somebody who has opened the session's link."""
    path = urlsplit(node.agent.runtime.node.observers.link(session)).path
    status, headers, _ = node.http("GET", path)
    assert status == 302
    return headers["set-cookie"].partition(";")[0]


def drive(node: Node) -> None:
    node.agent.worker.call(lambda: node.agent.board.command("switch", "set", [True]))


def test_an_observer_sees_what_changes_while_it_changes(node: Node) -> None:
    session, _ = node.session()
    page = node.open("/api/live", observer_of(node, session))
    state = page.json()
    assert (state["session"]["username"], state["session"]["read_only"]) == ("ada", True)
    drive(node)
    assert page.json()["devices"] == {"switch": {"value": True}}


def test_an_observer_s_page_keeps_nobody_s_session(node: Node) -> None:
    session, _ = node.session()
    page = node.open("/api/live", observer_of(node, session))
    page.json()
    before = session.last_poll
    page.send("here")
    assert "time_left" in page.json()
    assert session.last_poll == before


def test_an_observer_s_page_is_closed_with_the_session(node: Node) -> None:
    session, _ = node.session()
    page = node.open("/api/live", observer_of(node, session))
    page.json()
    node.end(session)
    while not isinstance(event := page.event(), CloseConnection):
        pass
    assert event.code == 4001


def test_a_lab_s_own_websockets_are_not_for_observers(node: Node) -> None:
    session, _ = node.session()
    assert node.refused("/echo", observer_of(node, session)) == 403


def test_observers_take_no_websockets_from_the_student(tmp_path: Path) -> None:
    with running(tmp_path, limits=WebSocketLimits(per_session=2)) as node:
        session, cookie = node.session()
        observer = observer_of(node, session)
        for _ in range(2):
            node.open("/api/live", observer).json()
        assert node.refused("/api/live", observer) == 503
        for _ in range(2):
            node.open("/api/live", cookie).json()
