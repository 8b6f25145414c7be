"""Guessing passwords: from one address, many, or a network; at once; beside the owner."""

from __future__ import annotations

import http.client
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from labnode.clock import ManualClock
from labnode.http.basic_auth import BasicAuth, Denied
from labnode.http.passwords import Passwords
from labnode.node.agent import Agent
from labnode.settings import Client
from labnode.settings.passwords import HashedPassword
from labnode.store import KnownAddresses, Store
from tests.kit.agents import agent_of
from tests.kit.basic_auth import basic
from tests.kit.figures import FigureReporter

PROMISED = "at most 60 for each address in any hour"
KEY = "known-addresses:servers"
OWNER = "192.0.2.1"
RIGHT = "weblab:the right password"


class Target:
    """Credentials on a clock that a test advances; it notes when whose guess was compared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        client = Client(name="weblab", username="weblab", password="the right password")
        self.auth = BasicAuth([client], self.clock, known={OWNER})
        self.compared: dict[str, list[float]] = defaultdict(list)
        self._from = ""
        compare = Passwords.client_of

        def noted(passwords: Passwords, pair: bytes, *, patient: bool) -> str | None:
            self.compared[self._from].append(self.clock.now())
            return compare(passwords, pair, patient=patient)

        monkeypatch.setattr(Passwords, "client_of", noted)

    def guess(self, address: str, counts_as: str = "") -> str | Denied:
        self._from = counts_as or address
        return self.auth.check(basic("weblab:wrong"), address)

    def owner_gets_in(self) -> bool:
        self._from = OWNER
        return self.auth.check(basic(RIGHT), OWNER) == "weblab"

    def most_in_an_hour(self) -> int:
        """The most comparisons that any address but the owner's had in any hour."""
        most = 0
        for address, times in self.compared.items():
            first = 0
            for last, at in enumerate(times if address != OWNER else []):
                while times[first] <= at - 3600:
                    first += 1
                most = max(most, last - first + 1)
        return most


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    return Target(monkeypatch)


@pytest.mark.parametrize("every", [0.5, 7, 60, 89.9, 90, 1800])  # seconds
def test_however_one_address_spreads_its_guesses(target: Target, every: float) -> None:
    for _ in range(int(6 * 3600 / every)):
        target.guess("198.51.100.7")
        target.clock.advance(every)
    assert target.most_in_an_hour() <= 60


def test_many_addresses_many_networks_and_bursts(
    target: Target, long_run: bool, figure: FigureReporter
) -> None:
    dice = random.Random(1)
    guesses = 2_000_000 if long_run else 10_500
    refused_owner = most_remembered = 0
    for number in range(guesses):
        match dice.choice((0, 1, 1, 1, 2, 3)):
            case 0:  # one that goes on and on
                target.guess("198.51.100.7")
            case 1:  # a botnet, larger than the memory of the node
                target.guess(f"10.{dice.randrange(2)}.{dice.randrange(50)}.{dice.randrange(50)}")
            case 2:  # all addresses of a few networks of 64 bits
                network = f"2001:db8:0:{dice.randrange(20):x}"
                target.guess(f"{network}::{dice.randrange(1 << 60) & 0xFFFF:x}", network)
            case 3:  # behind the owner's proxy
                target.guess(OWNER)
        target.clock.advance(7 if number % 3500 >= 3000 else 0)  # floods, and slower times
        if number % 10 == 0:
            refused_owner += not target.owner_gets_in()
            most_remembered = max(most_remembered, len(target.auth._guesses._spent))
    assert refused_owner == 0
    assert target.most_in_an_hour() <= 60
    assert most_remembered == 1001  # the memory was full
    figure(
        "Password guesses that are compared",
        f"{PROMISED}; the owner always gets in",
        f"{target.most_in_an_hour()} at most, of {guesses:,} guesses from "
        f"{len(target.compared):,} addresses; owner refused {refused_owner} times",
    )


# --- a node that runs ---

