"""install.sh flash: a lab on the boot partition of a real FAT image, and disks that it refuses."""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from .conftest import PYTHON, Node

needs_mtools = pytest.mark.skipif(
    not (shutil.which("mcopy") and shutil.which("partx")), reason="there are no mtools here"
)

START = 8192  # sectors of 512 bytes, as on Raspberry Pi OS
SIZE = 98304
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAis1VWtXeYnAGncDoaMJkbOJZgt1NkPCQ9ek6EluPp+ ada@home"
FRESH = {
    "config.txt": "# config\n",
    "meta-data": "# about\ndsmode: local\ninstance_id: rpios-image\n",
    "user-data": "#cloud-config\n\n# hostname: raspberrypi\n",
}


class Card:
    """An image of an SD card with a FAT partition that has `files`."""

    def __init__(self, path: Path, files: dict[str, str]) -> None:
        self.path = path
        partition = struct.pack("<B3sB3sII", 0, b"\0" * 3, 0x0C, b"\0" * 3, START, SIZE)
        with path.open("wb") as image:
            image.truncate((START + SIZE) * 512)
            image.seek(446)
            image.write(partition + bytes(48) + b"\x55\xaa")
        self.mtool("mformat", "-F", "-T", str(SIZE), "::")
        for name, text in files.items():
            self.mtool("mcopy", "-", f"::/{name}", text=text)

    def mtool(self, tool: str, *arguments: str, text: str = "") -> str:
        return subprocess.run(
            [tool, "-i", f"{self.path}@@{START * 512}", *arguments],
            input=text,
            env={**os.environ, "MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def read(self, name: str) -> str:
        return self.mtool("mtype", f"::/{name}")

    def names(self, directory: str) -> set[str]:
        listed = self.mtool("mdir", "-b", f"::/{directory}").split()
        return {line.rpartition("/")[2] for line in listed}


@pytest.fixture
def laptop(node: Node) -> Node:
    """A machine on which cards are made: no root, no systemd."""
    node.command("id", "echo 1000")
    for name in ("python3.13", "python3.12", "python3.11"):
        node.command(name, PYTHON)
    (node.clone / "key.pub").write_text(KEY + "\n")
    return node


def flash(
    node: Node, card: Card, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    board = ("--board", "boards/heater.yaml")
    return node.run_as_is("flash", str(card.path), *board, *arguments, **environment)


@needs_mtools
def test_a_fresh_card_becomes_a_lab(laptop: Node, tmp_path: Path) -> None:
    card = Card(tmp_path / "card.img", FRESH)
    done = flash(laptop, card, "--hostname", "lab7", "--ssh-key", "key.pub", "--port", "80")
    assert done.returncode == 0, done.stderr
    assert "http://lab7.local:80/weblab/health" in done.stdout
    asked = yaml.safe_load(card.read("user-data"))
    assert asked["hostname"] == "lab7"
    assert asked["enable_ssh"] is True
    (user,) = asked["users"]
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["lock_passwd"] is True
    (command,) = asked["bootcmd"]
    assert command[-2:] == ["/boot/firmware/labnode/first-boot", "prepare"]
    about = yaml.safe_load(card.read("meta-data"))
    assert about["dsmode"] == "local"
    assert about["instance-id"].startswith("labnode-")
    assert card.names("labnode") == {
        *("answers", "first-boot", "labnode-first-boot.service", "labnode.tar.gz"),
    }


@needs_mtools
def test_the_bundle_can_install_the_lab(laptop: Node, tmp_path: Path) -> None:
    card = Card(tmp_path / "card.img", FRESH)
    done = flash(laptop, card, "--base-url", "https://x.org/a b", "--simulate")
    assert done.returncode == 0, done.stderr
    card.mtool("mcopy", "::/labnode/labnode.tar.gz", str(tmp_path))
    with tarfile.open(tmp_path / "labnode.tar.gz") as bundle:
        names = bundle.getnames()
    for name in ("install.sh", "pyproject.toml", "labnode/__init__.py", "board/heater.yaml"):
        assert name in names
    assert {"board/heater.py", "deploy/systemd/labnode@.service"} <= set(names)
    answers = dict(line.split("=", 1) for line in card.read("labnode/answers").splitlines())
    assert answers["LABNODE_INSTALL_BOARD"] == "/var/tmp/labnode-first-boot/board/heater.yaml"
    assert answers["LABNODE_INSTALL_NAME"] == "heater"
    assert shlex.split(answers["LABNODE_INSTALL_BASE_URL"]) == ["https://x.org/a b"]
    assert answers["LABNODE_INSTALL_SIMULATE"] == "yes"
    for what in ("WEBLAB_PASSWORD", "ADMIN_PASSWORD"):
        assert answers[f"LABNODE_INSTALL_{what}"] in done.stdout


@needs_mtools
def test_wheels_come_along(laptop: Node, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/labnode-1.0-py3-none-any.whl").write_text("a wheel")
    card = Card(tmp_path / "card.img", FRESH)
    assert flash(laptop, card, "--wheels", str(tmp_path / "wheels")).returncode == 0
    assert card.read("labnode/wheels/labnode-1.0-py3-none-any.whl") == "a wheel"


@needs_mtools
def test_a_wireless_network(laptop: Node, tmp_path: Path) -> None:
    card = Card(tmp_path / "card.img", FRESH)
    wifi = ("--wifi", "Ada's: net", "--wifi-password", "it's #1", "--wifi-country", "NO")
    assert flash(laptop, card, *wifi).returncode == 0
    wlan = yaml.safe_load(card.read("network-config"))["network"]["wifis"]["wlan0"]
    assert wlan["access-points"] == {"Ada's: net": {"password": "it's #1"}}
    assert wlan["regulatory-domain"] == "NO"


@needs_mtools
def test_what_another_program_asked_for_stays(laptop: Node, tmp_path: Path) -> None:
    """As Raspberry Pi Imager writes it."""
    imager = "#cloud-config\nhostname: mine\nusers:\n- name: ada\nruncmd:\n- [ls]\n"
    card = Card(tmp_path / "card.img", {**FRESH, "user-data": imager})
    assert flash(laptop, card).returncode == 0
    asked = yaml.safe_load(card.read("user-data"))
    assert asked["hostname"] == "mine"
    assert asked["users"] == [{"name": "ada"}]
    assert asked["runcmd"] == [["ls"]]
    assert "bootcmd" in asked


@needs_mtools
def test_a_card_can_be_made_again(laptop: Node, tmp_path: Path) -> None:
    card = Card(tmp_path / "card.img", FRESH)
    assert flash(laptop, card, "--hostname", "one").returncode == 0
    assert flash(laptop, card, "--hostname", "two").returncode == 0
    text = card.read("user-data")
    assert text.count("bootcmd:") == 1
    assert yaml.safe_load(text)["hostname"] == "two"


def refused(node: Node, card: Card, *arguments: str) -> str:
    """The sentence of a run that leaves the card as it was."""
    before = card.path.read_bytes()
    done = flash(node, card, *arguments)
    assert done.returncode == 1
    assert card.path.read_bytes() == before
    return next(
        line.removeprefix("install.sh: ")
        for line in reversed(done.stderr.splitlines())
        if "taking back" not in line
    )


@needs_mtools
@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("config.txt", "has no config.txt: it is not a Raspberry Pi OS"),
        ("meta-data", "this Raspberry Pi OS has no cloud-init"),
    ],
)
def test_another_systems_card_is_refused(
    laptop: Node, tmp_path: Path, missing: str, sentence: str
) -> None:
    files = {name: text for name, text in FRESH.items() if name != missing}
    assert sentence in refused(laptop, Card(tmp_path / "card.img", files))


@needs_mtools
def test_settings_of_another_program_are_not_contradicted(laptop: Node, tmp_path: Path) -> None:
    files = {**FRESH, "user-data": "#cloud-config\nbootcmd:\n- [ls]\n"}
    card = Card(tmp_path / "card.img", files)
    assert "has a bootcmd of its own" in refused(laptop, card)


@needs_mtools
def test_a_dry_run_writes_nothing(laptop: Node, tmp_path: Path) -> None:
    card = Card(tmp_path / "card.img", FRESH)
    flash(laptop, card)
    before = card.path.read_bytes()
    done = flash(laptop, card, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert card.path.read_bytes() == before


def test_an_image_without_a_boot_partition_is_refused(laptop: Node, tmp_path: Path) -> None:
    if not shutil.which("mcopy"):
        laptop.command("mcopy", "")
    image = tmp_path / "empty.img"
    image.write_bytes(bytes(4096))
    done = laptop.run_as_is("flash", str(image), "--board", "boards/heater.yaml")
    assert done.returncode == 1
    assert "has no FAT partition: it is not a Raspberry Pi OS" in done.stderr


def test_what_is_not_there_is_refused(laptop: Node) -> None:
    laptop.command("mcopy", "")
    done = laptop.run_as_is("flash", "/no/such.img", "--board", "boards/heater.yaml")
    assert done.returncode == 1
    assert done.stderr == "install.sh: there is no /no/such.img\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--hostname", "Lab_7"], "--hostname has small letters, digits and '-' only, not 'Lab_7'"),
        (["--user", "Ada"], "--user has small letters, digits, '-' and '_' only, not 'Ada'"),
        (["--ssh-key", "install.sh"], "--ssh-key: there is no public key in install.sh"),
        (["--wifi", "net"], "--wifi needs --wifi-country, two letters such as ES"),
    ],
)
def test_a_wrong_value_gets_a_sentence(laptop: Node, arguments: list[str], sentence: str) -> None:
    board = ["x.img", "--board", "boards/heater.yaml"]
    done = laptop.run_as_is("flash", *board, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"install.sh: {sentence}")


