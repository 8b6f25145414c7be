"""Who may call: right credentials pass, guesses are few, nobody waits for a guesser."""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from labnode.clock import ManualClock
from labnode.http.basic_auth import BasicAuth, Denied
from labnode.settings import Client
from labnode.settings.passwords import HashedPassword
from tests.kit.basic_auth import basic
from tests.kit.waiting import PATIENCE


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def credentials(clock: ManualClock) -> BasicAuth:
    clients = [
        Client(name="deusto", username="weblab", password=["old:word", "new"]),
        Client(name="lde", username="lde", password="contraseña"),
    ]
    return BasicAuth(clients, clock, known=set())


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
    assert denied == Denied("Too many wrong passwords from your address: wait 78 s.", 78)


def test_guessing_has_a_speed_limit_even_for_the_right_password(
    credentials: BasicAuth, clock: ManualClock
) -> None:
    guess(credentials, 20, "192.0.2.66")
    assert isinstance(credentials.check(basic("weblab:new"), "192.0.2.66"), Denied)
    clock.advance(90)
    assert credentials.check(basic("weblab:new"), "192.0.2.66") == "deusto"


def test_an_owner_who_mistyped_the_password_is_let_in_at_once(credentials: BasicAuth) -> None:
    guess(credentials, 19, "192.0.2.1")
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"


def test_a_guesser_at_one_address_holds_up_nobody_at_another(credentials: BasicAuth) -> None:
    guess(credentials, 1000, "192.0.2.66")
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"


def test_a_guesser_behind_the_servers_own_proxy_does_not_lock_the_server_out(
    credentials: BasicAuth,
) -> None:
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"
    assert guess(credentials, 1000, "192.0.2.1").retry_after == 90
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"


def test_the_addresses_of_one_ipv6_network_count_together(credentials: BasicAuth) -> None:
    for number in range(21):
        denied = guess(credentials, 1, f"2001:db8:1:2::{number:x}")
    assert denied.retry_after == 90
    assert guess(credentials, 1, "2001:db8:1:3::1").retry_after is None


def test_an_ipv4_address_counts_the_same_on_an_ipv6_socket(credentials: BasicAuth) -> None:
    guess(credentials, 20, "192.0.2.66")
    assert guess(credentials, 1, "::ffff:192.0.2.66").retry_after == 90
    assert guess(credentials, 1, "::ffff:192.0.2.67").retry_after is None


def test_a_caller_without_an_address_is_checked_like_any_other(credentials: BasicAuth) -> None:
    assert credentials.check(basic("weblab:new"), "") == "deusto"
    assert guess(credentials, 21, "unix:").retry_after == 90


def test_the_memory_of_addresses_is_bounded_and_many_of_them_share_one_budget(
    credentials: BasicAuth, clock: ManualClock
) -> None:
    guess(credentials, 21, "192.0.2.66")
    answers = [
        guess(credentials, 1, f"10.0.{number // 250}.{number % 250}").retry_after
        for number in range(5000)
    ]
    assert answers.count(None) == 999 + 20  # those with room, and what the others share
    assert guess(credentials, 1, "192.0.2.66").retry_after == 90
    assert len(credentials._guesses._spent) == 1001
    clock.advance(90)  # whoever guessed once has a whole budget again, and makes room
    assert guess(credentials, 1, "10.1.0.1").retry_after is None
    assert len(credentials._guesses._spent) < 10


def test_an_address_that_is_known_is_not_pushed_out_by_many_others(credentials: BasicAuth) -> None:
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"
    for number in range(3000):
        guess(credentials, 1, f"10.0.{number // 250}.{number % 250}")
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"


def test_right_credentials_cost_no_guess(credentials: BasicAuth) -> None:
    assert credentials.check(basic("weblab:new"), "192.0.2.1") == "deusto"
    assert credentials._guesses.taken("192.0.2.1") == 0


def test_what_was_right_but_not_enough_is_a_guess(credentials: BasicAuth) -> None:
    for _ in range(20):
        assert credentials.compare(b"weblab:new", "192.0.2.1") == "deusto"
    assert isinstance(credentials.compare(b"weblab:new", "192.0.2.1"), Denied)


