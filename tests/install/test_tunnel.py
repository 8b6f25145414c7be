"""install.sh --tunnel: what it asks, what it writes, and how that goes away again."""

from __future__ import annotations

import os
import pty
import re
import stat

import pytest
import yaml

from tests.kit.programs import ran

from .conftest import MAKE_KEY, SERVER_KEY, Node
from .test_service import INSTALL, misused, refused

SERVER = "lab@labs.example.org"
HOME = "etc/labnode/tunnels/heater"
UNIT = "systemd/labnode-tunnel@heater"
PIN = f"server ssh-ed25519 {SERVER_KEY}\n"


@pytest.fixture
def host_key(node: Node) -> str:
    """The file with the server's public key."""
    return str(node.write("host.pub", f"ssh-ed25519 {SERVER_KEY} root@labs\n"))


@pytest.fixture
def tunneled(node: Node, host_key: str) -> Node:
    done = node.install("--tunnel", SERVER, "--tunnel-host-key", host_key)
    assert done.returncode == 0, done.stderr
    node.calls()
    return node


# --- what is asked ---


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tunnel", "labs.example.org"], "--tunnel is USER@HOST or USER@HOST:PORT, not "),
        (["--tunnel", "-oProxyCommand=x@y"], "--tunnel is USER@HOST or USER@HOST:PORT, not "),
        (["--tunnel", "a@-oProxyCommand=x"], "--tunnel is USER@HOST or USER@HOST:PORT, not "),
        (["--tunnel", "a@b ProxyCommand x"], "--tunnel is USER@HOST or USER@HOST:PORT, not "),
        (["--tunnel", "a@b:0"], "--tunnel is a number, not '0'"),
        (["--tunnel", "a@b:65536"], "--tunnel is 1 to 65535, not 65536"),
        (["--tunnel", "a@b", "--tunnel-port", "x"], "--tunnel-port is a number, not 'x'"),
        (["--tunnel-port", "20000"], "--tunnel-port is for --tunnel"),
        (
            ["--tunnel", "a@b", "--tunnel-host-key", "/no/such"],
            "--tunnel-host-key: there is no public key in /no/such (such as "
            "ssh_host_ed25519_key.pub)",
        ),
    ],
)
def test_a_tunnel_that_cannot_be_gets_a_sentence(
    node: Node, arguments: list[str], sentence: str
) -> None:
    assert misused(node, *INSTALL, *arguments).startswith(sentence)


@pytest.mark.parametrize(
    ("server", "lines"),
    [
        ("lab@labs.example.org", ("labs.example.org", "22", "lab")),
        ("lab@labs.example.org:2222", ("labs.example.org", "2222", "lab")),
        ("lab@[2001:db8::1]:443", ("2001:db8::1", "443", "lab")),
        ("lab@192.0.2.1", ("192.0.2.1", "22", "lab")),
    ],
)
def test_a_server_is_a_name_or_an_address_with_or_without_a_port(
    node: Node, host_key: str, server: str, lines: tuple[str, str, str]
) -> None:
    assert node.install("--tunnel", server, "--tunnel-host-key", host_key).returncode == 0
    said = dict(line.split(maxsplit=1) for line in node.read(f"{HOME}/ssh_config").splitlines())
    assert (said["HostName"], said["Port"], said["User"]) == lines


def answering(node: Node, answer: str, *arguments: str) -> tuple[int, str]:
    """The exit code and what was said to a person at a terminal who gives this answer."""
    master, terminal = pty.openpty()
    try:
        os.write(master, f"{answer}\n".encode())
        asked = ("--admin-host", "127.0.0.1")
        done = node.install("--tunnel", SERVER, *asked, *arguments, stdin=terminal)
    finally:
        os.close(master)
        os.close(terminal)
    return done.returncode, done.stderr


def test_a_person_accepts_the_servers_key_by_its_fingerprint(node: Node) -> None:
    code, said = answering(node, "y")
    assert code == 0, said
    file = node.write("host.pub", f"ssh-ed25519 {SERVER_KEY}\n")
    (node.bin / "ssh-keygen").unlink()
    shown = ran(["ssh-keygen", "-l", "-f", file])
    (fingerprint,) = re.findall(r"shows the key (SHA256:\S+) \(ssh-ed25519\)", said)
    assert fingerprint in shown.stdout
    assert node.read(f"{HOME}/known_hosts") == PIN


def test_a_key_that_a_person_does_not_accept_ends_it(node: Node) -> None:
    before = node.files()
    code, said = answering(node, "n")
    assert code == 1
    assert "the key of labs.example.org was not accepted" in said
    assert node.files() == before


