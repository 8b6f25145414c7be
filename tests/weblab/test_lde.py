"""LabDiscoveryEngine's messages: what its starts say, and what its deletes are told."""

from __future__ import annotations

from typing import Any

import pytest

from labnode.errors import BadInput
from labnode.sessions import Deletion, StartRequest
from labnode.weblab import lde

WALL = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC


def parse(**fields: Any) -> tuple[StartRequest, float]:
    return lde.parse_start({"schedule": {"length": 60}, **fields}, "lde", WALL)


def test_a_start_with_nothing_but_its_length_is_enough() -> None:
    assert parse() == (StartRequest(client="lde", length=60.0), 0.0)


@pytest.mark.parametrize("part", ["request", "laboratory", "user"])
@pytest.mark.parametrize("nothing", [None, {}, "", "{}"], ids=repr)
def test_a_part_may_be_missing_or_empty(part: str, nothing: Any) -> None:
    assert parse(**{part: nothing})[0] == StartRequest(client="lde", length=60.0)


@pytest.mark.parametrize(
    ("start", "elapsed", "skew"),
    [
        ("2026-09-21T14:13:15.500000+00:00", 4.5, 0.0),
        ("2026-09-21T16:13:15.5+02:00", 4.5, 0.0),
        ("2026-09-21T14:13:15Z", 5.0, 0.0),
        ("2026-09-21T14:13:15", 5.0, 0.0),
        ("2026-09-21T14:13:22+00:00", 0.0, 0.0),
        ("2026-09-21T15:13:20+00:00", 0.0, -3600.0),
        ("2026-09-21T13:13:20+00:00", 0.0, 3600.0),
        ("1970-01-01T00:00:00+00:00", 0.0, WALL),
        (None, 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_the_time_that_is_gone_counts_where_it_is_plausible(
    start: str | None, elapsed: float, skew: float
) -> None:
    request, found = parse(schedule={"start": start, "length": "60"})
    assert (request.elapsed, found) == (elapsed, skew)


def test_the_username_is_unique_where_nothing_else_is_said() -> None:
    assert parse(user={"username": "ada"})[0].username_unique == "ada"


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"schedule": None}, "schedule.length is missing"),
        ({"schedule": {"length": 0}}, "schedule.length must be more than 0"),
        ({"schedule": "{"}, "schedule is not JSON"),
        ({"user": {"fullName": ["Ada"]}}, "user.fullName must be a string"),
        ({"request": {"server": 1}}, "request.server must be an object"),
        ({"laboratory": {"category": {}}}, "laboratory.category must be a string"),
    ],
)
def test_bad_input_names_the_key_as_it_is_found_in_the_body(
    fields: dict[str, Any], key: str
) -> None:
    with pytest.raises(BadInput) as caught:
        parse(**fields)
    assert str(caught.value).startswith(key)


@pytest.mark.parametrize(
    ("status", "again"), [(400, 2), (401, 2), (404, -1), (405, 2), (429, 2), (500, 2), (503, 2)]
)
def test_every_refusal_says_whether_to_ask_again_whatever_its_status(
    status: int, again: int
) -> None:
    answer = lde.refusal("Not now.", status)
    assert answer.pop("should_finish") == again
    if again > 0:
        assert (answer.pop("finished"), answer.pop("ask_again")) == (False, 2)
    assert answer == {"error": True, "success": False, "message": "Not now."}


@pytest.mark.parametrize(("state", "again"), [("DONE", -1), ("PENDING", 2), ("UNKNOWN", -1)])
def test_every_delete_says_whether_to_ask_again(state: str, again: int) -> None:
    answer = lde.deletion(Deletion[state])
    assert answer["should_finish"] == again
    assert "data" not in answer
