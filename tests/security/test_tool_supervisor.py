"""The supervisor of programming tools as systemd starts it, and requests that are none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import copy, copytree, rmtree, which
from tempfile import mkdtemp
from typing import Any

import pytest

from labnode.drivers.framework.subprocess import Cause
from labnode.drivers.tools.avrdude import Avrdude
from labnode.supervisor import client
from labnode.supervisor.client import Supervisor
from labnode.supervisor.supervise import MOST_REQUEST
from tests.kit.tools import DAEMON, NOBODY, PYTHON, ROOT, TRIES, Victim, alive, systemd
from tests.kit.waiting import PATIENCE
from tests.tools.bootloader import Arduino, image, intel_hex


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
    monkeypatch.setattr("tests.kit.tools.PYTHON", "/bin/false")
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


@pytest.fixture
def taken_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A supervisor of systemd's that a tool has taken over: it answers without end."""
    monkeypatch.setattr(client, "SOCKET", tmp_path / "tool.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(client.SOCKET))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while True:
                    connection.send(b'{"started": true}')

        thread = threading.Thread(target=answer, name="taken over", daemon=True)
        thread.start()
        yield
        thread.join(PATIENCE)


@pytest.mark.usefixtures("taken_over")
def test_a_supervisor_that_answers_without_end_holds_nobody_up(victim: Victim) -> None:
    ended = list[bool]()
    attack = threading.Thread(target=lambda: ended.append(victim.attack("").well), daemon=True)
    attack.start()
    attack.join(PATIENCE)
    assert ended == [False]


@pytest.mark.usefixtures("taken_over")
def test_the_end_of_a_supervisor_that_answers_without_end_is_not_waited_for() -> None:
    ending = threading.Thread(target=Supervisor().close, daemon=True)
    ending.start()
    ending.join(PATIENCE)
    assert not ending.is_alive()
