"""Programs that behave badly are run by the hardware thread, which lives on and is rid of them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.framework.subprocess import Cause, Ended, run
from labnode.supervisor.client import Supervisor

from ..tools.conftest import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


class Runner:
    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        self.lines: list[str] = []
        self.rests: list[str] = []

    def hear(self, lines: Sequence[str], rest: str) -> None:
        self.lines += lines
        self.rests.append(rest)

    def python(self, program: str, *arguments: str, timeout: float = 20) -> Ended:
        argv = [sys.executable, "-S", "-c", program, *arguments]
        return self.run(argv, timeout)

    def run(self, argv: Sequence[str], timeout: float = 20, **options: Any) -> Ended:
        with Supervisor(self.folder) as supervisor:
            return run(
                argv,
                self.stage,  # type: ignore[arg-type]
                supervisor,
                name="mcu",
                timeout=timeout,
                on_output=self.hear,
                **options,
            )


@pytest.fixture
def runner(stage: Stage, here: Path) -> Runner:
    return Runner(stage, here)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_its_lines_and_its_exit_code_are_told(runner: Runner) -> None:
    ended = runner.python("print('one'); print('two'); raise SystemExit(3)")
    assert runner.lines == ["one", "two"]
    assert (ended.code, ended.cause, ended.output) == (3, Cause.ITSELF, ("one", "two"))
    assert not ended.well


def test_what_it_says_as_errors_is_heard_too(runner: Runner) -> None:
    runner.python("import sys; print('a mistake', file=sys.stderr)")
    assert runner.lines == ["a mistake"]


def test_a_line_without_its_end_is_heard_while_it_grows(runner: Runner, stage: Stage) -> None:
    def grown() -> bool:
        return "##" in runner.rests

    go_on = runner.folder / "go-on"
    stage.happens(grown, go_on.touch)
    program = (
        "import os\nprint('##', end='', flush=True)\n"
        "while not os.path.exists('go-on'): pass\nprint('#')"
    )
    assert runner.python(program).well
    assert runner.lines == ["###"]


def test_a_carriage_return_ends_a_line_and_colours_are_left_out(runner: Runner) -> None:
    runner.python(r"print('10%\r20%\r\x1b[31mred\x1b[0m\x07')")
    assert runner.lines == ["10%", "20%", "red"]


def test_others_are_served_while_it_runs(runner: Runner, stage: Stage) -> None:
    served: list[str] = []
    go_on = runner.folder / "go-on"
    stage.post(lambda: served.append("an interlock"))
    stage.happens(lambda: bool(served), go_on.touch)
    runner.python("import os\nwhile not os.path.exists('go-on'): pass")
    assert served == ["an interlock"]


def test_it_sees_no_shell_and_not_the_node_s_environment(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABNODE_WEBLAB_PASSWORD", "secret")
    program = "import os, sys\nprint(sys.argv[1])\nprint(*sorted(os.environ))"
    runner.python(program, "$(x); rm -rf `y` *")
    assert runner.lines[0] == "$(x); rm -rf `y` *"
    names = set(runner.lines[1].split()) - {"LC_CTYPE"}
    assert names == {"PATH", "LC_ALL", "HOME", "TMPDIR"}


def test_it_gets_no_terminal_and_nothing_to_read(runner: Runner) -> None:
    runner.python("import sys, os\nprint(repr(sys.stdin.read()), os.getsid(0) == os.getpid())")
    assert runner.lines == ["'' True"]


def test_one_that_takes_too_long_is_ended(runner: Runner) -> None:
    ended = runner.run(["sleep", "infinity"], timeout=0.1)
    assert (ended.cause, ended.code) == (Cause.TIMEOUT, -signal.SIGTERM)


def test_what_one_that_is_ended_has_said_is_kept(runner: Runner, stage: Stage) -> None:
    stage.happens(lambda: bool(runner.lines), stage.stop)
    ended = runner.python("import signal; print('here', flush=True); signal.pause()")
    assert (ended.cause, ended.code) == (Cause.STOPPED, -signal.SIGTERM)
    assert ended.output == ("here",)


IGNORES = (
    "import os, signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print(os.getpid(), flush=True)\nwhile True: signal.pause()"
)


def test_one_that_ignores_to_be_stopped_is_killed(runner: Runner, stage: Stage) -> None:
    stage.happens(lambda: bool(runner.lines), stage.stop)
    ended = runner.python(IGNORES)
    assert (ended.cause, ended.code) == (Cause.STOPPED, -signal.SIGKILL)
    assert not alive(int(runner.lines[0]))


def test_others_are_served_while_it_takes_its_time_to_end(runner: Runner, stage: Stage) -> None:
    stage.happens(lambda: bool(runner.lines), stage.stop)
    before: list[int] = []
    stage.happens(lambda: stage.stopping, lambda: before.append(stage.turns))
    runner.python(IGNORES)
    assert stage.turns - before[0] >= 10, "it is killed after a second, in turns of 50 ms"


FORKS = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    print("child", os.getpid(), flush=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            print("away", os.getpid(), flush=True)
        else:
            os._exit(0)
    signal.pause()
    os._exit(0)
"""


