"""Whole sessions between the stand-in servers and a real node, in every dialect and all failures.

What the central servers do in each case is what was observed of the real ones.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labnode.errors import Busy, LabnodeError, StartFailed
from labnode.weblab.caller import NoAnswer
from labnode.weblab.fake import CentralServer, SessionEnd
from labnode.weblab.fake_lde import DiscoveryEngine
from tests.kit.waiting import PATIENCE, eventually
from tests.process.machine import Student

from .real_node import Hurried, RealNode, recorded

DELETED = {"message": "Deleted", "finished": True, "should_finish": -1}
DISPOSING = {"message": "Disposing", "finished": False, "ask_again": 2, "should_finish": 2}
ONCE = ["start", "ready", "dispose", "clean"]

Server = CentralServer | DiscoveryEngine
Dial = Callable[[str], Server]

WEBLAB: dict[str, Dial] = {
    "json": lambda url: CentralServer(url, "weblab", "secret"),
    "API 0": lambda url: CentralServer(url, "weblab", "secret", api="0"),
    "form": lambda url: CentralServer(url, "weblab", "secret", request_format="form"),
    ".php": lambda url: CentralServer(url, "weblab", "secret", extension=".php"),
    ".aspx and form": lambda url: CentralServer(
        url, "weblab", "secret", extension=".aspx", request_format="form"
    ),
    "a slash too many": lambda url: CentralServer(f"{url}/", "weblab", "secret"),
}
LDE: dict[str, Dial] = {
    "LDE": lambda url: DiscoveryEngine(url, "weblab", "secret", release="later"),
    "LDE 0.6.0": lambda url: DiscoveryEngine(url, "weblab", "secret"),
    "LDE as WebLab": lambda url: DiscoveryEngine(
        url, "weblab", "secret", api="weblablib", release="later"
    ),
    "LDE and a slash too many": lambda url: DiscoveryEngine(f"{url}/", "weblab", "secret"),
}
BOTH = {"WebLab": WEBLAB["json"], "LDE": LDE["LDE"]}


def each(dialects: dict[str, Dial]) -> Any:
    return pytest.mark.parametrize("dial", dialects.values(), ids=dialects.keys())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """A node for all tests that leave it as it was."""
    node = RealNode(
        tmp_path_factory.mktemp("node"),
        base_url="/lab1",
        clients=[{"name": "other", "username": "other", "password": "secret"}],
    )
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def impatient_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """Another, where nobody is kept waiting for long."""
    directory = tmp_path_factory.mktemp("impatient")
    node = RealNode(directory, rules="timeout: -1, start_wait: 0.3, dispose_wait: 0.05")
    node.start()
    yield node
    node.stop()


@pytest.fixture
def node(house: RealNode) -> Iterator[RealNode]:
    yield house
    house.tidy()


@pytest.fixture
def impatient_node(impatient_house: RealNode) -> Iterator[RealNode]:
    yield impatient_house
    impatient_house.tidy()


@pytest.fixture
def own_node(tmp_path: Any) -> Iterator[Callable[..., RealNode]]:
    """A node of the test's own, not started yet."""
    nodes: list[RealNode] = []

    def build(**options: Any) -> RealNode:
        nodes.append(RealNode(tmp_path, **options))
        return nodes[-1]

    yield build
    for node in nodes:
        node.stop(signal.SIGKILL)


