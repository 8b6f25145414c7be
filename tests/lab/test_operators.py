"""Who operates what is on, and when they are missed: students, tasks, hooks and sequences."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from labnode import context
from labnode.lab import Lab
from labnode.sessions import Reason, Session
from tests.kit import node as kit
from tests.kit.node import SmallNode
from tests.kit.waiting import PATIENCE, eventually

BOARD = """\
schema: 1
session: {{timeout: 15, connect_timeout: 60{rules}}}
devices:
  pump: {{driver: relay, pin: GPIO17, deadman: 5}}
sequences:
  on_start: {{steps: [{{set: {{pump: false}}}}]}}
  buttons:
    wash: {{label: Wash, steps: [{{set: {{pump: true}}}}, {{wait: 60}}]}}
"""


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def node(tmp_path: Path, lab: Lab) -> Iterator[SmallNode]:
    with patch.object(kit, "BOARD", BOARD), SmallNode(tmp_path, lab) as node:
        yield node


def started_by(on_start: str) -> str:
    return BOARD.replace("[{{set: {{pump: false}}}}]", on_start)


def switch(node: SmallNode, session: Session, on: bool = True) -> None:
    command = node.lab.devices.pump.on if on else node.lab.devices.pump.off
    node.ask(lambda: node.run_as(session, command)).answer  # noqa: B018 - what it raised


def pump(node: SmallNode) -> bool:
    return bool(node.values()["pump"])


def live_page(node: SmallNode, session: Session, seconds: float) -> None:
    """A page whose WebSocket answers once a second, and says something now and then."""
    for _ in range(round(seconds)):
        node.sessions.answered(session)
        node.sessions.poll(session)
        node.advance(1)


def history(node: SmallNode) -> list[tuple[Any, Any]]:
    rows = node.store.select("events", "kind = 'deadman'")
    return [(row["session_id"], row["detail"]) for row in rows]


# --- a student ---


def test_a_page_that_no_longer_answers_is_missed_long_before_the_timeout(node: SmallNode) -> None:
    session = node.connected()
    live_page(node, session, 1)
    switch(node, session)
    live_page(node, session, 60)
    assert pump(node)
    node.advance(3.9)
    assert pump(node)
    node.advance(0.2)
    assert not pump(node)
    assert session.active
    node.settle()
    assert history(node) == [(session.id, {"device": "pump"})]


def test_it_does_not_go_on_again_when_the_page_comes_back(node: SmallNode) -> None:
    session = node.connected()
    live_page(node, session, 1)
    switch(node, session)
    node.advance(6)
    live_page(node, session, 10)
    assert not pump(node)
    assert node.board.snapshot["pump"]["unheard"] is True
    switch(node, session)
    live_page(node, session, 10)
    assert pump(node)


def test_without_a_websocket_requests_count_and_not_before_the_timeout(node: SmallNode) -> None:
    session = node.connected()
    switch(node, session)
    for _ in range(3):
        node.advance(14)
        assert pump(node)
        node.sessions.poll(session)
    node.advance(15)
    assert not pump(node)


def test_where_a_session_may_be_silent_for_ever_so_may_a_page_without_a_websocket(
    tmp_path: Path,
) -> None:
    board = BOARD.replace("timeout: 15", "timeout: -1")
    with patch.object(kit, "BOARD", board), SmallNode(tmp_path) as node:
        session = node.connected()
        switch(node, session)
        node.advance(300)
        assert pump(node)
        node.sessions.answered(session)
        node.advance(5)
        assert not pump(node)


def test_a_request_counts_too_while_a_websocket_is_lost(node: SmallNode) -> None:
    session = node.connected()
    live_page(node, session, 1)
    switch(node, session)
    for _ in range(5):
        node.advance(4)
        node.sessions.poll(session)
    assert pump(node)
    node.advance(5)
    assert not pump(node)


def test_a_page_that_was_left_for_one_without_a_websocket_may_ask_less_often(
    node: SmallNode,
) -> None:
    session = node.connected()
    live_page(node, session, 1)
    switch(node, session)
    node.sessions.leaving(session)
    node.sessions.poll(session)
    node.advance(10)
    assert pump(node)


def test_what_the_lab_says_for_the_student_is_no_sign_of_their_page(
    node: SmallNode, lab: Lab
) -> None:
    session = node.connected()
    live_page(node, session, 1)
    switch(node, session)
    for _ in range(3):
        node.advance(2)
        node.run_as(session, lab.poll)
    assert not pump(node)
    assert session.active


def test_who_switched_it_last_counts(tmp_path: Path) -> None:
    board = BOARD.replace("{rules}", ", users: 2")
    with patch.object(kit, "BOARD", board), SmallNode(tmp_path) as node:
        ada, bob = node.connected(), node.connected(client="other", username="bob")
        live_page(node, ada, 1)
        switch(node, ada)
        node.sessions.answered(bob)
        switch(node, bob)
        live_page(node, bob, 10)
        assert pump(node)
        live_page(node, ada, 5)
        assert not pump(node)
        node.settle()
        assert history(node) == [(bob.id, {"device": "pump"})]


def test_nobody_in_particular_is_not_heard(node: SmallNode) -> None:
    node.ask(node.lab.devices.pump.on).answer  # noqa: B018
    node.advance(4.9)
    assert pump(node)
    node.advance(0.2)
    assert not pump(node)
    node.settle()
    assert history(node) == [(None, {"device": "pump"})]


# --- what a start leaves on for a student ---


def test_what_on_start_leaves_on_waits_for_the_student_and_then_for_their_page(
    tmp_path: Path, lab: Lab
) -> None:
    lab.on_start(lambda client_data, server_data: lab.devices.pump.on())
    with patch.object(kit, "BOARD", BOARD), SmallNode(tmp_path, lab) as node:
        session = node.start()
        node.advance(59)
        assert pump(node)
        live_page(node, session, 30)
        assert pump(node)
        node.advance(5)
        assert not pump(node)


def test_a_sequence_that_starts_a_session_leaves_it_to_the_student_too(tmp_path: Path) -> None:
    board = started_by("[{{set: {{pump: true}}}}, {{wait: 30}}]")
    with patch.object(kit, "BOARD", board), SmallNode(tmp_path) as node:
        asked = node.ask_start()
        node.advance(29)
        assert pump(node)
        node.advance(2)
        session = asked.session
        assert session.active
        live_page(node, session, 30)
        assert pump(node)
        node.advance(5)
        assert not pump(node)


def test_an_initial_value_is_the_students(tmp_path: Path) -> None:
    board = BOARD.replace("deadman: 5", "deadman: 5, initial: true").replace(
        "{{pump: false}}", "{{pump: true}}"
    )
    with patch.object(kit, "BOARD", board), SmallNode(tmp_path) as node:
        session = node.start()
        node.advance(20)
        assert pump(node)
        live_page(node, session, 2)
        node.advance(5)
        assert not pump(node)


def test_a_hook_that_waits_is_there(tmp_path: Path, lab: Lab) -> None:
    @lab.on_dispose
    def dispose() -> None:
        lab.devices.pump.on()
        lab.wait(30)

    with patch.object(kit, "BOARD", BOARD), SmallNode(tmp_path, lab) as node:
        session = node.connected()
        live_page(node, session, 1)
        node.sessions.end(session, Reason.EXITED)
        node.turn()
        node.advance(29)
        assert pump(node)
        node.advance(2)
        assert not pump(node)
        node.settle()
        assert history(node) == []


# --- tasks and sequences ---


@pytest.mark.parametrize("unique", ["global", None])
def test_a_task_feeds_by_waiting_what_it_has_switched_on(
    tmp_path: Path, lab: Lab, unique: Any
) -> None:
    @lab.task(unique=unique)
    def rinse() -> None:
        lab.devices.pump.on()
        lab.current_task.wait(60)  # type: ignore[union-attr]

    with patch.object(kit, "BOARD", BOARD), SmallNode(tmp_path, lab) as node:
        session = node.connected()
        live_page(node, session, 1)
        with context.acting(user=node.user(session)):
            task = rinse.delay()
        node.until(lambda: pump(node))
        node.until_task_rests()
        for _ in range(4):
            node.advance(13)
            assert pump(node)
            node.sessions.poll(session, by_lab=True)
        node.advance(9)
        eventually(lambda: task.retrieve().status == "done")  # and the page is silent
        node.sessions.poll(session, by_lab=True)
        node.advance(5)
        assert not pump(node)


def test_a_task_in_the_background_that_hangs_is_missed(tmp_path: Path, lab: Lab) -> None:
    hangs, free = threading.Event(), threading.Event()

    @lab.task()
    def rinse() -> None:
        lab.devices.pump.on()
        hangs.set()
        free.wait(PATIENCE)

    with patch.object(kit, "BOARD", BOARD), SmallNode(tmp_path, lab) as node:
        session = node.connected()
        with context.acting(user=node.user(session)):
            task = rinse.delay()
        assert hangs.wait(PATIENCE)
        node.settle()  # before time goes on: the hardware thread may be on its way to rest
        assert pump(node)
        live_page(node, session, 5)
        try:
            assert not pump(node)
        finally:
            free.set()
            node.until(lambda: task.retrieve().finished)


def test_a_part_of_a_task_feeds_the_whole(tmp_path: Path, lab: Lab) -> None:
    @lab.task()
    def soak() -> None:
        lab.wait(60)

    @lab.task(unique="global")
    def rinse() -> None:
        lab.devices.pump.on()
        soak()

    with patch.object(kit, "BOARD", BOARD), SmallNode(tmp_path, lab) as node:
        with context.acting(user=None):
            rinse.delay()
        node.until(lambda: pump(node))
        node.until_task_rests()
        node.advance(30)
        assert pump(node)
        node.advance(31)
        node.advance(5)
        assert not pump(node)


def test_a_sequence_that_a_student_starts_feeds_while_it_runs(node: SmallNode) -> None:
    session = node.connected()
    live_page(node, session, 1)
    with context.acting(user=node.user(session)):
        node.lab.functions["wash"].delay()
    node.until(lambda: pump(node))
    node.until_task_rests()
    for _ in range(4):
        node.advance(13)
        node.sessions.poll(session, by_lab=True)
    assert pump(node)
    node.advance(10)
    assert not pump(node)