def pids(runner: Runner) -> list[int]:
    return [int(line.split()[1]) for line in runner.lines if line.split()[1:]]


@pytest.mark.parametrize("how", ["ends", "is stopped"])
def test_what_it_has_started_does_not_outlive_it(runner: Runner, stage: Stage, how: str) -> None:
    if how == "ends":
        program = FORKS + "import time\nwhile not os.path.exists('go-on'): time.sleep(0.01)"
        stage.happens(lambda: len(runner.lines) == 2, (runner.folder / "go-on").touch)
    else:
        program = FORKS + "while True: signal.pause()"
        stage.happens(lambda: len(runner.lines) == 2, stage.stop)
    runner.python(program)
    assert len(pids(runner)) == 2
    assert [pid for pid in pids(runner) if alive(pid)] == []


def test_one_that_says_far_too_much_is_ended_and_little_of_it_kept(runner: Runner) -> None:
    ended = runner.python(
        "import sys\nline = 'x' * 99 + '\\n'\n"
        "for _ in range(10_000_000): sys.stdout.write(line)"  # 1 GB
    )
    assert ended.cause is Cause.FLOOD
    assert len(ended.output) <= 100


def test_a_line_that_never_ends_is_cut(runner: Runner) -> None:
    ended = runner.python("import sys\nfor _ in range(7000): sys.stdout.write('x' * 1000)")
    assert ended.well
    assert [len(line) for line in ended.output] == [500]


def test_one_that_dies_by_a_signal_says_which(runner: Runner) -> None:
    ended = runner.python("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert (ended.code, ended.cause) == (-signal.SIGSEGV, Cause.ITSELF)


def test_one_that_is_not_there_is_an_os_error_and_leaves_nothing(runner: Runner) -> None:
    with pytest.raises(FileNotFoundError):
        runner.run(["no-such-program-here"])


def test_a_directory_of_the_path_that_may_not_be_searched_says_nothing_of_a_program(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    monkeypatch.setenv("PATH", f"{tmp_path / 'closed'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(FileNotFoundError):
        runner.run(["no-such-program-here"])


def test_one_that_is_there_and_may_not_be_run_is_not_said_to_be_missing(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").touch(mode=0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PermissionError):
        runner.run(["text"])


def test_it_is_gone_when_the_one_who_listens_fails(runner: Runner) -> None:
    def fail(lines: Sequence[str], rest: str) -> None:
        runner.lines += lines
        raise RuntimeError("a driver's bug")

    runner.hear = fail  # type: ignore[method-assign]
    program = "import os, signal\nprint('pid', os.getpid(), flush=True)\nsignal.pause()"
    with pytest.raises(RuntimeError, match="a driver's bug"):
        runner.python(program)
    assert [pid for pid in pids(runner) if alive(pid)] == []


def test_it_keeps_no_file_of_the_node_open(runner: Runner, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), False)
        runner.python("import os\nprint(sorted(os.listdir('/proc/self/fd'))[:3])")
    assert runner.lines == ["['0', '1', '2']"]
