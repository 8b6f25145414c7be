"""install.sh with a Python, pip and apt-get that only pretend: quick, and the same for root."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labnode.install.changes import Failed
from labnode.install.clone import turn
from tests.kit.clock import ImpatientClock
from tests.kit.programs import ran

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "install.sh"
SCRIPTS = ("install.sh", ".ci/run", "deploy/first-boot/first-boot")
BASH = shutil.which("bash") or "/bin/bash"

# What a bare Debian has and install.sh uses.
TOOLS = (
    "bash cat chmod cp df env flock grep id mkdir mktemp mv readlink rm sed sha256sum stat tail"
    " uname"
)

# A Python that says what it was asked, knows its version, and makes such a Python in a venv.
# The installer itself is run by a real one, which is not noted.
PYTHON = """#!/usr/bin/env bash
[[ "$*" != *"-m labnode.install"* ]] || exec 'REAL' "$@"
echo "python${*:+ $*}" >>"$CALLS"
case "$*" in
    *version_info*) echo VERSION ;;
    *ensurepip*) ENSUREPIP ;;
    "-m venv "*)
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python" ;;
    *"-m pip"*)
        echo "pip at work"
        PIP
        for name in labnode mkdocs ruff mypy pip-audit esptool.py; do
            [[ " ${LACKING:-} " != *" $name "* ]] || continue
            echo '#!/usr/bin/env bash' >"${0%/*}/$name"
            fail=FAIL_${name//-/_}
            echo "echo $name\\${*:+ \\$*}; exit \\${$fail:-0}" >>"${0%/*}/$name"
            chmod +x "${0%/*}/$name"
        done ;;
    *"-m pytest"*)
        echo "$(($# - 2)) arguments" >>"$CALLS"
        echo "3 passed"
        exit "${FAIL_pytest:-0}" ;;
    *"import labnode"*) ;;
    *mkdocstrings*) exit "${FAIL_mkdocstrings:-0}" ;;
