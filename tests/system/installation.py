"""install.sh for real, in fresh Debian 12 and 13 systems: `sudo ./install.sh test --system`."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

from debian import CLONE, PYTHON, System, make_root, system

from tests.kit.waiting import eventually

BOARD = "boards/demo.yaml"
DEMO = ("--board", BOARD, "--simulate", "--wheels", "/wheels")
# useradd keeps these as they were before, with a "-" at the end.
USERS = tuple(
    f"/etc/{name}" for name in ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"]
)


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def debian(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Layers: a Debian, and over it a clone in /src and the wheels in /wheels."""
    directory = tmp_path_factory.mktemp(request.param)
    root = directory / "debian"
    make_root(request.param, root)
    with system([root], directory / "wheels", network=True) as made:
        made.add_clone()
        done = made.run(PYTHON, "-B", "-m", "labnode.install", "collect", "/wheels")
        assert done.returncode == 0, done.stderr
        for wheel in (made.root / "wheels").glob("labnode-*.whl"):
            wheel.unlink()  # made from the clone, each time
    return [made.upper, root]


@pytest.fixture(scope="session")
def with_lab(debian: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Layers: that Debian with a lab on it, which does not run yet."""
    with system(debian, tmp_path_factory.mktemp("installed")) as made:
        done = made.install(*DEMO)
        assert done.returncode == 0, done.stderr
    return [made.upper, *debian]


@pytest.fixture
def fresh(debian: list[Path], tmp_path: Path) -> Iterator[System]:
    with system(debian, tmp_path) as made:
        yield made


@pytest.fixture
def installed(with_lab: list[Path], tmp_path: Path) -> Iterator[System]:
    with system(with_lab, tmp_path) as made:
        assert made.run("systemctl", "start", "labnode@demo").returncode == 0
        eventually(made.status, "the lab's answer")
        yield made


def new_version(machine: System, version: str = "9.9") -> None:
    """The clone after a `git pull`."""
    file = machine.root / "src/labnode/__init__.py"
    file.write_text(re.sub(r'(__version__ = )".*"', rf'\1"{version}"', file.read_text()))


def refused(machine: System, sentence: str, *arguments: str, **environment: str) -> None:
    """It says `sentence`, and afterwards everything is as it was, and the lab answers as before."""
    before, status = machine.state(), machine.status()
    done = machine.install(*arguments, **environment)
    assert done.returncode != 0
    assert sentence in done.stderr
    changed = {path: what for path, what in machine.state().items() if before.get(path) != what}
    gone = before.keys() - machine.state().keys()
    assert not _but_times(changed, before)
    assert not gone
    assert machine.status().get("version") == status.get("version")
    if status:
        assert "api_version" in machine.answer()
    left = machine.run("find", "/tmp", "-name", "labnode-install.*", "-type", "d")
    assert not left.stdout


def _but_times(changed: dict[str, str], before: dict[str, str]) -> dict[str, str]:
    """Without directories in which something came and went, and links and files that were put back
    as they were."""

    def essence(what: str) -> list[str]:
        words = what.split(" ")
        return words[:4] if words[0] == "d" else [*words[:5], *words[6:]]

    return {
        path: what
        for path, what in changed.items()
        if path.rstrip("-") not in USERS
        and (path not in before or essence(what) != essence(before[path]))
    }


# --- a fresh system ---


def test_a_lab_is_installed_and_answers_without_the_internet(fresh: System) -> None:
    done = fresh.install(*DEMO)
    assert done.returncode == 0, done.stderr
    assert fresh.answer() == '{"api_version": "1"}'
    assert fresh.status()["state"] == "ready"
    assert "http_experiment_password" in done.stdout
    settings = fresh.root / "etc/labnode/demo.yaml"
    assert settings.stat().st_mode & 0o777 == 0o600
    (password,) = re.findall(r"central server +weblab +(\S+)", done.stdout)
    assert password in settings.read_text()


def test_a_release_has_a_bill_of_materials_and_nothing_that_installs(fresh: System) -> None:
    assert fresh.install(*DEMO).returncode == 0
    (site,) = (fresh.root / "opt/labnode/releases").glob("*/lib/python3*/site-packages")
    names = {path.name.partition("-")[0].lower() for path in site.iterdir()}
    assert {"labnode", "bottle", "yaml"} <= names
    assert not names & {
        "pip",
        "setuptools",
        "pkg_resources",
        "wheel",
        "hatchling",
        "_distutils_hack",
    }
    (bill,) = (fresh.root / "opt/labnode/releases").glob("*/share/labnode/sbom.cdx.json")
    listed = {part["name"] for part in json.loads(bill.read_text())["components"]}
    installed = {path.name.partition("-")[0].replace("_", "-") for path in site.glob("*.dist-info")}
    assert listed == {name.lower() for name in installed} - {"labnode"}


def test_a_wheel_that_was_tampered_with_is_refused(fresh: System) -> None:
    (wheel,) = (fresh.root / "wheels").glob("bottle-*.whl")
    with wheel.open("ab") as file:
        file.write(b" ")
    refused(fresh, "is not the file of that name that labnode was tested with", *DEMO)


def test_the_variables_do_what_the_options_do(fresh: System) -> None:
    done = fresh.install(
        "install",
        LABNODE_INSTALL_BOARD=BOARD,
        LABNODE_INSTALL_NAME="lab-7",
        LABNODE_INSTALL_PORT="8123",
        LABNODE_INSTALL_SIMULATE="yes",
        LABNODE_INSTALL_YES="1",
        LABNODE_INSTALL_WHEELS="/wheels",
        LABNODE_INSTALL_WEBLAB_PASSWORD="it's a secret",
    )
    assert done.returncode == 0, done.stderr
    assert "api_version" in fresh.answer(8123)
    assert "password: 'it''s a secret'" in (fresh.root / "etc/labnode/lab-7.yaml").read_text()


def test_the_internet_will_do_as_well(debian: list[Path], tmp_path: Path) -> None:
    with system(debian, tmp_path, network=True) as machine:
        done = machine.install("--board", BOARD, "--simulate", "--port", "18080")
        assert done.returncode == 0, done.stderr
        assert "api_version" in machine.answer(18080)


def test_a_dry_run_changes_nothing(fresh: System) -> None:
    before = fresh.state()
    done = fresh.install(*DEMO, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "/etc/labnode/demo.yaml" in done.stderr
    assert fresh.state() == before
    assert not fresh.run("find", "/tmp", "-mindepth", "1").stdout


def test_without_network_and_wheels_it_says_so(fresh: System) -> None:
    refused(fresh, "does this machine reach the internet", "--board", BOARD, "--simulate")


def test_a_board_with_mistakes_is_refused(fresh: System) -> None:
    (fresh.root / "src/boards/demo.yaml").write_text("schema: 1\ndevices: {led: {driver: lid}}\n")
    refused(fresh, "the board has mistakes", *DEMO)


def test_a_board_without_its_hardware_is_taken_back(debian: list[Path], tmp_path: Path) -> None:
    """It needs lgpio, from Debian or compiled, and then there are no pins on this machine."""
    with system(debian, tmp_path, network=True) as machine:
        done = machine.install("--board", BOARD, "--port", "18081")
        assert done.returncode == 1
        assert "the lab 'demo' does not get ready" in done.stderr
        assert "taking back what was changed" in done.stderr
        assert not [path for path in machine.state() if "labnode" in path]
        assert not machine.run("grep", "labnode", "/etc/passwd").stdout


def test_a_terminated_installation_leaves_nothing(fresh: System) -> None:
    before = fresh.state()
    with installing(fresh) as process:
        fresh.run("pkill", "-TERM", "-f", "labnode.install install")
        assert process.wait() == 143
    assert not _but_times({p: w for p, w in fresh.state().items() if before.get(p) != w}, before)


def test_an_installation_after_a_power_cut_goes_on(fresh: System) -> None:
    with installing(fresh):
        fresh.run("pkill", "-KILL", "-f", "labnode.install|pip")
    done = fresh.install(*DEMO)
    assert done.returncode == 0, done.stderr
    assert "which was not finished" in done.stderr
    assert "api_version" in fresh.answer()


@contextlib.contextmanager
def installing(machine: System) -> Iterator[subprocess.Popen[bytes]]:
    """An installation in the middle of its work."""
    how = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(machine.command("./install.sh", *DEMO), **how) as process:
        end = time.monotonic() + 300
        while not list((machine.root / "tmp").glob("labnode-install.*/tools/bin/pip")):
            assert time.monotonic() < end, "the installation did not get to its pip"
            time.sleep(0.05)
        yield process


@pytest.mark.skipif(not shutil.which("mcopy"), reason="there are no mtools here")
def test_a_card_that_flash_has_made_installs_itself(fresh: System, tmp_path: Path) -> None:
    """What cloud-init starts from the card's boot partition; tests/vm has cloud-init itself."""
    card, firmware = make_card(tmp_path / "card.img"), fresh.root / "boot/firmware"
    options = ("--board", str(CLONE / BOARD), "--simulate", "--port", "8078")
    words = [CLONE / "install.sh", "flash", tmp_path / "card.img", *options]
    flashed = subprocess.run(
        [*words, "--wheels", fresh.root / "wheels"], capture_output=True, text=True, check=False
    )
    assert flashed.returncode == 0, flashed.stderr
    firmware.mkdir(parents=True)
    subprocess.run(["mcopy", "-s", "-n", "-i", card, "::/labnode", firmware], check=True)
    fresh.run("find", "/src", "-mindepth", "1", "-delete")  # a Pi has nothing else
    unit = "labnode-first-boot.service"  # `first-boot prepare` has put it there
    fresh.run("cp", f"/boot/firmware/labnode/{unit}", "/etc/systemd/system/")
    done = fresh.run("bash", "/boot/firmware/labnode/first-boot")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "api_version" in fresh.answer(8078)
    assert not (firmware / "labnode/answers").exists()
    assert (firmware / "labnode/result.txt").read_text().endswith("The lab is installed.\n")
    assert not (fresh.root / "etc/systemd/system" / unit).exists()
    password = re.findall(r"central server +weblab +(\S+)", flashed.stdout)[0]
    assert password in (fresh.root / "etc/labnode/demo.yaml").read_text()


def make_card(image: Path) -> str:
    """An image with a boot partition as Raspberry Pi OS has it; what mtools call it."""
    start, size = 8192, 98304
    entry = struct.pack("<B3sB3sII", 0, b"\0" * 3, 0x0C, b"\0" * 3, start, size)
    with image.open("wb") as file:
        file.truncate((start + size) * 512)
        file.seek(446)
        file.write(entry + bytes(48) + b"\x55\xaa")
    card = f"{image}@@{start * 512}"
    subprocess.run(["mformat", "-i", card, "-F", "-T", str(size), "::"], check=True)
    for name in ("config.txt", "meta-data", "user-data"):
        subprocess.run(["mcopy", "-i", card, "-", f"::/{name}"], input=b"#\n", check=True)
    return card


# --- a system with a lab ---


def test_a_second_time_changes_nothing(installed: System) -> None:
    before, process = installed.state(), installed.status()["pid"]
    done = installed.install(*DEMO)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "install.sh: nothing to change\n"
    assert done.stdout == ""
    assert installed.state() == before
    assert installed.status()["pid"] == process


@pytest.mark.parametrize("command", ["upgrade", "uninstall"])
def test_a_dry_run_of_more_changes_nothing(installed: System, command: str) -> None:
    new_version(installed)
    before, process = installed.state(), installed.status()["pid"]
    wheels = ["--wheels", "/wheels"] if command == "upgrade" else []
    done = installed.install(command, "--dry-run", *wheels)
    assert done.returncode == 0, done.stderr
    assert "nothing of this was done" in done.stderr
    assert installed.state() == before
    assert installed.status()["pid"] == process


def test_an_upgrade_and_the_way_back(installed: System) -> None:
    old = installed.status()["version"]
    new_version(installed)
    done = installed.install("upgrade", "--wheels", "/wheels")
    assert done.returncode == 0, done.stderr
    assert installed.status()["version"] == "9.9"
    assert "api_version" in installed.answer()
    done = installed.install("rollback")
    assert done.returncode == 0, done.stderr
    assert installed.status()["version"] == old
    assert "api_version" in installed.answer()


def test_of_many_upgrades_two_releases_stay(installed: System) -> None:
    for version in ("9.1", "9.2"):
        new_version(installed, version)
        assert installed.install("upgrade", "--wheels", "/wheels").returncode == 0
    names = sorted(path.name for path in (installed.root / "opt/labnode/releases").iterdir())
    assert [name.split("-")[0] for name in names] == ["9.1", "9.2"]


def test_a_new_unit_comes_with_an_upgrade_and_goes_with_the_rollback(installed: System) -> None:
    unit = installed.root / "etc/systemd/system/labnode@.service"
    before = unit.read_text()
    with (installed.root / "src/deploy/systemd/labnode@.service").open("a") as file:
        file.write("# a later one\n")
    assert installed.install("upgrade", "--wheels", "/wheels").returncode == 0
    assert unit.read_text().endswith("# a later one\n")
    assert installed.install("rollback").returncode == 0
    assert unit.read_text() == before


def test_students_may_finish_before_an_upgrade(installed: System) -> None:
    """To a release that is there already: building one may take longer than a session lasts."""
    new_version(installed)
    assert installed.install("upgrade", "--wheels", "/wheels").returncode == 0
    assert installed.install("rollback").returncode == 0
    start = (
        "import base64, json, re, urllib.request as u; "
        "s = open('/etc/labnode/demo.yaml').read(); p = re.search(r\"password: '(.*?)'\", s)[1]; "
        "r = u.Request('http://127.0.0.1:8080/weblab/sessions/', json.dumps({"
        "'client_initial_data': {}, 'server_initial_data': {'priority.queue.slot.length': 60, "
        "'request.username': 'ada'}, 'back': 'http://x/'}).encode(), {'Authorization': 'Basic ' + "
        "base64.b64encode(f'weblab:{p}'.encode()).decode(), 'Content-Type': 'application/json'}); "
        "print(u.urlopen(r).read().decode())"
    )
    assert "session_id" in installed.run("python3", "-c", start).stdout
    refused(
        installed, "students are still at work", "upgrade", "--wheels", "/wheels", "--wait", "2"
    )
    assert installed.status()["draining"] is False
    done = installed.install("upgrade", "--wheels", "/wheels", "--wait", "0")
    assert done.returncode == 0, done.stderr


# --- upgrades that fail: the old one goes on ---


def test_a_broken_wheel(installed: System) -> None:
    shutil.copytree(installed.root / "wheels", installed.root / "tmp/broken")
    (installed.root / "tmp/broken/labnode-9.9-py3-none-any.whl").write_text("not a wheel")
    refused(installed, "something is missing or broken there", "upgrade", "--wheels", "/tmp/broken")


def test_a_missing_library(installed: System) -> None:
    new_version(installed)
    shutil.copytree(installed.root / "wheels", installed.root / "tmp/broken")
    for wheel in (installed.root / "tmp/broken").glob("bottle-*"):
        wheel.unlink()
    refused(installed, "something is missing or broken there", "upgrade", "--wheels", "/tmp/broken")


def small_disk(machine: System, megabytes: int) -> None:
    """What is in /opt, on a disk with so much room left."""
    size = int(machine.run("du", "-sm", "/opt").stdout.split()[0]) + megabytes
    machine.run(
        "sh",
        "-c",
        f"cp -a /opt /tmp/opt && mount -t tmpfs -o size={size}m,mode=755 disk /opt && "
        "cp -a /tmp/opt/. /opt/ && rm -r /tmp/opt",
    )


def test_too_little_room(installed: System) -> None:
    new_version(installed)
    small_disk(installed, 60)
    refused(installed, "MB free; labnode needs about 250 MB", "upgrade", "--wheels", "/wheels")
    assert len(list((installed.root / "opt/labnode/releases").iterdir())) == 1


def test_a_disk_that_gets_full_meanwhile(installed: System) -> None:
    new_version(installed)
    small_disk(installed, 10)  # a release takes 20
    df = installed.root / "usr/local/bin/df"
    df.write_text(  # enough, when it is asked for the first time
        '#!/bin/sh\n[ -e /run/asked ] && exec /usr/bin/df "$@"\n: >/run/asked\necho 9999\n'
    )
    df.chmod(0o755)
    refused(installed, "the disk with /opt/labnode is full", "upgrade", "--wheels", "/wheels")


def test_settings_that_the_new_release_does_not_understand(installed: System) -> None:
    new_version(installed)
    with (installed.root / "etc/labnode/demo.yaml").open("a") as file:
        file.write("prot: 8080\n")
    refused(installed, "does not understand the lab 'demo'", "upgrade", "--wheels", "/wheels")


def test_a_board_that_the_new_release_does_not_understand(installed: System) -> None:
    new_version(installed)
    (installed.root / "etc/labnode/boards/demo/demo.py").write_text("import no_such_thing\n")
    refused(installed, "finds mistakes in the board", "upgrade", "--wheels", "/wheels")


def test_a_release_that_does_not_get_ready(installed: System) -> None:
    new_version(installed)
    with (installed.root / "src/labnode/node/agent.py").open("a") as file:
        file.write(
            "\n\ndef _broken(*_, **__):\n    raise SystemExit(3)\n\n\nAgent.start = _broken\n"
        )
    refused(installed, "does not get ready with labnode 9.9", "upgrade", "--wheels", "/wheels")


def test_there_is_nothing_before_the_first_release(installed: System) -> None:
    refused(installed, "there is no release before this one", "rollback")


# --- more labs, fewer labs, none ---


def test_a_second_lab_beside_the_first(installed: System) -> None:
    process = installed.status()["pid"]
    refused(installed, "the lab 'demo' has the port 8080 already", *DEMO, "--name", "lab-b")
    done = installed.install(*DEMO, "--name", "lab-b", "--port", "8081")
    assert done.returncode == 0, done.stderr
    assert "api_version" in installed.answer(8081)
    assert installed.status()["pid"] == process
    assert installed.install("uninstall", "--name", "lab-b", "--purge", "--yes").returncode == 0
    assert not installed.answer(8081)
    assert "api_version" in installed.answer()
    assert not [path for path in installed.state() if "lab-b" in path]


def test_a_changed_board_is_taken_and_the_lab_started_again(installed: System) -> None:
    board = installed.root / "src/boards/demo.yaml"
    board.write_text(board.read_text().replace("en: Demo board", "en: Other board"))
    process = installed.status()["pid"]
    assert installed.install(*DEMO).returncode == 0
    assert "Other board" in (installed.root / "etc/labnode/boards/demo/demo.yaml").read_text()
    assert installed.status()["pid"] != process


def test_a_board_that_was_changed_where_it_is_installed_is_not_lost(installed: System) -> None:
    own = installed.root / "etc/labnode/boards/demo/demo.yaml"
    own.write_text(own.read_text().replace("en: Demo board", "en: My board"))
    refused(installed, "was changed there", *DEMO)
    assert installed.install(*DEMO, "--yes").returncode == 0
    assert "My board" in (installed.root / "etc/labnode/boards/demo.old/demo.yaml").read_text()


def test_an_option_that_the_settings_contradict_is_not_ignored(installed: System) -> None:
    refused(
        installed, "--port does not count for a lab that is there already", *DEMO, "--port", "81"
    )


def test_uninstalling_keeps_what_is_not_labnodes_to_throw_away(installed: System) -> None:
    assert installed.install("uninstall").returncode == 0
    assert not installed.answer()
    left = {path for path in installed.state() if "labnode" in path}
    assert all(path.startswith("/etc/labnode") for path in left), left
    assert (installed.root / "var/lib/labnode/demo/labnode.db").exists()
    assert installed.install(*DEMO).returncode == 0
    assert "api_version" in installed.answer()


def test_nothing_is_left_after_a_purge(debian: list[Path], tmp_path: Path) -> None:
    with system(debian, tmp_path) as machine:
        before = machine.state()
        assert machine.install(*DEMO).returncode == 0
        done = machine.install("uninstall", "--purge", "--yes")
        assert done.returncode == 0, done.stderr
        after = machine.state()
        for file in USERS:
            assert "labnode" not in (machine.root / file.lstrip("/")).read_text()
        new = {path for path in after.keys() - before.keys() if path.rstrip("-") not in USERS}
        assert not new
        assert not before.keys() - after.keys()
        assert not (machine.root / "var/lib/labnode").exists()
        assert not list((machine.root / "tmp").iterdir())


def test_a_purge_needs_a_yes(installed: System) -> None:
    refused(installed, "nothing was removed", "uninstall", "--purge")
