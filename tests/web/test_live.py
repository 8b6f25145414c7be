"""The live state that every open page has, over real sockets."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from wsproto.events import CloseConnection

from labnode import context
from labnode.events import Notice
from labnode.http.websocket import SESSION_OVER
from labnode.web.page_state import PageState
from tests.kit.waiting import eventually

from .sockets import Node, Page


def live(node: Node, cookie: str) -> tuple[Page, dict[str, Any]]:
    """An open page, and what it is told first."""
    page = node.open("/api/live", cookie)
    return page, page.json()


def drive(node: Node, value: bool) -> None:
    node.agent.worker.call(lambda: node.agent.board.command("switch", "set", [value]))


def test_a_page_is_told_everything_first_and_then_what_changes(node: Node) -> None:
    _, cookie = node.session()
    page, state = live(node, cookie)
    assert state["devices"] == {"switch": {"value": False}}
    assert (state["tasks"], state["session"]["username"]) == ([], "ada")
    assert 590 < state["session"]["time_left"] <= 600
    drive(node, True)
    news = page.json()
    assert news["devices"] == {"switch": {"value": True}}
    assert (news["run"], news["version"] > state["version"]) == (state["run"], True)
    assert "session" not in news


def test_what_it_is_told_first_is_what_can_be_asked_for(node: Node) -> None:
    _, cookie = node.session()
    _page, state = live(node, cookie)
    asked = json.loads(node.http("GET", "/api/state", Cookie=cookie)[2])
    for each in (state, asked):
        each.pop("now")
        each["session"].pop("time_left")
    assert asked == state


def test_all_pages_are_told_the_same(node: Node) -> None:
    (_, ada), (_, bob) = node.session(), node.session("bob")
    pages = [live(node, cookie)[0] for cookie in (ada, ada, bob)]
    drive(node, True)
    assert [page.json()["devices"]["switch"]["value"] for page in pages] == [True] * 3


def test_a_task_is_told_to_the_pages_of_its_own_session(node: Node) -> None:
    (session, ada), (_, bob) = node.session(), node.session("bob")
    (page, _), (other, _) = live(node, ada), live(node, bob)
    with context.acting(user=node.agent.sessions.user(session)):
        task = node.lab.functions["in_the_background"].delay().task_id
    seen: list[str] = []
    while "done" not in seen:
        news = page.json()
        seen += [each["status"] for each in news.get("tasks", []) if each["task_id"] == task]
    drive(node, True)
    assert other.json()["devices"]  # and nothing before it


def test_a_page_that_says_anything_keeps_the_session_and_hears_the_time(node: Node) -> None:
    session, cookie = node.session()
    page, _ = live(node, cookie)
    polled = session.last_poll
    answer = page.send("here").json()
    assert session.last_poll > polled
    assert 590 < answer["time_left"] <= 600


def test_a_page_that_is_hidden_hears_the_time_alone_and_everything_when_it_is_seen_again(
    node: Node,
) -> None:
    _, cookie = node.session()
    (hidden, _), (seen, _) = live(node, cookie), live(node, cookie)
    assert list(hidden.send("hidden").json()) == ["time_left"]
    drive(node, True)
    assert seen.json()["devices"] == {"switch": {"value": True}}
    assert list(hidden.send("hidden").json()) == ["time_left"]
    hidden.send("here")
    assert hidden.json()["devices"] == {"switch": {"value": True}}
    drive(node, False)
    news = [hidden.json(), hidden.json()]
    assert [each["devices"]["switch"]["value"] for each in news if "devices" in each] == [False]


def test_for_pages_that_are_all_hidden_nothing_is_made_to_be_told(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cookie = node.session()
    page, _ = live(node, cookie)
    assert page.send("hidden").json()
    made: list[Any] = []
    monkeypatch.setattr(PageState, "devices", lambda *_, **__: made.append(1))
    drive(node, True)
    assert page.send("hidden").json()
    assert made == []


def test_the_end_of_the_session_closes_a_hidden_page_too(node: Node) -> None:
    session, cookie = node.session()
    page, _ = live(node, cookie)
    assert page.send("hidden").json()
    node.end(session)
    assert page.closing().code == SESSION_OVER.code


def test_a_page_that_goes_on_takes_back_that_it_is_leaving(node: Node) -> None:
    session, cookie = node.session()
    page, _ = live(node, cookie)
    node.agent.sessions.leaving(session)
    page.send("here").json()
    assert session.leaving_at is None


def test_the_end_of_the_session_closes_the_page_at_once(node: Node) -> None:
    session, cookie = node.session()
    page, _ = live(node, cookie)
    node.end(session)
    closing = page.closing()
    assert (closing.code, closing.reason) == (4001, "session-over")
    status, _, body = node.http("GET", "/api/state", Cookie=cookie)
    assert (status, json.loads(body)["reason"]) == (403, "exited")


def test_a_page_without_a_session_is_refused(node: Node) -> None:
    assert node.refused("/api/live") == 403


def test_pushes_of_the_lab_come_on_the_same_socket(node: Node) -> None:
    session, cookie = node.session()
    page, _ = live(node, cookie)
    node.agent.runtime.websockets.push(session.id, "hello", 5)
    assert page.json() == {"event": "hello", "data": 5}


def test_what_a_sequence_says_comes_on_the_same_socket(node: Node) -> None:
    (session, cookie), (_, other) = node.session(), node.session("bob")
    (page, _), (others, _) = live(node, cookie), live(node, other)
    session.notify({"en": "Hot", "es": "Calor"})
    node.agent.runtime.bus.publish(Notice({"en": "Hot", "es": "Calor"}, session.id))
    assert page.json() == {"notices": [{"number": 1, "text": {"en": "Hot", "es": "Calor"}}]}
    drive(node, True)
    assert "devices" in others.json()  # and no notice before it


def test_a_device_that_shows_no_json_silences_nobody(node: Node) -> None:
    _, cookie = node.session()
    page, _ = live(node, cookie)
    driver = node.agent.board.file.devices["switch"]
    driver.state = lambda: {"value": float("nan")}  # type: ignore[method-assign]
    drive(node, True)
    assert "no number" in page.json()["devices"]["switch"]["error"]
    del driver.state
    drive(node, True)
    assert page.json()["devices"] == {"switch": {"value": True}}


def test_a_page_that_does_not_read_is_dropped_and_told_and_slows_nobody(node: Node) -> None:
    (ada, slow_cookie), (_, cookie) = node.session(), node.session("bob")
    (slow, _), (other, _) = live(node, slow_cookie), live(node, cookie)
    pages = node.agent.runtime.websockets.live
    while (there := pages._of(ada.id)) and there[0].channel.ending is None:
        node.agent.runtime.websockets.push(ada.id, "flood", "x" * 100_000)
    drive(node, True)
    assert other.json()["devices"]["switch"]["value"] is True
    closing = slow.closing()
    assert (closing.code, closing.reason) == (1013, "too-slow")


def test_the_live_thread_forgets_pages_that_have_gone(node: Node) -> None:
    _, cookie = node.session()
    for _ in range(3):
        page, _ = live(node, cookie)
        page.vanish()
    eventually(lambda: not node.agent.runtime.websockets.live._pages and not node.channels())


def test_the_node_stops_with_pages_open(node: Node) -> None:
    _, cookie = node.session()
    page, _ = live(node, cookie)
    reader: list[CloseConnection] = []
    thread = threading.Thread(target=lambda: reader.append(page.closing()))
    thread.start()
    assert node.agent.stop()
    thread.join()
    assert (reader[0].code, reader[0].reason) == (1001, "stopping")
