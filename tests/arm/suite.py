"""`./install.sh test --arm ROOT [PART]`: the tests in an emulated Debian of another processor."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

CLONE = Path(__file__).parent.parent.parent
sys.path.insert(0, str(CLONE))  # started as a file, by a Python that need not have labnode

from tests.arm.results import forget_failures, results_in, table  # noqa: E402

WITHIN = 3000  # seconds, then no more tests are begun; and
ENDS = 3600  # seconds, then one that hangs is killed
RESULTS = "home/pi/results.jsonl"
PYTEST = "-q -n 2 --dist worksteal -p no:cacheprovider -p tests.arm.progress"
DIRECTORY = Path(os.environ.get("ARM_DIR", "/tmp/arm-root"))  # the rig's


def main(root: str, *part: str) -> int:
    prepare(root)
    results = DIRECTORY / root / RESULTS
    if part == ("failed",):
        part = tuple(forget_failures(results))
        if not part:
            part = ("--version",)
    environment = f"LABNODE_TEST_PROGRESS=/{RESULTS} LABNODE_TEST_SECONDS={WITHIN}"
    pytest = f"timeout {ENDS} .venv/bin/python -m pytest {PYTEST} {shlex.join(part)}"
    status = rig("quiet", root, f"{environment} {pytest}")
    sys.stdout.write(table(root, results_in(results)) + "\n")
    return status


def prepare(root: str) -> None:
    """The root is there, with this clone's commit and the libraries of the tests."""
    clone = DIRECTORY / root / "home/pi/labnode"
    if rig("make", root) or (not clone.exists() and rig("clone", root)):
        sys.exit(f"{root} could not be made")
    git = ["git", "-C", str(clone), "-c", "safe.directory=*"]
    for arguments in (["fetch", "-q", str(CLONE), "HEAD"], ["reset", "-q", "--hard", "FETCH_HEAD"]):
        subprocess.run([*git, *arguments], check=True)
    subprocess.run(["chown", "-R", f"--reference={clone.parent}", str(clone)], check=True)
    installed = "grep -qsx 'extras test' .venv/labnode-stamp"
    if rig("sh", root, f"{installed} || ./install.sh test --version"):
        sys.exit(f"the tests could not be installed in {root}")


def rig(verb: str, root: str, *arguments: str) -> int:
    command = [*shlex.split(os.environ["LABNODE_TEST_ARM"]), verb, root, *arguments]
    environment = {**os.environ, "ARM_SOURCE": str(CLONE)}
    return subprocess.run(["nice", "-n", "19", *command], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
