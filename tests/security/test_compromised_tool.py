"""A programming tool that a hostile file has taken over: what it reaches, what is left of it."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from labnode.drivers.framework.subprocess import Cause
from labnode.supervisor.client import Supervisor
from labnode.supervisor.confine import landlock_version
from tests.kit.programs import ran
from tests.kit.tools import DAEMON, PYTHON, ROOT, TRIES, Victim, alive
from tests.kit.waiting import eventually

needs_landlock = pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
needs_scopes = pytest.mark.skipif(landlock_version() < 6, reason="needs Landlock 6 (Linux 6.12)")


# --- nothing of it is left ---


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


WITHOUT_SECCOMP = """
import sys
from labnode.supervisor import confine
confine._SET_SECCOMP = 1 << 20  # a call that no kernel has, as without CONFIG_SECCOMP_FILTER
confine.confine(sys.executable, sys.argv[1], [], [], 10)
open(sys.argv[1] + "/new", "w").write("x")
"""


def test_a_kernel_without_seccomp_runs_it_all_the_same(tmp_path: Path) -> None:
    ran([PYTHON, "-c", WITHOUT_SECCOMP, str(tmp_path)], env={"PYTHONPATH": str(ROOT)})
    assert (tmp_path / "new").read_text() == "x"


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
        ("[bytes(1 << 30) for _ in range(3)]", "MemoryError"),
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
