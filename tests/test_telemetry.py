"""/metrics of a node that runs: where it is, and where it is not."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labnode.errors import ConfigError
from labnode.node.agent import Agent
from labnode.sessions import Reason, StartRequest
from tests.kit.agents import agent_of
from tests.kit.programs import ran

BOARD = "schema: 1\nlab: {name: oven}\ndevices: {heater: {driver: relay, pin: GPIO17}}\n"

Build = Callable[..., Agent]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    (tmp_path / "board.yaml").write_text(BOARD)
    with ExitStack() as made:

        def build(**settings: Any) -> Agent:
            agent = agent_of(tmp_path / "board.yaml", settings=settings)
            made.callback(agent.stop)
            return agent

        yield build


def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address[0]}:{address[1]}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_numbers_are_at_an_address_of_their_own(build: Build) -> None:
    agent = build(metrics="127.0.0.1:0")
    agent.start()
    assert agent.runtime.telemetry.web is not None
    session = agent.sessions.start(StartRequest(client="weblab", length=60))
    assert agent.sessions.end(session, Reason.DELETED) is None
    assert session.disposed.wait(5)
    get(agent.web.address, "/weblab/sessions/test")
    status, text = get(agent.runtime.telemetry.web.address, "/metrics")
    assert status == 200
    for line in (
        "labnode_sessions_started_total 1.0",
        'labnode_sessions_ended_total{reason="deleted"} 1.0',
        'labnode_http_responses_total{side="server",status="401"} 1.0',
        'labnode_device_up{device="heater"} 1.0',
        'labnode_state{state="ready"} 1.0',
    ):
        assert line in text.splitlines()
    assert 'experiment="oven@Labs"' in text
    assert session.id not in text
    assert get(agent.runtime.telemetry.web.address, "/weblab/health")[0] == 404


def test_the_bytes_of_a_serial_port_are_counted(build: Build, tmp_path: Path) -> None:
    console = "devices: {console: {driver: serial, port: /dev/ttyUSB0}}\n"
    (tmp_path / "board.yaml").write_text(f"schema: 1\n{console}")
    agent = build(metrics="127.0.0.1:0")
    agent.start()
    agent.worker.call(lambda: agent.board.command("console", "send", ["hello"]))
    assert agent.runtime.telemetry.web is not None
    _, text = get(agent.runtime.telemetry.web.address, "/metrics")
    assert 'labnode_device_sent_bytes_total{device="console"} 6.0' in text.splitlines()
    assert "tx_bytes" not in agent.board.snapshot["console"]


def test_there_are_no_numbers_before_the_node_is_ready(build: Build) -> None:
    agent = build(metrics="127.0.0.1:0")
    agent.runtime.telemetry.start()
    assert agent.runtime.telemetry.web is not None
    assert get(agent.runtime.telemetry.web.address, "/metrics")[0] == 503


def test_students_never_see_them(build: Build) -> None:
    agent = build(metrics="127.0.0.1:0")
    agent.start()
    status, text = get(agent.web.address, "/metrics")
    assert status != 200
    assert "labnode_" not in text


def test_an_address_that_cannot_be_had_is_told(build: Build) -> None:
    other = build()
    other.start()
    port = other.web.address[1]
    other.stop()
    agent = build(metrics=f"127.0.0.1:{port}", port=port)
    with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is already in use"):
        agent.start()


def test_a_dead_server_of_the_numbers_is_a_fault(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build(metrics="127.0.0.1:0")
    agent.start()
    assert agent.fault() is None
    assert agent.runtime.telemetry.web is not None
    with monkeypatch.context() as dead:
        dead.setattr(agent.runtime.telemetry.web._thread, "is_alive", lambda: False)
        assert agent.fault() == "the web server's thread metrics has died"


def test_where_nobody_asks_for_them_their_library_is_not_loaded() -> None:
    code = "import sys, labnode.node.agent; print('prometheus_client' in sys.modules)"
    assert ran([sys.executable, "-c", code], check=True).stdout == "False\n"
