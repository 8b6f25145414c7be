"""However many sessions are over: no step takes longer, and little of each is kept."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

from labnode.sessions import Session
from labnode.store import Row
from tests.kit.node import SmallNode, WatchedStore

Boot = Callable[..., SmallNode]
MANY = 60
MOST_KEPT = 1100  # bytes of a session that is over, about 1 KB


def steps(function: Callable[[], Any]) -> int:
    """How many functions, of Python's own too, this thread calls in it."""
    count = 0

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def end_some(node: SmallNode, number: int) -> None:
    for each in range(number):
        sent = {f"priority.{key}": [each, str(each)] for key in range(20)}
        node.delete(node.connected(client_data=sent, server_data=sent))


def test_no_step_depends_on_how_many_sessions_are_over(boot: Boot) -> None:
    node = boot()
    end_some(node, 2)

    def figures() -> dict[str, int]:
        session = node.connected()
        over = node.known()[0]
        found = {
            "a cookie": steps(lambda: node.sessions.by_handle(session.handle)),
            "a callback": steps(lambda: node.sessions.by_token(session.token)),
            "the cookie of one that is over": steps(lambda: node.sessions.by_handle(over.handle)),
            "a status": steps(lambda: node.sessions.status(session.id)),
            "who is there": steps(node.sessions.live),
            "a turn of the reaper": steps(node.sessions.step),
        }
        node.delete(session)
        return found

    few = figures()
    end_some(node, MANY)
    assert figures() == few


def test_little_is_kept_of_a_session_that_is_over(boot: Boot) -> None:
    node = boot()
    end_some(node, 10)

    def kept() -> int:
        gc.collect()
        ours = [tracemalloc.Filter(True, name) for name in ("*/labnode/sessions/*", __file__)]
        shot = tracemalloc.take_snapshot().filter_traces(ours)
        return sum(trace.size for trace in shot.traces)

    tracemalloc.start()
    try:
        end_some(node, 10)
        before = kept()
        end_some(node, MANY)
        each = (kept() - before) / MANY
    finally:
        tracemalloc.stop()
    assert each <= MOST_KEPT


def test_one_that_is_over_still_answers_its_student(boot: Boot) -> None:
    node = boot()
    session = node.connected()
    node.run_as(session, lambda: node.user(session).data.update(level=3))
    node.delete(session)
    found = node.sessions.by_handle(session.handle)
    assert found is session
    assert node.user(session).data == {"level": 3}
    assert not node.user(session).active
    assert node.sessions.delete(session.id).value == "done"
    assert_waits_for_nothing(session)


def test_what_the_central_server_sent_can_be_read_when_it_is_over(boot: Boot) -> None:
    node = boot()
    session = node.connected(client_data={"level": 3}, server_data={"a": [1]})
    node.delete(session)
    user = node.user(session)
    assert (user.request_client_data, user.request_server_data) == ({"level": 3}, {"a": [1]})


def assert_waits_for_nothing(session: Session) -> None:
    assert session.disposed.is_set()
    assert session.started.is_set()


def test_what_a_view_writes_while_the_end_of_its_session_is_stored_is_kept(boot: Boot) -> None:
    class Slow(WatchedStore):
        def update(self, table: str, key: str, changes: Row, *rest: Any, **more: Any) -> None:
            if changes.get("state") == "disposed":
                user.data["level"] = 3
            super().update(table, key, changes, *rest, **more)

    node = boot(store=Slow)
    session = node.connected()
    user = node.user(session)
    user.data["level"] = 2
    node.delete(session)
    node.settle()
    assert node.row(session)["data"] == {"level": 3}