def test_the_log_tells_of_guesses_without_what_was_guessed(
    credentials: BasicAuth, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for _ in range(20):
            guess(credentials, 200, "192.0.2.66")
            clock.advance(90)
    assert [record.getMessage() for record in caplog.records] == [
        "Wrong credentials from 192.0.2.66",
        "Too many wrong credentials from 192.0.2.66: refused for now",
    ]


# --- hashed passwords ---


class Counted:
    """Computes hashes as scrypt does, and counts them; each takes `seconds` of the clock."""

    def __init__(self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.seconds = 0.0
        self.during: Callable[[], None] = lambda: None
        compute = HashedPassword.matches

        def matches(hashed: HashedPassword, password: str) -> bool:
            self.number += 1
            self.during()
            clock.advance(self.seconds)
            return compute(hashed, password)

        monkeypatch.setattr(HashedPassword, "matches", matches)


@pytest.fixture(scope="module")
def hashes() -> dict[str, str]:
    return {word: str(HashedPassword.of(word)) for word in ("a long password", "contraseña larga")}


@pytest.fixture
def computed(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(clock, monkeypatch)


@pytest.fixture
def hashed(clock: ManualClock, hashes: dict[str, str]) -> BasicAuth:
    clients = [
        Client(name="deusto", username="weblab", password=hashes["a long password"]),
        Client(name="lde", username="lde", password=["clear", hashes["contraseña larga"]]),
    ]
    return BasicAuth(clients, clock, known={"192.0.2.1"})


RIGHT = basic("weblab:a long password")


def test_a_hashed_password_is_computed_once_and_then_known(
    hashed: BasicAuth, computed: Counted
) -> None:
    for _ in range(5):
        assert hashed.check(RIGHT, "192.0.2.1") == "deusto"
    assert computed.number == 2  # both are: how long it takes tells nothing
    assert hashed.check(basic("lde:contraseña larga", "latin-1"), "192.0.2.1") == "lde"
    assert hashed.check(basic("lde:contraseña larga"), "192.0.2.1") == "lde"
    assert computed.number == 3


def test_a_hashed_password_belongs_to_its_user_name(hashed: BasicAuth) -> None:
    assert isinstance(hashed.check(basic("lde:a long password"), "192.0.2.1"), Denied)
    assert isinstance(hashed.check(basic("weblab:contraseña larga"), "192.0.2.1"), Denied)


def test_the_hash_is_no_password(hashed: BasicAuth, hashes: dict[str, str]) -> None:
    pair = f"weblab:{hashes['a long password']}"
    assert isinstance(hashed.check(basic(pair), "192.0.2.1"), Denied)


def test_guesses_cost_nothing_once_the_right_passwords_were_shown(
    hashed: BasicAuth, computed: Counted
) -> None:
    hashed.check(RIGHT, "192.0.2.1")
    hashed.check(basic("lde:contraseña larga"), "192.0.2.1")
    before = computed.number
    for number in range(1000):
        guess(hashed, 1, f"10.0.0.{number % 250}")
        guess(hashed, 1, "192.0.2.1")
    assert computed.number == before


def test_strangers_wait_for_no_hash_and_get_a_third_of_the_time(
    hashed: BasicAuth, computed: Counted, clock: ManualClock
) -> None:
    computed.seconds = 0.5  # as on a Pi Zero; two hashes for each guess
    began = clock.now()
    answers = []
    while clock.now() - began < 300:
        address = f"10.0.0.{len(answers) % 250}"
        answers.append(hashed.check(basic("weblab:wrong"), address))
        clock.advance(0.25)
    busy = Denied("Other credentials are being checked; try again in a moment.", 2)
    assert busy in answers
    assert computed.number * computed.seconds <= 300 / 3 + 2


def test_one_hash_is_computed_at_a_time_and_a_known_address_waits_for_it(
    hashed: BasicAuth, computed: Counted
) -> None:
    answers: list[str | Denied] = []
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    computed.during = hold
    guesser = threading.Thread(target=hashed.check, args=(basic("weblab:wrong"), "10.0.0.1"))
    guesser.start()
    assert begun.wait(PATIENCE)
    assert hashed.check(RIGHT, "10.0.0.2") == Denied(
        "Other credentials are being checked; try again in a moment.", 2
    )
    owner = threading.Thread(target=lambda: answers.append(hashed.check(RIGHT, "192.0.2.1")))
    owner.start()
    go_on.set()
    for thread in (guesser, owner):
        thread.join(PATIENCE)
    assert answers == ["deusto"]
