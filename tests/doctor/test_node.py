"""The doctor's look at a node: a real one that runs, or the port that it will need."""

from __future__ import annotations

import json
import pwd
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from labnode.board import load_board
from labnode.doctor import examine, node
from labnode.doctor.examine import CHECKS
from labnode.lab import Lab
from labnode.node.agent import Agent
from labnode.settings import AdminAccess, Client, Credentials
from labnode.settings.passwords import HashedPassword
from tests.kit.commands import Run, labnode_with

from .conftest import Bed

BOARD = "schema: 1\ndevices: {heater: {driver: relay, pin: GPIO17, safe: true}}\n"


@pytest.fixture
def running(bed: Bed) -> Iterator[Agent]:
    """A node that runs with the patient's settings."""
    file = load_board(bed.write("board.yaml", BOARD))
    assert bed.patient.settings is not None
    with ExitStack() as undo:
        agent = Agent(file, Lab(), bed.patient.settings, simulate=True)
        undo.callback(agent.stop)
        agent.start()
        settings = replace(bed.patient.settings, port=agent.web.address[1])
        bed.is_now(settings=settings, running=True, board=file)
        yield agent


def test_a_node_that_serves_accepts_its_credentials(bed: Bed, running: Agent) -> None:
    port = running.web.address[1]
    assert bed.found(node.web) == [
        ("ok", f"The node answers on port {port}: The laboratory is ready."),
        ("ok", "The node accepts the credentials of weblab."),
        ("warning", "It listens on 127.0.0.1, which only this machine can reach."),
    ]


def test_other_credentials_than_the_nodes_are_a_problem(bed: Bed, running: Agent) -> None:
    assert bed.patient.settings is not None
    wrong = replace(bed.patient.settings, weblab=Credentials(username="u", password="new"))
    bed.is_now(settings=wrong)
    assert bed.found(node.web)[1] == (
        "problem",
        "The node answers 401 to the credentials of weblab.",
    )


def test_a_drained_node_is_a_warning_that_says_why(bed: Bed, running: Agent) -> None:
    running.sessions.draining = True
    level, message = bed.found(node.web)[0]
    assert level == "warning"
    assert message == (
        "The node takes no students: The node takes no new sessions: it is being drained."
    )


def test_a_node_in_quarantine_is_a_warning_that_says_why(bed: Bed, running: Agent) -> None:
    running.sessions.quarantine.impose("the lid is open")
    level, message = bed.found(node.web)[0]
    assert level == "warning"
    assert message == ("The node takes no students: The board is in quarantine: the lid is open")


def test_a_node_that_runs_and_does_not_answer_is_a_problem(bed: Bed, running: Agent) -> None:
    running.web.stop()
    level, message = bed.found(node.web)[0]
    assert level == "problem"
    assert "does not answer" in message


