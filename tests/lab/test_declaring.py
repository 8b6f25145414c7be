"""What a lab's module declares: each mistake is one sentence, said when the module is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import LabnodeError
from labnode.lab import Lab

from ..sessions.node import SmallNode


def test_decorators_give_back_the_function() -> None:
    lab = Lab()

    def on_start(client: Any, server: Any) -> None: ...
    def nothing() -> None: ...
    def load(unique: str) -> None: ...

    assert lab.on_start(on_start) is on_start
    assert lab.on_dispose(nothing) is nothing
    assert lab.initial_url(nothing) is nothing
    assert lab.user_loader(load) is load


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (lambda lab: lab.on_start(lambda: None), r"@lab.on_start .*\(client_data, server_data\)"),
        (lambda lab: lab.on_start(lambda a, b, c: None), "@lab.on_start"),
        (lambda lab: lab.on_dispose(lambda a: None), r"@lab.on_dispose .*\(\)"),
        (lambda lab: lab.user_loader(lambda: None), r"@lab.user_loader .*\(username_unique\)"),
        (lambda lab: lab.initial_url(lambda a: None), "@lab.initial_url"),
        (lambda lab: lab.task("global"), "unique='global'"),
        (lambda lab: lab.task(42), "by name"),
    ],
)
def test_a_function_that_cannot_be_called_as_it_will_be_is_refused(
    declare: Callable[[Lab], Any], sentence: str
) -> None:
    with pytest.raises(LabnodeError, match=sentence):
        declare(Lab())


def test_functions_may_take_more_if_they_need_not() -> None:
    lab = Lab()
    lab.on_start(lambda *args: None)
    lab.on_start(lambda a, b, c=3, **more: None)
    lab.on_dispose(print)


def test_unique_is_global_or_user() -> None:
    with pytest.raises(ValueError, match="'global', 'user' or None, not 'globl'"):
        Lab().task(unique="globl")(print)  # type: ignore[arg-type]


def test_two_tasks_do_not_share_a_name() -> None:
    lab = Lab()

    def heat() -> None: ...

    lab.task(heat)
    with pytest.raises(LabnodeError, match="two tasks called 'heat'"):
        lab.task(unique="global")(heat)


def test_a_task_is_declared_with_and_without_parentheses() -> None:
    lab = Lab()

    @lab.task
    def one() -> None: ...

    @lab.task()
    def two() -> None: ...

    @lab.task(unique="user", label={"en": "Three"})
    def three() -> None:
        """What it does."""

    assert list(lab.functions) == ["one", "two", "three"]
    assert [f.unique for f in lab.functions.values()] == [None, None, "user"]
    assert three.__doc__ == "What it does."


def test_a_task_can_be_declared_while_the_node_runs(node: SmallNode, lab: Lab) -> None:
    @lab.task
    def late(n: int) -> int:
        return n + 1

    assert node.run_as(node.connected(), lambda: late(1)) == 2


@pytest.mark.parametrize("use", [lambda f: f(), lambda f: f.delay(), lambda f: f.run_sync()])
def test_without_a_node_no_task_runs(use: Callable[[Any], Any]) -> None:
    @Lab().task
    def lonely() -> None: ...

    with pytest.raises(LabnodeError, match="'lonely' runs on a node only"):
        use(lonely)


@pytest.mark.parametrize(
    "use",
    [
        lambda lab: lab.devices,
        lambda lab: lab.tasks,
        lambda lab: lab.running_tasks,
        lambda lab: lab.get_task("x"),
        lambda lab: lab.wait(1),
    ],
)
def test_without_a_node_a_lab_says_so(use: Callable[[Lab], Any]) -> None:
    with pytest.raises(LabnodeError, match="no running node"):
        use(Lab())


def test_without_a_user_polling_and_logging_out_do_nothing(node: SmallNode, lab: Lab) -> None:
    lab.poll()
    lab.logout()
    assert not lab.restarted


def test_polling_keeps_a_session(node: SmallNode, lab: Lab) -> None:
    session = node.connected()
    for _ in range(3):
        node.advance(10)
        node.run_as(session, lab.poll)
    assert session.active


def test_logging_out_ends_it(node: SmallNode, lab: Lab) -> None:
    session = node.connected()
    node.run_as(session, lab.logout)
    assert not session.active
    node.turn()
    assert node.user(session).exited


def test_tokens_fit_into_urls(lab: Lab) -> None:
    tokens = {lab.create_token() for _ in range(20)}
    assert len(tokens) == 20
    assert all(
        len(token) == 43 and token.replace("-", "").replace("_", "").isalnum() for token in tokens
    )
    assert len(lab.create_token(8)) == 11


def test_the_first_page_is_the_generated_one_unless_the_lab_says_otherwise(
    node: SmallNode, lab: Lab
) -> None:
    assert lab.first_url() is None
    lab.initial_url(lambda: f"/lab/{lab.user.username}")
    assert node.run_as(node.connected(), lab.first_url) == "/lab/ada"
