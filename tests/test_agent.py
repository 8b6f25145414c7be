"""The agent: built whole or not at all, started and stopped in order, whatever fails."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from labnode.clock import Clock, Turn
from labnode.control import NotRunning, ask
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.registry import registry
from labnode.errors import ConfigError, DeviceError
from labnode.lab import Lab
from labnode.node import agent as agents
from labnode.node import runtime as runtimes
from labnode.node.agent import Agent
from labnode.sessions import Reason, StartRequest
from labnode.system.systemd import Systemd
from tests.kit.agents import agent_of

BOARD = "schema: 1\ndevices: {heater: {driver: relay, pin: GPIO17, safe: true}}\n"

Build = Callable[..., Agent]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Make an agent that is stopped after the test."""
    (tmp_path / "board.yaml").write_text(BOARD)
    with ExitStack() as made:

        def build(lab: Lab | None = None, board: str = BOARD, **options: Any) -> Agent:
            (tmp_path / "board.yaml").write_text(board)
            settings = {name: options.pop(name) for name in ("port", "host") if name in options}
            agent = agent_of(tmp_path / "board.yaml", lab, settings=settings, **options)
            made.callback(agent.stop)
            return agent

        yield build


def request(length: float = 60) -> StartRequest:
    return StartRequest(client="weblab", length=length)


def level(agent: Agent) -> Any:
    """What the heater's pin shows."""
    return agent.board.pins.pin("GPIO17").state


# --- building ---