esac
"""


def fake_python(version: str = "3.11", venv: str = ":", pip: str = ":") -> str:
    """`venv` and `pip` are run as the import of ensurepip and the installation."""
    real = PYTHON.replace("REAL", sys.executable)
    return real.replace("VERSION", version).replace("ENSUREPIP", venv).replace("PIP", pip)


class Machine:
    """A clone of the project and a PATH on which only what is put there exists."""

    def __init__(self, directory: Path) -> None:
        self.clone = directory / "a clone [1]"
        self.bin = directory / "bin"
        self.temporary = directory / "tmp"
        self.calls_file = directory / "calls"
        for path in (self.clone / "labnode", self.clone / ".ci", self.bin, self.temporary):
            path.mkdir(parents=True)
        for name in ("install.sh", ".ci/run", "pyproject.toml", "labnode/__init__.py"):
            shutil.copy2(ROOT / name, self.clone / name)
        shutil.copy2(ROOT / "labnode/errors.py", self.clone / "labnode")
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("labnode/clock", "labnode/install", "labnode/locale"):
            shutil.copytree(ROOT / name, self.clone / name, ignore=ignored)
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/usr/bin/{tool}")
        self.user(1000)
        self.says("df", "printf 'Avail\\n 9999\\n'")

    def command(self, name: str, script: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def python(self, name: str = "python3", **how: str) -> None:
        self.command(name, fake_python(**how))

    def says(self, name: str, script: str = ":") -> None:
        """A command that notes its call and does nothing else."""
        self.command(name, f'#!/usr/bin/env bash\necho "{name} $*" >>"$CALLS"\n{script}\n')

    def user(self, number: int) -> None:
        self.command("id", f"#!/usr/bin/env bash\n[[ $1 == -u ]] && echo {number} || echo ada\n")

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`./install.sh ARGUMENTS` in the clone."""
        return self.start(["./install.sh", *arguments], self.clone, **environment)

    def start(
        self, command: list[str], cwd: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        always = {"PATH": self.bin, "CALLS": self.calls_file, "TMPDIR": self.temporary}
        environ = {**{name: str(path) for name, path in always.items()}, **environment}
        return ran(command, cwd=cwd, env=environ, start_new_session=True)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """`./install.sh ARGUMENTS`, which goes on meanwhile."""
        always = {"PATH": self.bin, "CALLS": self.calls_file, "TMPDIR": self.temporary}
        environ = {name: str(path) for name, path in always.items()}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = ["./install.sh", *arguments]
        return subprocess.Popen(command, cwd=self.clone, env=environ, text=True, **pipes)

    def calls(self, beginning: str = "") -> list[str]:
        """What was called since the last look, as far as it begins so."""
        text = self.calls_file.read_text() if self.calls_file.exists() else ""
        self.calls_file.unlink(missing_ok=True)
        return [line for line in text.splitlines() if line.startswith(beginning)]


PYTEST = "python -m pytest -n auto --maxprocesses 4 --dist worksteal"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# --- the script itself ---


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="there is no shellcheck here")
@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    assert not ran(["shellcheck", script], cwd=ROOT).stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_are_executable(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_half_a_download_does_nothing(machine: Machine) -> None:
    """Cut after many a line, and anywhere near the end, it calls no program at all."""
    for name in [*TOOLS.split(), "python3", "python3.11", "apt-get"]:
        if name not in ("bash", "env"):
            machine.says(name)
    whole = SCRIPT.read_bytes()
    lines = [place for place, byte in enumerate(whole) if byte == ord("\n")]
    near_the_end = range(len(whole) - 40, len(whole) - 1)
    for place in [*lines[:-1:23], *near_the_end]:
        (machine.clone / "install.sh").write_bytes(whole[:place])
        machine.run("demo")
        assert not machine.calls(), f"cut at byte {place}"
    (machine.clone / "install.sh").write_bytes(whole)
    machine.run("demo")
    assert machine.calls(), "the whole script has to get further, or this test shows nothing"


# --- what it refuses ---


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], ["demo", "--help"]])
def test_help_shows_the_usage_and_makes_nothing(machine: Machine, arguments: list[str]) -> None:
    result = machine.run(*arguments)
    assert result.returncode == 0
    assert "./install.sh demo [--no-browser]" in result.stdout
    assert not (machine.clone / ".venv").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            [],
            "say what to do: demo, docs, test, install, upgrade, rollback, uninstall, status or "
            "flash",
        ),
        (["remove"], "there is no command 'remove'"),
        (["demo; ls"], "there is no command 'demo; ls'"),
    ],
)
def test_an_unknown_command_gets_a_sentence_and_the_usage(
    machine: Machine, arguments: list[str], sentence: str
) -> None:
    result = machine.run(*arguments)
    assert result.returncode == 2
    first, second, *_ = result.stderr.splitlines()
    assert first == f"install.sh: {sentence}"
    assert second.startswith("Usage: ")


def refusal(machine: Machine) -> str:
    """The one sentence of a run that fails, which leaves no .venv."""
    result = machine.run("demo")
    assert result.returncode == 1
    assert not result.stdout
    assert not (machine.clone / ".venv").exists()
    (line,) = result.stderr.splitlines()
    return line


def test_an_old_python_is_refused_with_what_helps(machine: Machine) -> None:
    machine.python("python3", version="3.10")
    sentence = refusal(machine)
    assert "labnode needs Python 3.11 or newer, and this machine has 3.10" in sentence
    assert "sudo apt-get install python3.11 python3.11-venv" in sentence


def test_a_machine_without_python_is_refused(machine: Machine) -> None:
    assert "and none was found (sudo apt-get install python3 python3-venv)" in refusal(machine)


def test_a_python_without_venv_names_the_package(machine: Machine) -> None:
    machine.python(version="3.13", venv="exit 1")
    assert refusal(machine).endswith("sudo apt-get install python3.13-venv")


