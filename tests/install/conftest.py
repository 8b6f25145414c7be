"""A system below a directory, a clone, and commands that only pretend: for tests of install.sh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.programs import ran

ROOT = Path(__file__).parent.parent.parent

# A systemd that remembers in $ROOT/systemd what is enabled and what runs, and how.
SYSTEMCTL = """
state=$ROOT_DIRECTORY/systemd
words=() now=''
for word in "$@"; do case $word in --now) now=yes ;; -*) ;; *) words+=("$word") ;; esac; done
unit=${words[1]:-}
case ${words[0]} in
    is-active) [[ -e $state/$unit.active ]] ;;
    is-enabled) [[ -e $state/$unit.enabled ]] ;;
    enable) mkdir -p "$state"; : >"$state/$unit.enabled" ;;
    stop)
        for unit in "${words[@]:1}"; do
            rm -f "$state/$unit.active" "$state/$unit.socket.active"
        done
        ;;
    disable) rm -f "$state/$unit.enabled" ${now:+"$state/$unit.active"} ;;
    restart)
        rm -f "$state/$unit.active"
        release=$(readlink "$ROOT_DIRECTORY/opt/labnode/current")
        [[ -n ${BROKEN:-} && $release == *$BROKEN* ]] && exit 1
        lab=$ROOT_DIRECTORY/etc/systemd/system/labnode@.service tools=labnode-tool.socket
        ! grep -q "^Wants=.*$tools" "$lab" || : >"$state/$tools.active"
        ! grep -q '^Wants=.*labnode@%i.socket' "$lab" || [[ -e $state/$unit.socket.active ]] ||
            grep -h ^ListenStream= "${lab%/*}/$unit.socket.d"/*.conf >"$state/$unit.socket.active"
        echo "$release" >"$state/$unit.active" ;;
esac
"""

NEEDS_NOTHING = '{"programs": {}, "packages": [], "groups": [], "extras": []}'

# A Python whose pip installs a labnode; what it is given to run itself is run by a real one, which
# has the modules in $PACKAGES as the system's.
PYTHON = f"""
case "$*" in
    *version_info*) echo ${{PYTHON_VERSION:-3.13}} ;;
    *ensurepip*) ;;
    *gpiochip_open*) [[ -z ${{NO_LGPIO:-}} ]] ;;
    *"install without-wheel"*) [[ -z ${{NO_LGPIO:-}} ]] || echo lgpio ;;&
    *"-m labnode.install"*)
        PYTHONPATH=$PACKAGES${{PYTHONPATH:+:$PYTHONPATH}} exec '{sys.executable}' "$@" ;;
    "-m venv "*)
        [[ -z ${{NO_VENV:-}} ]] || exit 1
        for directory; do :; done
        mkdir -p "$directory/bin" "$directory/lib/python3.{sys.version_info.minor}/site-packages"
        cp "$0" "$directory/bin/python" ;;
    *"-m pip"*)
        [[ -z ${{NO_PIP:-}} ]] || {{ echo "WARNING: Retrying (Retry(total=0)) after" >&2; exit 1; }}
        bin=${{0%/*}}
        while (($#)); do
            case $1 in
                --python) bin=${{2%/*}} ;;
                --report) echo '{{"install": []}}' >"$2" ;;
                --wheel-dir) mkdir -p "$2"; : >"$2/labnode-1.0-py3-none-any.whl" ;;
            esac
            shift
        done
        printf '%s\\n' '#!/usr/bin/env bash' "echo labnode \\"\\$@\\" >>'$CALLS'" \\
            'last=${{!#}}' \\
            '[[ "$1 $2" != "check --files" ]] || exec "${{0%/*}}/files" "$last"' \\
            '[[ $1 != bootconfig || $2 == --help ]] || cat "${{0%/*}}/bootconfig" 2>/dev/null' \\
            '[[ $1 != check ]] || ! grep -q mistake "$last" || exit 2' \\
            '[[ "$1 $2" != "check --needs" ]] || cat "${{0%/*}}/needs"' \\
            '[[ $1 != weblab-config ]] || echo for the central server' >"$bin/labnode"
        echo '{NEEDS_NOTHING}' >"$bin/needs"
        printf '%s\\n' '#!/usr/bin/env bash' 'cd "${{1%/*}}" && said=""' \\
            'for file in *; do grep -qF "$file" "$1" || [[ $file == "${{1##*/}}" ]] || continue' \\
            'said+="${{said:+, }}\\"$file\\""; done; echo "[$said]"' >"$bin/files"
        chmod +x "$bin/labnode" "$bin/files"
        site=$(echo "${{bin%/*}}"/lib/python*/site-packages)
        mkdir -p "$site/labnode-1.0.dist-info"
        cp -R labnode "$site/"
        printf 'Name: labnode\\nVersion: 1.0\\n' >"$site/labnode-1.0.dist-info/METADATA" ;;
    *weblab/sessions/api*) ;; # whether the lab answers
    "-I -"*) exec '{sys.executable}' "$@" ;;