BOARD = "schema: 1\ndevices: {heater: {driver: relay, pin: GPIO17}}\n"
ADMIN = {"username": "boss", "password": "the right password"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Start a node behind a proxy, which says whose request it is."""
    (tmp_path / "board.yaml").write_text(BOARD)
    with ExitStack() as undo:

        def start(**settings: Any) -> Agent:
            given = {
                "trusted_proxies": ["127.0.0.1"],
                "weblab": {"username": "weblab", "password": "the right password"},
                **settings,
            }
            agent = agent_of(tmp_path / "board.yaml", settings=given)
            undo.callback(agent.stop)
            agent.start()
            return agent

        yield start


def ask(server: Any, path: str, address: str, pair: str = "", form: Any = None) -> int:
    """The status of a request that comes from `address`."""
    connection = http.client.HTTPConnection(*server.address, timeout=30)
    headers = {"X-Forwarded-For": address, "Connection": "close"}
    if pair:
        headers["Authorization"] = basic(pair)
    try:
        if form is None:
            connection.request("GET", path, headers=headers)
        else:
            connection.request("POST", path, urlencode(form), {**headers, "Accept": "text/html"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_guesses_at_once_are_no_more_than_one_after_the_other(start: Callable[..., Agent]) -> None:
    agent = start()

    def guess(number: int) -> int:
        address = f"2001:db8::{number:x}"  # one network
        return ask(agent.web, "/weblab/sessions/test", address, f"weblab:{number}")

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(guess, range(200)))
    assert (statuses.count(401), statuses.count(429)) == (20, 180)


def test_the_owner_gets_in_while_others_guess_from_its_address_and_after_a_restart(
    start: Callable[..., Agent],
) -> None:
    test, home = "/weblab/sessions/test", "/admin"
    agent = start(admin={**ADMIN, "host": "127.0.0.1", "port": 0})
    assert ask(agent.web, test, OWNER, RIGHT) == 200
    assert ask(agent.admin_web, home, OWNER, "boss:the right password") == 200
    agent.stop()
    agent = start(admin={**ADMIN, "host": "127.0.0.1", "port": 0})

    def guess(number: int) -> set[int]:
        return {
            ask(agent.web, test, OWNER, f"weblab:{number}"),
            ask(agent.admin_web, home, OWNER, f"boss:{number}"),
            ask(agent.admin_web, "/admin/login", OWNER, form={**ADMIN, "password": str(number)}),
        }

    with ThreadPoolExecutor(8) as pool:
        guesses = [pool.submit(guess, number) for number in range(60)]
        for _ in range(20):
            assert ask(agent.web, test, OWNER, RIGHT) == 200
            assert ask(agent.admin_web, home, OWNER, "boss:the right password") == 200
            assert ask(agent.admin_web, "/admin/login", OWNER, form=ADMIN) == 303
    assert set().union(*(each.result() for each in guesses)) <= {401, 403, 429}
    for server, path, pair in (
        (agent.web, test, "weblab:wrong"),
        (agent.admin_web, home, "boss:wrong"),
    ):
        assert [ask(server, path, "192.0.2.66", pair) for _ in range(22)][-2:] == [429, 429]


def test_hashes_that_strangers_have_computed_leave_the_students_their_node(
    start: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    matches = HashedPassword.matches

    def counted(hashed: HashedPassword, password: str) -> bool:
        computed.append(1)
        return matches(hashed, password)

    monkeypatch.setattr(HashedPassword, "matches", counted)
    hashed = str(HashedPassword.of("the right password"))
    agent = start(weblab={"username": "weblab", "password": hashed})

    def guess(number: int) -> int:
        address = f"10.1.{number // 200}.{number % 200}"
        return ask(agent.web, "/weblab/sessions/test", address, f"weblab:{number}")

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(guess, range(300)))
    assert set(statuses) <= {401, 429}
    assert statuses.count(401) == len(computed)  # the others were not waited for
    while (status := ask(agent.web, "/weblab/sessions/test", OWNER, RIGHT)) == 429:
        pass  # a guess is computed at the moment
    assert status == 200
    before = len(computed)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(guess, range(300, 600))) == {401}
    assert len(computed) == before  # known by a digest from then on


# --- what is remembered ---


def test_known_addresses_outlive_a_restart_and_are_bounded(tmp_path: Path) -> None:
    clock = ManualClock()
    store = Store(tmp_path / "labnode.db", clock)
    known = KnownAddresses(store, "servers")
    known.add(OWNER)
    store.remember(KEY, [OWNER, *(f"10.0.{number // 250}.{number % 250}" for number in range(999))])
    known = KnownAddresses(store, "servers")
    assert OWNER in known  # it still comes
    for address in ("10.1.0.1", "10.1.0.2"):
        known.add(address)
    store.close()
    store = Store(tmp_path / "labnode.db", clock)
    known = KnownAddresses(store, "servers")
    assert OWNER in known
    assert "10.1.0.2" in known
    assert "10.0.0.1" not in known
    assert len(known._addresses) == 1000
    assert OWNER not in KnownAddresses(store, "admin")
    store.close()


def test_a_thousand_known_addresses_are_all_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "labnode.db", ManualClock())
    known = KnownAddresses(store, "servers")
    addresses = [f"10.0.{number // 250}.{number % 250}" for number in range(1000)]
    for address in addresses:
        known.add(address)
    assert all(address in known for address in addresses)
    store.close()


def test_an_address_that_is_known_costs_no_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "labnode.db", ManualClock())
    known = KnownAddresses(store, "servers")
    known.add(OWNER)
    monkeypatch.setattr(store, "remember_soon", lambda *_: pytest.fail("written again"))
    known.add(OWNER)
    store.close()


def test_what_a_broken_card_has_made_of_them_is_no_reason_not_to_start(tmp_path: Path) -> None:
    store = Store(tmp_path / "labnode.db", ManualClock())
    for value in ("text", {"a": 1}, [1, None, OWNER]):
        store.remember(KEY, value)
        assert ("text" in KnownAddresses(store, "servers")) is False
    assert OWNER in KnownAddresses(store, "servers")
    store.close()