@pytest.mark.parametrize("part", ["Store", "Tasks", "Worker", "Sessions", "WebServer"])
def test_what_cannot_be_built_leaves_nothing_open(
    build: Build, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConfigError(f"no {part}")

    with monkeypatch.context() as broken:
        broken.setattr(agents if part == "WebServer" else runtimes, part, fail)
        with pytest.raises(ConfigError, match=f"no {part}"):
            build()
    build().start()  # the state directory is free, and the detectors find no thread


def test_a_second_agent_is_refused_before_it_touches_anything(build: Build) -> None:
    build().start()
    with pytest.raises(ConfigError, match="another labnode is running"):
        build()


def test_an_agent_that_was_never_started_can_be_stopped(build: Build) -> None:
    agent = build()
    assert agent.stop()
    assert agent.stop()


# --- starting ---


def test_a_device_that_does_not_open_starts_nothing(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(kw_only=True)
    class Broken(Driver):
        kind: ClassVar[str] = "broken"
        simulates: ClassVar[bool] = True

        def open(self) -> None:
            raise OSError("no such port")

    monkeypatch.setitem(registry, "broken", Broken)
    agent = build(board="schema: 1\ndevices: {console: {driver: broken}}\n")
    with pytest.raises(DeviceError, match="'console' did not open: no such port"):
        agent.start()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(agent.web.address, 5)
    build().start()


def test_without_its_port_a_node_opens_no_device(build: Build) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        agent = build(port=other.getsockname()[1])
        with pytest.raises(ConfigError, match="already in use"):
            agent.start()
    assert agent.board.snapshot["heater"]["value"] is None
    build().start()


def test_until_it_is_ready_it_asks_for_patience(build: Build) -> None:
    agent = build(listen=False)
    said: list[Any] = []
    body = b"".join(agent.app({}, lambda status, headers: said.extend((status, dict(headers)))))
    assert said[0] == "503 Service Unavailable"
    assert said[1]["Retry-After"] == "2"
    assert json.loads(body)["error"] is True


def test_a_node_that_listens_answers_and_can_be_controlled(build: Build, tmp_path: Path) -> None:
    agent = build()
    agent.start()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{agent.url}/weblab/sessions/api", timeout=5) as answer:
        assert json.load(answer) == {"api_version": "1"}
    status = ask(tmp_path / "state", "status")
    assert (status["url"], status["state"]) == (agent.url, "ready")
    agent.stop()
    with pytest.raises(NotRunning):
        ask(tmp_path / "state", "status")


def test_an_address_with_colons_is_put_into_brackets(build: Build) -> None:
    agent = build(host="::1")
    try:
        agent.start()
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    assert agent.url == f"http://[::1]:{agent.web.address[1]}"


# --- stopping ---


@pytest.mark.parametrize("part", ["_control.stop", "sessions.close", "tasks.stop_all", "web.stop"])
def test_a_part_that_fails_to_stop_skips_no_other(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    agent = build()
    agent.start()
    owner, name = part.split(".")
    stop = getattr(getattr(agent, owner), name)

    def fail(*arguments: Any) -> None:
        stop(*arguments)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(getattr(agent, owner), name, fail)
    assert not agent.stop()
    assert "ZeroDivisionError" in caplog.text
    assert level(agent) is True
    monkeypatch.undo()
    build().start()


def test_a_session_that_is_active_stays_so_in_the_store(build: Build) -> None:
    agent = build()
    agent.start()
    session = agent.sessions.start(request())
    agent.stop()
    again = build()
    again.start()
    assert [s.id for s in again.sessions.live()] == [session.id]


def test_ending_the_sessions_says_whether_they_were_clean_in_time(build: Build) -> None:
    lab, let_go = Lab(), threading.Event()

    @lab.on_dispose
    def dispose() -> None:
        let_go.wait(10)

    agent = build(lab)
    agent.start()
    agent.sessions.start(request())
    assert not agent.sessions.end_all(Reason.DELETED, 0.05)
    let_go.set()
    assert agent.sessions.end_all(Reason.DELETED, 5.0)


# --- a board without an owner ---


def test_a_task_that_ignores_the_end_of_its_session_is_a_fault(build: Build) -> None:
    lab, began, let_go = Lab(), threading.Event(), threading.Event()

    @lab.task(unique="global")
    def stubborn() -> None:
        began.set()
        let_go.wait(10)

    agent = build(lab)
    agent.start()
    assert agent.fault() is None
    task = stubborn.delay()
    assert began.wait(5)
    task.stop()
    later = agent.clock.now() + 11
    agent.clock.now = lambda: later  # type: ignore[method-assign]
    assert agent.fault() == "task 'stubborn' was asked to stop 11 s ago and runs on"
    let_go.set()


def test_a_dead_reaper_is_a_fault(build: Build) -> None:
    agent = build()
    agent.start()
    agent.sessions.reaper.stop(5.0)
    assert agent.fault() == "the reaper has died"


class Dead:
    """A thread that has died."""

    ident = None

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        return False

    def join(self, timeout: float | None = None) -> None:
        pass


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (lambda agent: (agent.store, "_thread"), "the database's thread has died"),
        (lambda agent: (agent._control, "_thread"), "the thread of the control socket has died"),
    ],
)
def test_every_thread_that_dies_is_a_fault(
    build: Build, monkeypatch: pytest.MonkeyPatch, where: Callable[..., Any], said: str
) -> None:
    agent = build()
    agent.start()
    assert agent.fault() is None
    with monkeypatch.context() as dead:
        dead.setattr(*where(agent), Dead())
        assert agent.fault() == said
    assert agent.fault() is None


def test_a_thread_of_the_web_server_that_dies_is_a_fault(build: Build) -> None:
    agent = build()
    agent.start()
    threads = agent.web._listener.requests._threads  # type: ignore[union-attr]
    living, threads[1] = threads[1], Dead()  # type: ignore[assignment]
    threads[1].name = "http-1"
    assert agent.fault() == "the web server's thread http-1 has died"
    threads[1] = living
    living, agent.web._thread = agent.web._thread, Dead()  # type: ignore[assignment]
    agent.web._thread.name = "http"  # type: ignore[union-attr]
    assert agent.fault() == "the web server's thread http has died"
    agent.web._thread = living
    assert agent.fault() is None


def test_a_background_thread_that_dies_is_a_fault(build: Build) -> None:
    agent = build()
    agent.start()
    threads = agent.worker._background._threads
    living, threads["background-1"] = threads["background-1"], Dead()  # type: ignore[assignment]
    assert agent.fault() == "the thread background-1 has died"
    threads["background-1"] = living


WATCHED = """
schema: 1
devices: {heater: {driver: relay, pin: GPIO17, safe: true}}
record: {devices: [heater], every: 1s}
sequences: {on_idle: {after: 1h, steps: [{set: {heater: true}}]}}
"""


@pytest.mark.parametrize(
    "name",
    ["store", "reaper", "live", "recorder", "routines", "pruning", "control", "http-writer"],
)
def test_a_thread_that_hangs_is_a_fault(build: Build, name: str) -> None:
    agent = build(board=WATCHED)
    agent.start()
    assert agent.web._listener is not None
    parts: dict[str, Any] = {
        "store": agent.store,
        "reaper": agent.sessions.reaper,
        "live": agent.runtime.websockets.live,
        "recorder": agent.runtime.recordings,
        "routines": agent.runtime.routines,
        "pruning": agent.runtime._pruning,
        "control": agent._control,
        "http-writer": agent.web._listener.writer,
    }
    assert agent.fault() is None
    parts[name]._busy = Turn(agent.clock, name, limit=-1.0)
    with parts[name]._busy:
        assert agent.fault() == f"the thread {name} has been at one thing for -1 s"
    assert agent.fault() is None


def test_a_node_that_serves_is_well_and_one_that_does_not_is_not(build: Build) -> None:
    agent = build()
    agent.start()
    assert agent.trouble() is None
    agent.web.stop()
    said = agent.trouble()
    assert said is not None
    assert said.startswith("its own web server does not answer")


def test_health_is_answered_in_truth_while_the_node_starts(build: Build) -> None:
    agent = build(listen=False)
    said: list[Any] = []
    environ = {"PATH_INFO": "/lab1/weblab/health"}
    body = b"".join(agent.app(environ, lambda status, _: said.append(status)))
    assert said == ["200 OK"]
    assert json.loads(body) == {
        "found": True,
        "success": False,
        "message": "The lab is just starting; ask again in a moment.",
    }


def test_whatever_a_central_server_asks_while_the_node_starts_is_to_be_asked_again(
    build: Build,
) -> None:
    app = build(listen=False).app
    said: dict[str, Any] = {}
    for path in ("/lab1/weblab/sessions/", "/lab1/ldl/sessions/abc"):
        body = b"".join(app({"PATH_INFO": path}, lambda status, _: None))
        said[path.split("/")[2]] = json.loads(body)
    assert said["weblab"] == {
        "error": True,
        "success": False,
        "code": "busy",
        "message": "The lab is just starting; ask again in a moment.",
    }
    again = {"should_finish": 2, "finished": False, "ask_again": 2}
    assert said["ldl"] == {**said["weblab"], **again}


def test_a_browser_is_asked_for_patience_while_the_node_starts(build: Build) -> None:
    said: list[Any] = []
    environ = {"PATH_INFO": "/", "HTTP_ACCEPT": "text/html", "HTTP_ACCEPT_LANGUAGE": "es"}
    body = b"".join(build(listen=False).app(environ, lambda *head: said.extend(head)))
    status, headers = said
    assert status == "503 Service Unavailable"
    assert "Preparando la placa" in body.decode()
    assert 'http-equiv="refresh"' in body.decode()
    assert {"Content-Security-Policy", "X-Content-Type-Options"} <= dict(headers).keys()


def test_a_fault_ends_the_process_with_the_outputs_safe(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    agent = build()
    agent.start()
    agent.worker.call(lambda: agent.board.command("heater", "off"))
    assert level(agent) is False
    codes = end_of_process(monkeypatch)
    monkeypatch.setattr(agent, "fault", lambda: "somebody pulled the plug")
    with pytest.raises(Ended):
        agent.safety.turn()
    assert codes == [70]
    assert level(agent) is True
    assert "The agent ends itself: somebody pulled the plug." in caplog.messages


def test_a_fault_is_found_while_the_main_thread_waits_for_the_web_server(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build()
    agent.start()
    asked, answer, gave_up = threading.Event(), threading.Event(), threading.Event()
    reasons: list[str] = []

    def ask_web(*_: Any) -> None:
        asked.set()
        answer.wait(20)

    def give_up(why: str) -> None:
        reasons.append(why)
        gave_up.set()

    monkeypatch.setattr(agents, "ask_web", ask_web)
    monkeypatch.setattr(agent, "give_up", give_up)
    stop = agent.clock.event()
    systemd = Systemd({"NOTIFY_SOCKET": "@nobody-listens-here"})  # so the web server is asked
    main = threading.Thread(target=agent.watch, args=(stop, systemd))
    main.start()
    try:
        assert asked.wait(5)
        monkeypatch.setattr(agent, "fault", lambda: "somebody pulled the plug")
        assert gave_up.wait(5)
        assert reasons[0] == "somebody pulled the plug"
    finally:
        stop.set()
        answer.set()
        main.join(5)


def test_a_safety_watch_that_dies_ends_the_process(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build()
    agent.start()
    end_of_process(monkeypatch)
    monkeypatch.setattr(agents, "_WATCH_EVERY", 0.01)
    monkeypatch.setattr(agent.safety, "_thread", Dead())
    with pytest.raises(Ended):
        agent.watch(agent.clock.event(), Systemd({}))
    assert agent.fault() is None  # the watch is over


def test_a_safety_watch_that_hangs_is_a_fault(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build(listen=False)
    looks, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        looks.set()
        let_go.wait(20)

    with monkeypatch.context() as hung:
        hung.setattr(agent, "fault", hang)
        agent.safety.start()
        assert looks.wait(5)
        assert agent.safety.fault() is None
        later = agent.clock.now() + 11
        hung.setattr(agent.clock, "now", lambda: later)
        assert agent.safety.fault() == "the thread safety has been at one thing for 10 s"
        let_go.set()
    assert agent.safety.stop(5.0)
    assert agent.safety.fault() is None


def test_outputs_that_cannot_be_made_safe_are_told(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    agent = build()
    end_of_process(monkeypatch)
    monkeypatch.setattr(agent.board, "make_safe", lambda: ["'heater' did not make safe: gone"])
    with pytest.raises(Ended):
        agent.give_up("of a test")
    assert caplog.messages[-1] == "Not safe: 'heater' did not make safe: gone."


def test_making_safe_takes_no_longer_than_it_may(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    agent, let_go = build(), threading.Event()
    end_of_process(monkeypatch)
    monkeypatch.setattr(runtimes, "_MAKE_SAFE_WITHIN", 0.05)
    monkeypatch.setattr(agent.board, "make_safe", lambda: [str(let_go.wait(10))])
    with pytest.raises(Ended):
        agent.give_up("of a test")
    assert caplog.messages[-1] == "Not safe: making devices safe took too long."
    let_go.set()


def test_the_process_ends_with_the_outputs_safe_also_when_no_thread_can_be_started(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build()
    agent.start()
    agent.worker.call(lambda: agent.board.command("heater", "off"))
    codes = end_of_process(monkeypatch)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Ended):
            agent.give_up("of a test")
    assert codes == [70]
    assert level(agent) is True


def test_the_process_ends_even_if_making_safe_fails(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build()
    codes = end_of_process(monkeypatch)

    def fail() -> None:
        raise MemoryError

    monkeypatch.setattr(agent.runtime, "make_safe", fail)
    with pytest.raises(Ended):
        agent.give_up("of a test")
    assert codes == [70]


def test_a_safety_watch_that_fails_ends_the_process_by_itself(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, gave_up = build(listen=False), threading.Event()
    why: list[str] = []

    def fail() -> None:
        raise RuntimeError("can't allocate lock")

    monkeypatch.setattr(agent, "fault", fail)
    monkeypatch.setattr(agent, "give_up", lambda text: (why.append(text), gave_up.set()))
    agent.safety.start()
    assert gave_up.wait(5)
    assert why == ["the safety watch has failed"]


def test_a_stop_that_takes_too_long_is_ended(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, why = build(), list[str]()
    gave_up = threading.Event()
    monkeypatch.setattr(agents, "_STOP_WITHIN", 0.05)
    monkeypatch.setattr(agent, "give_up", lambda text: (why.append(text), gave_up.set()))
    stop = Clock().event()
    agent.limit_stop(stop)
    assert not gave_up.wait(0.1)
    stop.set()
    assert gave_up.wait(5)
    assert why == ["it did not stop within 0.05 s"]


def test_a_stop_in_order_is_left_alone(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = build()
    monkeypatch.setattr(agent, "give_up", pytest.fail)
    stop = Clock().event()
    agent.limit_stop(stop)
    agent.start()
    stop.set()
    agent.watch(stop, Systemd({}))
    assert agent.stop()


class Ended(Exception):
    """The process would have ended here."""


def end_of_process(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes, once `give_up` ends the process."""
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    return codes
