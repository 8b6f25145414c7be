"""Pages that an output's dead man listens to, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wsproto.events import Event, Ping, TextMessage

from labnode.clock import Clock
from tests.kit.waiting import eventually

from .sockets import Node, Page, running

DEVICES = """\
  pump: {driver: relay, pin: GPIO22, deadman: 2s}
  fan: {driver: relay, pin: GPIO23, deadman: 60s}
"""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path, devices=DEVICES) as node:
        yield node


def live(node: Node, cookie: str) -> Page:
    page = node.open("/api/live", cookie)
    page.json()
    return page


def command(node: Node, cookie: str, command: str) -> None:
    """A command such as "pump/on"."""
    headers = {"Cookie": cookie, "Content_Length": "0"}
    status, _, body = node.http("POST", f"/api/devices/{command}", **headers)
    assert status == 200, body


def ping(page: Page) -> Ping:
    while not isinstance(event := page.event(), Ping):
        assert isinstance(event, TextMessage), event
    return event


def answer(page: Page, event: Ping) -> None:
    page.send_raw(page.protocol.send(event.response()))


def pump(node: Node) -> dict[str, Any]:
    return node.agent.board.snapshot["pump"]


def test_a_page_is_pinged_every_second_while_what_has_a_dead_man_is_on(guarded: Node) -> None:
    _, cookie = guarded.session()
    page = live(guarded, cookie)
    command(guarded, cookie, "fan/on")
    began = Clock().now()
    for _ in range(4):
        answer(page, ping(page))
    assert Clock().now() - began > 2.5  # once a second, no more


def test_an_idle_page_is_not_pinged(guarded: Node) -> None:
    _, cookie = guarded.session()
    page = live(guarded, cookie)
    command(guarded, cookie, "fan/on")
    answer(page, ping(page))
    command(guarded, cookie, "fan/off")
    (channel,) = guarded.channels()
    eventually(lambda: channel.deadline - Clock().now() > 15)
    later = live(guarded, cookie)
    eventually(lambda: len(guarded.channels()) == 2)
    eventually(lambda: all(c.deadline - Clock().now() > 15 for c in guarded.channels()))
    assert later.hears_nothing()


def test_a_page_that_is_opened_while_it_is_on_is_pinged_too(guarded: Node) -> None:
    _, cookie = guarded.session()
    command(guarded, cookie, "fan/on")
    page = live(guarded, cookie)
    answer(page, ping(page))


def test_a_page_that_no_longer_answers_is_missed_and_hears_why_when_it_is_back(
    guarded: Node,
) -> None:
    session, cookie = guarded.session()
    page = live(guarded, cookie)
    command(guarded, cookie, "pump/on")
    answer(page, ping(page))
    eventually(lambda: pump(guarded)["value"] is False)
    state = json.loads(guarded.http("GET", "/api/state", Cookie=cookie)[2])
    assert state["devices"]["pump"] == {"value": False, "unheard": True}
    assert session.active
    rows = guarded.agent.store.select("events", "kind = 'deadman'")
    assert [(row["session_id"], row["detail"]) for row in rows] == [
        (session.id, {"device": "pump"})
    ]


def test_a_page_that_is_cut_off_without_a_word_is_missed(guarded: Node) -> None:
    _, cookie = guarded.session()
    page = live(guarded, cookie)
    command(guarded, cookie, "pump/on")
    page.vanish()
    eventually(lambda: pump(guarded).get("unheard"))


def test_an_observers_page_does_not_count(guarded: Node) -> None:
    session, cookie = guarded.session()
    page = live(guarded, cookie)
    command(guarded, cookie, "pump/on")
    page.vanish()
    link = guarded.agent.runtime.node.observers.link(session)
    _, headers, _ = guarded.http("GET", link[link.index("/observe/") :])
    watcher = live(guarded, headers["set-cookie"].partition(";")[0])
    seen: list[Event] = []
    while not pump(guarded).get("unheard"):
        seen.append(watcher.event())
        assert not isinstance(seen[-1], Ping)
    assert seen


def test_the_description_says_that_a_dead_man_watches(guarded: Node) -> None:
    _, cookie = guarded.session()
    board = json.loads(guarded.http("GET", "/api/board", Cookie=cookie)[2])
    described = {each["name"]: each.get("deadman") for each in board["devices"]}
    assert described == {"switch": None, "pump": 2.0, "fan": 60.0}
