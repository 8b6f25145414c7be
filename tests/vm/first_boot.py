"""A card that `install.sh flash` has made, in its first boot, offline; see README.md."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

CLONE = Path(__file__).parent.parent.parent
VM = os.environ.get("LABNODE_TEST_VM", "")
WHEELS = os.environ.get("LABNODE_TEST_WHEELS", "")
START, SIZE = 8192, 98304  # sectors of the boot partition

pytestmark = pytest.mark.skipif(
    not (VM and WHEELS),
    reason="LABNODE_TEST_VM and LABNODE_TEST_WHEELS name no machine and no wheels",
)

# What Raspberry Pi OS tells cloud-init (pi-gen, stage2/04-cloud-init); and that it lets the
# machine's network alone, by which these tests reach it.
CLOUD_INIT = """
datasource_list: [NoCloud, None]
datasource: {NoCloud: {seedfrom: "file:///boot/firmware"}}
network: {config: disabled}
"""
BOOT = {
    "config.txt": "# of a Raspberry Pi\n",
    "meta-data": "dsmode: local\ninstance_id: rpios-image\n",
    "user-data": "#cloud-config\n# nothing yet\n",
}


def do(*words: str | Path, patience: float = 1800) -> str:
    done = subprocess.run(
        [*map(str, words)], capture_output=True, text=True, timeout=patience, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def make_card(image: Path) -> str:
    """An image with Raspberry Pi OS's boot partition; what mtools call it."""
    entry = struct.pack("<B3sB3sII", 0, b"\0" * 3, 0x0C, b"\0" * 3, START, SIZE)
    with image.open("wb") as file:
        file.truncate((START + SIZE) * 512)
        file.seek(446)
        file.write(entry + bytes(48) + b"\x55\xaa")
    card = f"{image}@@{START * 512}"
    do("mformat", "-i", card, "-F", "-T", str(SIZE), "::")
    for name, text in BOOT.items():
        (image.parent / name).write_text(text)
        do("mcopy", "-i", card, image.parent / name, f"::/{name}")
    return card


def test_a_card_becomes_a_lab_in_its_first_boot(tmp_path: Path) -> None:
    card = make_card(tmp_path / "card.img")
    flash = [CLONE / "install.sh", "flash", tmp_path / "card.img", "--hostname", "lab7"]
    do(*flash, "--board", CLONE / "boards/demo.yaml", "--wheels", WHEELS, "--port", "8077")
    (tmp_path / "firmware").mkdir()
    do("mcopy", "-s", "-i", card, "::/", tmp_path / "firmware")
    (tmp_path / "pi.cfg").write_text(CLOUD_INIT)
    do(VM, "start", "--fresh")
    try:
        do(VM, "net", "on")
        do(
            VM,
            "ssh",
            "sudo apt-get -qq update && sudo apt-get -qq install -y cloud-init >/dev/null",
        )
        do(VM, "push", tmp_path / "firmware", "firmware")
        do(VM, "push", tmp_path / "pi.cfg", "pi.cfg")
        do(VM, "ssh", "sudo cp pi.cfg /etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg")
        do(VM, "ssh", "sudo mkdir -p /boot/firmware && sudo cp -R firmware/. /boot/firmware/")
        do(VM, "ssh", "sudo cloud-init schema --config-file /boot/firmware/user-data")
        do(VM, "net", "off")
        do(VM, "stop")
        do(VM, "start")
        wait_for("systemctl is-active labnode@demo", "active")
        assert "api_version" in do(VM, "ssh", "curl -s http://127.0.0.1:8077/weblab/sessions/api")
        assert do(VM, "ssh", "hostname") == "lab7"
        wait_for("ls /etc/systemd/system | grep -c first-boot", "0")
        files = do(VM, "ssh", "ls /boot/firmware/labnode")
        assert "answers" not in files  # it had the passwords
        assert "The lab is installed." in do(VM, "ssh", "cat /boot/firmware/labnode/result.txt")
        assert not do(VM, "ssh", "ls /var/tmp | grep labnode || true")
    finally:
        do(VM, "powercut")


def wait_for(command: str, expected: str, patience: float = 1500) -> None:
    deadline, said = time.monotonic() + patience, ""
    while time.monotonic() < deadline:
        with contextlib.suppress(AssertionError):
            said = do(VM, "ssh", f"{command} 2>&1 || true")
        if said == expected:
            return
        time.sleep(5)
    journal = do(VM, "ssh", "sudo journalctl --unit labnode-first-boot --no-pager --output cat")
    raise AssertionError(f"{command} says {said}, not {expected}: {journal}")
