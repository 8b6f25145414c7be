"""Tasks of the lab on a whole node: periodic, by hand, during sessions, and on a full disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode import Lab, crontab
from labnode.clock.schedules import Every
from labnode.errors import BadInput, LabnodeError, NotFound
from labnode.node.agent import Agent
from labnode.sessions import Reason, StartRequest
from tests.kit.agents import agent_of
from tests.kit.waiting import PATIENCE, eventually

BOARD = "schema: 1\nlab: {name: oven}\ndevices: {heater: {driver: relay, pin: GPIO17}}\n"


def made() -> tuple[Lab, list[Any]]:
    lab = Lab()
    ran: list[Any] = []

    @lab.task
    def clean(how: str = "well") -> None:
        ran.append(how)

    @lab.task(unique="global")
    def heat(seconds: float) -> None:
        ran.append(seconds)

    @lab.task(during_sessions=True)
    def measure() -> None:
        ran.append("measured")

    @lab.periodic_task(Every(0.05), during_sessions=True)
    def often() -> None:
        ran.append("often")

    @lab.periodic_task(crontab(hour="3", minute="0"), catch_up=True, priority=3)
    def calibrate() -> None:
        ran.append("calibrated")

    return lab, ran


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Agent, list[Any]]]:
    (tmp_path / "board.yaml").write_text(BOARD)
    lab, ran = made()
    agent = agent_of(tmp_path / "board.yaml", lab, listen=False)
    agent.start()
    yield agent, ran
    agent.stop()


def command(agent: Agent, which: str, /, **options: Any) -> dict[str, Any]:
    return agent.commands.by_name[which](**options)


def test_a_periodic_task_comes_by_itself(node: tuple[Agent, list[Any]]) -> None:
    eventually(lambda: node[1].count("often") >= 3)


def test_what_waits_is_told_with_its_time(node: tuple[Agent, list[Any]]) -> None:
    agent, _ = node
    task = agent.runtime.lab.functions["clean"].schedule(delay=3600)
    for _ in range(3):
        agent.runtime.lab.functions["measure"].run_sync()
    answer = command(agent, "tasks", last=1)
    assert answer["tasks"][0]["id"] == task.task_id
    assert 3500 < answer["tasks"][0]["due"] - agent.clock.wall() < 3600
    names = {row["name"]: row["schedule"] for row in answer["periodic"]}
    assert names == {"often": "every 0.05 s", "calibrate": "crontab 0 3 * * *"}
    assert command(agent, "cancel_task", task=task.task_id[:8]) == {
        "id": task.task_id,
        "name": "clean",
        "waited": True,
    }
    assert task.join().failed
    with pytest.raises(NotFound, match="No task that waits or runs has an id that begins"):
        command(agent, "cancel_task", task=task.task_id)


def test_a_task_is_run_by_hand_and_waits_for_the_student_to_go(
    node: tuple[Agent, list[Any]],
) -> None:
    agent, ran = node
    session = agent.sessions.start(StartRequest(client="weblab", length=60))
    patient = command(agent, "run_task", name="clean")
    agent.tasks.get(command(agent, "run_task", name="measure")["id"]).join(PATIENCE)
    assert "well" not in ran
    agent.sessions.end(session, Reason.DELETED)
    assert agent.tasks.get(patient["id"]).join(PATIENCE).done
    assert "well" in ran
    with pytest.raises(NotFound, match=r"^The lab has no task 'clear'; did you mean 'clean'\?$"):
        command(agent, "run_task", name="clear")
    with pytest.raises(BadInput, match="missing a required argument"):
        command(agent, "run_task", name="heat")


def test_a_periodic_task_needs_a_schedule_and_no_arguments() -> None:
    lab = Lab()
    with pytest.raises(LabnodeError, match=r"@lab.periodic_task takes a schedule such as crontab"):
        lab.periodic_task("at night")(lambda: None)  # type: ignore[arg-type]
    with pytest.raises(LabnodeError, match=r"@lab.periodic_task is for a function that is called"):
        lab.periodic_task(crontab(hour="3"))(lambda where: None)
    with pytest.raises(ValueError, match="never comes"):
        crontab(day="31", month="2")


def test_two_tasks_of_one_name_are_refused_whatever_makes_them() -> None:
    lab = Lab()

    def chore() -> None: ...

    lab.task(chore)
    with pytest.raises(LabnodeError, match="two tasks called 'chore'"):
        lab.periodic_task(crontab())(chore)


def test_on_start_begins_when_the_tasks_of_the_lab_have_given_way(tmp_path: Path) -> None:
    (tmp_path / "oven.yaml").write_text(BOARD)
    lab, order, begun, gate = Lab(), list[str](), threading.Event(), threading.Event()

    @lab.task
    def clean() -> None:
        begun.set()
        gate.wait(PATIENCE)
        order.append("cleaned")

    @lab.on_start
    def start(client_data: Any, server_data: Any) -> None:
        order.append("started")

    agent = agent_of(tmp_path / "oven.yaml", lab)
    agent.start()
    task = clean.delay()
    assert begun.wait(PATIENCE)
    request = StartRequest(client="server", length=60)
    coming = threading.Thread(target=agent.sessions.start, args=(request,), name="student")
    coming.start()
    try:
        eventually(lambda: task.retrieve().stopping)
        agent.worker.call(lambda: None)
        assert order == []
    finally:
        gate.set()
        coming.join(PATIENCE)
        agent.stop()
    assert order == ["cleaned", "started"]


def test_a_start_that_waits_ends_at_once_when_its_session_does(tmp_path: Path) -> None:
    (tmp_path / "oven.yaml").write_text(BOARD)
    lab, waited, waits = Lab(), list[bool](), threading.Event()

    @lab.on_start
    def start(client_data: Any, server_data: Any) -> None:
        waits.set()
        waited.append(lab.wait(120))

    agent = agent_of(tmp_path / "oven.yaml", lab, listen=False)
    agent.start()
    request = StartRequest(client="server", length=600)
    coming = threading.Thread(target=agent.sessions.start, args=(request,), name="student")
    coming.start()
    try:
        assert waits.wait(PATIENCE)
        (session,) = agent.sessions.live()
        agent.sessions.end(session, Reason.DELETED)
        assert eventually(lambda: waited) == [False]
        coming.join(PATIENCE)
    finally:
        agent.stop()