def test_a_full_disk_is_refused(machine: Machine) -> None:
    machine.python()
    machine.says("df", "printf 'Avail\\n   17\\n'")
    assert "has only 17 MB free; .venv needs about" in refusal(machine)


def test_another_system_is_refused(machine: Machine) -> None:
    machine.says("uname", "echo Darwin")
    assert refusal(machine).endswith("labnode runs on Linux only; this is Darwin")


def test_a_script_away_from_its_clone_is_refused(machine: Machine) -> None:
    (machine.clone / "pyproject.toml").unlink()
    assert "is not a clone of labnode" in refusal(machine)


def test_a_script_read_from_a_pipe_is_refused(machine: Machine, tmp_path: Path) -> None:
    with SCRIPT.open() as script:
        environ = {"PATH": str(machine.bin)}
        result = ran([BASH, "-s", "demo"], stdin=script, cwd=tmp_path, env=environ)
    assert result.returncode == 1
    assert "install.sh works from a clone" in result.stderr


@pytest.mark.skipif(not shutil.which("dash"), reason="there is no other shell here")
def test_another_shell_is_refused(machine: Machine) -> None:
    (machine.bin / "dash").symlink_to(shutil.which("dash") or "")
    result = machine.start(["dash", "install.sh", "demo"], machine.clone)
    assert result.returncode == 2
    assert result.stderr == "install.sh needs bash; start it as ./install.sh\n"


# --- which Python ---


def test_a_newer_python_beside_an_old_one_is_taken(machine: Machine) -> None:
    machine.python("python3", version="3.10")
    machine.python("python3.11", version="3.11")
    assert "making .venv with Python 3.11" in machine.run("demo").stderr


def test_a_python_that_does_not_start_is_passed_over(machine: Machine) -> None:
    machine.says("python3.13", "exit 127")  # as pyenv's are, for versions that are not in use
    machine.python("python3", version="3.12")
    assert "making .venv with Python 3.12" in machine.run("demo").stderr


def test_a_python_that_can_make_a_venv_is_preferred(machine: Machine) -> None:
    machine.python("python3.12", version="3.12", venv="exit 1")
    machine.python("python3", version="3.11")
    assert "making .venv with Python 3.11" in machine.run("demo").stderr


# --- .venv: once, and again when it has to be ---


@pytest.fixture
def installed(machine: Machine) -> Machine:
    """A machine on which the demo has run once."""
    machine.python()
    assert machine.run("demo").returncode == 0
    machine.calls()
    return machine


def test_the_demo_gets_its_arguments_and_gives_its_exit_code(installed: Machine) -> None:
    labnode = installed.clone / ".venv" / "bin" / "labnode"
    labnode.write_text("#!/usr/bin/env bash\nprintf '<%s>' \"$@\"\nexit 3\n")
    result = installed.run("demo", "--no-browser", "--port", "8 0")
    assert result.stdout == "<demo><--no-browser><--port><8 0>"
    assert result.returncode == 3


def test_labnode_takes_the_place_of_the_script(installed: Machine) -> None:
    """So that signals reach it: its parent is whoever started install.sh."""
    labnode = installed.clone / ".venv" / "bin" / "labnode"
    labnode.write_text("#!/usr/bin/env bash\necho $PPID\n")
    assert installed.run("demo").stdout == f"{os.getpid()}\n"


def test_pip_installs_the_clone_so_that_a_pull_is_enough(machine: Machine) -> None:
    machine.python()
    machine.run("demo")
    (call,) = machine.calls("python -m pip")
    assert call.startswith("python -m pip install --no-input ")
    assert call.endswith(" --editable .")


def test_the_second_demo_installs_nothing_and_says_nothing(installed: Machine) -> None:
    result = installed.run("demo")
    assert (result.stdout, result.stderr) == ("labnode demo\n", "")
    assert not [call for call in installed.calls() if "-m " in call]