def test_nobody_trusts_a_key_that_no_person_has_seen(node: Node) -> None:
    sentence = refused(node, *INSTALL, "--tunnel", SERVER, "--yes")
    assert sentence.startswith(
        "the key of labs.example.org is not known, and there is nobody to ask; --tunnel-host-key"
    )
    assert not node.calls("ssh-keyscan")


def test_a_server_that_does_not_answer_is_a_sentence(node: Node) -> None:
    node.command("ssh-keyscan", "exit 1")
    code, said = answering(node, "y")
    assert code == 1
    assert "no ssh server answers at port 22 of labs.example.org" in said


def test_a_key_that_was_given_is_pinned_and_the_network_is_not_asked(tunneled: Node) -> None:
    assert tunneled.read(f"{HOME}/known_hosts") == PIN
    assert "StrictHostKeyChecking yes" in tunneled.read(f"{HOME}/ssh_config")


# --- what is written ---


def test_the_key_is_its_users_alone_and_the_line_for_the_server_is_printed(
    node: Node, host_key: str
) -> None:
    done = node.install("--tunnel", SERVER, "--tunnel-host-key", host_key, "--tunnel-port", "20007")
    assert stat.S_IMODE((node.root / HOME / "key").stat().st_mode) == 0o600
    assert node.calls(f"chown labnode-tunnel: -- {node.root / HOME / 'key'}")
    assert (
        '\n  restrict,port-forwarding,permitlisten="127.0.0.1:20007",permitopen="127.0.0.1:20007",'
        'command="/bin/false" ssh-ed25519 AAAAC3Nz labnode-tunnel heater\n'
    ) in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_a_lab_with_a_tunnel_listens_on_this_machine_alone_and_trusts_its_end(
    tunneled: Node,
) -> None:
    settings = yaml.safe_load(tunneled.read("etc/labnode/heater.yaml"))
    assert settings["host"] == "127.0.0.1"
    assert settings["trusted_proxies"] == ["127.0.0.1", "::1"]


def test_the_tunnel_starts_with_each_boot_and_nobody_waits_for_the_server(
    node: Node, host_key: str
) -> None:
    node.install("--tunnel", SERVER, "--tunnel-host-key", host_key)
    assert "systemctl restart --no-block labnode-tunnel@heater" in node.calls()
    assert (node.root / f"{UNIT}.enabled").exists()
    unit = "etc/systemd/system/labnode-tunnel@.service"
    assert node.read(unit) == (node.clone / "deploy/systemd/labnode-tunnel@.service").read_text()
    assert re.search("^labnode-tunnel:", node.read("etc/passwd"), re.M)


def far_port(node: Node) -> int:
    (port,) = re.findall(
        r"RemoteForward 127\.0\.0\.1:(\d+) 127\.0\.0\.1:8080\n", node.read(f"{HOME}/ssh_config")
    )
    return int(port)


def test_the_far_port_is_the_same_whenever_a_lab_is_installed_on_a_machine(
    node: Node, host_key: str
) -> None:
    install = ("--tunnel", SERVER, "--tunnel-host-key", host_key, "--yes")
    ports = []
    for machine in ("5d2f", "5d2f", "77aa"):
        node.write("etc/machine-id", f"{machine}\n")
        assert node.install(*install).returncode == 0
        ports.append(far_port(node))
        assert node.run("uninstall", "--purge", "--yes").returncode == 0
    assert ports[0] == ports[1] != ports[2]
    assert all(20_000 <= port < 30_000 for port in ports)


def test_the_same_again_changes_nothing_and_asks_nothing(tunneled: Node) -> None:
    before = tunneled.files(times=True)
    done = tunneled.install("--tunnel", SERVER, "--yes")
    assert done.returncode == 0, done.stderr
    assert "nothing to change" in done.stderr
    assert tunneled.files(times=True) == before
    assert not tunneled.calls("systemctl restart")


def test_another_server_is_another_key_that_has_to_be_known(tunneled: Node) -> None:
    sentence = refused(tunneled, *INSTALL, "--tunnel", "lab@other.example.org", "--yes")
    assert sentence.startswith("the key of other.example.org is not known")


def test_a_key_without_its_server_as_after_a_power_cut_is_not_trusted(tunneled: Node) -> None:
    (tunneled.root / HOME / "ssh_config").unlink()
    sentence = refused(tunneled, *INSTALL, "--tunnel", SERVER, "--yes")
    assert sentence.startswith("the key of labs.example.org is not known")


