"""install.sh makes a service: on a system below a directory, with a systemd that only pretends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labnode.clock import ManualClock
from labnode.install.changes import Changes, Failed
from labnode.install.options import OPTIONS, usage
from labnode.install.service import LabServices
from labnode.install.target import Target, shortcomings
from tests.kit.clock import ImpatientClock

from .conftest import NEEDS_NOTHING, PYTHON, ROOT, SYSTEMCTL, Node

NEEDS_VISA = NEEDS_NOTHING.replace('"extras": []', '"extras": ["visa"]')
INSTALL = ("install", "--board", "boards/heater.yaml")
COMMANDS = ["install", "upgrade", "rollback", "uninstall", "status", "flash"]


REAL_FILES = f"""#!/bin/sh
exec {sys.executable} -P -m labnode check --files "$1"
"""


def misused(node: Node, *arguments: str, **environment: str) -> str:
    """The first line of what is said to a wrong command line."""
    root = {} if "--root" in arguments else {"LABNODE_INSTALL_ROOT": str(node.root)}
    done = node.run_as_is(*arguments, **root, **environment)
    assert done.returncode == 2, done.stderr
    first, second, *_ = done.stderr.splitlines()
    assert second.startswith("Usage: ")
    return first.removeprefix("install.sh: ")


def refused(node: Node, *arguments: str, **environment: str) -> str:
    """The last line of a run that fails and leaves everything as it was."""
    before = node.files()
    done = node.run(*arguments, **environment)
    assert done.returncode == 1, done.stderr
    assert node.files() == before
    assert not list(node.temporary.glob("*/"))
    return next(
        line.removeprefix("install.sh: ")
        for line in reversed(done.stderr.splitlines())
        if not line.endswith(("taking back what was changed", "runs as before"))
    )


# --- options ---


def test_the_documentation_has_every_option_and_no_other() -> None:
    text = (ROOT / "docs/install.md").read_text()
    rows = re.findall(
        r"^\| `--([a-z-]+)( [^`]+)?` \| `([A-Z_]+)` \| ([^|]+) \| (.+) \|$", text, re.M
    )
    documented = {
        name: (value.strip(), tuple(commands.split(", ")), said)
        for name, value, _, commands, said in rows
    }
    assert documented == {
        option.name: (option.value, option.commands, option.text) for option in OPTIONS.values()
    }
    for name, _, variable, _, _ in rows:
        assert variable == f"LABNODE_INSTALL_{name.upper().replace('-', '_')}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_usage_has_every_option_of_the_command_and_no_other(command: str) -> None:
    text = usage(command)
    for option in OPTIONS.values():
        shown = f"--{option.name} {option.value}".strip()
        row = rf"^  {re.escape(shown)} +{re.escape(option.text)}$"
        assert bool(re.search(row, text, re.M)) == (command in option.commands), option


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_given_wherever_it_is_asked_for(node: Node, command: str) -> None:
    done = node.run_as_is(command, "x", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["install", "--prot", "80"], "there is no option '--prot'"),
        (["--prot", "80"], "there is no option '--prot'"),
        (["install", "-p", "80"], "there is no option '-p'"),
        (["upgrade", "--board", "x"], "upgrade has no option '--board'"),
        (["status", "--yes"], "status has no option '--yes'"),
        (["install", "--port"], "--port needs something after it: N"),
        (["install", "--port="], "--port needs something after it: N"),
        (["install", "--yes=1"], "--yes takes nothing"),
        (["install", "--root", "/no/such"], "--root: there is no directory /no/such"),
        (["install"], "say which board: sudo ./install.sh --board boards/NAME.yaml"),
        (["upgrade", "now"], "upgrade takes no 'now'"),
        (["rollback", "1.0"], "rollback takes no '1.0'"),
        (["uninstall", "heater"], "uninstall takes no 'heater'; one lab alone goes after --name"),
        (["flash"], "flash takes one image or device, such as raspios.img or /dev/sdb"),
        (["flash", "a", "b"], "flash takes one image or device, such as raspios.img or /dev/sdb"),
    ],
)
def test_a_wrong_command_line_gets_a_sentence_and_the_usage(
    node: Node, arguments: list[str], sentence: str
) -> None:
    assert misused(node, *arguments) == sentence


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("LABNODE_INSTALL_BORD", "x", "there is no option for the variable LABNODE_INSTALL_BORD"),
        ("LABNODE_INSTALL_YES", "maybe", "LABNODE_INSTALL_YES is yes or no, not 'maybe'"),
    ],
)
def test_a_wrong_variable_gets_a_sentence(
    node: Node, variable: str, value: str, sentence: str
) -> None:
    assert misused(node, "install", **{variable: value}) == sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--name", "My Lab"], "a lab's name has small letters"),
        (["--name", "../x"], "a lab's name has small letters"),
        (["--port", "http"], "--port is a number, not 'http'"),
        (["--port", "0"], "--port is a number, not '0'"),
        (["--port", "65536"], "--port is 1 to 65535, not 65536"),
    ],
)
def test_a_wrong_value_gets_a_sentence(node: Node, arguments: list[str], sentence: str) -> None:
    board = ["--board", "boards/heater.yaml", "--root", str(node.root)]
    assert misused(node, "install", *board, *arguments).startswith(sentence)


def test_every_option_is_a_variable_as_well_and_the_option_wins(node: Node) -> None:
    done = node.run(
        "install",
        "--port",
        "81",
        LABNODE_INSTALL_BOARD="boards/heater.yaml",
        LABNODE_INSTALL_PORT="80",
        LABNODE_INSTALL_BASE_URL="https://labs.example.org/heat",
        LABNODE_INSTALL_SIMULATE="no",
        LABNODE_INSTALL_HOSTNAME="for-another-command",
    )
    assert done.returncode == 0, done.stderr
    settings = node.read("etc/labnode/heater.yaml")
    assert "port: 81\n" in settings
    assert "base_url: 'https://labs.example.org/heat'\n" in settings
    assert "\ncookie_name: labnode_" in settings
    assert not (node.root / "etc/systemd/system/labnode@heater.service.d").exists()


# --- what it refuses ---


def test_only_root_changes_the_system(node: Node) -> None:
    node.command("id", "echo 1000")
    for command in ("upgrade", "rollback", "uninstall"):
        assert refused(node, command) == "this changes the system: sudo ./install.sh ..."


@pytest.mark.parametrize(
    ("release", "sentence"),
    [
        ("ID=fedora\nVERSION_ID=42\n", "and their relatives; this is fedora"),
        ('ID=debian\nVERSION_ID="11"\n', "or newer; this is debian 11"),
        ('ID=raspbian\nVERSION_ID="10"\n', "or newer; this is raspbian 10"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n', "or newer; this is ubuntu 22.04"),
    ],
)
def test_other_systems_are_refused(node: Node, release: str, sentence: str) -> None:
    node.write("etc/os-release", release)
    assert refused(node, *INSTALL).endswith(sentence)


@pytest.mark.parametrize(
    ("command", "script", "sentence"),
    [
        ("uname", "[[ $1 == -m ]] && echo riscv64 || echo Linux", "this machine is riscv64"),
        ("df", "printf 'Avail\\n 99\\n'", "has only 99 MB free; labnode needs about 250 MB"),
    ],
)
def test_other_processors_and_a_full_disk_are_refused(
    node: Node, command: str, script: str, sentence: str
) -> None:
    node.command(command, script)
    assert sentence in refused(node, *INSTALL)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PYTHON_VERSION", "3.9", "labnode needs Python 3.11 or newer, and this machine has 3.9"),
        ("NO_PIP", "1", "pip could not install labnode; does this machine reach the internet"),
        # What pip installs may be empty: it counts only when it works.
        ("NO_LGPIO", "1", "the library for the pins, lgpio, does not work"),
    ],
)
def test_a_python_that_cannot_do_it_leaves_nothing(
    node: Node, variable: str, value: str, sentence: str
) -> None:
    assert sentence in refused(node, *INSTALL, **{variable: value})


def test_a_machine_without_systemd_is_refused(node: Node) -> None:
    (node.root / "run/systemd/system").rmdir()
    assert refused(node, *INSTALL).startswith("systemd does not run on this machine")


def test_a_clock_that_was_never_set_is_refused(node: Node) -> None:
    said = list(shortcomings(Target(str(node.root)), ManualClock(wall=86400)))
    assert said[-1].startswith("the clock says 1970-01-02; connect the network, or set it")


def test_a_missing_board_is_refused(node: Node) -> None:
    assert refused(node, "install", "--board", "boards/none.yaml") == (
        "there is no board file boards/none.yaml"
    )


def test_a_board_with_mistakes_is_refused(node: Node) -> None:
    node.board.write_text("a mistake\n")
    assert refused(node, *INSTALL) == ("the board has mistakes; see above")


def test_what_is_not_installed_cannot_be_upgraded_nor_rolled_back(node: Node) -> None:
    for command in ("upgrade", "rollback"):
        assert refused(node, command).startswith("labnode is not installed")


def test_wheels_that_are_not_there_are_refused(node: Node) -> None:
    assert refused(node, *INSTALL, "--wheels", "/none") == ("--wheels: there is no directory /none")


def test_a_second_installer_does_not_interfere(node: Node) -> None:
    with subprocess.Popen(
        ["flock", str(node.root), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdin
        assert first.stdout
        first.stdin.write(b"locked\n")
        first.stdin.flush()
        first.stdout.read(1)
        assert refused(node, "uninstall") == (
            "another install.sh is changing this system; wait for it"
        )
        first.stdin.close()


# --- a dry run ---


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(node: Node) -> None:
    before = node.files(times=True)
    done = node.install("--dry-run")
    assert done.returncode == 0
    assert "add the user labnode" in done.stderr
    assert f"write {node.root}/etc/labnode/heater.yaml" in done.stderr
    assert done.stderr.endswith("nothing of this was done: --dry-run\n")
    assert node.files(times=True) == before
    assert not list(node.temporary.iterdir())
    assert not node.calls("useradd") + node.calls("apt-get")


def test_dry_runs_on_a_node_change_nothing(installed: Node) -> None:
    installed.version("2.0")
    installed.board.write_text("devices: {}\n")
    before = installed.files(times=True)
    for command in (
        ["upgrade"],
        ["uninstall", "--purge"],
        [*INSTALL],
    ):
        done = installed.run(*command, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert installed.files(times=True) == before


def test_a_dry_run_works_on_any_machine_and_for_any_user(node: Node) -> None:
    (node.root / "run/systemd/system").rmdir()
    node.write("etc/os-release", "ID=fedora\nVERSION_ID=42\n")
    node.command("id", "echo 1000")
    before = node.files(times=True)
    done = node.install("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "and their relatives; this is fedora\n" in done.stderr
    assert "systemd does not run on this machine" in done.stderr
    assert f"write {node.root}/etc/labnode/heater.yaml\n" in done.stderr
    assert "start heater\n" in done.stderr
    assert node.files(times=True) == before


# --- a lab ---


def test_a_lab_is_installed_and_started(node: Node) -> None:
    done = node.install()
    assert done.returncode == 0, done.stderr
    assert node.running().startswith("1.0-")
    assert (node.root / "systemd/labnode@heater.enabled").exists()
    assert node.read("etc/labnode/boards/heater/heater.py") == "lab = 1\n"
    assert "for the central server" in done.stdout


def test_the_settings_are_for_root_alone_and_have_the_passwords_that_were_shown(node: Node) -> None:
    done = node.install()
    file = node.root / "etc/labnode/heater.yaml"
    assert file.stat().st_mode & 0o777 == 0o600
    passwords = re.findall(
        r"(?:central server +weblab|administration +admin) +(\S+)\n", done.stdout
    )
    assert len(passwords) == 2
    for password in passwords:
        assert len(password) >= 20
        assert password in file.read_text()
    assert "board: '/etc/labnode/boards/heater/heater.yaml'\n" in file.read_text()
    assert "state_dir: '/var/lib/labnode/heater'\n" in file.read_text()
    state = node.root / "var/lib/labnode/heater"
    assert state.stat().st_mode & 0o777 == 0o700
    assert node.calls("chown") == [f"chown labnode:labnode -- {state}"]


def test_a_second_time_changes_nothing_and_shows_no_password(installed: Node) -> None:
    before = installed.files(times=True)
    done = installed.install()
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "install.sh: nothing to change\n"
    assert installed.files(times=True) == before
    assert not [
        call for call in installed.calls("systemctl") if " is-" not in call.replace("--quiet", "")
    ]


def test_only_groups_that_exist_are_joined(node: Node) -> None:
    node.install()
    lab, tool = node.calls("usermod")
    assert lab.endswith("--append --groups gpio,dialout,video labnode")
    assert tool.endswith("--append --groups dialout,gpio labnode-tool")


def test_a_system_without_a_group_for_a_bus_gets_a_rule_for_it(node: Node) -> None:
    node.install()
    rules = node.read("etc/udev/rules.d/71-labnode-buses.rules")
    assert '"gpio"' not in rules
    assert '"i2c-dev"' in rules
    assert '"spidev"' in rules


def test_a_system_with_groups_for_all_buses_gets_no_such_rules(node: Node) -> None:
    node.write("etc/group", "gpio:x:1:\ni2c:x:2:\nspi:x:3:\n")
    node.install()
    assert not (node.root / "etc/udev/rules.d/71-labnode-buses.rules").exists()
    assert (node.root / "etc/udev/rules.d/70-labnode.rules").exists()


def test_rules_hold_at_once_for_the_devices_that_are_there(node: Node) -> None:
    node.install()
    names = ("70-labnode.rules", "71-labnode-buses.rules")
    rules = "".join(node.read(f"etc/udev/rules.d/{name}") for name in names)
    (call,) = [call for call in node.calls("udevadm") if " trigger " in call]
    kinds = set(re.findall(r"--subsystem-match=(\S+)", call))
    assert set(re.findall(r'SUBSYSTEM=="([\w-]+)"', rules)) <= kinds
    only_added = re.findall(r'^ACTION=="add".*', rules, re.M)
    assert only_added == []  # `udevadm trigger` says "change"


def test_only_modules_of_this_kernel_are_loaded(node: Node) -> None:
    node.command("modprobe", "[[ $* == *ch341 || $* == *i2c_dev ]]")
    node.install()
    lines = node.read("etc/modules-load.d/labnode.conf").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["ch341", "i2c_dev"]


def test_the_tools_of_the_board_are_installed(node: Node) -> None:
    needs = '{"programs": {"no-such-dfu-util": "dfu-util", "bash": "bash"}, '
    needs += '"packages": ["python3-none"], "groups": ["input"], "extras": []}'
    node.write("etc/group", "gpio:x:1:\ninput:x:2:\n")
    node.command("python3", PYTHON.replace(NEEDS_NOTHING, needs))
    node.command("dpkg-query", "exit 1")
    node.install()
    installs = [call.rpartition(" ")[2] for call in node.calls("apt-get") if " install " in call]
    assert installs == ["dfu-util", "python3-none"]
    assert "labnode" in node.read("etc/group").splitlines()[1]


def needing_visa(node: Node) -> None:
    """Every board of this node names an instrument by its VISA name."""
    node.command("python3", PYTHON.replace(NEEDS_NOTHING, NEEDS_VISA))
    for needs in (node.root / "opt/labnode/releases").glob("*/bin/needs"):
        needs.write_text(NEEDS_VISA)


def extra_of(node: Node, release: str = "current") -> list[Path]:
    """What leads to the extra in a release, and the extra."""
    home = (node.root / "opt/labnode" / release).resolve()
    lines = [*home.glob("lib/python*/site-packages/labnode-visa.pth")]
    return [*lines, *(home / "share/labnode/extras").glob("visa")]


def test_the_libraries_that_the_board_needs_are_added_to_the_release(node: Node) -> None:
    needing_visa(node)
    done = node.install()
    assert done.returncode == 0, done.stderr
    assert "add the extra visa, which the board of heater needs, to " in done.stderr
    line, extra = extra_of(node)
    assert Path(line.read_text().strip()).resolve() == extra
    (pip,) = [call for call in node.calls("python") if "--target" in call]
    assert "--require-hashes --only-binary=:all:" in pip
    assert node.install().stderr == "install.sh: nothing to change\n"


def test_a_board_that_needs_a_library_since_it_was_changed_gets_it_and_is_started_again(
    installed: Node,
) -> None:
    assert not extra_of(installed)
    needing_visa(installed)
    before = installed.files(times=True)
    dry = installed.run("upgrade", "--dry-run")
    assert "add the extra visa, which the board of heater needs, to " in dry.stderr
    assert "start heater\n" in dry.stderr
    assert installed.files(times=True) == before
    assert installed.run("upgrade").returncode == 0
    assert len(extra_of(installed)) == 2
    assert [call for call in installed.calls("systemctl") if "restart labnode@heater" in call]


def test_a_new_release_gets_the_libraries_of_all_its_boards(installed: Node) -> None:
    needing_visa(installed)
    installed.version("2.0")
    assert installed.run("upgrade").returncode == 0
    assert installed.running().startswith("2.0-")
    assert len(extra_of(installed)) == 2
    assert not extra_of(installed, "previous")


def test_libraries_that_cannot_be_installed_leave_the_release_as_it_was(installed: Node) -> None:
    needing_visa(installed)
    said = refused(installed, "upgrade", NO_PIP="1")
    assert said.startswith("pip could not install the extra visa; does this machine reach")


def test_the_release_sees_the_lgpio_of_the_system_and_nothing_else_of_it(node: Node) -> None:
    said = node.install().stderr
    assert "the library for the pins is the system's lgpio: nothing is compiled" in said
    (call,) = [call for call in node.calls("python3") if "-m venv --without-pip" in call]
    assert "--system-site-packages" not in call
    (site,) = (node.root / "opt/labnode/current/lib").glob("python*/site-packages")
    links = {path.name: path.readlink() for path in site.iterdir() if path.is_symlink()}
    links.pop("yaml.py", None)  # only where it has no wheel: a 32-bit machine
    assert links == {f"{name}.py": node.packages / f"{name}.py" for name in ("lgpio", "_lgpio")}


def test_an_lgpio_that_has_to_be_compiled_is_announced(node: Node) -> None:
    said = node.run(*INSTALL, NO_LGPIO="1").stderr
    assert "has no wheel for Python 3.13 on this machine and no package in this Debian" in said


def test_a_simulated_lab_needs_no_lgpio(node: Node) -> None:
    done = node.install("--simulate", NO_LGPIO="1")
    assert done.returncode == 0, done.stderr
    drop_in = node.read("etc/systemd/system/labnode@heater.service.d/simulate.conf")
    assert "ExecStart=/opt/labnode/current/bin/labnode run --simulate --settings" in drop_in


def test_a_simulated_lab_gets_its_hardware(node: Node) -> None:
    node.install("--simulate")
    assert node.install().returncode == 0
    assert not (node.root / "etc/systemd/system/labnode@heater.service.d").exists()


def test_another_command_called_labnode_stays(node: Node) -> None:
    node.write("usr/local/bin/labnode", "somebody's own\n")
    done = node.install()
    assert "is something else and stays" in done.stderr
    node.run("uninstall", "--purge", "--yes")
    assert node.read("usr/local/bin/labnode") == "somebody's own\n"


def test_files_that_the_board_names_come_with_it(node: Node) -> None:
    boards = node.clone / "boards"
    node.command(
        "python3",
        PYTHON.replace('>"$bin/files"', f">{os.devnull}").replace(
            'chmod +x "$bin/labnode"',
            f'echo \'{REAL_FILES}\' >"$bin/files"; chmod +x "$bin/labnode"',
        ),
    )
    (boards / "firmware").mkdir()
    (boards / "firmware/blank.hex").write_text(":00\n")
    (boards / "more.yaml").write_text(
        "mcu: {blank: firmware/blank.hex, other: ../pyproject.toml}\n"
    )
    (boards / "unnamed.yaml").write_text("x: 1\n")
    node.board.write_text("include: [more.yaml]\nmodule: heater.py\n")
    assert node.install().returncode == 0
    home = node.root / "etc/labnode/boards/heater"
    assert sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()) == [
        ".installed", "firmware/blank.hex", "heater.py", "heater.yaml", "more.yaml",
    ]  # fmt: skip


def test_a_directory_as_board_comes_whole(node: Node) -> None:
    lab = node.clone / "pendulum"
    (lab / "views").mkdir(parents=True)
    (lab / "pendulum.yaml").write_text("module: pendulum.py\n")
    (lab / "views/page.html").write_text("<p>\n")
    assert node.run("install", "--board", "pendulum").returncode == 0
    assert node.read("etc/labnode/boards/pendulum/views/page.html") == "<p>\n"


# --- the boot configuration ---


@pytest.fixture
def on_a_pi(node: Node) -> Node:
    """A Pi with a board that needs SPI."""
    node.write("boot/firmware/config.txt", "arm_64bit=1\n")
    node.command(
        "python3", PYTHON.replace("chmod +x", 'echo dtparam=spi=on >"$bin/bootconfig"; chmod +x')
    )
    return node


def test_the_boot_configuration_is_changed_with_a_yes(on_a_pi: Node) -> None:
    done = on_a_pi.install("--yes")
    assert done.returncode == 0, done.stderr
    assert on_a_pi.read("boot/firmware/config.txt") == (
        "arm_64bit=1\n# labnode heater: begin\ndtparam=spi=on\n\n"
        "# A kernel that hangs resets the Pi.\ndtparam=watchdog=on\n# labnode heater: end\n"
    )
    assert on_a_pi.read("boot/firmware/config.txt.before-labnode") == "arm_64bit=1\n"
    assert "starts with the next boot" in done.stderr
    assert not (on_a_pi.root / "systemd/labnode@heater.active").exists()


def test_without_a_yes_the_lines_are_shown_and_the_file_stays(on_a_pi: Node) -> None:
    done = on_a_pi.install()
    assert done.returncode == 0
    assert "dtparam=spi=on" in done.stdout
    assert on_a_pi.read("boot/firmware/config.txt") == "arm_64bit=1\n"


def test_lines_that_are_there_already_need_no_reboot(on_a_pi: Node) -> None:
    on_a_pi.write("boot/firmware/config.txt", "dtparam=spi=on\n")
    on_a_pi.install("--yes")
    assert on_a_pi.running()


def test_the_boot_configuration_is_as_before_after_a_purge(on_a_pi: Node) -> None:
    on_a_pi.install("--yes")
    on_a_pi.run("uninstall", "--purge", "--yes")
    assert on_a_pi.read("boot/firmware/config.txt") == "arm_64bit=1\n"
    assert [path.name for path in (on_a_pi.root / "boot/firmware").iterdir()] == ["config.txt"]


def test_the_watchdog_alone_needs_no_reboot(on_a_pi: Node) -> None:
    on_a_pi.write("boot/firmware/config.txt", "dtparam=spi=on\n")
    on_a_pi.install("--yes")
    assert "dtparam=watchdog=on\n" in on_a_pi.read("boot/firmware/config.txt")
    assert on_a_pi.running()


# --- a machine that hangs, and one that starts ---

WATCHDOG = "etc/systemd/system.conf.d/50-labnode-watchdog.conf"
SAFE = "systemd/labnode-safe@heater.enabled"


def test_a_kernel_that_hangs_resets_the_pi(on_a_pi: Node) -> None:
    on_a_pi.install("--yes")
    assert "\nRuntimeWatchdogSec=15s\n" in on_a_pi.read(WATCHDOG)


def test_another_machine_with_a_watchdog_is_reset_too(node: Node) -> None:
    node.write("dev/watchdog", "")
    node.install()
    assert (node.root / WATCHDOG).exists()


def test_what_a_second_installation_adds_is_read_at_once(installed: Node) -> None:
    """A watchdog that has come since then is armed without a restart of the lab."""
    installed.write("dev/watchdog", "")
    installed.install()
    calls = installed.calls("systemctl")
    assert "systemctl daemon-reload" in calls
    assert not [call for call in calls if "restart labnode@" in call]
    installed.install()
    assert "systemctl daemon-reload" not in installed.calls("systemctl")


def test_the_watchdog_is_left_alone_where_there_is_none_or_no_hardware(on_a_pi: Node) -> None:
    on_a_pi.install("--yes", "--simulate")
    assert not (on_a_pi.root / WATCHDOG).exists()
    (on_a_pi.root / "boot/firmware/config.txt").unlink()
    on_a_pi.install("--yes")
    assert not (on_a_pi.root / WATCHDOG).exists()


def test_outputs_are_made_safe_early_in_each_boot_where_there_is_hardware(node: Node) -> None:
    assert "labnode-safe@heater" in node.install("--dry-run").stderr
    assert not (node.root / SAFE).exists()
    node.install()
    assert (node.root / SAFE).exists()
    assert (node.root / "etc/systemd/system/labnode-safe@.service").exists()
    node.install("--simulate")
    assert not (node.root / SAFE).exists()


def test_an_upgrade_makes_outputs_safe_at_boot_that_were_not(installed: Node) -> None:
    (installed.root / SAFE).unlink()
    installed.version("2.0")
    assert installed.run("upgrade").returncode == 0
    assert (installed.root / SAFE).exists()


def test_a_failure_takes_back_what_happens_at_boot(on_a_pi: Node) -> None:
    done = on_a_pi.install("--simulate", "--yes")
    on_a_pi.write("boot/firmware/config.txt", "dtparam=spi=on\n")
    done = on_a_pi.install("--yes", BROKEN="1.0")
    assert done.returncode == 1
    assert "does not get ready" in done.stderr
    assert not (on_a_pi.root / SAFE).exists()
    assert not (on_a_pi.root / WATCHDOG).parent.exists()


def test_the_release_before_it_had_any_of_this_is_gone_back_to(installed: Node) -> None:
    installed.version("2.0")
    installed.run("upgrade")
    before = installed.root / "opt/labnode/previous/share/labnode/systemd"
    (before / "labnode-safe@.service").unlink()
    (before / "labnode-watchdog.conf").unlink()
    done = installed.run("rollback")
    assert done.returncode == 0, done.stderr


def test_removing_a_lab_leaves_nothing_that_happens_at_boot(on_a_pi: Node) -> None:
    on_a_pi.install("--yes")
    on_a_pi.run("uninstall")
    assert not (on_a_pi.root / SAFE).exists()
    assert not (on_a_pi.root / WATCHDOG).parent.exists()
    assert not list((on_a_pi.root / "etc/systemd/system").glob("labnode*"))


# --- upgrades ---


def test_an_upgrade_and_the_way_back(installed: Node) -> None:
    installed.version("2.0")
    assert installed.run("upgrade").returncode == 0
    assert installed.running().startswith("2.0-")
    assert installed.run("rollback").returncode == 0
    assert installed.running().startswith("1.0-")
    assert installed.run("rollback").returncode == 0
    assert installed.running().startswith("2.0-")


def test_an_upgrade_that_does_not_get_ready_is_taken_back(installed: Node) -> None:
    installed.version("2.0")
    unit = installed.clone / "deploy/systemd/labnode@.service"
    unit.write_text(unit.read_text() + "# new\n")
    before = installed.files()
    done = installed.run("upgrade", BROKEN="2.0")
    assert done.returncode == 1
    assert "    Traceback: it broke" in done.stderr
    assert "the lab 'heater' does not get ready with labnode 2.0-" in done.stderr
    assert "labnode@heater runs as before" in done.stderr
    assert installed.running().startswith("1.0-")
    after = installed.files()
    assert {path for path in after if before.get(path) != after[path]} <= {
        str(installed.root / "systemd/labnode@heater.active")
    }


def test_students_may_finish_and_may_come_again_when_they_do_not(
    installed: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installed.environ().items():
        monkeypatch.setenv(name, value)
    target, changes, clock = Target(str(installed.root)), Changes(dry=False), ImpatientClock()
    labnode = target.current / "bin/labnode"
    script = labnode.read_text()
    labnode.write_text(script + """[[ $1 != status ]] || echo '"sessions": [{'\n""")
    services = LabServices(target, changes, clock)
    services.restart.add("heater")
    release = target.release
    assert release
    began = clock.now()
    with pytest.raises(Failed, match=r"students are still at work \(heater\)"):
        services.activate(release, wait=100)
    assert clock.now() - began == 100
    changes.take_back()
    asked = [call.split()[1] for call in installed.calls("labnode")]
    assert [command for command in asked if command in ("drain", "undrain")] == ["drain", "undrain"]
    assert not [call for call in installed.calls("systemctl") if "restart" in call]
    labnode.write_text(script)
    services.activate(release, wait=100)
    assert installed.running() == release.name


def test_an_upgrade_that_is_interrupted_is_taken_back(installed: Node) -> None:
    """By SIGTERM, while systemd starts the lab; Ctrl-C and a closed terminal go the same way."""
    hangs = (
        '[[ -e $CALLS.hung ]] || { : >"$CALLS.hung"; kill -TERM $PPID; exec tail -f /dev/null; }'
    )
    installed.command("systemctl", SYSTEMCTL.replace("restart)\n", f"restart)\n{hangs}\n"))
    installed.version("2.0")
    before = installed.files()
    done = installed.run("upgrade")
    assert done.returncode == 143
    assert "labnode@heater runs as before" in done.stderr
    assert installed.running().startswith("1.0-")
    after = installed.files()
    changed = {path for path in after if before.get(path) != after[path]}
    assert changed <= {str(path) for path in (installed.root / "systemd").iterdir()}


def test_an_upgrade_that_does_not_understand_a_board_is_not_begun(installed: Node) -> None:
    installed.version("2.0")
    installed.write("etc/labnode/boards/heater/heater.yaml", "a mistake\n")
    assert "finds mistakes in the board of the lab 'heater'" in refused(installed, "upgrade")
    assert not [call for call in installed.calls("systemctl") if "restart" in call]


def test_a_lab_that_was_stopped_stays_stopped(installed: Node) -> None:
    (installed.root / "systemd/labnode@heater.active").unlink()
    installed.version("2.0")
    assert installed.run("upgrade").returncode == 0
    assert not (installed.root / "systemd/labnode@heater.active").exists()


def test_there_is_no_way_back_from_the_first_release(installed: Node) -> None:
    assert refused(installed, "rollback") == "there is no release before this one to go back to"


def test_the_installed_script_does_without_the_clone(installed: Node) -> None:
    shutil.rmtree(installed.clone)
    installed.clone.mkdir()
    script = installed.root / "opt/labnode/current/share/labnode/install.sh"
    (installed.clone / "install.sh").symlink_to(script)
    assert installed.run("uninstall", "--purge", "--yes").returncode == 0


# --- the end ---


def test_a_purge_leaves_nothing(node: Node) -> None:
    before = {path for path in node.files() if "systemd" not in path}
    node.install()
    assert node.run("uninstall", "--purge", "--yes").returncode == 0
    left = {path for path in node.files() if "systemd" not in path} - before
    assert not left
    assert "labnode" not in node.read("etc/passwd")


def test_programming_tools_have_a_user_and_units_of_their_own(node: Node) -> None:
    done = node.install("--dry-run")
    assert "add the user labnode-tool" in done.stderr
    assert node.install().returncode == 0
    for name in ("labnode-tool.socket", "labnode-tool@.service"):
        written = node.read(f"etc/systemd/system/{name}")
        assert written == (node.clone / "deploy/systemd" / name).read_text()
    assert "labnode-tool:" in node.read("etc/passwd")
    assert (node.root / "systemd/labnode-tool.socket.active").exists()
    assert node.run("uninstall").returncode == 0
    assert not (node.root / "systemd/labnode-tool.socket.active").exists()
    assert not list((node.root / "etc/systemd/system").glob("labnode-tool*"))
    assert "labnode-tool:" in node.read("etc/passwd"), "as the user labnode stays, too"


def listening(node: Node, lab: str = "heater") -> str:
    return node.read(f"systemd/labnode@{lab}.socket.active").strip()


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ([], "0.0.0.0:8080"),
        (["--port", "8090", "--host", "192.0.2.5"], "192.0.2.5:8090"),
        (["--host", "::"], "[::]:8080"),
    ],
)
def test_systemd_listens_where_the_settings_say(
    node: Node, options: list[str], address: str
) -> None:
    assert node.install(*options).returncode == 0
    assert listening(node) == f"ListenStream={address}"
    assert node.run("uninstall", "--name", "heater").returncode == 0
    assert not (node.root / "etc/systemd/system/labnode@heater.socket.d").exists()


def test_a_host_that_is_a_name_is_the_nodes_own_to_listen_on(node: Node) -> None:
    drop_ins = node.root / "etc/systemd/system/labnode@heater.socket.d"
    assert node.install("--host", "localhost").returncode == 0
    assert not drop_ins.exists()
    settings = node.root / "etc/labnode/heater.yaml"
    settings.write_text(settings.read_text().replace("'localhost'", "127.0.0.1"))
    assert node.run("upgrade").returncode == 0
    assert listening(node) == "ListenStream=127.0.0.1:8080"
    settings.write_text(settings.read_text().replace("127.0.0.1", "localhost", 1))
    assert node.run("upgrade").returncode == 0
    assert not drop_ins.exists()


def test_a_lab_keeps_its_socket_in_an_upgrade_and_gets_another_for_another_port(
    installed: Node,
) -> None:
    installed.version("2.0")
    assert installed.run("upgrade").returncode == 0
    said = installed.calls()
    assert "systemctl restart labnode@heater" in said
    assert not [call for call in said if "stop" in call.split()]
    settings = installed.root / "etc/labnode/heater.yaml"
    settings.write_text(settings.read_text().replace("port: 8080", "port: 9000"))
    assert installed.run("upgrade").returncode == 0
    assert listening(installed) == "ListenStream=0.0.0.0:9000"
    assert "systemctl --quiet stop labnode@heater labnode@heater.socket" in installed.calls()


def test_an_upgrade_from_a_release_without_them_brings_them(node: Node) -> None:
    tools = [
        node.clone / "deploy/systemd" / n for n in ("labnode-tool.socket", "labnode-tool@.service")
    ]
    texts = [path.read_text() for path in tools]
    for path in tools:
        path.unlink()
    assert node.install().returncode == 0
    assert "labnode-tool" not in node.read("etc/passwd")
    for path, text in zip(tools, texts, strict=True):
        path.write_text(text)
    node.version("2.0")
    before = node.files()
    assert node.run("upgrade", BROKEN="2.0-").returncode == 1
    assert node.files() == before, "and takes them away when it fails"
    assert node.run("upgrade").returncode == 0
    assert "labnode-tool:" in node.read("etc/passwd")
    assert node.run("rollback").returncode == 0
    assert node.running().startswith("1.0-")


def test_a_purge_without_anybody_to_ask_needs_a_yes(installed: Node) -> None:
    assert refused(installed, "uninstall", "--purge") == (
        "nothing was removed; without --purge settings and history stay"
    )


def test_settings_outlive_labnode(installed: Node) -> None:
    settings = installed.read("etc/labnode/heater.yaml")
    assert installed.run("uninstall").returncode == 0
    assert not (installed.root / "opt/labnode").exists()
    assert installed.install().returncode == 0
    assert installed.read("etc/labnode/heater.yaml") == settings


def test_a_user_labnode_of_somebody_else_is_left_alone(node: Node) -> None:
    node.write("etc/passwd", "labnode:x:1001:1001:Our lab:/home/labnode:/bin/bash\n")
    node.install()
    node.run("uninstall", "--purge", "--yes")
    (call,) = node.calls("userdel")
    assert call.endswith(" labnode-tool")


def test_a_lab_that_is_not_there_cannot_be_removed(installed: Node) -> None:
    assert refused(installed, "uninstall", "--name", "other") == (
        "there is no lab 'other' here; there are: heater"
    )


def test_the_status_of_a_machine(node: Node) -> None:
    done = node.run("status")
    assert (done.returncode, done.stdout) == (4, "labnode is not installed.\n")
    node.install()
    assert re.search(r"^release     1\.0-.*\nlab         heater: ", node.run("status").stdout)