def test_without_a_node_its_port_has_to_be_free(bed: Bed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert bed.patient.settings is not None
        bed.is_now(settings=replace(bed.patient.settings, port=port))
        assert bed.found(node.web)[0] == (
            "problem",
            f"The node could not listen on port {port} of 127.0.0.1: Address already in use.",
        )
    assert bed.found(node.web)[0] == ("ok", f"Port {port} is free for the node.")


def test_a_state_directory_that_others_may_read_is_told(bed: Bed) -> None:
    (bed.root / "state").mkdir()
    (bed.root / "state").chmod(0o755)
    assert bed.found(node.files) == [("warning", f"Others may look into {bed.root}/state.")]


def test_a_check_that_fails_itself_keeps_no_other_from_being_made(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> Iterator[None]:
        raise RuntimeError("no such thing")
        yield

    monkeypatch.setitem(CHECKS, "clock", broken)
    found = {f.check: f.message for f in examine(bed.patient)}
    assert found["clock"] == "This could not be looked at: no such thing."
    assert "disk" in found


def test_a_hashed_password_cannot_be_tried(bed: Bed, running: Agent) -> None:
    assert bed.patient.settings is not None
    hashed = Credentials(username="u", password=str(HashedPassword.of("a long password")))
    bed.is_now(settings=replace(bed.patient.settings, weblab=hashed))
    assert bed.found(node.web)[1] == (
        "unknown",
        "The password of weblab is hashed: it cannot be tried.",
    )
    assert bed.found(node.passwords) == []


def test_short_passwords_are_warned_of_unless_the_node_is_simulated(bed: Bed) -> None:
    assert bed.found(node.passwords) == [
        ("warning", "The password of weblab has less than 12 characters.")
    ]
    bed.is_now(simulated=True)
    assert bed.found(node.passwords) == []


def test_credentials_that_no_central_server_can_send_are_a_problem(bed: Bed) -> None:
    assert bed.patient.settings is not None
    client = Client(name="lde", username="école", password="x")
    bed.is_now(settings=replace(bed.patient.settings, clients=[client]), simulated=True)
    ((level, message),) = bed.found(node.passwords)
    assert level == "problem"
    assert message.startswith("The user name or password of lde has characters other than ASCII")


def administered(bed: Bed, **access: Any) -> None:
    assert bed.patient.settings is not None
    admin = AdminAccess(username="boss", password="a long password", **access)
    bed.is_now(settings=replace(bed.patient.settings, admin=admin))


def test_an_administration_where_students_come_is_warned_of(bed: Bed) -> None:
    assert bed.found(node.administration) == []
    administered(bed)
    assert bed.found(node.administration) == [
        ("warning", "The administration is at the address where students come.")
    ]


def test_the_port_of_the_administration_has_to_be_free(bed: Bed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        administered(bed, host="127.0.0.1", port=port)
        message = f"The node could not listen on port {port} of 127.0.0.1: Address already in use."
        assert bed.found(node.administration) == [("problem", message)]
        bed.is_now(running=True)
        assert bed.found(node.administration) == [
            ("ok", f"The administration is at port {port} of 127.0.0.1.")
        ]
    bed.is_now(running=False)
    assert bed.found(node.administration) == [("ok", f"Port {port} is free for the node.")]


# --- the command ---


@pytest.fixture
def run(bed: Bed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name in ("LABNODE_WEBLAB_USERNAME", "LABNODE_WEBLAB_PASSWORD", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LABNODE_PORT", "0")  # whoever has 8080 of this machine
    monkeypatch.setenv("HOME", str(bed.root))
    bed.write("board.yaml", BOARD)
    return labnode_with(capsys, "doctor")


def settings_file(bed: Bed, text: str) -> str:
    return str(bed.write("node.yaml", text, mode=0o600))


def test_a_machine_with_a_problem_is_told_with_code_1(run: Run, bed: Bed) -> None:
    code, out, err = run(str(bed.root / "board.yaml"))
    assert (code, err) == (1, "labnode: The doctor has found 1 problem.\n")
    assert "PROBLEM  gpio" in out


def test_warnings_alone_are_code_0_and_json_says_all(run: Run, bed: Bed) -> None:
    text = "board: board.yaml\nstate_dir: state\nweblab: {username: u, password: p}\n"
    path = settings_file(bed, text)
    code, out, _ = run("--settings", path, "--simulate", "--json")
    answer = json.loads(out)
    assert (code, answer["ok"]) == (0, True)
    assert {f["check"] for f in answer["findings"]} >= {"board", "gpio", "clock", "disk", "web"}


def test_every_mistake_in_the_files_is_a_finding(run: Run, bed: Bed) -> None:
    bed.write("board.yaml", "schema: 1\ndevices: {led: {driver: lad}, fan: {driver: relay}}\n")
    path = settings_file(bed, "board: board.yaml\nprot: 1\n")
    code, out, _ = run("--settings", path, "--simulate", "--json")
    told = [f["message"] for f in json.loads(out)["findings"] if f["level"] == "problem"]
    assert code == 1
    assert any("did you mean 'port'" in message for message in told)
    assert not any("board.yaml" in message for message in told)  # the settings do not name it
    code, out, _ = run(str(bed.root / "board.yaml"), "--simulate", "--json")
    told = [f["message"] for f in json.loads(out)["findings"] if f["level"] == "problem"]
    assert len(told) == 2


@pytest.mark.parametrize("known", [True, False], ids=["in the settings", "of the node alone"])
def test_a_running_node_is_seen_by_its_state_directory_and_asked_at_its_port(
    run: Run, bed: Bed, running: Agent, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    port = running.web.address[1]
    if known:
        monkeypatch.setenv("LABNODE_PORT", str(port))
    text = "state_dir: state\nweblab: {username: u, password: p}\n"
    path = settings_file(bed, f"board: board.yaml\n{text}")
    code, out, _ = run("--settings", path, "--simulate")
    assert code == 0
    assert f"The node answers on port {port}: The laboratory is ready." in out
    assert "The node accepts the credentials of weblab." in out


# --- the tunnel ---


def with_tunnel(bed: Bed, port: int = 8080, **settings: Any) -> None:
    """The lab `bench`, and its tunnel as install.sh writes it."""
    assert bed.patient.settings is not None
    state = bed.root / "state" / "bench"
    bed.is_now(settings=replace(bed.patient.settings, state_dir=state, port=8080, **settings))
    bed.write(
        "etc/labnode/tunnels/bench/ssh_config",
        "# ...\nHost server\n    HostName labs.example.org\n    Port 22\n"
        f"    RemoteForward 127.0.0.1:20007 127.0.0.1:{port}\n",
    )


def says(bed: Bed, name: str, text: str) -> None:
    bed.write(f"bin/{name}", f"#!/bin/sh\necho '{text}'\n", 0o755)


def test_a_lab_without_a_tunnel_has_nothing_to_say_of_it(bed: Bed) -> None:
    assert bed.found(node.tunnel) == []


def test_a_tunnel_that_stands_says_what_it_adds(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tunnel(bed, trusted_proxies=["127.0.0.1"])
    says(bed, "systemctl", "active")
    user = pwd.struct_passwd(("labnode-tunnel", "x", 987, 987, "", "/", "/bin/false"))
    monkeypatch.setattr("labnode.system.systemd.pwd.getpwnam", lambda name: user)
    says(
        bed,
        "ss",
        "0 0 192.0.2.2:1 192.0.2.9:22 uid:1000 ino:1 sk:1 <-> ts rtt:1.5/0.1\n"
        "0 0 192.0.2.2:2 192.0.2.1:22 uid:987 ino:2 sk:2 <-> ts rtt:11.84/3.1",
    )
    sentence = "The tunnel to labs.example.org stands (port 20007 there), and adds 11.8 ms to a"
    assert bed.found(node.tunnel) == [("ok", f"{sentence} request.")]


def test_a_tunnel_whose_connection_nobody_sees_stands_without_a_figure(bed: Bed) -> None:
    with_tunnel(bed, trusted_proxies=["::1"])
    says(bed, "systemctl", "active")
    assert bed.found(node.tunnel) == [
        ("ok", "The tunnel to labs.example.org stands (port 20007 there).")
    ]


@pytest.mark.parametrize("state", ["activating", "inactive", "failed"])
def test_a_tunnel_that_does_not_stand_is_a_problem(bed: Bed, state: str) -> None:
    with_tunnel(bed, trusted_proxies=["127.0.0.1"])
    says(bed, "systemctl", state)
    (finding,) = bed.findings(node.tunnel)
    assert (finding.level, finding.message) == (
        "problem",
        "The tunnel to labs.example.org does not stand.",
    )
    assert "journalctl -u labnode-tunnel@bench" in finding.advice


def test_a_tunnel_to_a_port_that_the_lab_has_left_is_a_problem(bed: Bed) -> None:
    with_tunnel(bed, port=8079, trusted_proxies=["127.0.0.1"])
    says(bed, "systemctl", "active")
    assert bed.found(node.tunnel)[1] == (
        "problem",
        "The tunnel leads to port 8079, the lab has port 8080.",
    )


def test_a_tunnel_whose_end_nobody_trusts_is_a_warning(bed: Bed) -> None:
    with_tunnel(bed)
    says(bed, "systemctl", "active")
    assert bed.found(node.tunnel)[1] == (
        "warning",
        "All students who come through the tunnel share one address's limits.",
    )
