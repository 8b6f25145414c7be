"""A lab behind a real ssh tunnel: the Pi and the server are network namespaces with one cable."""

from __future__ import annotations

import ctypes
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.request import Request

import pytest

from labnode.install.changes import Changes
from labnode.install.labs import NewLab
from labnode.install.options import Options
from labnode.install.target import Target
from labnode.install.tunnel import NewTunnel
from labnode.system.systemd import Tunnel
from labnode.weblab.fake import CentralServer
from tests.kit.figures import FigureReporter
from tests.kit.programs import ran
from tests.kit.waiting import eventually

from ..web.sockets import Page
from .machine import PASSWORD, ROOT, USERNAME, Machine, Node, Student
from .test_nginx import BOARD, MODULE

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")
UNIT = (ROOT / "deploy/systemd/labnode-tunnel@.service").read_text(encoding="utf-8")
USER = "nobody"  # on both sides: a user of every Debian, for whom nothing has to be added
PI, SERVER = "192.0.2.2", "192.0.2.1"
SSHD_CONFIG = """
ListenAddress {server}
HostKey {home}/host_key
PidFile none
StrictModes no
UsePAM no
AuthorizedKeysFile {home}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
ClientAliveInterval 15
ClientAliveCountMax 1
"""


def _needs() -> str:
    """Why these tests cannot run here; "" when they can."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    if SSHD is None or not all(map(shutil.which, ("ssh", "ip", "ss"))):
        return "no sshd here (Debian: sudo apt-get install openssh-server iproute2)"
    name = f"labnode-try-{os.getpid()}"
    if ran(["ip", "netns", "add", name]).returncode:
        return "this system makes no network namespaces"
    ran(["ip", "netns", "delete", name], check=True)
    return ""


WHY_NOT = _needs()
pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "none")]


def enter(namespace: str) -> None:
    """This thread, and what it starts, is in that network from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(namespace).open("rb") as file:
        if libc.setns(file.fileno(), 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    here = f"/proc/self/task/{threading.get_native_id()}/ns/net"
    with Path(here).open("rb") as before:
        enter(f"/run/netns/{namespace}")
        try:
            yield
        finally:
            enter(f"/proc/self/fd/{before.fileno()}")


class Keeper:
    """Plays systemd for the tunnel: starts the unit's ssh, and again when it has ended."""

    def __init__(self, namespace: str, config: Path) -> None:
        (command,) = re.findall("^ExecStart=(.*)$", UNIT, re.M)
        (pause,) = re.findall("^RestartSec=(.*)$", UNIT, re.M)
        words = command.replace("/etc/labnode/tunnels/%i/ssh_config", str(config)).split()
        self.as_in_the_unit = words
        self.command = [word for word in words if word not in ("-f", "-y")]
        self.ends = 0
        self._namespace = namespace
        self._pause = float(pause)
        self._stopped = threading.Event()
        self._ssh: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="keeper")
        self._thread.start()

    def _keep(self) -> None:
        with inside(self._namespace):
            while not self._stopped.is_set():
                self._ssh = subprocess.Popen(self.command, user=USER, group="nogroup")
                self._ssh.wait()
                self.ends += 1
                self._stopped.wait(self._pause)

    def stop(self) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            if self._ssh is not None and self._ssh.poll() is None:
                self._ssh.send_signal(signal.SIGTERM)
            self._thread.join(0.1)


