"""A programming tool that a hostile file has taken over: what it reaches, what is left of it."""

from __future__ import annotations

import json
import os
import pty
import pwd
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import copy, copytree, rmtree, which
from tempfile import mkdtemp
from typing import Any

import pytest

from labnode.drivers.framework.subprocess import Cause, Ended, run
from labnode.drivers.tools.avrdude import Avrdude
from labnode.supervisor import client
from labnode.supervisor.client import Supervisor
from labnode.supervisor.confine import landlock_version
from labnode.supervisor.supervise import MOST_REQUEST
from tests.kit.waiting import eventually

from ..tools.bootloader import Arduino, image, intel_hex
from ..tools.conftest import Stage

NOBODY = pwd.getpwnam("nobody")
# One that every user may run; a virtual environment may be in a home.
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
ROOT = Path(__file__).parent.parent.parent
needs_landlock = pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
needs_scopes = pytest.mark.skipif(landlock_version() < 6, reason="needs Landlock 6 (Linux 6.12)")


class Victim:
    """A tool that runs a Python program of the attacker's; `lines` is what that has said."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        self.lines: list[str] = []

    def attack(self, program: str, *arguments: object, **where: Any) -> Ended:
        with Supervisor(**where) as supervisor:
            return self.run(supervisor, program, *arguments)

    def run(
        self, supervisor: Supervisor, program: str, *arguments: object, **options: Any
    ) -> Ended:
        self.lines = []
        return run(
            [PYTHON, "-S", "-c", program, *map(str, arguments)],
            self.stage,  # type: ignore[arg-type]
            supervisor,
            name="mcu",
            on_output=lambda lines, _rest: self.lines.extend(lines),
            **{"timeout": 20, **options},
        )


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return Victim(tmp_path)


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may have labnode as a service."""
    monkeypatch.setattr(client, "SOCKET", Path("/nowhere/labnode-tool.sock"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# --- nothing of it is left ---

DAEMON = """
import os, signal, sys
ready, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:  # an environment of its own, another session, no parent
        os.write(tell, b"%d" % os.getpid())
        os.execve(sys.executable, [sys.executable, "-S", "-c", "import signal; signal.pause()"], {})
    os._exit(0)
print(os.read(ready, 10).decode(), flush=True)
"""


@pytest.mark.parametrize("confined", [True, False], ids=["a tool", "a program of a sequence"])
@pytest.mark.parametrize("end", ["by itself", "stopped", "killed"])
def test_a_daemon_with_a_clean_environment_dies_with_its_tool(
    victim: Victim, tmp_path: Path, confined: bool, end: str
) -> None:
    program = DAEMON
    if end != "by itself":
        victim.stage.happens(lambda: bool(victim.lines), victim.stage.stop)
        program += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" * (end == "killed")
        program += "while True: signal.pause()"
    ended = victim.attack(program, folder=None if confined else tmp_path)
    assert ended.cause is (Cause.ITSELF if end == "by itself" else Cause.STOPPED)
    assert not alive(int(victim.lines[0]))


NODE = """
import sys
from labnode.supervisor.client import Supervisor
supervisor = Supervisor()
argv = [sys.executable, "-S", "-c", sys.argv[1]]
output = supervisor.start(argv, environment={}, timeout=60, files={})
print(open(output).readline(), flush=True)
sys.stdin.read()
"""


def test_it_dies_with_a_node_that_is_killed() -> None:
    node = subprocess.Popen(
        [sys.executable, "-c", NODE, f"{DAEMON}\nsignal.pause()"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with node:
        assert node.stdout is not None
        daemon = int(node.stdout.readline())
        assert alive(daemon)
        node.kill()
        node.communicate()
    eventually(lambda: not alive(daemon))


def test_its_folder_is_removed_whatever_it_has_put_there(victim: Victim) -> None:
    victim.attack(
        "import os\nprint(os.getcwd())\nfor _ in range(1500): os.mkdir('a'); os.chdir('a')\n"
        "os.symlink('/', 'link'); os.chmod('.', 0)"
    )
    eventually(lambda: not Path(victim.lines[0]).exists())  # all this takes a moment


def test_the_steps_of_a_tool_share_a_folder(victim: Victim, tmp_path: Path) -> None:
    (tmp_path / "image").write_text("a student's")
    with Supervisor() as supervisor:
        files = {"image.hex": tmp_path / "image"}
        victim.run(supervisor, "open('image.bin', 'w').write('converted')", files=files)
        victim.run(
            supervisor, "print(open('image.hex').read(), open('image.bin').read())", files=files
        )
    assert victim.lines == ["a student's converted"]


# --- what it reaches ---

TRIES = """
import sys
for path in sys.argv[1:]:
    try:
        open(path, "rb").read(1)
        print("read")
    except OSError as error:
        print(error.strerror)
"""


@needs_landlock
def test_it_reads_neither_settings_nor_state_nor_boards(victim: Victim, tmp_path: Path) -> None:
    secrets = [tmp_path / name for name in ("settings.yaml", "state.db", "board/secrets.yaml")]
    for path in secrets:
        path.write_text("secret")
    victim.attack(TRIES, *secrets, f"/proc/{os.getpid()}/environ", f"/proc/{os.getpid()}/mem")
    assert victim.lines == ["Permission denied"] * 5


CONFINED_BY = """
import sys
from labnode.supervisor import confine
confine.landlock_version = lambda: int(sys.argv[1])
confine.confine(sys.executable, sys.argv[3], [], [], 10)
open(sys.argv[3] + "/new", "w").write("x")
open("/etc/passwd").read()
print(open(sys.argv[2]).read())
"""


@pytest.mark.parametrize("version", range(landlock_version() + 1))
def test_every_landlock_of_older_kernels_is_used(tmp_path: Path, version: int) -> None:
    (tmp_path / "secret").write_text("a secret")
    (tmp_path / "folder").mkdir()
    said = subprocess.run(
        [PYTHON, "-c", CONFINED_BY, str(version), tmp_path / "secret", tmp_path / "folder"],
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if version == 0:
        assert said.stdout == "a secret\n"
    else:
        assert "PermissionError" in said.stderr.splitlines()[-1]
        assert "secret" in said.stderr.splitlines()[-1]


@needs_landlock
def test_a_program_of_the_lab_in_a_sequence_may_do_what_the_node_may(
    victim: Victim, tmp_path: Path
) -> None:
    (tmp_path / "notes").write_text("x")
    victim.attack(TRIES, tmp_path / "notes", folder=tmp_path)
    assert victim.lines == ["read"]


@needs_landlock
def test_it_writes_nowhere_but_into_its_folder(victim: Victim, tmp_path: Path) -> None:
    victim.attack(
        "import sys\nopen('mine', 'w')\nfor path in sys.argv[1:]:\n"
        "    try: open(path, 'w'); print('written')\n"
        "    except OSError as error: print(error.strerror)",
        *(tmp_path / "new", "/tmp/labnode-new", f"{sys.prefix}/bin/new", "/var/tmp/labnode-new"),
    )
    assert victim.lines == ["Permission denied"] * 4


@pytest.fixture
def ports() -> Iterator[list[str]]:
    """The paths of three serial ports."""
    with ExitStack() as opened:
        names = []
        for _ in range(3):
            ends = pty.openpty()
            for end in ends:
                opened.callback(os.close, end)
            names.append(os.ttyname(ends[1]))
        yield names


OPENS = """
import os
for path in open("image.hex").read().split():
    try:
        os.open(path, os.O_RDWR | os.O_NOCTTY)
        print("open")
    except OSError as error:
        print(error.strerror)
"""


@needs_landlock
def test_it_opens_no_ports_but_its_own_and_those_among_its_arguments(
    victim: Victim, ports: list[str], tmp_path: Path
) -> None:
    files = {"image.hex": tmp_path / "image"}
    files["image.hex"].write_text(" ".join(ports))
    with Supervisor(port=ports[0]) as supervisor:
        victim.run(supervisor, OPENS, f"--tty={ports[1]}", files=files)
        assert victim.lines == ["open", "open", "Permission denied"]
        victim.run(supervisor, OPENS)
        assert victim.lines == ["open", "Permission denied", "Permission denied"]


NETWORK = """
import ctypes, socket, sys
def attempt(*kind):
    try:
        socket.socket(*kind).connect(("127.0.0.1", int(sys.argv[1])))
        print("connected")
    except OSError as error:
        print(error.strerror)
attempt(socket.AF_INET, socket.SOCK_STREAM)
attempt(socket.AF_INET, socket.SOCK_DGRAM)
attempt(socket.AF_INET6, socket.SOCK_DGRAM)
attempt(socket.AF_PACKET, socket.SOCK_RAW)
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(425, 8, ctypes.create_string_buffer(120)), ctypes.get_errno())  # io_uring
socket.socket(socket.AF_UNIX)
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
print("of this machine")
"""


@pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64", "riscv64")
    and not os.uname().machine.startswith("arm"),
    reason="an architecture without a filter",
)
def test_it_has_no_network(victim: Victim) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        victim.attack(NETWORK, server.getsockname()[1])
    assert victim.lines == [*["Operation not permitted"] * 4, "-1 1", "of this machine"]


@needs_scopes
def test_it_signals_neither_the_node_nor_its_supervisor(victim: Victim) -> None:
    victim.attack(
        "import os, sys\nfor pid in (os.getppid(), int(sys.argv[1])):\n"
        "    try: os.kill(pid, 0); print('hit')\n"
        "    except OSError as error: print(error.strerror)",
        os.getpid(),
    )
    assert victim.lines == ["Operation not permitted"] * 2


def test_it_gets_no_more_rights_by_a_program_that_has_them(victim: Victim) -> None:
    victim.attack("print(*[l for l in open('/proc/self/status') if 'NoNewPrivs' in l])")
    assert victim.lines[0].split() == ["NoNewPrivs:", "1"]


def test_it_finds_no_secret_in_its_environment(
    victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABNODE_WEBLAB_PASSWORD", "secret")
    victim.attack("import os\nprint(*sorted(os.environ))")
    assert set(victim.lines[0].split()) - {"LC_CTYPE"} == {"PATH", "LC_ALL", "HOME", "TMPDIR"}


# --- how much it takes ---


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("open('x', 'wb').truncate(300 << 20)", "OSError: [Errno 27] File too large"),
        ("bytearray(3 << 30)", "MemoryError"),
        (
            "import os\nfor _ in range(300): os.open('/dev/null', 0)",
            "OSError: [Errno 24] Too many open files: '/dev/null'",
        ),
    ],
    ids=["a large file", "memory", "open files"],
)
def test_what_it_takes_of_the_machine_is_bounded(victim: Victim, program: str, error: str) -> None:
    assert victim.attack(program).output[-1] == error


def test_it_leaves_no_core(victim: Victim) -> None:
    victim.attack("import resource\nprint(resource.getrlimit(resource.RLIMIT_CORE))")
    assert victim.lines == ["(0, 0)"]


def test_it_goes_before_the_node_when_memory_runs_out(victim: Victim) -> None:
    victim.attack("print(open('/proc/self/oom_score_adj').read())")
    assert victim.lines == ["700"]


# --- the supervisor of systemd's: a connection on stdin, another user ---


class Systemd:
    """Starts a supervisor for each connection to `path`, as systemd does, as the user `uid`."""

    def __init__(self, path: Path, *, uid: int, users: tuple[str, ...] = ()) -> None:
        self.path = path
        self.started: list[subprocess.Popen[bytes]] = []
        ids = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        self._become = () if uid == os.getuid() else ("setpriv", *ids)
        self._users = users
        self._code = path.parent if (path.parent / "labnode").exists() else ROOT
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self._socket.listen()
        self._thread = threading.Thread(target=self._accept, name="systemd", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.started.append(
                    subprocess.Popen(
                        [*self._become, PYTHON, "-m", "labnode.supervisor", *self._users],
                        env={"PYTHONPATH": str(self._code), "PYTHONDONTWRITEBYTECODE": "1"},
                        cwd="/",
                        stdin=connection.fileno(),
                        stderr=subprocess.PIPE,
                    )
                )

    def supervisor(self) -> subprocess.Popen[bytes]:
        """The only one, when it has started."""
        eventually(lambda: self.started)
        (process,) = self.started
        return process

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for process in self.started:
            process.communicate(timeout=20)


@contextmanager
def systemd(monkeypatch: pytest.MonkeyPatch, folder: Path, **options: Any) -> Iterator[Systemd]:
    fake = Systemd(folder / "tool.sock", **options)
    monkeypatch.setattr(client, "SOCKET", fake.path)
    try:
        yield fake
    finally:
        fake.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with the code that every user may enter; pytest's and the clone may be closed."""
    folder = Path(mkdtemp(prefix="labnode-test-"))
    copytree(ROOT / "labnode" / "supervisor", folder / "labnode" / "supervisor")
    copy(ROOT / "labnode" / "__init__.py", folder / "labnode")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    yield folder
    rmtree(folder)


def test_a_tool_is_run_by_the_supervisor_of_systemd(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "image").write_text("a student's")
    with systemd(monkeypatch, tmp_path, uid=os.getuid()) as fake:
        with Supervisor() as supervisor:
            program = "import os\nprint(open('image.hex').read(), os.getppid())"
            victim.run(supervisor, program, files={"image.hex": tmp_path / "image"})
        assert victim.lines == [f"a student's {fake.supervisor().pid}"]
        assert fake.supervisor().wait(20) == 0


@pytest.mark.parametrize("where", ["folder", "writable"])
def test_what_needs_the_user_of_the_node_is_not(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    with systemd(monkeypatch, tmp_path, uid=os.getuid()) as fake:
        victim.attack("print('ran')", **{where: tmp_path if where == "folder" else [tmp_path]})
        assert victim.lines == ["ran"]
        assert fake.started == []


def test_the_end_of_the_connection_ends_the_tool(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    victim.stage.happens(lambda: bool(victim.lines), victim.stage.stop)
    with systemd(monkeypatch, tmp_path, uid=os.getuid()) as fake:
        program = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()"
        victim.attack(f"{DAEMON}{program}")
        assert not alive(int(victim.lines[0]))
        assert fake.supervisor().wait(20) == 0


def test_a_supervisor_that_does_not_work_is_told(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(globals(), "PYTHON", "/bin/false")
    fake = systemd(monkeypatch, tmp_path, uid=os.getuid())
    with fake, pytest.raises(OSError, match="its supervisor has failed"):
        victim.attack("")


def test_an_answer_that_makes_no_sense_is_a_failure(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The tool may have taken over its supervisor, which is the same user's."""
    for answer in (b'{"code": "0"}', b'{"errno": [2]}', b"[]", b"[" * 4000, b"\xff"):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        monkeypatch.setattr(client, "_connect", lambda ours=ours: ours)
        with theirs:
            theirs.send(answer)
            theirs.shutdown(socket.SHUT_WR)
            with pytest.raises(OSError, match="its supervisor has failed"):
                victim.attack("")


def test_a_file_that_is_gone_is_not_said_to_be_the_program(victim: Victim, tmp_path: Path) -> None:
    with Supervisor() as supervisor, pytest.raises(OSError, match="image cannot be read: No such"):
        victim.run(supervisor, "", files={"image.hex": tmp_path / "image"})


@pytest.mark.root
def test_it_is_another_user_who_reads_nothing_of_the_node_s(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, open_folder: Path
) -> None:
    secret = open_folder / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    image = open_folder / "image"
    image.write_text("a student's")
    image.chmod(0o600)
    with systemd(monkeypatch, open_folder, uid=NOBODY.pw_uid), Supervisor() as supervisor:
        program = f"import os\nprint(os.getuid(), open('image.hex').read())\n{TRIES}"
        victim.run(supervisor, program, secret, files={"image.hex": image})
    assert victim.lines == [f"{NOBODY.pw_uid} a student's", "Permission denied"]


@pytest.mark.root
@pytest.mark.skipif(not which("avrdude"), reason="no avrdude here")
def test_the_real_avrdude_writes_a_chip_as_another_user(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, open_folder: Path
) -> None:
    arduino = Arduino()
    os.chown(arduino.port, NOBODY.pw_uid, -1)
    file = victim.stage.folder / "student.hex"
    file.write_text(intel_hex(image("hello\n")))
    file.chmod(0o600)
    mcu = Avrdude(part="atmega328p", programmer="arduino", port=arduino.port, retries=0)
    with systemd(monkeypatch, open_folder, uid=NOBODY.pw_uid) as fake:
        victim.stage.open(mcu).program(file)
        assert len(fake.started) == 1
    assert arduino.image == image("hello\n")
    arduino.close()


FORK_BOMB = """
import os, time
print("here", flush=True)
while True:
    try: os.fork()
    except OSError: time.sleep(0.001)
"""


@pytest.mark.root
def test_a_fork_bomb_is_bounded_and_ends(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, open_folder: Path
) -> None:
    """As another user: the kernel does not limit root."""

    def count() -> int:
        found = 0
        for entry in Path("/proc").iterdir():
            try:
                found += entry.name.isdigit() and entry.stat().st_uid == NOBODY.pw_uid
            except OSError:
                continue
        return found

    before = count()
    most = 0

    def grown() -> bool:
        nonlocal most
        most = max(most, count())
        return most > before + 200

    victim.stage.happens(grown, victim.stage.stop)
    with systemd(monkeypatch, open_folder, uid=NOBODY.pw_uid) as fake:
        ended = victim.attack(FORK_BOMB)
        fake.supervisor().wait(60)
        assert ended.cause is Cause.STOPPED
        assert most <= before + 300
        assert count() <= before


@pytest.mark.root
@pytest.mark.parametrize("stranger", [True, False])
def test_the_supervisor_serves_only_the_user_that_it_is_told(
    monkeypatch: pytest.MonkeyPatch, open_folder: Path, stranger: bool
) -> None:
    users = () if stranger else (NOBODY.pw_name,)
    ask = (
        "import socket, sys\nasked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "asked.connect(sys.argv[1])\nasked.send(b'x')\nprint(asked.recv(1000).decode())"
    )
    with systemd(monkeypatch, open_folder, uid=0, users=users) as fake:
        said = subprocess.run(
            ["setpriv", f"--reuid={NOBODY.pw_uid}", "--clear-groups", PYTHON, "-c", ask, fake.path],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout
        _, error = fake.supervisor().communicate(timeout=20)
    if stranger:
        assert said.strip() == ""
        assert b"may not ask for anything" in error
    else:
        assert json.loads(said) == {"malformed": "a request is JSON"}


# --- requests that are none ---

GOOD = {
    "argv": ["touch", "made"],
    "environment": {"PATH": os.defpath},
    "timeout": 5,
    "folder": None,
    "port": "",
    "writable": [],
    "files": [],
}


def changed(**keys: Any) -> bytes:
    return json.dumps({**GOOD, **keys}).encode()


MALFORMED = [
    b"\0",
    b"\xff\xfe",
    b"[" * 30_000,
    b"null",
    b"{}",
    json.dumps({**GOOD, "shell": True}).encode(),
    changed(argv=[]),
    changed(argv="touch made"),
    changed(argv=["touch\0", "made"]),
    changed(argv=[""]),
    changed(argv=["touch", 5]),
    changed(environment={"A=B": "x"}),
    changed(environment={"": "x"}),
    changed(environment={"A": None}),
    changed(timeout=-1),
    changed(timeout=True),
    changed(timeout=float("nan")),
    changed(timeout=10**400),
    changed(folder="here"),
    changed(folder=""),
    changed(port="ttyUSB0"),
    changed(writable=["/tmp", 1]),
    changed(files=["../up"]),
    changed(files=["/etc/passwd"]),
    changed(files=["a//b"]),
    changed(files=["a"]),  # without its descriptor
    changed(argv=["x" * MOST_REQUEST]),
]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], int]]:
    """What a supervisor answers to a message with descriptors, and its exit code."""

    def ask(message: bytes, descriptors: list[int]) -> tuple[dict[str, Any], int]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "labnode.supervisor"],
                env={"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
                stdin=theirs.fileno(),
                stderr=subprocess.PIPE,
            )
            theirs.close()
            socket.send_fds(ours, [message], descriptors)
            ours.settimeout(20)
            answer = json.loads(ours.recv(4096))
            process.communicate(timeout=20)
            return answer, process.returncode

    return ask


@pytest.mark.parametrize("message", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_request_starts_nothing(
    ask: Callable[..., tuple[dict[str, Any], int]], message: bytes
) -> None:
    with Path(os.devnull).open("w") as output:
        answer, code = ask(message, [output.fileno()])
    assert [*answer] == ["malformed"]
    assert code == 1


def test_a_request_with_too_many_descriptors_starts_nothing(
    ask: Callable[..., tuple[dict[str, Any], int]],
) -> None:
    with Path(os.devnull).open("w") as output:
        answer, code = ask(changed(), [output.fileno()] * 100)
    assert answer == {"malformed": "the request is too long"}
    assert code == 1


def test_nothing_is_copied_through_a_link_of_a_tool_that_ran_before(
    victim: Victim, tmp_path: Path
) -> None:
    (tmp_path / "image").write_text("x")
    (tmp_path / "target").mkdir()
    with Supervisor() as supervisor:
        victim.run(supervisor, f"import os\nos.symlink({str(tmp_path / 'target')!r}, 'board')")
        supervisor._copied = False  # as a client would that has forgotten it
        with pytest.raises(OSError, match="its supervisor has failed"):
            victim.run(supervisor, "", files={"board/x.cfg": tmp_path / "image"})
    assert [*(tmp_path / "target").iterdir()] == []


def test_only_regular_files_are_copied(
    ask: Callable[..., tuple[dict[str, Any], int]], tmp_path: Path
) -> None:
    with Path("/dev/zero").open("rb") as endless, Path(os.devnull).open("w") as output:
        answer, _ = ask(changed(files=["image.hex"]), [output.fileno(), endless.fileno()])
    assert answer == {"malformed": "only regular files can be copied"}
    assert [*tmp_path.iterdir()] == []