def test_a_changed_pyproject_is_installed_into_the_same_venv(installed: Machine) -> None:
    with (installed.clone / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    installed.run("demo")
    assert [call.split()[2] for call in installed.calls("python -m")] == ["pip"]
    installed.run("demo")
    assert not installed.calls("python -m")


def test_the_tests_add_their_extras_once_and_the_demo_keeps_them(installed: Machine) -> None:
    installed.run("test")
    extras = [call.split(" --editable ")[1] for call in installed.calls("python -m pip")]
    there = installed.clone / ".venv" / "labnode-libraries.txt"
    wheels = f"--only-binary=:all: --no-binary=esptool --constraint={there}"
    parts = [f".[{part}] {wheels}" for part in ("linters", "esptool", "docs")]
    assert extras == [".[suite]", *parts]
    installed.run("demo")
    installed.run("test")
    assert not installed.calls("python -m pip")


def test_what_is_there_stays_where_a_part_of_the_tests_has_no_wheel(installed: Machine) -> None:
    """Debian 12's pip, left free, tries all versions of everything before it gives up."""
    site = installed.clone / ".venv/lib/python3.11/site-packages"
    for name, version in (("click", "8.5.1"), ("labnode", "0.1.0")):
        information = site / f"{name}-{version}.dist-info" / "METADATA"
        information.parent.mkdir(parents=True)
        information.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    installed.run("test")
    there = installed.clone / ".venv" / "labnode-libraries.txt"
    assert there.read_text() == "click==8.5.1\n"


NO_WHEEL = """case $* in *linters*|*esptool*|*docs*) echo no wheel of librt; exit 1 ;; esac"""


def test_linters_esptool_and_mkdocs_without_a_wheel_are_left_out_and_asked_for_once(
    machine: Machine,
) -> None:
    machine.python(pip=NO_WHEEL)
    result = machine.run("test", LACKING="ruff mypy esptool.py")
    assert result.returncode == 0
    said = [line for line in result.stderr.splitlines() if line.startswith("install.sh: ")]
    left_out = [line.split()[1] for line in said if "left out, because pip found no whe" in line]
    assert left_out == ["linters:", "esptool:", "docs:"]
    assert "no wheel of librt" not in result.stderr
    assert [line for line in result.stdout.splitlines() if line.startswith("==")] == ["== pytest"]
    machine.calls()
    again = machine.run("test", LACKING="ruff mypy esptool.py")
    assert not machine.calls("python -m pip")
    for missing in ("no ruff and mypy here", "no esptool here"):
        assert [line for line in again.stderr.splitlines() if missing in line and "skipped" in line]


@pytest.mark.parametrize(("missing", "installed_now"), [("0", 0), ("1", 1)])
def test_the_documents_get_what_they_need_since_the_clone_was_upgraded(
    installed: Machine, missing: str, installed_now: int
) -> None:
    result = installed.run("docs", "--build", FAIL_mkdocstrings=missing)
    assert result.returncode == 0
    assert len(installed.calls("python -m pip")) == installed_now


def test_a_failed_test_leaves_the_demo_as_it_was(installed: Machine) -> None:
    python = installed.clone / ".venv" / "bin" / "python"
    python.write_text(fake_python(pip="exit 1"))
    result = installed.run("test")
    assert result.returncode == 1
    assert "pip could not install the libraries of the tests" in result.stderr.splitlines()[-1]
    installed.calls()
    assert (installed.run("demo").stdout, installed.calls("python -m")) == ("labnode demo\n", [])


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("error: command 'arm-linux-gnueabihf-gcc' failed: No such file or directory",
         ": a library has no wheel for this machine, and there is no compiler to make one with "
         "(Debian: sudo apt-get install gcc python3-dev)"),
        ("WARNING: Retrying (Retry(total=0)) after connection broken",
         "; does this machine reach the internet (or the index that pip is configured for)?"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device",
         ": the disk is full"),
        ("ERROR: something else", "; what it said is above"),
    ],
)  # fmt: skip
def test_a_failing_pip_is_explained_by_what_it_said(
    machine: Machine, said: str, sentence: str
) -> None:
    machine.python(pip=f'echo "{said}"; exit 1')
    result = machine.run("demo")
    assert result.stderr.endswith(f"install.sh: pip could not install labnode{sentence}\n")


