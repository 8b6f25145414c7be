"""The virtual machine of these tests, by the command that drives it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

CLONE = Path(__file__).parent.parent.parent
VM = os.environ.get("LABNODE_TEST_VM", "")
WHEELS = os.environ.get("LABNODE_TEST_WHEELS", "")
LAB = "labnode@board"
OFFLINE = "--wheels ~/wheels" if WHEELS else ""


class Machine:
    """A Debian with a GPIO chip, a lab on it, and a student of that."""

    def do(self, *words: str, patience: float = 1800) -> str:
        try:
            done = subprocess.run(
                [VM, *words], capture_output=True, text=True, timeout=patience, check=False
            )
        except subprocess.TimeoutExpired:  # a machine that is just going down
            raise AssertionError(f"{words}: nothing for {patience:.0f} s") from None
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def ssh(self, command: str, patience: float = 1800) -> str:
        return self.do("ssh", command, patience=patience)

    def pin(self, number: int) -> str:
        return self.do("gpio", "get", str(number))

    def unit(self, what: str) -> str:
        return self.ssh(f"systemctl show {LAB} --property {what} --value")

    def until(self, what: str, expected: str, patience: float = 180) -> None:
        """Wait until systemd says so of the lab; a machine that starts does not answer yet."""
        deadline, found = time.monotonic() + patience, ""
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):
                found = self.ssh(f"systemctl show {LAB} --property {what} --value", patience=60)
            if re.fullmatch(expected, found):
                return
            time.sleep(2)
        raise AssertionError(f"{what} is {found}, not {expected}: {self.journal()}")

    def console(self, what: str) -> int:
        """How often the node has said so of its serial port since this boot."""
        command = (
            f"sudo journalctl --boot --unit {LAB} --output cat | grep -c 'console {what}' || true"
        )
        return int(self.ssh(command))

    def until_console(self, what: str, times: int, patience: float = 120) -> None:
        deadline = time.monotonic() + patience
        while self.console(what) < times:
            assert time.monotonic() < deadline, f"no 'console {what}': {self.journal()}"
            time.sleep(1)

    def journal(self, lines: int = 30) -> str:
        return self.ssh(f"sudo journalctl --unit {LAB} --lines {lines} --no-pager --output cat")

    def node(self, command: str) -> str:
        return self.ssh(f"sudo -u labnode labnode {command} --state-dir /var/lib/labnode/board")

    def status(self) -> dict[str, object]:
        return dict(json.loads(self.node("status --json")))

    def curl(self, path: str, *options: str) -> str:
        words = " ".join(f"'{option}'" for option in options)
        return self.ssh(f"curl --silent --show-error {words} 'http://127.0.0.1:8080{path}'")

    def start_session(self) -> None:
        """A student comes by way of the central server, with the cookie in ~/cookies."""
        password = self.ssh(
            "sudo sed -nE \"s/^weblab:.*password: '(.*)'.*/\\1/p\" /etc/labnode/board.yaml"
        )
        data = {"priority.queue.slot.length": 1200, "request.username": "ada"}
        body = {
            "client_initial_data": {},
            "server_initial_data": data,
            "back": "http://example.org/",
        }
        answer = json.loads(
            self.curl(
                "/weblab/sessions/",
                "--user",
                f"weblab:{password}",
                "--header",
                "Content-Type: application/json",
                "--data",
                json.dumps(body),
            )
        )
        path = re.sub(r"^https?://[^/]+", "", answer["url"])
        self.ssh("rm -f cookies")
        self.curl(path, "--cookie-jar", "cookies", "--location", "--output", "/dev/null")

    def press(self, device: str, command: str, **arguments: object) -> str:
        return self.curl(
            f"/api/devices/{device}/{command}",
            "--cookie", "cookies",
            "--header", "Content-Type: application/json",
            "--data", json.dumps(arguments),
        )  # fmt: skip


@contextlib.contextmanager
def adapter() -> Iterator[socket.socket]:
    """The USB serial adapter is plugged in as long as somebody is at its other end."""
    with socket.socket(socket.AF_UNIX) as far_end:
        far_end.connect(f"{os.environ['RIG_DIR']}/usb.sock")
        yield far_end


def push_clone(machine: Machine, directory: Path, version: str) -> None:
    """The project as it is now, as another version, in ~/labnode."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CLONE, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    package = directory / f"labnode-{version}.tar.gz"
    init = directory / "__init__.py"
    text = (CLONE / "labnode/__init__.py").read_text()
    init.write_text(re.sub(r'(__version__ = )".*"', rf'\1"{version}"', text))
    with tarfile.open(package, "w:gz") as tar:
        for name in filter(None, listed.split("\0")):
            if (CLONE / name).is_file() and name != "labnode/__init__.py":
                tar.add(CLONE / name, f"labnode/{name}")
        tar.add(init, "labnode/labnode/__init__.py")
        for wheel in Path(WHEELS).glob("*.whl") if WHEELS else ():
            if not wheel.name.startswith("labnode-"):  # it would be installed in place of this
                tar.add(wheel, f"wheels/{wheel.name}")
    machine.do("push", str(package), "clone.tar.gz")
    machine.ssh("rm -rf labnode && tar xzf clone.tar.gz")
