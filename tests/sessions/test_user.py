"""The user as labs see it: in hooks, views and tasks, nobody, and after the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import BadInput, SessionOver
from labnode.lab import Lab
from labnode.sessions import ANONYMOUS, Reason, Session, State, User
from tests.kit.node import SmallNode

Boot = Callable[..., SmallNode]

PROMISED = """
    username username_unique full_name locale back time_left time_without_polling active
    is_anonymous experiment_name category_name experiment_id request_client_data
    request_server_data start_date max_date session_id exited data user
"""
ADA = {
    "username": "ada",
    "username_unique": "ada@school",
    "full_name": "Ada Lovelace",
    "locale": "en",
    "back": "https://school.example/back",
    "experiment_name": "thermal",
    "category_name": "Control",
    "client_data": {"level": 3},
    "server_data": {"request.username": "ada"},
}


def look(user: Any) -> dict[str, Any]:
    return {name: getattr(user, name) for name in PROMISED.split()}


def test_a_view_sees_what_the_central_server_sent(boot: Boot, lab: Lab) -> None:
    lab.user_loader(lambda unique: f"row of {unique}")
    node = boot(timeout=-1)
    session = node.connected(length=100, elapsed=10, **ADA)
    node.clock.advance(20)
    assert node.run_as(session, lambda: look(lab.user)) == {
        "username": "ada",
        "username_unique": "ada@school",
        "full_name": "Ada Lovelace",
        "locale": "en",
        "back": "https://school.example/back",
        "time_left": 70,
        "time_without_polling": 20,
        "active": True,
        "is_anonymous": False,
        "experiment_name": "thermal",
        "category_name": "Control",
        "experiment_id": "thermal@Control",
        "request_client_data": {"level": 3},
        "request_server_data": {"request.username": "ada"},
        "start_date": 1_800_000_000 - 10,
        "max_date": 1_800_000_000 + 90,
        "session_id": session.id,
        "exited": False,
        "data": {},
        "user": "row of ada@school",
    }


def test_all_who_ask_for_the_user_of_a_session_share_one(node: SmallNode) -> None:
    session = node.connected()
    assert node.user(session) is node.user(session)


def test_hooks_and_tasks_see_the_same_user(node: SmallNode, lab: Lab) -> None:
    seen: dict[str, Any] = {}

    def remember(where: str) -> None:
        seen[where] = {**look(lab.user), "data": dict(lab.user.data)}

    lab.on_start(lambda client, server: remember("on_start"))
    lab.on_dispose(lambda: remember("on_dispose"))

    @lab.task(unique="global")
    def hardware() -> None:
        remember("hardware task")

    @lab.task
    def background() -> None:
        remember("background task")

    session = node.connected(**ADA)
    node.run_as(session, hardware.run_sync)
    node.run_as(session, background.run_sync)
    node.run_as(session, lambda: remember("view"))
    node.delete(session)
    assert set(seen) == {"on_start", "hardware task", "background task", "view", "on_dispose"}
    changing = {"time_left": 0, "active": False}
    assert seen.pop("on_dispose") == {**seen["view"], **changing}
    assert all(look == seen["view"] for look in seen.values())


def test_on_start_gets_the_data_of_both_sides(node: SmallNode, lab: Lab) -> None:
    got: list[Any] = []
    lab.on_start(lambda client, server: got.extend([client, server]))
    node.start(**ADA)
    assert got == [{"level": 3}, {"request.username": "ada"}]
    got[0]["mine"] = 1  # the hook's own copy
    assert node.user(node.sessions.live()[0]).request_client_data == {"level": 3}


def test_on_start_has_not_been_without_polling_since_the_machine_was_booted(
    node: SmallNode, lab: Lab
) -> None:
    seen = []
    lab.on_start(lambda client, server: seen.append(lab.user.time_without_polling))
    node.start()
    assert seen == [0]


def test_before_its_time_counts_a_user_has_all_of_it(boot: Boot, lab: Lab) -> None:
    seen = []
    lab.on_start(lambda client, server: seen.append((lab.user.time_left, lab.user.max_date)))
    node = boot(max_time=50)
    node.start(length=100, counts_start=False)
    assert seen == [(50, 1_800_000_000 + 50)]


def test_an_expired_user_is_what_it_was(node: SmallNode, lab: Lab) -> None:
    session = node.connected(**ADA)
    node.advance(5)
    node.sessions.end(session, Reason.EXITED)
    node.turn()
    seen = node.run_as(session, lambda: look(lab.user))
    assert (seen["username"], seen["active"], seen["time_left"]) == ("ada", False, 0)
    assert (seen["exited"], seen["is_anonymous"]) == (True, False)
    assert seen["max_date"] == 1_800_000_000 + 600


def test_nobody_has_every_attribute_too(node: SmallNode, lab: Lab) -> None:
    assert lab.user is ANONYMOUS
    assert look(lab.user) == {
        "username": "",
        "username_unique": "",
        "full_name": "",
        "locale": None,
        "back": None,
        "time_left": 0.0,
        "time_without_polling": 0.0,
        "active": False,
        "is_anonymous": True,
        "experiment_name": None,
        "category_name": None,
        "experiment_id": None,
        "request_client_data": {},
        "request_server_data": {},
        "start_date": 0.0,
        "max_date": 0.0,
        "session_id": None,
        "exited": False,
        "data": {},
        "user": None,
    }
    assert str(lab.user) == "anonymous user"


def test_nobody_has_no_data_to_write(node: SmallNode, lab: Lab) -> None:
    with pytest.raises(TypeError, match="Nobody is logged in"):
        lab.user.data["a"] = 1
    with pytest.raises(TypeError, match="Nobody is logged in"):
        lab.user.request_client_data["a"] = 1


def test_what_the_server_sent_is_read_only(node: SmallNode) -> None:
    user = node.user(node.start(**ADA))
    with pytest.raises(TypeError, match="read only"):
        user.request_client_data["level"] = 4
    with pytest.raises(TypeError, match="read only"):
        user.request_server_data.clear()


def test_an_experiment_without_a_name_has_no_id(node: SmallNode) -> None:
    user = node.user(node.start())
    assert user.experiment_id is None


def test_a_user_is_loaded_each_time(boot: Boot, lab: Lab) -> None:
    loaded = []

    @lab.user_loader
    def load(username_unique: str) -> str:
        loaded.append(username_unique)
        return f"row {len(loaded)}"

    node = boot()
    user = node.user(node.start(**ADA))
    assert (user.user, user.user) == ("row 1", "row 2")
    assert loaded == ["ada@school"] * 2


def test_without_a_loader_there_is_no_such_user(node: SmallNode) -> None:
    assert node.user(node.start(**ADA)).user is None


def test_a_user_says_who_it_is(node: SmallNode) -> None:
    assert str(node.user(node.start(**ADA))) == "Ada Lovelace (active)"


# ---------------------------------------------------------------------- data


def stored(node: SmallNode, session: Session) -> Any:
    return node.row(session)["data"]


def writes(node: SmallNode) -> int:
    return int(node.store.run(lambda db: db.total_changes))


def test_data_of_on_start_are_stored_when_the_start_is_answered(node: SmallNode, lab: Lab) -> None:
    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        lab.user.data["folder"] = "xyz"

    starting = node.ask_start()
    node.sessions.step()
    node.settle()
    assert stored(node, starting.session) == {"folder": "xyz"}


@pytest.mark.parametrize(
    ("write", "left"),
    [
        (lambda data: data.__setitem__("b", [1]), {"a": 1, "b": [1]}),
        (lambda data: data.update(a=2, b=3), {"a": 2, "b": 3}),
        (lambda data: data.setdefault("b", {}), {"a": 1, "b": {}}),
        (lambda data: data.pop("a"), {}),
        (lambda data: data.clear(), {}),
        (lambda data: data.__delitem__("a"), {}),
        (lambda data: data.__ior__({"b": 2}), {"a": 1, "b": 2}),
    ],
)
def test_every_way_to_write_is_stored(
    node: SmallNode, write: Callable[[Any], Any], left: dict[str, Any]
) -> None:
    session = node.connected()
    node.user(session).data["a"] = 1
    node.advance(5)
    write(node.user(session).data)
    node.advance(5)
    assert node.user(session).data == stored(node, session) == left


def test_data_can_be_assigned_as_a_whole(node: SmallNode) -> None:
    session = node.connected()
    node.user(session).data["a"] = 1
    node.user(session).data = {"b": 2}
    node.advance(5)
    assert node.user(session).data == stored(node, session) == {"b": 2}


def test_only_json_can_be_kept(node: SmallNode) -> None:
    session = node.connected()
    with pytest.raises(BadInput, match=r"user\.data"):
        node.user(session).data["a"] = object()
    with pytest.raises(BadInput, match=r"user\.data"):
        node.user(session).data["a"] = float("nan")
    assert node.user(session).data == {}


def test_a_write_is_stored_within_a_second(node: SmallNode) -> None:
    session = node.connected()
    node.advance(5)
    node.user(session).data["a"] = 1
    node.turn()
    assert stored(node, session) == {"a": 1}
    node.user(session).data["a"] = 2
    node.turn()
    assert stored(node, session) == {"a": 1}
    node.advance(1)
    assert stored(node, session) == {"a": 2}


def test_a_lab_that_writes_all_the_time_is_stored_ever_less_often(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected(length=3600)
    before = writes(node)
    for second in range(600):
        node.user(session).data["second"] = second
        node.advance(1)
    assert writes(node) - before < 40
    node.advance(30)
    assert stored(node, session) == {"second": 599}
    node.advance(120)
    node.user(session).data["second"] = 600  # after a calm it is stored soon again
    node.turn()
    node.user(session).data["second"] = 601
    node.advance(1)
    assert stored(node, session) == {"second": 601}


def test_nothing_is_stored_while_nothing_is_written(node: SmallNode) -> None:
    session = node.connected()
    node.user(session).data["a"] = 1
    node.advance(5)
    before = writes(node)
    for _ in range(5):
        node.sessions.poll(session)
        node.advance(5)
    assert writes(node) == before


def test_what_on_dispose_writes_is_stored(node: SmallNode, lab: Lab) -> None:
    @lab.on_dispose
    def end() -> None:
        lab.user.data["score"] = 7

    session = node.connected()
    node.delete(session)
    assert stored(node, session) == node.user(session).data == {"score": 7}


def test_after_the_end_data_can_only_be_read(node: SmallNode) -> None:
    session = node.connected()
    data = node.user(session).data
    data["a"] = 1
    node.delete(session)
    for write in (
        lambda: data.update(a=2),
        lambda: node.user(session).data.pop("a"),
        lambda: setattr(node.user(session), "data", {"b": 1}),
    ):
        with pytest.raises(SessionOver):
            write()
        node.turn()
        assert node.user(session).data == stored(node, session) == {"a": 1}


def test_what_a_last_task_writes_while_the_session_ends_is_stored(
    node: SmallNode, lab: Lab
) -> None:
    @lab.task(unique="global")
    def measure() -> None:
        lab.current_task.wait(100)
        lab.user.data["end"] = "stopped"

    session = node.connected()
    node.run_as(session, measure.delay)
    node.settle()
    node.delete(session)
    assert session.state is State.DISPOSED
    assert stored(node, session) == {"end": "stopped"}


def test_sessions_do_not_share_data(boot: Boot) -> None:
    node = boot(users=2)
    one, two = node.connected(), node.connected()
    node.user(one).data["a"] = 1
    assert node.user(two).data == {}
    assert isinstance(node.user(two), User)