def remade(machine: Machine) -> str:
    """Why the next demo makes .venv anew."""
    result = machine.run("demo")
    assert result.returncode == 0
    first, second, *_ = result.stderr.splitlines()
    assert second.startswith("install.sh: making .venv with Python ")
    return first.removeprefix("install.sh: making .venv anew: ")


def test_an_interrupted_installation_is_made_anew(installed: Machine) -> None:
    """Ctrl-C reaches pip too, which then ends as if it had failed."""
    installed.python(pip="trap '' INT; kill -INT 0; exit 1")
    shutil.rmtree(installed.clone / ".venv")
    command = ["env", "--default-signal=INT", "./install.sh", "demo"]
    result = installed.start(command, installed.clone)
    assert result.returncode == 130
    assert result.stderr.endswith("install.sh: interrupted; start it again to go on\n")
    installed.python()
    assert remade(installed) == "its installation was not finished"


def test_a_failed_update_leaves_nothing_that_looks_whole(installed: Machine) -> None:
    (installed.clone / "pyproject.toml").write_text("[project]")
    python = installed.clone / ".venv" / "bin" / "python"
    python.write_text(fake_python(pip="exit 1"))
    assert installed.run("demo").returncode == 1
    assert remade(installed) == "its installation was not finished"


def test_a_moved_clone_gets_a_new_venv(installed: Machine) -> None:
    installed.clone = installed.clone.rename(installed.clone.with_name("moved"))
    assert remade(installed) == "it was made in another directory"


def test_a_venv_whose_python_is_gone_is_made_anew(installed: Machine) -> None:
    python = installed.clone / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    assert remade(installed) == "its Python does not start"


def test_a_venv_of_another_python_is_made_anew(installed: Machine) -> None:
    python = installed.clone / ".venv" / "bin" / "python"
    python.write_text(fake_python("3.13"))
    assert remade(installed) == "it was made for another version of Python"


def test_a_venv_without_the_command_is_made_anew(installed: Machine) -> None:
    (installed.clone / ".venv" / "bin" / "labnode").unlink()
    assert remade(installed) == "labnode is missing in it"


def test_a_venv_that_cannot_import_labnode_is_made_anew(installed: Machine) -> None:
    python = installed.clone / ".venv" / "bin" / "python"
    python.write_text(fake_python().replace('*"import labnode"*) ', "*import\\ labnode*) exit 1 "))
    assert remade(installed) == "labnode is missing in it"


def test_a_failing_pip_shows_its_end_and_keeps_all_it_said(machine: Machine) -> None:
    machine.python(pip="for i in {1..99}; do echo line $i; done; exit 1")
    result = machine.run("demo")
    assert result.returncode == 1
    assert "line 99" in result.stderr
    assert "line 80" not in result.stderr
    assert "install.sh: pip could not install labnode" in result.stderr.splitlines()[-1]
    (log,) = machine.temporary.iterdir()
    assert str(log) in result.stderr
    assert "pip at work\nline 1\n" in log.read_text()


def test_a_good_installation_leaves_no_log(installed: Machine) -> None:
    assert not list(installed.temporary.iterdir())


def test_settings_that_spoil_a_venv_are_left_out_and_others_kept(machine: Machine) -> None:
    machine.python(pip='echo "${PYTHONPATH:-none} $PIP_USER $PIP_INDEX_URL"; exit 1')
    settings = {"PYTHONPATH": "/opt/ros", "PIP_USER": "1", "PIP_INDEX_URL": "file:///mirror"}
    assert "none 0 file:///mirror" in machine.run("demo", **settings).stderr


