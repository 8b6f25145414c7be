"""The stand-in for LabDiscoveryEngine: it does what the real one does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labnode.errors import LabnodeError, StartFailed
from labnode.weblab.caller import NoAnswer
from labnode.weblab.fake import SessionEnd
from labnode.weblab.fake_lde import DiscoveryEngine

from .real_node import Hurried

START = (200, {"session_id": "abc", "url": "http://lab/callback/x"})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An engine whose lab gives these answers, and what it asked for."""

    def build(*replies: Any, **options: Any) -> tuple[DiscoveryEngine, list[Any]]:
        server = DiscoveryEngine("http://lab", "lde", "secret", **{"release": "later", **options})
        asked: list[Any] = []
        waiting = list(replies)

        def ask(
            path: str,
            fields: Any = None,
            *,
            timeout: float,
            method: str | None = None,
            any_status: bool = False,
        ) -> Any:
            assert any_status == (options.get("release") == "0.6.0")
            asked.append((method or ("GET" if fields is None else "POST"), path, fields))
            reply = waiting.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return reply

        monkeypatch.setattr(server._caller, "ask", ask)
        return server, asked

    return build


def test_a_start_has_its_own_body(engine: Any) -> None:
    server, asked = engine(START[1])
    assert server.new(username="ada", assigned_time=60, reservation_id="r-1", back="http://b") == (
        "abc",
        "http://lab/callback/x",
    )
    ((method, path, body),) = asked
    assert (method, path) == ("POST", "")
    start = body["schedule"].pop("start")
    assert start.endswith("+00:00")
    assert body == {
        "request": {
            "locale": None,
            "ldeReservationId": "r-1",
            "user": {},
            "server": {},
            "backUrl": "http://b",
        },
        "laboratory": {"name": "mylab", "category": None},
        "user": {"username": "ada", "unique": "ada", "fullName": None},
        "schedule": {"length": 60},
    }
    json.dumps(body)


@pytest.mark.parametrize(
    "answer", [{**START[1], "error": True}, {**START[1], "success": False}, {"url": "http://x"}, {}]
)
def test_a_start_is_not_believed_when_it_says_that_it_failed(engine: Any, answer: Any) -> None:
    server, asked = engine(answer)
    with pytest.raises(NoAnswer):
        server.new()
    assert len(asked) == 1


def test_a_failed_start_is_never_repeated(engine: Any) -> None:
    server, asked = engine(StartFailed("No heat."))
    with pytest.raises(StartFailed):
        server.new()
    assert len(asked) == 1


def test_it_polls_at_least_every_ten_seconds_until_the_lab_says_that_it_is_over(
    engine: Any,
) -> None:
    polls = [3, 1.5, 0, 60, -1]
    server, asked = engine(*({"should_finish": n} for n in polls))
    stop, seen = Hurried(), list[Any]()
    server.watch("abc", seen.append, stop)
    assert seen == polls
    assert stop.seconds == [3, 1.5, 10, 10]
    assert {(method, path) for method, path, _ in asked} == {("GET", "abc/status")}


def test_three_polls_in_a_row_that_fail_are_too_many(engine: Any) -> None:
    down = NoAnswer("down")
    server, _ = engine(down, down, {"should_finish": 5}, down, down, down)
    stop, seen = Hurried(), list[Any]()
    server.watch("abc", seen.append, stop)
    assert [isinstance(answer, LabnodeError) for answer in seen] == [
        *(True, True, False),
        *(True, True, True),
    ]
    assert stop.seconds == [1, 1, 5, 1, 1]


@pytest.mark.parametrize(
    ("replies", "ending", "waits"),
    [
        ([{"should_finish": -1}], SessionEnd("", 1, clean=True), []),
        ([{"message": "Deleted"}], SessionEnd("Deleted", 1, clean=True), []),
        ([{"message": "Not found"}], SessionEnd("Not found", 1, clean=False), []),
        ([{"error": True, "should_finish": -1}], SessionEnd("", 1, clean=False), []),
        ([{"should_finish": True}], SessionEnd("", 1, clean=False), []),
        ([{"should_finish": "-1"}], SessionEnd("", 1, clean=False), []),
        (
            [{"should_finish": n} for n in (2, 0, 100, -1)],
            SessionEnd("", 4, clean=True),
            [2, 1, 30],
        ),
        ([NoAnswer("down")], SessionEnd("down", 1, clean=False), []),
        ([{"should_finish": 1}] * 60, SessionEnd("", 60, clean=False), [1] * 60),
    ],
    ids=lambda value: str(value)[:60],
)
def test_only_a_negative_answer_to_a_delete_frees_the_board(
    engine: Any, replies: Any, ending: SessionEnd, waits: list[float]
) -> None:
    server, asked = engine(*replies)
    stop = Hurried()
    assert server.delete("abc", stop) == ending
    assert stop.seconds == waits
    assert set(map(str, asked)) == {str(("DELETE", "abc", None))}


def test_release_0_6_0_gives_up_at_the_first_poll_that_nothing_answers(engine: Any) -> None:
    server, asked = engine({}, {"should_finish": 5}, NoAnswer("down"), release="0.6.0")
    stop, seen = Hurried(), list[Any]()
    server.watch("abc", seen.append, stop)
    assert seen[:2] == [0, 5]  # a reply without should_finish is no reason to stop
    assert isinstance(seen[2], NoAnswer)
    assert (stop.seconds, len(asked)) == ([10, 5], 3)


@pytest.mark.parametrize(
    ("replies", "asked_times", "clean"),
    [
        ([{"should_finish": -1}], 1, True),
        ([{"error": True, "message": "Wrong password"}], 1, True),
        ([{"should_finish": 0}], 1, True),
        ([{"error": True, "should_finish": 2}, {"should_finish": -1}], 2, True),
        ([{"should_finish": 2}] * 60, 60, False),
        ([NoAnswer("down")], 1, False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_release_0_6_0_takes_a_board_for_clean_unless_it_is_asked_to_wait(
    engine: Any, replies: Any, asked_times: int, clean: bool
) -> None:
    server, asked = engine(*replies, release="0.6.0")
    stop = Hurried()
    end = server.delete("abc", stop)
    assert (end.asked, end.clean, len(asked)) == (asked_times, clean, asked_times)
    assert set(stop.seconds) <= {0}


def test_as_weblab_it_deletes_by_post(engine: Any) -> None:
    server, asked = engine({"should_finish": -1}, api="weblablib")
    assert server.delete("abc").clean
    assert asked == [("POST", "abc", {"action": "delete"})]
