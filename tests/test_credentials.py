"""Who may call: right credentials pass, guesses get slower, nobody waits for a guesser."""

from __future__ import annotations

import hmac
import logging
from typing import Any

import pytest

from labnode.clock import ManualClock
from labnode.http.basic_auth import BasicAuth, Denied
from labnode.settings import Client
from tests.kit.basic_auth import basic


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def credentials(clock: ManualClock) -> BasicAuth:
    clients = [
        Client(name="deusto", username="weblab", password=["old:word", "new"]),
        Client(name="lde", username="lde", password="contraseña"),
    ]
    return BasicAuth(clients, clock)


def guess(credentials: BasicAuth, times: int, address: str) -> Denied:
    for number in range(times):
        denied = credentials.check(basic(f"weblab:{number}"), address)
        assert isinstance(denied, Denied)
    return denied


def test_every_client_is_known_by_its_name(credentials: BasicAuth) -> None:
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"
    assert credentials.check(basic("lde:contraseña"), "192.0.2.1") == "lde"


def test_all_passwords_of_a_client_are_valid_at_once(credentials: BasicAuth) -> None:
    assert credentials.check(basic("weblab:old:word"), "192.0.2.1") == "deusto"
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"


def test_a_password_is_known_in_the_encoding_of_the_requests_library(
    credentials: BasicAuth,
) -> None:
    assert credentials.check(basic("lde:contraseña", "latin-1"), "192.0.2.1") == "lde"


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Basic", "Basic !", "Bearer eA==", "Digest username=weblab", "Basic w\xe9"],
)
def test_what_is_not_basic_is_denied_and_is_no_guess(
    credentials: BasicAuth, authorization: str | None
) -> None:
    for _ in range(300):
        denied = credentials.check(authorization, "192.0.2.1")
    assert denied == Denied("Credentials are needed: HTTP Basic, with this node's user name.")


@pytest.mark.parametrize(
    "pair", [":", "weblab:", "weblab", "weblab:New", "lde:new", "weblab:new\0", "weblab: new"]
)
def test_nearly_right_is_wrong(credentials: BasicAuth, pair: str) -> None:
    assert credentials.check(basic(pair), "192.0.2.1") == Denied("Wrong user name or password.")


def test_all_candidates_are_always_compared(
    credentials: BasicAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    compare = hmac.compare_digest

    def counting(a: Any, b: Any) -> bool:
        compared.append(len(a))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    counts = []
    for pair in ("weblab:old:word", "lde:contraseña", "nobody:nothing"):
        compared.clear()
        credentials.check(basic(pair), "192.0.2.1")
        counts.append(list(compared))
    assert counts == [[32] * 4] * 3  # digests: not even the length of a password shows


def test_a_guesser_is_told_to_wait_and_told_how_long(
    credentials: BasicAuth, clock: ManualClock
) -> None:
    assert guess(credentials, 20, "192.0.2.66").retry_after is None
    clock.advance(12.5)
    denied = guess(credentials, 1, "192.0.2.66")
    assert denied == Denied("Too many wrong passwords from your address: wait 48 s.", 48)


def test_guessing_has_a_speed_limit_even_for_the_right_password(
    credentials: BasicAuth, clock: ManualClock
) -> None:
    guess(credentials, 120, "192.0.2.66")
    assert isinstance(credentials.check(basic("weblab:new"), "192.0.2.66"), Denied)
    clock.advance(60)
    assert credentials.check(basic("weblab:new"), "192.0.2.66") == "deusto"


def test_an_owner_who_mistyped_the_password_is_let_in_at_once(credentials: BasicAuth) -> None:
    guess(credentials, 100, "192.0.2.1")
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"


def test_a_guesser_at_one_address_holds_up_nobody_at_another(credentials: BasicAuth) -> None:
    guess(credentials, 1000, "192.0.2.66")
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"


def test_a_guesser_behind_the_servers_own_proxy_does_not_lock_the_server_out(
    credentials: BasicAuth,
) -> None:
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"
    assert guess(credentials, 1000, "192.0.2.1").retry_after == 60
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"


def test_the_addresses_of_one_ipv6_network_count_together(credentials: BasicAuth) -> None:
    for number in range(21):
        denied = guess(credentials, 1, f"2001:db8:1:2::{number:x}")
    assert denied.retry_after == 60
    assert guess(credentials, 1, "2001:db8:1:3::1").retry_after is None


def test_an_ipv4_address_counts_the_same_on_an_ipv6_socket(credentials: BasicAuth) -> None:
    guess(credentials, 20, "192.0.2.66")
    assert guess(credentials, 1, "::ffff:192.0.2.66").retry_after == 60
    assert guess(credentials, 1, "::ffff:192.0.2.67").retry_after is None


def test_a_caller_without_an_address_is_checked_like_any_other(credentials: BasicAuth) -> None:
    assert credentials.check(basic("weblab:new"), "") == "deusto"
    assert guess(credentials, 21, "unix:").retry_after == 60


def test_the_memory_of_addresses_is_bounded_and_keeps_those_that_still_guess(
    credentials: BasicAuth,
) -> None:
    guess(credentials, 20, "192.0.2.66")
    for number in range(5000):
        guess(credentials, 1, f"10.0.{number // 250}.{number % 250}")
        if number % 900 == 0:
            guess(credentials, 1, "192.0.2.66")
    assert guess(credentials, 1, "192.0.2.66").retry_after == 60
    assert len(credentials._failures) == 1000


def test_the_log_tells_of_guesses_without_what_was_guessed(
    credentials: BasicAuth, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        guess(credentials, 200, "192.0.2.66")
    assert [record.getMessage() for record in caplog.records] == [
        "Wrong credentials from 192.0.2.66, 1 in a minute",
        "Wrong credentials from 192.0.2.66, 21 in a minute",
    ]
