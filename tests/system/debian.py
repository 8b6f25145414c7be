"""Fresh Debian systems that can be thrown away: a root of mmdebstrap, layers, namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CLONE = Path(__file__).parent.parent.parent
STAND_IN = Path(__file__).with_name("systemctl")
PACKAGES = "python3,python3-venv,ca-certificates,systemd,udev,kmod,procps"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PYTHON = "/usr/bin/python3"

_BEGINS_WITHIN = 60.0  # seconds

# The first process of a system: it takes in the orphans and does nothing.
FIRST = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True: signal.pause()"


def make_root(suite: str, root: Path) -> None:
    """A minimal Debian, from where this machine's apt has its packages."""
    options = []
    configuration = subprocess.run(
        ["apt-config", "dump"], capture_output=True, text=True, check=True
    )
    for line in configuration.stdout.splitlines():
        if line.startswith(("Acquire::http", "Acquire::https", "Acquire::Retries")):
            options.append(f"--aptopt={line}")
    mirror = os.environ.get("LABNODE_TEST_MIRROR") or mirror_of_this_machine()
    how = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={PACKAGES}"]
    subprocess.run([*how, *options, suite, str(root), mirror], check=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.copy(CERTIFICATES, root / CERTIFICATES.lstrip("/"))
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shutil.copy(STAND_IN, root / "usr/local/bin/systemctl")


def mirror_of_this_machine() -> str:
    """Where this machine's apt has Debian from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    mirrors = [uri for uri in listed if uri.rstrip("/").endswith("/debian")]
    assert mirrors, "apt has no Debian mirror here: set LABNODE_TEST_MIRROR"
    return mirrors[0]


class System:
    """A Debian over `layers` (the top one first), which runs while it is entered with `with`."""

    def __init__(self, layers: list[Path], directory: Path, *, network: bool) -> None:
        self.layers = layers
        self.network = network
        self.upper, self.work, self.root = (directory / name for name in ("upper", "work", "root"))
        for path in (self.upper, self.work, self.root):
            path.mkdir(parents=True)

    def __enter__(self) -> System:
        lower = ":".join(map(str, self.layers))
        what = f"lowerdir={lower},upperdir={self.upper},workdir={self.work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", what, self.root], check=True)
        (self.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        own = ["--mount", "--pid", *([] if self.network else ["--net"]), "--fork", "--kill-child"]
        command = [
            "unshare",
            *own,
            f"--mount-proc={self.root / 'proc'}",
            "chroot",
            self.root,
            PYTHON,
        ]
        self.process = subprocess.Popen([*command, "-c", FIRST], start_new_session=True)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        end = time.monotonic() + _BEGINS_WITHIN
        while not (first := children.read_text().strip()):
            assert time.monotonic() < end, "the system did not begin"
            time.sleep(0.01)
        while not Path(f"/proc/{first}/comm").read_text().startswith("python"):
            assert time.monotonic() < end, "the first process of the system did not begin"
            time.sleep(0.01)  # unshare and chroot are still at it
        self.first = first
        if not self.network:
            subprocess.run(
                ["nsenter", "-t", first, "-n", "ip", "link", "set", "lo", "up"], check=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.root / "run/systemd/stand-in").glob("*.keeper"):
            self.run("systemctl", "stop", file.stem)
        os.kill(int(self.first), signal.SIGKILL)
        self.process.wait()
        subprocess.run(["umount", "--lazy", self.root], check=True)

    def command(self, *command: str, **environment: str) -> list[str]:
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            **{
                name: os.environ[name]
                for name in ("PIP_CERT", "PIP_INDEX_URL")
                if name in os.environ
            },
            **environment,
        }
        words = [f"{name}={value}" for name, value in variables.items()]
        spaces = ["-m", "-p", "-n", "-r", "-w"]
        return [
            "nsenter",
            "-t",
            self.first,
            *spaces,
            "--",
            "env",
            "-i",
            "-C",
            "/src",
            *words,
            *command,
        ]

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*command, **environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def install(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`./install.sh ARGUMENTS` as root, with nobody at the keyboard."""
        return self.run("./install.sh", *arguments, **environment)

    def add_clone(self) -> None:
        """This project as a clone in /src, as git has it and as it is now."""
        files = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=CLONE,
            capture_output=True,
            check=True,
        ).stdout.split(b"\0")
        for name in (file.decode() for file in files if file):
            if not name.startswith("tests/") and (CLONE / name).is_file():
                target = self.root / "src" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CLONE / name, target)

    def state(self) -> dict[str, str]:
        """Every file that an installer could change, with what it is; not the clone and /tmp."""
        found = self.run(
            *("find", "/", "-xdev", "-regextype", "posix-extended"),
            *("-regex", "/(proc|sys|run|tmp|src|var/lib/labnode)", "-prune"),
            *("-o", "-printf", r"%p\t%y %m %u %g %l %T@ %s\n"),
        )
        lines = (line.partition("\t") for line in found.stdout.splitlines())
        return {path: what for path, _, what in lines}

    def answer(self, port: int = 8080) -> str:
        """What the lab says to the central server's question; nothing when it does not answer."""
        ask = f"print(urllib.request.urlopen('{_API.format(port)}', timeout=5).read().decode())"
        return self.run(PYTHON, "-c", f"import urllib.request; {ask}").stdout.strip()

    def status(self, lab: str = "demo") -> dict[str, object]:
        """What the lab says of itself, which has its version and process."""
        told = self.run(
            *("runuser", "-u", "labnode", "--", "/opt/labnode/current/bin/labnode", "status"),
            *("--json", "--state-dir", f"/var/lib/labnode/{lab}"),
        )
        return dict(json.loads(told.stdout)) if told.returncode == 0 else {}


_API = "http://127.0.0.1:{}/weblab/sessions/api"


@contextlib.contextmanager
def system(layers: list[Path], directory: Path, *, network: bool = False) -> Iterator[System]:
    with System(layers, directory, network=network) as made:
        yield made