def test_another_port_is_written_and_the_tunnel_is_started_again(tunneled: Node) -> None:
    key = tunneled.read(f"{HOME}/key")
    done = tunneled.install("--tunnel", SERVER, "--tunnel-port", "20001")
    assert done.returncode == 0, done.stderr
    assert far_port(tunneled) == 20001
    assert tunneled.read(f"{HOME}/key") == key
    assert "systemctl restart --no-block labnode-tunnel@heater" in tunneled.calls()
    assert tunneled.install("--tunnel", SERVER).returncode == 0
    assert far_port(tunneled) == 20001


# --- a lab that is there already ---


def test_a_lab_that_is_there_already_gets_its_tunnel_and_trusts_its_end(
    installed: Node, host_key: str
) -> None:
    before = installed.read("etc/labnode/heater.yaml")
    done = installed.install("--tunnel", SERVER, "--tunnel-host-key", host_key)
    assert done.returncode == 0, done.stderr
    text = installed.read("etc/labnode/heater.yaml")
    assert text == before + "trusted_proxies: ['127.0.0.1', '::1']\n"
    assert "systemctl restart labnode@heater" in installed.calls()
    assert "127.0.0.1:8080\n" in installed.read(f"{HOME}/ssh_config")


def test_proxies_that_somebody_has_set_stay_and_what_is_missing_is_said(
    installed: Node, host_key: str
) -> None:
    file = installed.root / "etc/labnode/heater.yaml"
    text = file.read_text()
    file.write_text(f"{text}trusted_proxies: [192.0.2.2]\n")
    tunnel = ("--tunnel", SERVER, "--tunnel-host-key", host_key)
    assert refused(installed, *INSTALL, *tunnel) == (
        "the tunnel's end has to be a trusted proxy, or all students share one address's limits: "
        f"trusted_proxies: ['127.0.0.1', '::1'] in {file}"
    )
    file.write_text(f"{text}trusted_proxies: [192.0.2.2, 127.0.0.1]\n")
    assert installed.install(*tunnel).returncode == 0


def test_a_tunnel_to_where_the_lab_does_not_listen_is_refused(node: Node, host_key: str) -> None:
    tunnel = ("--tunnel", SERVER, "--tunnel-host-key", host_key, "--host", "192.0.2.7")
    assert refused(node, *INSTALL, *tunnel).startswith(
        "a tunnel leads to 127.0.0.1, where the lab does not listen: host is 192.0.2.7 in "
    )


# --- and away again ---


def test_a_dry_run_says_what_would_be_done_and_asks_no_server(node: Node) -> None:
    before = node.files()
    done = node.install("--tunnel", SERVER, "--dry-run")
    assert done.returncode == 0, done.stderr
    for words in (f"make the key {node.root / HOME}/key", "start labnode-tunnel@heater"):
        assert words in done.stderr
    assert node.files() == before
    assert not node.calls("ssh")


@pytest.mark.parametrize("broken", ["1.0", ""])
def test_an_installation_that_fails_leaves_nothing_of_the_tunnel(
    node: Node, host_key: str, broken: str
) -> None:
    (node.root / "systemd").mkdir()
    if not broken:
        node.command("ssh-keygen", f"{MAKE_KEY}\nexit 1")
    tunnel = ("--tunnel", SERVER, "--tunnel-host-key", host_key)
    refused(node, *INSTALL, *tunnel, BROKEN=broken)
    assert not (node.root / f"{UNIT}.enabled").exists()
    assert "labnode-tunnel" not in node.read("etc/passwd")


def test_a_lab_that_goes_takes_its_tunnel_down_and_keeps_its_key(tunneled: Node) -> None:
    assert tunneled.run("uninstall", "--name", "heater").returncode == 0
    assert not (tunneled.root / f"{UNIT}.enabled").exists()
    assert not (tunneled.root / f"{UNIT}.active").exists()
    assert (tunneled.root / HOME / "key").exists()


def test_a_purge_leaves_no_key_no_unit_and_no_user(tunneled: Node) -> None:
    done = tunneled.run("uninstall", "--purge", "--yes")
    assert done.returncode == 0, done.stderr
    assert not [path for path in tunneled.files() if "/etc/" in path and "tunnel" in path]
    assert not (tunneled.root / f"{UNIT}.enabled").exists()
    assert "labnode-tunnel" not in tunneled.read("etc/passwd")


def test_an_upgrade_brings_the_tunnels_their_new_unit(tunneled: Node) -> None:
    unit = tunneled.clone / "deploy/systemd/labnode-tunnel@.service"
    unit.write_text(unit.read_text() + "# newer\n")
    tunneled.version("1.1")
    assert tunneled.run("upgrade").returncode == 0
    assert tunneled.read("etc/systemd/system/labnode-tunnel@.service").endswith("# newer\n")
    assert "systemctl try-restart labnode-tunnel@*.service" in tunneled.calls()
