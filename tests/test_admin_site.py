"""The administration at an address of its own, and where the students come."""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labnode.errors import ConfigError
from labnode.node.agent import Agent
from labnode.sessions import Reason, StartRequest
from tests.kit.agents import agent_of
from tests.kit.basic_auth import basic
from tests.kit.waiting import PATIENCE

BOARD = "schema: 1\nlab: {name: oven}\ndevices: {heater: {driver: relay, pin: GPIO17}}\n"
ADMIN = {"username": "boss", "password": "a long password"}
OWN = {**ADMIN, "host": "127.0.0.1", "port": 0}
BOSS = basic("boss:a long password")

Start = Callable[..., Agent]
Answer = tuple[int, str, str]  # status, Location, text


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "board.yaml").write_text(BOARD)
    with ExitStack() as undo:

        def start(*, simulate: bool = True, **settings: Any) -> Agent:
            agent = agent_of(tmp_path / "board.yaml", settings=settings, simulate=simulate)
            undo.callback(agent.stop)
            agent.start()
            return agent

        yield start


def ask(server: Any, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location") or "", answer.read().decode()
    finally:
        connection.close()


def test_with_a_host_it_is_there_and_not_where_the_students_come(start: Start) -> None:
    agent = start(admin=OWN)
    assert ask(agent.admin_web, "/admin", Authorization=BOSS)[0] == 200
    assert ask(agent.web, "/admin", Authorization=BOSS)[0] == 404
    assert ask(agent.web, "/admin/login", Accept="text/html")[0] == 404
    assert agent.admin_url == f"http://127.0.0.1:{agent.admin_web.address[1]}/admin"  # type: ignore[union-attr]


def test_nothing_else_is_at_its_address(start: Start) -> None:
    agent = start(admin=OWN)
    for path in ("/weblab/sessions/test", "/weblab/health", "/api/board", "/static/page.css"):
        assert ask(agent.admin_web, path, Authorization=BOSS)[0] == 404
    assert ask(agent.admin_web, "/")[:2] == (302, "/admin")
    assert ask(agent.admin_web, "/administration")[0] == 404


def test_its_page_has_all_its_files_there(start: Start) -> None:
    agent = start(admin=OWN)
    for file in ("page.css", "icon.svg", "admin.css", "admin.js"):
        assert ask(agent.admin_web, f"/admin/static/{file}", Authorization=BOSS)[0] == 200
    page = ask(agent.admin_web, "/admin", Authorization=BOSS)[2]
    assert 'href="static/' not in page
    assert ask(agent.admin_web, "/admin/static/icon.svg")[0] == 200
    assert 'href="static/icon.svg"' in ask(agent.admin_web, "/admin/login")[2]


def test_it_is_below_the_base_path_as_for_students(start: Start) -> None:
    agent = start(admin=OWN, base_url="https://labs.example.org/one")
    assert ask(agent.admin_web, "/one/admin", Authorization=BOSS)[0] == 200
    assert ask(agent.admin_web, "/admin", Authorization=BOSS)[0] == 200
    assert ask(agent.admin_web, "/one/")[:2] == (302, "/one/admin")
    assert ask(agent.admin_web, "/admin", Accept="text/html")[:2] == (303, "/one/admin/login")


def test_through_ssh_its_buttons_work_although_the_students_come_by_another_name(
    start: Start,
) -> None:
    agent = start(admin=OWN, base_url="https://labs.example.org")
    through = {"Authorization": BOSS, "Host": "localhost:9080"}
    assert (
        ask(agent.admin_web, "/admin/drain", "POST", Origin="http://localhost:9080", **through)[0]
        == 200
    )
    other = {"Origin": "http://evil.example", **through}
    assert ask(agent.admin_web, "/admin/drain", "POST", **other)[0] == 403


def test_behind_a_proxy_with_https_it_is_where_the_proxy_says(start: Start) -> None:
    agent = start(admin=OWN, base_url="https://labs.example.org/one", trusted_proxies=["127.0.0.1"])
    assert agent.admin_web is not None
    connection = http.client.HTTPConnection(*agent.admin_web.address, timeout=PATIENCE)
    headers = {
        "Host": "labs.example.org",
        "Origin": "https://labs.example.org",
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "https",
        "Accept": "text/html",
    }
    try:
        form = "username=boss&password=a+long+password"
        connection.request("POST", "/one/admin/login", form, headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (303, b"")
        assert (answer.getheader("Set-Cookie") or "").endswith("; SameSite=Strict; Secure")
    finally:
        connection.close()
    assert agent.store.recall("known-addresses:admin") == ["192.0.2.1"]


def test_the_link_for_an_observer_leads_to_where_the_students_are(start: Start) -> None:
    agent = start(admin=OWN, base_url="https://labs.example.org")
    session = agent.sessions.start(StartRequest(client="weblab", length=60))
    page = ask(agent.admin_web, "/admin", Authorization=BOSS, Host="localhost:9080")[2]
    assert 'href="https://labs.example.org/observe/' in page
    agent.sessions.end(session, Reason.DELETED)
    assert session.disposed.wait(5)


def test_without_a_public_name_that_link_has_the_machines_and_not_the_tunnels(
    start: Start,
) -> None:
    agent = start(admin=OWN)
    session = agent.sessions.start(StartRequest(client="weblab", length=60))
    page = ask(agent.admin_web, "/admin", Authorization=BOSS, Host="localhost:9080")[2]
    assert f'href="http://{socket.gethostname()}:0/observe/' in page
    agent.sessions.end(session, Reason.DELETED)
    assert session.disposed.wait(5)


def test_a_flood_where_the_students_come_does_not_keep_the_administrator_out(start: Start) -> None:
    agent = start(admin=OWN)
    with ExitStack() as opened:
        for _ in range(250):
            opened.enter_context(socket.create_connection(agent.web.address, timeout=PATIENCE))
        assert ask(agent.admin_web, "/admin", Authorization=BOSS)[0] == 200


def test_another_board_leaves_it_where_it_is(start: Start, tmp_path: Path) -> None:
    agent = start(admin=OWN)
    agent.board_change.begin(tmp_path / "board.yaml")
    agent.board_change._thread.join(10)  # type: ignore[union-attr]
    assert agent.board_change.progress()["error"] is None
    assert ask(agent.admin_web, "/admin", Authorization=BOSS)[0] == 200


def test_a_port_that_is_taken_is_told_and_nothing_is_opened(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is already in use"):
            start(admin={**OWN, "port": port})


def test_a_web_server_of_it_that_has_died_is_a_fault(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start(admin=OWN)
    assert agent.fault() is None
    with monkeypatch.context() as dead:
        dead.setattr(agent.admin_web._thread, "is_alive", lambda: False)  # type: ignore[union-attr]
        assert agent.fault() == "the web server's thread admin has died"


# --- what is warned of ---


def test_among_the_students_it_is_as_before_with_a_warning(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    agent = start(admin=ADMIN)
    assert ask(agent.web, "/admin", Authorization=BOSS)[0] == 200
    assert (agent.admin_web, agent.admin_url) == (None, None)
    assert [r.getMessage()[:63] for r in caplog.records if r.levelno == logging.WARNING] == [
        "The administration is at the address where students come: anybo"
    ]


def test_with_an_address_of_its_own_nothing_is_warned_of(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    start(admin=OWN)
    assert [r for r in caplog.records if r.levelno == logging.WARNING] == []


def test_short_passwords_are_warned_of_where_there_is_hardware(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "board.yaml").write_text("schema: 1\ndevices: {note: {driver: virtual}}\n")
    short = {**OWN, "password": "eleven char"}
    for simulate, expected in [
        (True, []),
        (False, ["Passwords with less than 12 characters can be guessed: those of weblab, admin."]),
    ]:
        caplog.clear()
        agent = agent_of(tmp_path / "board.yaml", settings={"admin": short}, simulate=simulate)
        try:
            agent.start()
        finally:
            agent.stop()
        said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert said == expected