def history(*students: tuple[str, list[str]]) -> list[str]:
    return [f"{what} {username}" for username, story in students for what in story]


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """`work` on a thread of its own, and what it returns or raises, once it has."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except LabnodeError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name="central-server")
    thread.start()
    return thread, outcome


# --- nothing goes wrong ---


def whole_session(server: Server, base_url: str) -> None:
    answers, seen, stop = recorded(server), list[Any](), Hurried()
    if isinstance(server, CentralServer):
        server.check()
    checks = [{"api_version": "1"}, {"valid": True}][: len(answers)]
    session_id, url = server.new(
        name="Ada Lovelace", username="ada", assigned_time=60, back="http://weblab.example/"
    )
    assert f"{base_url}/callback/" in url
    visitor = Student(session_id, url)
    assert visitor.page.status == 200

    def leave_after_two(answer: float | LabnodeError) -> None:
        seen.append(answer)
        if len(seen) == 2:
            assert visitor.leave().json == {"success": True}

    server.watch(session_id, leave_after_two, stop)
    ending = server.delete(session_id, stop)
    again = server.delete(session_id, stop)
    assert "Ada" in visitor.page.text
    assert ending == again == SessionEnd("Deleted", 1, clean=True)
    polls = [{"should_finish": n} for n in seen]
    assert answers == [*checks, {"session_id": session_id, "url": url}, *polls, DELETED, DELETED]
    # The page is left between the second poll and the third: then it is disposed of.
    assert seen[:2] == [5, 5]
    assert seen[-1] == -1
    assert set(seen[2:]) <= {2, -1}
    assert stop.seconds[:2] == [5, 5]


@each({**WEBLAB, **LDE})
@pytest.mark.parametrize("base", ["/lab1", ""], ids=["base kept", "base stripped"])
def test_a_whole_session_in_every_dialect(node: RealNode, dial: Dial, base: str) -> None:
    whole_session(dial(node.origin + base), "/lab1")
    assert node.log() == history(("ada", ONCE))


def test_a_whole_session_below_a_prefix_of_the_protocol_alone(own_node: Any) -> None:
    node = own_node(base_url="/lab1", weblab_base="/hidden/door")
    node.start()
    for dial in BOTH.values():
        whole_session(dial(f"{node.origin}/hidden/door"), "/lab1")
        with pytest.raises(LabnodeError):
            dial(node.url).new()
    assert node.log() == history(("ada", ONCE), ("ada", ONCE))


@each(BOTH)
def test_the_node_ends_the_session_when_the_slot_does(node: RealNode, dial: Dial) -> None:
    server, stop = dial(node.url), Hurried()
    session_id, url = server.new(username="ada", assigned_time=1.0)
    assert Student(session_id, url).page.status == 200
    answers = recorded(server)
    seen: list[Any] = []
    while not seen or seen[-1] != -1:  # a WebLab whose clock is behind asks for longer
        server.watch(session_id, seen.append, stop)
    assert {tuple(answer.items()) for answer in answers} <= {
        (("should_finish", n),) for n in (1, 2, -1)
    }
    assert server.delete(session_id) == SessionEnd("Deleted", 1, clean=True)
    assert node.log() == history(("ada", ONCE))


# --- starts ---


def test_a_failed_start_is_a_503_and_the_same_reservation_is_sent_again(node: RealNode) -> None:
    server, stop = CentralServer(node.url, "weblab", "secret"), Hurried()
    answers = recorded(server)
    session_id, url = server.reserve(
        stop, username="ada", client_initial_data={"start": "fail once"}
    )
    failed, started = answers
    assert isinstance(failed, StartFailed)
    assert str(failed) == "The heater does not answer."
    assert started == {"session_id": session_id, "url": url}
    assert stop.seconds == [30]
    assert node.log() == history(
        ("ada", ["start", "dispose", "clean"]), ("ada", ["start", "ready"])
    )
    assert server.delete(session_id).clean


@each(BOTH)
def test_a_start_that_fails_leaves_a_clean_board(node: RealNode, dial: Dial) -> None:
    with pytest.raises(StartFailed, match=r"^The heater does not answer\.$"):
        dial(node.url).new(username="ada", client_initial_data={"start": "fail"})
    assert node.log() == history(("ada", ["start", "dispose", "clean"]))


def test_the_same_reservation_twice_is_the_same_session(node: RealNode) -> None:
    server = CentralServer(node.url, "weblab", "secret")
    asked = {
        "username": "ada",
        "reservation_id": "r-1",
        "client_initial_data": {"start": "until a"},
    }
    first, started = in_thread(lambda: server.new(**asked))
    node.wait_for_log("start ada")
    second, repeated = in_thread(lambda: server.new(**asked))
    node.open_gate("a")
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert started == repeated == [server.new(**asked)]
    server.delete(started[0][0])
    assert node.log() == history(("ada", ONCE))


@each(BOTH)
def test_a_start_supersedes_one_that_is_still_starting_and_is_answered_after_it(
    node: RealNode, dial: Dial
) -> None:
    server, answered = dial(node.url), list[str]()

    def start(username: str, how: str) -> Any:
        session = server.new(username=username, client_initial_data={"start": how})
        answered.append(username)
        return session

    # Ada has left, so her session gets no status and no delete; Bob comes meanwhile.
    first, ada = in_thread(lambda: start("ada", "until never"))
    node.wait_for_log("start ada")
    second, bob = in_thread(lambda: start("bob", ""))
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert answered == ["ada", "bob"]
    (ada_id, _), (bob_id, _) = ada[0], bob[0]
    assert server.status(bob_id) == 5
    assert server.status(ada_id) == -1
    assert server.delete(ada_id) == SessionEnd("Deleted", 1, clean=True)
    assert server.status(bob_id) == 5
    server.delete(bob_id)
    # A hook whose wait ends early goes on to its end; that is no second owner.
    assert node.log() == history(("ada", ONCE), ("bob", ONCE))


def test_a_session_of_another_central_server_is_not_touched(node: RealNode) -> None:
    lde = DiscoveryEngine(node.url, "other", "secret")
    weblab = CentralServer(node.url, "weblab", "secret")
    session_id, _ = lde.new(username="ada")
    with pytest.raises(Busy) as refused:
        weblab.new(username="bob")
    assert str(refused.value) == "The board is in use by another central server."
    assert refused.value.retry_after == 30
    assert lde.status(session_id) == 5
    lde.delete(session_id)
    assert node.log() == history(("ada", ONCE))


def test_both_dialects_of_one_central_server_share_the_board(node: RealNode) -> None:
    lde = DiscoveryEngine(node.url, "weblab", "secret")
    weblab = CentralServer(node.url, "weblab", "secret")
    ada, _ = lde.new(username="ada")
    bob, _ = weblab.new(username="bob")
    assert (weblab.status(ada), lde.status(bob)) == (-1, 5)
    eve, _ = lde.new(username="eve")
    assert (lde.status(bob), weblab.status(eve)) == (-1, 5)
    assert weblab.delete(eve).clean
    assert node.log() == history(("ada", ONCE), ("bob", ONCE), ("eve", ONCE))


def test_a_start_waits_for_the_cleaning_and_is_sent_away_when_it_takes_too_long(
    impatient_node: RealNode,
) -> None:
    node = impatient_node
    server, stop = CentralServer(node.url, "weblab", "secret"), Hurried()
    ada, _ = server.new(username="ada", client_initial_data={"dispose": "until a"})
    answers = recorded(server)
    with pytest.raises(Busy) as refused:
        server.new(username="bob")
    assert str(refused.value) == "The board is still being cleaned."
    assert refused.value.retry_after == 5
    stop.set()
    assert server.delete(ada, stop) == SessionEnd("Disposing", 1, clean=False)
    assert answers[1:] == [DISPOSING]
    node.open_gate("a")
    bob, _ = server.reserve(Hurried(), username="bob")
    server.delete(bob)
    assert node.log() == history(("ada", ONCE), ("bob", ONCE))


def test_a_student_who_leaves_while_start_runs_leaves_nothing_behind(own_node: Any) -> None:
    node = own_node(rules="connect_timeout: 0.2")
    node.start()
    server = CentralServer(node.url, "weblab", "secret")
    session_id, _ = server.new(username="ada")  # gets no status and no delete
    node.wait_for_log("clean ada")
    assert server.status(session_id) in (2, -1)
    assert node.log() == history(("ada", ONCE))


# --- deletes ---


@each({**BOTH, "LDE as WebLab": LDE["LDE as WebLab"], ".php": WEBLAB[".php"]})
def test_an_unfinished_delete_is_repeated_and_polls_may_come_between(
    impatient_node: RealNode, dial: Dial
) -> None:
    node = impatient_node
    server = dial(node.url)
    session_id, _ = server.new(username="ada", client_initial_data={"dispose": "until a"})
    answers = recorded(server)

    class Between(Hurried):
        def wait(self, timeout: float | None = None) -> bool:
            assert server.status(session_id) == 2
            if len(self.seconds) == 2:
                node.open_gate("a")
                node.wait_for_log("clean ada")
            return super().wait(timeout)

    stop = Between()
    ending = server.delete(session_id, stop)
    assert ending.clean
    assert ending.message == "Deleted"
    assert set(stop.seconds) == {2}
    assert answers[-1] == DELETED
    assert answers[:-1:2] == [DISPOSING] * (ending.asked - 1)
    assert node.log() == history(("ada", ONCE))


@each(BOTH)
def test_parallel_deletes_clean_once(node: RealNode, dial: Dial) -> None:
    server = dial(node.url)
    session_id, _ = server.new(username="ada", client_initial_data={"dispose": "until a"})
    threads = [in_thread(lambda: server.delete(session_id)) for _ in range(4)]
    node.wait_for_log("dispose ada")
    node.open_gate("a")
    for thread, outcome in threads:
        thread.join(PATIENCE)
        assert outcome == [SessionEnd("Deleted", 1, clean=True)]
    assert node.log() == history(("ada", ONCE))


@each(BOTH)
def test_a_delete_while_the_board_is_made_ready_again_ends_that(own_node: Any, dial: Dial) -> None:
    node = own_node()
    node.start()
    server = dial(node.url)
    node.open_gate("a")
    session_id, _ = server.new(username="ada", client_initial_data={"start": "until a"})
    node.close_gate("a")
    node.restart()
    node.wait_for_log("restart ada")
    assert server.status(session_id) == 2
    assert server.delete(session_id) == SessionEnd("Deleted", 1, clean=True)
    assert server.status(session_id) == -1
    assert node.log() == history(("ada", ["start", "ready", "restart", *ONCE[1:]]))


def test_deleting_what_is_not_known_is_finished_for_everybody(node: RealNode) -> None:
    for dial, answer in (
        (WEBLAB["json"], {"message": "Not found"}),
        (LDE["LDE"], {"message": "Not found", "should_finish": -1}),
    ):
        server = dial(node.url)
        answers = recorded(server)
        assert server.delete("nobody") == SessionEnd("Not found", 1, clean=True)
        assert answers == [answer]
        assert server.status("nobody") == -1


def test_a_clean_up_that_fails_closes_the_board_and_everyone_is_told(own_node: Any) -> None:
    node = own_node()
    node.start()
    weblab = CentralServer(node.url, "weblab", "secret")
    lde = DiscoveryEngine(node.url, "weblab", "secret")
    session_id, _ = lde.new(username="ada", client_initial_data={"dispose": "fail"})
    assert lde.delete(session_id) == SessionEnd("Deleted", 1, clean=True)
    why = "The board is in quarantine: The heater does not answer."
    for _ in range(2):
        with pytest.raises(Busy, match=f"^The laboratory cannot be used: {why}$"):
            weblab.check()
        for server in (weblab, lde):
            with pytest.raises(Busy) as refused:
                server.new(username="bob")
            assert (str(refused.value), refused.value.retry_after) == (why, 30)
        node.restart()
    assert node.log() == history(("ada", ["start", "ready", "dispose"]))


# --- somebody goes down ---


@each(BOTH)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_session_outlives_a_restart_of_the_node(own_node: Any, dial: Dial, number: int) -> None:
    node = own_node()
    node.start()
    server, stop, seen = dial(node.url), Hurried(), list[Any]()
    session_id, url = server.new(username="ada", assigned_time=60)
    visitor = Student(session_id, url)
    assert visitor.page.status == 200

    def restart_in_between(answer: float | LabnodeError) -> None:
        seen.append(answer)
        if len(seen) == 1:
            node.stop(number)
        elif len(seen) == 2:
            node.start()
        elif answer == 5:
            assert visitor.leave().status == 200

    server.watch(session_id, restart_in_between, stop)
    assert seen[0] == 5
    assert isinstance(seen[1], NoAnswer)
    assert set(seen[2:]) <= {2, 5, -1}
    assert stop.seconds[1] == (5 if isinstance(server, CentralServer) else 1)
    assert 5 in seen[2:]
    assert server.delete(session_id) == SessionEnd("Deleted", 1, clean=True)
    assert node.log() == history(
        ("ada", ["start", "ready", "restart", "ready", "dispose", "clean"])
    )


def test_a_delete_that_a_down_node_misses_counts_as_finished_and_the_next_start_follows(
    own_node: Any,
) -> None:
    node = own_node()
    node.start()
    server = CentralServer(node.url, "weblab", "secret")
    ada, _ = server.new(username="ada")
    node.stop(signal.SIGKILL)
    ending = server.delete(ada)
    assert (ending.asked, ending.clean) == (1, False)
    with pytest.raises(NoAnswer):
        server.new(username="bob")
    node.start()
    bob, _ = server.new(username="bob")
    assert (server.status(ada), server.status(bob)) == (-1, 5)
    server.delete(bob)
    story = node.log()
    assert story[-6:] == history(("ada", ["dispose", "clean"]), ("bob", ONCE))
    assert story[:2] == history(("ada", ["start", "ready"]))
    assert story.count("clean ada") == 1


@pytest.mark.parametrize(("where", "state"), [("start", "starting"), ("dispose", "disposing")])
def test_a_node_that_is_killed_in_a_hook_cleans_when_it_comes_back(
    own_node: Any, where: str, state: str
) -> None:
    node = own_node()
    node.start()
    server = CentralServer(node.url, "weblab", "secret")
    asked = {"username": "ada", "client_initial_data": {where: "until a"}}
    thread, outcome = in_thread(lambda: server.delete(server.new(**asked)[0]))
    node.wait_for_log(f"{where} ada")
    node.wait_for_stored(state)
    node.stop(signal.SIGKILL)
    thread.join(PATIENCE)
    assert isinstance(outcome[0], NoAnswer) or outcome[0].clean is False
    node.open_gate("a")
    node.start()
    node.wait_for_log("clean ada")
    server.check()
    bob, _ = server.new(username="bob")
    server.delete(bob)
    assert node.log()[-5:] == history(("ada", ["clean"]), ("bob", ONCE))


def test_a_session_that_a_restarted_weblab_has_forgotten_makes_room(node: RealNode) -> None:
    before = CentralServer(node.url, "weblab", "secret")
    ada, url = before.new(username="ada")
    assert Student(ada, url).page.status == 200
    after = CentralServer(node.url, "weblab", "secret")  # no delete was ever sent
    after.check()
    bob, _ = after.new(username="bob")
    assert (after.status(ada), after.status(bob)) == (-1, 5)
    after.delete(bob)
    assert node.log() == history(("ada", ONCE), ("bob", ONCE))


def test_credentials_and_clients_change_without_losing_the_session(own_node: Any) -> None:
    node = own_node()
    node.start()
    ada, _ = CentralServer(node.url, "weblab", "secret").new(username="ada")
    node.settings["weblab"] = {"username": "weblab", "password": ["secret", "fresh"]}
    node.settings["clients"] = [{"name": "lde", "username": "lde", "password": "third"}]
    node.restart()
    for password in ("secret", "fresh"):
        server = CentralServer(node.url, "weblab", password)
        eventually(lambda server=server: server.status(ada) == 5, "the session to go on")
    with pytest.raises(Busy, match="another central server"):
        DiscoveryEngine(node.url, "lde", "third").new(username="bob")
    node.settings["weblab"] = {"username": "weblab", "password": "fresh"}
    node.restart()
    with pytest.raises(LabnodeError, match="does not know these credentials"):
        CentralServer(node.url, "weblab", "secret").status(ada)
    assert CentralServer(node.url, "weblab", "fresh").delete(ada).clean
    bob, _ = DiscoveryEngine(node.url, "lde", "third").new(username="bob")
    assert DiscoveryEngine(node.url, "lde", "third").delete(bob).clean


def test_no_refusal_says_to_lde_that_a_session_is_over_or_its_board_clean(own_node: Any) -> None:
    node = own_node()
    node.start()
    ada, _ = LDE["LDE 0.6.0"](node.url).new(username="ada")
    node.settings["weblab"] = {"username": "weblab", "password": "fresh"}
    node.restart()
    old = LDE["LDE 0.6.0"](node.url)  # which has only the password of before
    assert old.status(ada) == 2
    answers = recorded(old)
    assert not old.delete(ada).clean
    wrong, many = (answers[n]["message"].partition(":")[0] for n in (0, -1))
    assert wrong == "Wrong user name or password."
    assert many == "Too many wrong passwords from your address"
    assert {answer["should_finish"] for answer in answers} == {2}
    assert "dispose ada" not in node.log()
    assert DiscoveryEngine(node.url, "weblab", "fresh").delete(ada).clean
