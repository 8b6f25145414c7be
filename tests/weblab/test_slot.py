"""When a slot began, in every form that servers write it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from zoneinfo import available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labnode.errors import BadInput
from labnode.weblab.slot import elapsed, slot_start

NOW = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC, 16:13:20 in Madrid
START = "priority.queue.slot.start"


@pytest.fixture
def in_madrid(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")  # needs no time zone data
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    "keys",
    [
        {".timestamp": "1789999990.5"},
        {".timestamp": 1789999990.5},
        {".timestamp": 1789999990.5, ".utc": "nonsense", "": "nonsense"},
        {".utc": "2026-09-21 14:13:10.500000"},
        {".timestamp": "", ".utc": "2026-09-21T14:13:10.5"},
        {".timestamp": None, ".utc": "2026-09-21T14:13:10.500000+00:00"},
        {".utc": "2026-09-21T16:13:10.5+02:00"},
        {"": "2026-09-21T14:13:10.5Z"},
        {"": "2026-09-21T10:13:10.5-04:00", ".timezone": "7200"},
        {"": "2026-09-21 16:13:10.5", ".timezone": "7200"},
        {"": "2026-09-21 16:13:10.5", ".timezone": "-7200"},
        {"": "2026-09-21 16:13:10.5", ".timezone": 2},
        {"": "2026-09-21 19:43:10.5", ".timezone": "5.5"},
        {"": "2026-09-21 16:13:10.5", ".timezone": "+02:00"},
        {"": "2026-09-21 16:13:10.5", ".timezone": "+0200"},
        {"": "2026-09-21 14:13:10.5", ".timezone": "0"},
        {"": "2026-09-21 14:13:10.5", ".timezone": "Z"},
        {"": "2026-09-21 16:13:10.500000"},
        {"": "2026-09-21 16:13:10.5", ".timezone": ""},
    ],
    ids=str,
)
def test_all_forms_name_the_same_moment(in_madrid: None, keys: dict[str, Any]) -> None:
    assert slot_start({START + key: value for key, value in keys.items()}, NOW) == 1789999990.5


@pytest.mark.skipif(not available_timezones(), reason="this machine has no time zone data")
def test_a_time_zone_may_have_a_name() -> None:
    keys = {START: "2026-09-21 16:13:10.5", f"{START}.timezone": "Europe/Madrid"}
    assert slot_start(keys, NOW) == 1789999990.5


def test_a_local_time_may_come_without_microseconds(in_madrid: None) -> None:
    assert slot_start({START: "2026-09-21 16:13:10"}, NOW) == 1789999990.0


def test_a_slot_may_come_without_a_start() -> None:
    assert slot_start({}, NOW) is None
    assert slot_start({START: "", f"{START}.utc": None}, NOW) is None
    assert elapsed(None, 60, NOW) == (0, 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({START: "today"}, f"{START} must be a time such as 2026-01-31 09:30:00.5, not 'today'."),
        (
            {f"{START}.utc": "2026-13-01 00:00:00"},
            f"{START}.utc must be a time such as 2026-01-31 09:30:00.5, not '2026-13-01 00:00:00'.",
        ),
        ({f"{START}.utc": 5}, f"{START}.utc must be a string, not 5."),
        ({f"{START}.timestamp": "nan"}, f"{START}.timestamp must be a number, not 'nan'."),
        ({f"{START}.timestamp": []}, f"{START}.timestamp must be a number, not a list."),
        (
            {START: "2026-09-21 16:13:10", f"{START}.timezone": "Atlantis"},
            f"{START}.timezone must be an offset from UTC or a name such as Europe/Madrid, "
            "not 'Atlantis'.",
        ),
        (
            {START: "2026-09-21 16:13:10", f"{START}.timezone": 1e9},
            f"{START}.timezone must be an offset from UTC or a name such as Europe/Madrid, "
            "not 1000000000.0.",
        ),
        ({START: "0001-01-01 00:00:00"}, f"{START} must be a time"),
    ],
    ids=str,
)
def test_what_is_not_a_time_is_an_error_that_names_the_key(
    in_madrid: None, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        slot_start(keys, NOW)
    assert str(caught.value).startswith(message)


_ZONES = st.one_of(
    st.text(), st.floats(), st.integers(), st.sampled_from(["../x", "Europe", "a/b"])
)


@given(keys=st.dictionaries(st.sampled_from(["", ".utc"]), st.text()), zone=_ZONES)
@example(keys={"": "2026-09-21 16:13:10"}, zone="/etc/passwd")
@example(keys={"": "2026-09-21 16:13:10"}, zone="Europe")
@example(keys={"": "2026-09-21 16:13:10"}, zone="\0A")
@example(keys={"": "2026-09-21 16:13:10"}, zone="x" * 5000)
@example(keys={"": "9999-12-31 23:59:59"}, zone="-14")
@example(keys={".utc": "0001-01-01 00:00:00+14:00"}, zone=0)
def test_no_text_does_anything_but_name_a_moment_or_raise_bad_input(
    keys: dict[str, str], zone: Any
) -> None:
    try:
        start = slot_start({START + k: v for k, v in keys.items()} | {f"{START}.timezone": zone}, 0)
    except BadInput:
        return
    assert start is None or isinstance(start, float)


@pytest.mark.parametrize(
    ("gone", "counted", "skew"),
    [
        (0, 0, 0),
        (12.5, 12.5, 0),
        (59, 59, 0),
        (60, 0, 60),
        (3600, 0, 3600),
        (-3, 0, 0),
        (-30, 0, -30),
        (-315_360_000, 0, -315_360_000),
    ],
)
def test_time_counts_as_gone_only_where_it_leaves_something_of_the_slot(
    gone: float, counted: float, skew: float
) -> None:
    assert elapsed(NOW - gone, 60, NOW) == (counted, skew)