def test_a_second_start_waits_for_the_first(installed: Machine) -> None:
    """The second gets its turn when the first lets go, here as soon as the second waits."""
    directory = os.open(installed.clone, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    with installed.begin("demo") as second:
        assert second.stderr
        assert "another install.sh is busy with this clone; waiting" in second.stderr.readline()
        os.close(directory)
        output, _ = second.communicate(timeout=60)
    assert output == "labnode demo\n"


def test_a_start_that_waits_too_long_gives_up(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    try:
        with pytest.raises(Failed, match="has been busy"), turn(tmp_path, ImpatientClock()):
            raise AssertionError("it was not its turn")
    finally:
        os.close(directory)


def test_labnode_does_not_keep_the_lock(installed: Machine) -> None:
    labnode = installed.clone / ".venv" / "bin" / "labnode"
    labnode.write_text(f"#!/usr/bin/env bash\nflock -n '{installed.clone}' bash -c 'echo free'\n")
    assert installed.run("demo").stdout == "free\n"


# --- root, and Debian's packages ---


def test_root_gets_the_missing_venv_package(machine: Machine, tmp_path: Path) -> None:
    machine.user(0)
    machine.python(venv=f"[[ -e '{tmp_path}/there' ]]")
    machine.says("apt-get", f"[[ $* != *python3.11-venv ]] || : >'{tmp_path}/there'")
    assert machine.run("demo").returncode == 0
    update, install = machine.calls("apt-get")
    assert update.endswith(" update")
    assert install.endswith(" install --yes --no-install-recommends python3.11-venv")


def test_root_is_told_the_package_when_apt_fails(machine: Machine) -> None:
    machine.user(0)
    machine.python(venv="exit 1")
    machine.says("apt-get", "echo 'no such package'; exit 100")
    result = machine.run("demo")
    assert result.returncode == 1
    assert "    no such package" in result.stderr.splitlines()
    assert result.stderr.endswith("sudo apt-get install python3.11-venv\n")


def test_an_ordinary_user_never_calls_apt(machine: Machine) -> None:
    machine.python()
    machine.says("apt-get")
    result = machine.run("test")
    assert result.returncode == 0
    assert not machine.calls("apt-get")
    assert "the browser test is skipped" in result.stderr
    assert "no shellcheck on this machine" in result.stderr


def test_root_gets_the_browser_nginx_shellcheck_and_programmers_for_the_tests(
    machine: Machine,
) -> None:
    machine.user(0)
    machine.python()
    machine.says("apt-get")
    machine.run("test")
    _, *installs = machine.calls("apt-get")
    assert [call.split("recommends ")[1] for call in installs] == [
        "shellcheck",
        "nginx-light",
        "mtools",
        "strace",
        "openssh-server iproute2",
        "chromium chromium-driver",
        "avrdude openocd",
    ]


def test_nginx_and_sshd_do_not_stay_services_when_they_came_for_the_tests(machine: Machine) -> None:
    machine.user(0)
    machine.python()
    machine.says("apt-get")
    machine.says("systemctl", "exit 1")  # as in a container
    assert machine.run("test").returncode == 0
    assert machine.calls("systemctl") == [
        "systemctl disable --now nginx",
        "systemctl disable --now ssh",
    ]


def test_what_is_there_is_not_installed_again(machine: Machine) -> None:
    machine.user(0)
    machine.python()
    there = "apt-get chromium chromedriver mcopy nginx shellcheck sshd strace systemctl"
    there += " avrdude openocd npm"
    for name in there.split():
        machine.says(name)
    result = machine.run("test")
    assert result.returncode == 0
    assert "skipped" not in result.stderr
    assert machine.calls("apt-get") == []
    assert machine.calls("systemctl") == []


def test_npm_brings_axe_core_once(machine: Machine) -> None:
    machine.python()
    machine.says(
        "npm", 'mkdir -p "$3/node_modules/axe-core"; : >"$3/node_modules/axe-core/axe.min.js"'
    )
    assert machine.run("test").returncode == 0
    (call,) = machine.calls("npm")
    assert call.startswith(f"npm install --prefix {machine.clone}/.venv/axe --no-save")
    assert "axe-core@" in call
    machine.run("test")
    assert machine.calls("npm") == []


def test_without_npm_the_tests_with_axe_core_are_skipped(machine: Machine) -> None:
    machine.python()
    result = machine.run("test")
    assert result.returncode == 0
    assert "the tests with axe-core are skipped" in result.stderr


# --- test ---


def test_the_tests_run_every_check_and_end_with_the_summary(machine: Machine) -> None:
    machine.python()
    machine.says("shellcheck", "echo shellcheck $*")
    result = machine.run("test")
    assert result.returncode == 0
    assert [line for line in result.stdout.splitlines() if not line.startswith("==")] == [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "shellcheck install.sh .ci/run deploy/first-boot/first-boot",
        "3 passed",
    ]


def test_more_arguments_go_to_pytest(machine: Machine) -> None:
    machine.python()
    machine.run("test", "-k", "a or b")
    assert machine.calls()[-2:] == [f"{PYTEST} -k a or b", "8 arguments"]


def test_the_audit_looks_at_every_locked_library_and_runs_no_test(machine: Machine) -> None:
    machine.python()
    result = machine.run("test", "--audit")
    assert result.returncode == 0, result.stderr
    (said,) = result.stdout.splitlines()
    assert said.startswith("pip-audit --strict --disable-pip --require-hashes ")
    locks = [lock.name for lock in (ROOT / "deploy/lock").iterdir()]
    assert set(locks) >= {"runtime.txt", "build.txt", "visa.txt"}
    for lock in locks:
        assert f" --requirement {machine.clone}/deploy/lock/{lock}" in said
    assert not machine.calls("python -m pytest")
    assert not (machine.clone / ".venv").exists()
    assert not list(machine.temporary.iterdir())


def test_an_audit_that_finds_something_or_sees_too_little_fails(machine: Machine) -> None:
    machine.python()
    result = machine.run("test", "--audit", FAIL_pip_audit="1")
    assert result.returncode == 1
    assert "a library has known weaknesses, or could not be looked at" in result.stderr
    assert not list(machine.temporary.iterdir())


def test_an_audit_without_the_internet_says_that_nothing_was_looked_at(machine: Machine) -> None:
    machine.python(pip="exit 1")
    result = machine.run("test", "--audit")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "and nothing was looked at; does this machine reach the internet?" in result.stderr


@pytest.mark.parametrize(
    ("user", "arguments", "rig", "sentence"),
    [
        (0, [], "/rig", "test --arm takes a root, such as trixie-armhf"),
        (1000, ["trixie-armhf"], "/rig", "sudo ./install.sh test --arm trixie-armhf"),
        (0, ["trixie-armhf"], "", "LABNODE_TEST_ARM has to name the command"),
    ],
)
def test_an_emulated_machine_needs_root_a_rig_and_its_name(
    machine: Machine, user: int, arguments: list[str], rig: str, sentence: str
) -> None:
    machine.user(user)
    machine.python()
    result = machine.run("test", "--arm", *arguments, LABNODE_TEST_ARM=rig)
    assert result.returncode != 0
    assert sentence in result.stderr
    assert machine.calls("python -B") == []


def test_an_emulated_machine_gets_its_part_of_the_tests(machine: Machine) -> None:
    machine.user(0)
    machine.python()
    result = machine.run("test", "--arm", "trixie-armhf", "tests/web", LABNODE_TEST_ARM="/rig")
    assert result.returncode == 0, result.stderr
    suite = f"{machine.clone}/tests/arm/suite.py"
    assert machine.calls("python -B") == [f"python -B {suite} trixie-armhf tests/web"]


@pytest.mark.parametrize("failing", ["ruff", "mypy", "pytest"])
def test_one_failure_fails_the_whole_and_stops_nothing(machine: Machine, failing: str) -> None:
    machine.python()
    result = machine.run("test", **{f"FAIL_{failing}": "1"})
    assert result.returncode == 1
    assert result.stdout.endswith("3 passed\n")


def test_a_failure_before_the_tests_is_named_again_after_them(machine: Machine) -> None:
    machine.python()
    result = machine.run("test", FAIL_ruff="1", FAIL_mypy="1")
    assert result.stderr.splitlines()[-1] == (
        "install.sh: failed before the tests: ruff check, ruff format, mypy"
    )


def test_continuous_integration_runs_the_tests_from_anywhere(
    machine: Machine, tmp_path: Path
) -> None:
    machine.python()
    machine.command("dirname", '#!/usr/bin/env bash\necho "${2%/*}"\n')
    result = machine.start([str(machine.clone / ".ci" / "run")], tmp_path)
    assert result.returncode == 0
    assert machine.calls("python -m pytest") == [PYTEST]


@pytest.fixture
def ci(machine: Machine) -> Machine:
    """One that is root's, where `id` and `runuser` agree on who somebody is."""
    for tool in ("tar", "dirname"):
        (machine.bin / tool).symlink_to(shutil.which(tool) or f"/usr/bin/{tool}")
    machine.python()
    machine.says("apt-get")
    machine.says("useradd")
    machine.says("chown")
    machine.command("id", '#!/usr/bin/env bash\n[[ $1 == -u ]] && echo "${TEST_ID:-0}"\n')
    machine.says("runuser", 'shift 3; TEST_ID=1000 FAIL_pytest=${FAIL_user:-0} exec "$@"')
    return machine


def run_ci(ci: Machine, **environment: str) -> subprocess.CompletedProcess[str]:
    return ci.start(["bash", str(ci.clone / ".ci" / "run")], Path("/"), **environment)


def test_as_root_it_tests_as_an_ordinary_user_and_then_what_only_root_can(ci: Machine) -> None:
    (ci.clone / ".git").mkdir()
    result = run_ci(ci)
    assert result.returncode == 0, result.stderr
    calls = ci.calls()
    steps = ["apt-get", "useradd", "runuser -u labnode-tests", "python -m pytest"]
    steps += ["python -B -m pytest -p no:cacheprovider -m root"]
    at = [next(i for i, call in enumerate(calls) if call.startswith(step)) for step in steps]
    assert at == sorted(at)
    assert not any(call.startswith("apt-get") for call in calls[at[2] :])
    assert result.stdout.count("3 passed\n") == 2
    (home,) = {word[5:] for call in calls for word in call.split() if word.startswith("HOME=")}
    assert not Path(home).exists()
    assert not (ci.clone / ".venv").exists()


@pytest.mark.parametrize("failing", ["FAIL_user", "FAIL_pytest"])
def test_a_failure_of_either_is_one_of_both(ci: Machine, failing: str) -> None:
    result = run_ci(ci, **{failing: "1"})
    assert result.returncode == 1
    assert result.stdout.count("3 passed\n") == 2


def test_only_root_installs_the_tools_of_the_tests_alone(ci: Machine) -> None:
    assert ci.run("test", "--tools").returncode == 0
    assert ci.calls("apt-get")[-1].endswith("avrdude openocd")
    assert not (ci.clone / ".venv").exists()
    refused = ci.run("test", "--tools", TEST_ID="1000")
    assert refused.returncode == 1
    assert refused.stderr == (
        "install.sh: only root can install the tools of the tests: sudo ./install.sh test --tools\n"
    )
    assert ci.run("test", "--tools", "tests").returncode == 2
