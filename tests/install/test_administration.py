"""install.sh and the administration of a lab: its address, its port, and passwords."""

from __future__ import annotations

import os
import pty
import re
from typing import Any

import pytest
import yaml

from .conftest import Node
from .test_service import INSTALL, misused, refused


def admin_of(node: Node, lab: str = "heater") -> dict[str, Any]:
    settings = yaml.safe_load(node.read(f"etc/labnode/{lab}.yaml"))
    admin: dict[str, Any] = settings["admin"]
    return admin


def test_the_administration_of_a_new_lab_listens_on_this_machine_alone(node: Node) -> None:
    done = node.install("--base-url", "https://labs.example.org/lab1")
    admin = admin_of(node)
    assert (admin["host"], admin["port"]) == ("127.0.0.1", 9080)
    assert re.search(r"^  ssh -L 9080:127\.0\.0\.1:9080 \S+@\S+$", done.stdout, re.M)
    assert "http://localhost:9080/lab1/admin" in done.stdout


def test_the_administration_listens_where_it_is_said_to(node: Node) -> None:
    done = node.install("--port", "80", "--admin-host", "0.0.0.0", "--admin-port", "8443")
    admin = admin_of(node)
    assert (admin["host"], admin["port"]) == ("0.0.0.0", 8443)
    assert "ssh -L" not in done.stdout
    assert "The administration listens on port 8443 of 0.0.0.0" in done.stdout


@pytest.mark.parametrize(("answer", "host"), [("", "127.0.0.1"), ("10.0.0.5", "10.0.0.5")])
def test_a_person_is_asked_where_the_administration_is_to_listen(
    node: Node, answer: str, host: str
) -> None:
    master, terminal = pty.openpty()
    try:
        os.write(master, f"{answer}\n".encode())
        done = node.install(stdin=terminal)
    finally:
        os.close(master)
        os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert "Where should the administration's page listen?" in done.stderr
    assert admin_of(node)["host"] == host


def test_nobody_is_asked_who_has_said_it_or_wants_no_question(node: Node) -> None:
    for number, said in enumerate((["--admin-host", "10.0.0.5"], ["--yes"])):
        master, terminal = pty.openpty()
        try:
            port = ["--name", f"lab{number}", "--port", f"80{number}0"]
            done = node.install(*said, *port, stdin=terminal)
        finally:
            os.close(master)
            os.close(terminal)
        assert done.returncode == 0, done.stderr
        assert "Where should" not in done.stderr


def test_several_labs_have_administrations_of_their_own(node: Node) -> None:
    for name, port, admin in (("one", 8080, 9080), ("two", 8079, 9081)):
        node.write(f"etc/labnode/{name}.yaml", f"port: {port}\nadmin: {{port: {admin}}}\n")
    taken = refused(node, *INSTALL, "--port", "9080")
    assert taken == (
        "the administration of a lab has the port 9080 already; give this one another (--port)"
    )
    taken = refused(node, *INSTALL, "--port", "1", "--admin-port", "9081")
    assert taken == "the port 9081 is taken by another lab (--admin-port)"
    done = node.install("--port", "8081")
    assert done.returncode == 0, done.stderr
    assert admin_of(node)["port"] == 9082


@pytest.mark.parametrize("key", ["--weblab-password", "--admin-password"])
def test_short_passwords_are_refused(node: Node, key: str) -> None:
    sentence = misused(node, *INSTALL, key, "eleven char")
    assert sentence == f"{key} has 12 characters or more (without it, a good one is made up)"


@pytest.mark.parametrize("key", ["--weblab-username", "--weblab-password"])
def test_credentials_that_no_central_server_can_send_are_refused(node: Node, key: str) -> None:
    assert misused(node, *INSTALL, key, "una contraseña larga") == (
        "--weblab-username and --weblab-password are ASCII: central servers cannot send others"
    )


def test_a_simulated_lab_may_have_short_passwords(node: Node) -> None:
    assert node.install("--admin-password", "short", "--simulate").returncode == 0
    assert admin_of(node)["password"] == "short"


def test_a_hashed_password_goes_into_the_settings_and_is_not_shown(node: Node) -> None:
    hashed = "scrypt$16384$8$1$c2FsdHNhbHRzYWx0c2FsdA$" + "a" * 43
    done = node.install("--admin-password", hashed)
    assert admin_of(node)["password"] == hashed
    assert hashed not in done.stdout
    assert "administration    admin  (the one that was hashed)" in done.stdout


def test_an_upgrade_leaves_the_administration_where_it_is_and_says_so(installed: Node) -> None:
    file = installed.root / "etc/labnode/heater.yaml"
    old = re.sub(r", host: '127.0.0.1', port: 9080", "", file.read_text())
    old = re.sub("password: '[^']*'}", "password: !secret word}", old)
    file.write_text(old)
    installed.version("1.1")
    done = installed.run("upgrade")
    assert done.returncode == 0, done.stderr
    assert file.read_text() == old
    assert (
        "the administration of the lab 'heater' is where students come; to move it" in done.stderr
    )


def test_an_upgrade_of_a_lab_whose_administration_is_apart_warns_of_nothing(
    installed: Node,
) -> None:
    installed.version("1.1")
    assert "where students come" not in installed.run("upgrade").stderr