esac
"""

USER_ADD = """
for name; do :; done
echo "$name:x:990:990:labnode, made by install.sh:/var/lib/labnode:/usr/sbin/nologin" \
    >>"$ROOT_DIRECTORY/etc/passwd"
"""
USER_DELETE = r"""
for name; do :; done
sed -i "/^$name:/d" "$ROOT_DIRECTORY/etc/passwd"
sed -i -E "s/,?\b$name(,|\$)/\1/" "$ROOT_DIRECTORY/etc/group"
"""
USER_MODIFY = r"""
for name; do :; done
[[ " $* " == *" --append "* ]] || sed -i -E "s/,?\b$name(,|\$)/\1/" "$ROOT_DIRECTORY/etc/group"
while [[ $1 != --groups ]]; do shift; done
for group in ${2//,/ }; do
    sed -i -E "s/^($group:.*[^:])$/\1,/; s/^$group:.*/&$name/" "$ROOT_DIRECTORY/etc/group"
done
"""

# Of OpenSSH: a pair of keys, and the keys of a server.
MAKE_KEY = """
for file; do :; done
echo secret >"$file"; echo "ssh-ed25519 AAAAC3Nz labnode-tunnel heater" >"$file.pub"
"""
SERVER_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIGnkUCGoR6kl7dOPZ2zrZYCWYFG5D8TmKH4kBM4PVFt2"
SCAN_KEYS = f"""
echo "# labs.example.org:22 SSH-2.0-OpenSSH"
echo "labs.example.org ssh-rsa AAAAB3NzaC1yc2E="
echo "labs.example.org ssh-ed25519 {SERVER_KEY}"
"""


class Node:
    """A Raspberry Pi OS below a directory, a clone, and commands that only pretend."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "the root"
        self.clone = directory / "clone"
        self.bin = directory / "bin"
        self.calls_file = directory / "calls"
        self.temporary = directory / "tmp"
        for path in (self.clone, self.bin, self.temporary, self.root / "run/systemd/system"):
            path.mkdir(parents=True)
        for name in ("install.sh", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(ROOT / name, self.clone / name)
        self.copy("deploy")
        self.packages = directory / "packages"
        self.packages.mkdir()
        for name in ("lgpio", "_lgpio", "yaml"):  # Debian's, for a machine without their wheels
            (self.packages / f"{name}.py").write_text("")
        for name in ("errors.py", "clock", "install", "locale"):
            self.copy(f"labnode/{name}")
        (self.clone / "boards").mkdir()
        self.version("1.0")
        self.board = self.clone / "boards" / "heater.yaml"
        self.board.write_text(
            "devices: {heater: {driver: relay, pin: GPIO17}}\nmodule: heater.py\n"
        )
        self.board.with_suffix(".py").write_text("lab = 1\n")
        for name in (
            "opt",
            "usr/local/bin",
            "etc/udev/rules.d",
            "etc/modules-load.d",
            "var/lib",
        ):
            (self.root / name).mkdir(parents=True)
        self.write("etc/os-release", 'ID=debian\nVERSION_ID="13"\n')
        self.write("etc/passwd", "root:x:0:0::/root:/bin/bash\n")
        self.write("etc/group", "root:x:0:\ngpio:x:986:\ndialout:x:20:\nvideo:x:44:\n")
        for tool in ["df", "modprobe", "lsblk"]:
            self.command(tool, "exit 1")
        for name, script in {
            "systemctl": SYSTEMCTL,
            "python3": PYTHON,
            "useradd": USER_ADD,
            "userdel": USER_DELETE,
            "usermod": USER_MODIFY,
            "apt-get": "",
            "apt-cache": "",
            "udevadm": "",
            "journalctl": "echo 'Traceback: it broke'",
            "runuser": 'shift 3; exec "$@"',
            "id": "echo 0",
            "chgrp": "",
            "chown": "",
            "ssh": "",
            "ssh-keygen": MAKE_KEY,
            "ssh-keyscan": SCAN_KEYS,
            "uname": "[[ $1 == -m ]] && echo aarch64 || echo Linux",
        }.items():
            self.command(name, script)

    def copy(self, name: str) -> None:
        """A file or directory of this project, into the clone."""
        target = self.clone / name
        target.parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target)

    def version(self, version: str) -> None:
        (self.clone / "labnode/__init__.py").write_text(f'__version__ = "{version}"\n')

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def command(self, name: str, script: str) -> None:
        path = self.bin / name
        noted = f'#!/usr/bin/env bash\necho "{name}${{*:+ $*}}" >>"$CALLS"\n'
        path.write_text(f"{noted}{script}\n")
        path.chmod(0o755)

    def run(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """`./install.sh ARGUMENTS` for the system below `root`; `stdin` may be a terminal."""
        if "python" not in " ".join(arguments) and arguments[:1] in (("install",), ("upgrade",)):
            arguments = (*arguments, "--python", str(self.bin / "python3"))
        environment["LABNODE_INSTALL_ROOT"] = str(self.root)
        return self.run_as_is(*arguments, stdin=stdin, **environment)

    def run_as_is(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        environ = {**self.environ(), **environment}
        return ran(["./install.sh", *arguments], cwd=self.clone, env=environ, stdin=stdin)

    def environ(self) -> dict[str, str]:
        """With the commands that only pretend."""
        path = f"{self.bin}:{os.environ['PATH']}"
        always = {"PATH": path, "CALLS": self.calls_file, "TMPDIR": self.temporary}
        always |= {"ROOT_DIRECTORY": self.root, "LC_ALL": "C.UTF-8", "PACKAGES": self.packages}
        return {name: str(value) for name, value in always.items()}

    def install(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        words = ("install", "--board", "boards/heater.yaml", *arguments)
        return self.run(*words, stdin=stdin, **environment)

    def calls(self, beginning: str = "") -> list[str]:
        text = self.calls_file.read_text() if self.calls_file.exists() else ""
        self.calls_file.unlink(missing_ok=True)
        return [line for line in text.splitlines() if line.startswith(beginning)]

    def files(self, *, times: bool = False) -> dict[str, object]:
        """Everything below the root with its content and mode, and with when it was changed."""
        found: dict[str, object] = {}
        for path in sorted(self.root.rglob("*")):
            status = path.lstat()
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_file():
                time = status.st_mtime_ns if times else 0
                found[str(path)] = (path.read_bytes(), status.st_mode, time)
            else:
                found[str(path)] = status.st_mode
        return found

    def running(self) -> str:
        """The release that labnode@heater runs with."""
        return Path(self.read("systemd/labnode@heater.active").strip()).name


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def installed(node: Node) -> Node:
    done = node.install()
    assert done.returncode == 0, done.stderr
    node.calls()
    return node
