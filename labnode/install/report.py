"""What a person is told at the end: where the lab is, what the central server needs, passwords."""

from __future__ import annotations

import os
import pwd
import re
import sys
from pathlib import Path

from labnode.install.labs import NewLab
from labnode.install.target import Target, undisturbed
from labnode.install.tunnel import NewTunnel


def indented(text: str, width: int = 2) -> str:
    return "".join(f"{' ' * width}{line}\n" for line in text.splitlines())


def report_lab(lab: NewLab, target: Target, *, reboot_needed: bool) -> None:
    """The lab is installed."""
    labnode = target.current / "bin" / "labnode"
    shown = ["--show-password"] if lab.password else []
    asked = undisturbed(labnode, "weblab-config", "--settings", lab.settings, *shown)
    _tell(
        f"\nThe lab '{lab.name}' is installed.\n"
        f"  settings   {lab.settings}\n"
        f"  board      {lab.setting('board')}\n"
        "  how it is  ./install.sh status\n"
        f"  its log    journalctl --unit labnode@{lab.name}\n\n"
        "The administrator of the central server has to enter:\n" + indented(asked or "")
    )
    if not reboot_needed:
        # What is not as it should be on this machine; the lab runs all the same.
        said = undisturbed(labnode, "doctor", "--settings", lab.settings, shown=False, failing=True)
        _tell(_warnings(said or ""))
    if lab.password:
        user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
        _tell(
            "\nThese passwords are not shown again (they are in the settings, which only root can "
            "read):\n" + _passwords(lab)
        )
        _tell(where_the_administration_is(lab, f"{user}@{os.uname().nodename}"))


def _warnings(said: str) -> str:
    """Each problem, with the advice below it."""
    found = re.findall(r"^(?:PROBLEM|warning).*\n(?:.*\n)?", said, re.M)
    return "".join(f"{text.rstrip()}\n" for text in found)


def report_card(path: str, lab: NewLab, venv: Path) -> None:
    """The card is written."""
    options = lab.options
    host = f"{options['hostname'] or 'raspberrypi'}.local"
    lines = [
        "",
        f"{path} becomes the lab '{lab.name}' in its first boot, which takes some minutes; then it "
        "is at",
        f"  http://{host}:{lab.port}/weblab/health",
        "If it is not: labnode/result.txt on the card's boot partition says why.",
    ]
    if "ssh-key" not in options:
        lines.append(
            "Nobody can log in on this Pi, unless the card has a user already (--ssh-key)."
        )
    if "wheels" not in options:
        lines.append("It needs the internet for that (--wheels: it does not).")
    asked = undisturbed(
        *(venv / "bin" / "labnode", "weblab-config", lab.board),
        *("--host", f"{host}:{lab.port}", "--show-password"),
        LABNODE_WEBLAB_USERNAME=options["weblab-username"] or "weblab",
        LABNODE_WEBLAB_PASSWORD=lab.password,
        LABNODE_BASE_URL=options["base-url"],
    )
    lines += ["", "The administrator of the central server has to enter:"]
    _tell("\n".join(lines) + "\n" + indented(asked or ""))
    _tell("\nThese passwords are not shown again:\n" + _passwords(lab))
    _tell(where_the_administration_is(lab, f"{options['user'] or 'pi'}@{host}"))


def report_tunnel(tunnel: NewTunnel) -> None:
    """What the server's administrator has to do."""
    server = tunnel.server
    _tell(
        f"\nThe tunnel to {server.host} stands when this line is in the authorized_keys of "
        f"{server.user} there:\n  {tunnel.authorized_key}\n"
        f"The lab is then at http://127.0.0.1:{tunnel.port} of that machine; docs/tunnel.md has "
        "the rest.\n"
    )


def _passwords(lab: NewLab) -> str:
    def shown(password: str) -> str:
        return "(the one that was hashed)" if password.startswith("scrypt$") else password

    return (
        f"  central server    {lab.options['weblab-username'] or 'weblab'}  {shown(lab.password)}\n"
        f"  administration    admin  {shown(lab.admin_password)}\n"
    )


def where_the_administration_is(lab: NewLab, account: str) -> str:
    """How a laptop gets to it; `account` is "user@host" on the lab's machine."""
    path = re.sub(r"^[^/]*", "", lab.options["base-url"].partition("://")[2]).rstrip("/")
    host, port = lab.admin_host, lab.admin_port
    if host.startswith("127.") or host in ("localhost", "::1"):
        bracketed = "[::1]" if host == "::1" else host
        return (
            f"\nThe administration is at http://localhost:{port}{path}/admin after this, on your "
            f"own computer:\n  ssh -L {port}:{bracketed}:{port} {account}\n"
        )
    name = account.rpartition("@")[2]
    return (
        f"\nThe administration listens on port {port} of {host}: http://{name}:{port}{path}/admin\n"
    )


def _tell(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