DISKS = [path for path in Path("/dev").glob("*") if path.is_block_device()]


@pytest.mark.root
@pytest.mark.skipif(not DISKS, reason="there is no block device here")
@pytest.mark.parametrize(
    ("mounted", "kind", "sentence"),
    [
        ("/", "1 1 disk", "is a disk of this machine (it has /): nothing was written"),
        ("[SWAP]", "1 1 disk", "is a disk of this machine (it has [SWAP]): nothing was written"),
        ("/media/ada/bootfs", "1 1 disk", "is in use at /media/ada/bootfs ; unmount that first"),
        ("", "0 0 disk", "looks like a disk of this machine (it cannot be taken out)"),
        ("", "1 1 part", "is not a whole disk; flash takes the disk"),
    ],
)
def test_disks_that_are_no_cards_are_refused(
    laptop: Node, mounted: str, kind: str, sentence: str
) -> None:
    """Only lsblk is asked about the disk, and it is never opened."""
    laptop.command("mcopy", "")
    laptop.command("partx", "echo partx was reached >&2")
    laptop.command("lsblk", f"case $* in *MOUNT*) echo '{mounted}' ;; *) echo '{kind}' ;; esac")
    done = laptop.run_as_is("flash", str(DISKS[0]), "--board", "boards/heater.yaml")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "partx" not in done.stderr
