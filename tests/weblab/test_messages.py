"""What a start asks for, in every dialect, and what it may leave out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labnode.errors import BadInput
from labnode.sessions import Deletion, StartRequest
from labnode.weblab import messages
from labnode.weblab.messages import parse_start

NOW = 1_790_000_000.0
LENGTH = "priority.queue.slot.length"


def start(server: dict[str, Any], **fields: Any) -> StartRequest:
    request, _ = parse_start({"server_initial_data": server, **fields}, "weblab", NOW)
    return request


def test_a_whole_start_is_a_whole_request(start_body: dict[str, Any]) -> None:
    request, skew = parse_start(start_body, "deusto", NOW)
    assert skew == 0
    assert request == StartRequest(
        client="deusto",
        length=300.0,
        reservation_id="9f1c7a52-reservation",
        elapsed=4.5,
        counts_start=True,
        username="ada",
        username_unique="ada@weblab",
        full_name="Ada Lovelace",
        locale="es",
        back="https://weblab.example/labs/thermal",
        experiment_name="thermal",
        category_name="Control",
        client_data={"back": "https://weblab.example/labs/thermal"},
        server_data=start_body["server_initial_data"],
    )


def test_initial_data_as_json_texts_is_the_same_start(start_body: dict[str, Any]) -> None:
    texts = {
        key: json.dumps(value) if isinstance(value, dict) else value
        for key, value in start_body.items()
    }
    assert parse_start(texts, "deusto", NOW) == parse_start(start_body, "deusto", NOW)


def test_a_start_needs_nothing_but_a_length() -> None:
    assert start({LENGTH: 60}) == StartRequest(
        client="weblab", length=60.0, server_data={LENGTH: 60}
    )


def test_the_unique_user_name_is_the_user_name_by_default() -> None:
    assert start({LENGTH: 60, "request.username": "ada"}).username_unique == "ada"


def test_the_way_back_may_stand_in_the_clients_data_alone() -> None:
    client = {"back": "http://weblab/back"}
    assert start({LENGTH: 60}, client_initial_data=client).back == "http://weblab/back"
    both = start({LENGTH: 60}, client_initial_data=client, back="http://weblab/other")
    assert both.back == "http://weblab/other"


def test_keys_that_nobody_knows_are_left_to_the_lab() -> None:
    server = {LENGTH: "60", "priority.queue.slot.colour": ["red"]}
    assert start(server, something_new={}).server_data == server


def test_no_time_is_gone_where_it_only_counts_from_the_end_of_on_start() -> None:
    server = {
        LENGTH: "60",
        "priority.queue.slot.start.timestamp": NOW - 20,
        "priority.queue.slot.initialization_in_accounting": False,
    }
    request = start(server)
    assert (request.elapsed, request.counts_start) == (0.0, False)


def test_a_start_that_cannot_be_true_is_skew_and_takes_nothing_from_the_student() -> None:
    server = {LENGTH: "60", "priority.queue.slot.start.timestamp": NOW - 3600}
    request, skew = parse_start({"server_initial_data": server}, "weblab", NOW)
    assert (request.elapsed, skew) == (0.0, 3600.0)


@pytest.mark.parametrize("length", ["", None])
def test_an_empty_length_is_a_missing_one(length: Any) -> None:
    with pytest.raises(BadInput, match=rf"{LENGTH} is missing"):
        start({LENGTH: length})


@pytest.mark.parametrize("length", [0, -1, "-0.5", "0"])
def test_a_slot_has_to_have_a_length(length: Any) -> None:
    with pytest.raises(BadInput, match=rf"{LENGTH} must be more than 0 seconds"):
        start({LENGTH: length})


KEYS = [
    LENGTH,
    "priority.queue.slot.start",
    "priority.queue.slot.start.timestamp",
    "priority.queue.slot.start.utc",
    "priority.queue.slot.start.timezone",
    "priority.queue.slot.initialization_in_accounting",
    "request.username",
    "request.username.unique",
    "request.full_name",
    "request.locale",
    "request.experiment_id.experiment_name",
    "request.experiment_id.category_name",
    "weblab_reservation_id",
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
    st.sampled_from(["60", "1790000000", "2026-09-21 14:13:10", "true", "10" * 200]),
)


@given(
    server=st.dictionaries(st.sampled_from(KEYS), VALUES),
    client=VALUES,
    back=VALUES,
    text=st.booleans(),
)
def test_any_start_is_a_request_that_makes_sense_or_bad_input(
    server: dict[str, Any], client: Any, back: Any, text: bool
) -> None:
    fields = {
        "server_initial_data": json.dumps(server) if text else server,
        "client_initial_data": client,
        "back": back,
    }
    try:
        request, _ = parse_start(fields, "weblab", NOW)
    except BadInput as error:
        refusal = str(error)
    else:
        assert 0 <= request.elapsed < request.length
        assert isinstance(request.username, str)
        assert isinstance(request.client_data, dict)
        refusal = None
    named = [*KEYS, "client_initial_data", "back"]
    assert refusal is None or any(refusal.startswith(key) for key in named)


@pytest.mark.parametrize("state", Deletion)
def test_no_answer_to_a_delete_has_data(state: Deletion) -> None:
    assert "data" not in messages.deletion(state)


def test_whole_seconds_are_written_as_integers() -> None:
    assert json.dumps(messages.status(5.0)) == '{"should_finish": 5}'
    assert json.dumps(messages.status(1.5)) == '{"should_finish": 1.5}'
    assert json.dumps(messages.statuses({"a": -1.0})) == '{"status": {"a": -1}}'


def test_the_time_of_a_multiple_status_is_limited_whatever_the_server_allows() -> None:
    assert messages.parse_multiple({"session_ids": ["a"], "timeout": "2.5"}) == (["a"], 2.5)
    for timeout in (None, 0, -1, 1e9):
        asked = messages.parse_multiple({"session_ids": ["a"], "timeout": timeout})
        assert asked == (["a"], 10.0)