@dataclass
class World:
    """The Pi with its lab, the server, and the tunnel between them; we are on the server."""

    home: Path
    pi: str
    server: str
    cable: str
    node: Node
    tunnel: NewTunnel
    config: Path
    keeper: Keeper
    started: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.tunnel.port}"

    @property
    def near_port(self) -> int:
        return int(self.node.url.rpartition(":")[2])

    def student(self) -> Student:
        """A student whom the central server, on the server, has let in through the tunnel."""
        session_id, url = CentralServer(self.url, USERNAME, PASSWORD).new()
        self.started.append(session_id)
        student = Student("", url)
        assert student.page.status == 200
        return student

    def ssh(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What somebody with the lab's key gets who asks the server for something else."""
        text = re.sub(" *RemoteForward .*\n", "", self.config.read_text())
        config = self.home / "no_forward_config"
        config.write_text(text)
        with inside(self.pi):
            how = ["-F", config, "-o", "ExitOnForwardFailure=yes"]
            return ran(["ssh", *how, *words], user=USER, group="nogroup")


def answers(port: int) -> bool:
    """Whether a lab is at a port of the server's loopback."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
        try:
            connection.request("GET", "/weblab/sessions/api")
            with connection.getresponse() as answer:
                return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False


def made_tunnel(home: Path, node: Node) -> tuple[NewTunnel, Path]:
    """The installer's own files, and ssh's configuration with the paths that they have here."""
    host_key = home / "host_key.pub"
    given = {"board": str(home / "board.yaml"), "name": "bench"}
    given |= {"port": node.url.rpartition(":")[2], "tunnel": f"{USER}@{SERVER}"}
    options = Options({**given, "tunnel-host-key": str(host_key), "tunnel-port": "23456"}, [])
    target, changes = Target(str(home / "root")), Changes(dry=False)
    tunnel = NewTunnel(NewLab(options, target, changes), target, changes)
    tunnel.learn_host_key()
    tunnel.install(home)
    shutil.chown(tunnel.home / "key", USER)
    text = (tunnel.home / "ssh_config").read_text().replace("/etc/", f"{home / 'root' / 'etc'}/")
    config = home / "ssh_config"
    config.write_text(text)
    return tunnel, config


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as undo:
        home = Path(tempfile.mkdtemp(prefix="labnode-tunnel-"))
        undo.callback(shutil.rmtree, home)
        home.chmod(0o755)  # ssh is another user
        pi, server = (f"labnode-{side}-{os.getpid()}" for side in ("pi", "server"))
        cable = "uplink"
        for name in (pi, server):
            ran(["ip", "netns", "add", name], check=True)
            undo.callback(ran, ["ip", "netns", "delete", name])
            ran(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        ends = ["netns", pi, "type", "veth", "peer", "name", cable, "netns", server]
        ran(["ip", "link", "add", cable, *ends], check=True)
        for name, address in ((pi, PI), (server, SERVER)):
            ran(["ip", "-n", name, "address", "add", f"{address}/24", "dev", cable], check=True)
            ran(["ip", "-n", name, "link", "set", cable, "up"], check=True)
        undo.enter_context(inside(server))

        (home / "board.yaml").write_text(BOARD.format(name="bench"))
        (home / "bench.py").write_text(MODULE)
        lab = home / "lab"
        lab.mkdir()
        machine = Machine(lab)
        undo.callback(machine.end)
        with inside(pi):
            node = machine.node(board=home / "board.yaml", LABNODE_TRUSTED_PROXIES="127.0.0.1, ::1")

        ran(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "host_key"], check=True)
        tunnel, config = made_tunnel(home, node)
        (home / "authorized_keys").write_text(f"{tunnel.authorized_key}\n")
        (home / "sshd_config").write_text(SSHD_CONFIG.format(home=home, server=SERVER))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        assert SSHD is not None
        with (home / "sshd.log").open("w") as log:
            sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", home / "sshd_config"], stderr=log)
        undo.callback(sshd.wait)
        undo.callback(sshd.terminate)
        keeper = Keeper(pi, config)
        undo.callback(keeper.stop)
        made = World(home, pi, server, cable, node, tunnel, config, keeper)
        eventually(lambda: answers(tunnel.port), "the lab at the far end of the tunnel")
        yield made


@pytest.fixture
def through(world: World) -> Iterator[World]:
    """The tunnel stands; afterwards no session is left."""
    yield world
    while world.started:
        CentralServer(world.url, USERNAME, PASSWORD).delete(world.started.pop())


def test_nothing_on_the_pi_can_be_reached_from_the_network(
    through: World, figure: FigureReporter
) -> None:
    with inside(through.pi):
        listening = ran(["ss", "-Hltun"], check=True).stdout.split("\n")
    places = [line.split()[4] for line in listening if line]
    assert f"127.0.0.1:{through.near_port}" in places
    inbound = [place for place in places if not place.startswith(("127.", "[::1]"))]
    figure("Inbound ports of a Pi behind a tunnel", "0", f"{len(inbound)} of {len(places)}")
    assert inbound == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((PI, through.near_port), 10)


def test_a_student_works_through_the_tunnel(through: World) -> None:
    student = through.student()
    assert student.post(f"{through.url}/api/devices/switch/on").status == 200
    assert student.get(f"{through.url}/api/state").json["devices"]["switch"]["value"] is True


def test_an_upload_goes_through_whole(through: World) -> None:
    content = os.urandom(1023 << 10)
    answer = through.student().post(f"{through.url}/digest", content)
    assert answer.json == {"size": len(content), "digest": hashlib.sha256(content).hexdigest()}


def test_a_websocket_goes_through(through: World) -> None:
    student = through.student()
    request = Request(f"{through.url}/switch")
    student._jar.add_cookie_header(request)
    place = ("127.0.0.1", through.tunnel.port)
    page = Page(place, request.selector, through.url, request.get_header("Cookie", ""))
    page.ask()
    assert page.read_head() == 101
    assert page.send("on").json() == {"switch": True}
    page.leave()


def test_students_are_told_from_each_other_by_what_the_proxy_says(through: World) -> None:
    for address in ("198.51.100.1", "198.51.100.2"):
        connection = http.client.HTTPConnection("127.0.0.1", through.tunnel.port, timeout=10)
        connection.request("GET", "/seen", headers={"X-Forwarded-For": address})
        assert json.loads(connection.getresponse().read())["address"] == address
        connection.close()


@pytest.mark.parametrize(
    "words",
    [
        ["server", "echo", "broken in"],
        ["-N", "-R", "127.0.0.1:23457:127.0.0.1:1", "server"],
        ["-N", "-R", "0.0.0.0:23456:127.0.0.1:1", "server"],
        ["-W", f"{SERVER}:22", "server"],
    ],
    ids=["a command", "another port", "another address", "the server's network"],
)
def test_the_labs_key_opens_nothing_else(through: World, words: list[str]) -> None:
    done = through.ssh(*words)
    assert done.returncode != 0
    assert "broken in" not in done.stdout


def test_ssh_is_in_the_background_when_the_port_is_open_and_fails_when_it_is_taken(
    through: World,
) -> None:
    """So the unit, of type forking, is active only while the tunnel stands."""
    assert "\nType=forking\n" in UNIT
    taken = list(through.keeper.as_in_the_unit)
    with inside(through.pi):
        assert ran(taken, user=USER, group="nogroup").returncode != 0
    text = through.config.read_text().replace("127.0.0.1:23456", "127.0.0.1:23458")
    (through.home / "other_config").write_text(text)
    key = (through.home / "authorized_keys").read_text()
    (through.home / "authorized_keys").write_text(key.replace("23456", "23458"))
    socket_of_master = through.home / "root" / "control"
    master = ["-M", "-S", str(socket_of_master)]
    socket_of_master.parent.chmod(0o777)
    other = [w.replace("/ssh_config", "/other_config") for w in taken]
    try:
        with inside(through.pi):
            done = ran([other[0], *master, *other[1:]], user=USER, group="nogroup")
            assert done.returncode == 0, done.stderr
            assert answers_at_once(through, 23458)
            end = ["ssh", "-S", str(socket_of_master), "-O", "exit", "server"]
            ran(end, user=USER, group="nogroup", check=True)
    finally:
        (through.home / "authorized_keys").write_text(key)


def answers_at_once(world: World, port: int) -> bool:
    with inside(world.server):
        return answers(port)


def test_what_the_tunnel_adds_is_seen_by_the_kernel(through: World) -> None:
    tunnel = Tunnel.of("bench", through.home / "root")
    assert tunnel is not None
    assert (tunnel.server, tunnel.far_port) == (SERVER, 23456)
    assert tunnel.near_port == through.near_port
    with inside(through.pi):
        milliseconds = replace(tunnel, user=USER).round_trip()
        nobody = replace(tunnel, user="sync").round_trip()
    assert milliseconds is not None
    assert 0 < milliseconds < 1000
    assert nobody is None


@contextmanager
def ahead_of_others(world: World) -> Iterator[None]:
    """What takes part in a request does not wait for whatever else this machine is doing."""
    said = [ran(["ip", "netns", "pids", name], check=True) for name in (world.pi, world.server)]
    processes = " ".join(each.stdout for each in said).split()
    paths = [path for pid in processes for path in Path("/proc").glob(f"{pid}/task/*")]
    before = {}
    for thread in (int(path.name) for path in paths):
        with suppress(ProcessLookupError, PermissionError):
            before[thread] = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, -20)
    try:
        yield
    finally:
        for thread, priority in before.items():
            with suppress(ProcessLookupError, PermissionError):
                os.setpriority(os.PRIO_PROCESS, thread, priority)


def milliseconds(port: int, requests: int = 100) -> float:
    """The median of a request on a connection that stays."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    took = []
    for _ in range(requests):
        began = time.perf_counter()
        connection.request("GET", "/weblab/sessions/api")
        connection.getresponse().read()
        took.append(1000 * (time.perf_counter() - began))
    connection.close()
    return statistics.median(took)


def test_the_tunnel_adds_little_time(through: World, figure: FigureReporter) -> None:
    added = []
    with ahead_of_others(through):
        for _ in range(3):
            far = milliseconds(through.tunnel.port)
            with inside(through.pi):
                near = milliseconds(through.near_port)
            added.append(far - near)
    figure(
        "What a tunnel adds to a request, without the network's own time",
        "at most 5 ms",
        f"{min(added):.2f} to {max(added):.2f} ms (medians of 100, in 3 turns)",
    )
    assert min(added) <= 5  # the others say how busy the machine was


def test_the_tunnel_is_back_soon_after_the_link_and_the_session_was_kept(
    through: World, figure: FigureReporter
) -> None:
    student = through.student()
    assert student.post(f"{through.url}/api/devices/switch/on").status == 200
    ends = through.keeper.ends
    ran(["ip", "-n", through.server, "link", "set", through.cable, "down"], check=True)
    eventually(lambda: through.keeper.ends > ends, "ssh's notice that the link is dead")
    assert not answers(through.tunnel.port)
    ran(["ip", "-n", through.server, "link", "set", through.cable, "up"], check=True)
    began = time.monotonic()
    eventually(lambda: answers(through.tunnel.port), "the tunnel", 60)
    took = time.monotonic() - began
    figure("A tunnel is back after the link", "at most 20 s", f"{took:.1f} s")
    assert took <= 20
    state = student.get(f"{through.url}/api/session")
    assert (state.status, state.json["active"]) == (200, True)
    assert student.get(f"{through.url}/api/state").json["devices"]["switch"]["value"] is True
