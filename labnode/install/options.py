"""The options of install.sh: what each is for, and what was asked for on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labnode.errors import ConfigError

PREFIX = "LABNODE_INSTALL_"
_YES = ("1", "yes", "true", "on")
_NO = ("0", "no", "false", "off")


class Misused(ConfigError):
    """The command line is wrong; the usage follows the sentence."""


@dataclass(frozen=True)
class InstallOption:
    """--port 8080, --port=8080 or LABNODE_INSTALL_PORT=8080; docs/install.md has the same table."""

    name: str
    value: str  # what it takes: "N"; nothing: yes or no
    commands: tuple[str, ...]
    text: str

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper().replace("-", "_")


# name|what it takes|its commands|what it is for
_TABLE = """\
board|FILE|install flash|the board file, or a directory with it and all that belongs to it
name|NAME|install uninstall flash|what this lab is called here (the name of the board file)
host|ADDRESS|install flash|the address to listen on (0.0.0.0: all of this machine)
port|N|install flash|the port to listen on (8080)
base-url|URL|install flash|where the lab is for browsers, such as https://labs.example.org/lab1
weblab-username|NAME|install flash|what the central server logs in as (weblab)
weblab-password|WORD|install flash|its password (made up, and shown once)
admin-password|WORD|install flash|the password of the administration (made up, and shown once)
admin-host|ADDRESS|install flash|where the administration listens (127.0.0.1: reached through ssh)
admin-port|N|install flash|its port (that of the lab plus 1000)
tunnel|USER@HOST[:PORT]|install|the server that reaches the lab through a tunnel (docs/tunnel.md)
tunnel-port|N|install|the port on that server's loopback (one of 20000 to 29999, always the same)
tunnel-host-key|FILE|install|that server's public key (the one that it shows, if you accept it)
simulate||install flash|without hardware: the pins are only pretended
wheels|DIR|install upgrade flash|labnode and its libraries as wheels; no internet is needed
python|FILE|install upgrade|the Python to run it with (/usr/bin/python3)
wait|SECONDS|install upgrade rollback|how long to let students finish first; 0: not (600)
purge||uninstall|settings, boards, history and the users, too
hostname|NAME|flash|what the Pi is called in the network
user|NAME|flash|who may log in on the Pi (pi)
ssh-key|FILE|flash|the public key of that user
wifi|NAME|flash|the wireless network to join
wifi-password|WORD|flash|its password
wifi-country|CC|flash|where the Pi is, such as ES or GB: decides which channels it may use
yes||install upgrade rollback uninstall flash|never ask; the answer is yes
dry-run||install upgrade rollback uninstall flash|only say what would be done
root|DIR|install upgrade rollback uninstall status|work on the system below DIR, not on /
"""
OPTIONS = {
    name: InstallOption(name, value, tuple(commands.split()), text)
    for name, value, commands, text in (row.split("|") for row in _TABLE.splitlines())
}

# What stands after `./install.sh`, and what the command does.
COMMANDS = {
    "docs": ("[--build | --port N]", "build these documents as a site, and serve it on loopback"),
    "test": (
        "[PYTEST-ARGUMENT... | --system [PYTEST-ARGUMENT...] | --real [PYTEST-ARGUMENT...] | "
        "--arm ROOT [PART] | --tools | --audit]",
        "check the code and run every test",
    ),
    "install": (
        "--board boards/NAME.yaml",
        "make a board a service of this machine; again: add a lab, or change this one",
    ),
    "upgrade": ("", "go over to the labnode in this directory; back again when it does not work"),
    "rollback": ("", "go back to the labnode before the last upgrade"),
    "uninstall": ("", "remove labnode (or one lab); settings and history stay without --purge"),
    "status": ("", "what is installed, and how it is"),
    "flash": (
        "IMAGE-OR-DEVICE --board boards/NAME.yaml",
        "put a lab on an SD card (or image) with Raspberry Pi OS: it installs itself",
    ),
}


def usage(command: str) -> str:
    """How `command` is used, with all its options."""
    words, text = COMMANDS[command]
    options = [option for option in OPTIONS.values() if command in option.commands]
    if options:
        words = f"{words} [OPTION...]".strip()
    lines = [f"Usage: ./install.sh {command} {words}", "", f"{text[0].upper()}{text[1:]}."]
    if options:
        lines += ["", "Options, each also as a variable (--base-url is LABNODE_INSTALL_BASE_URL):"]
    for option in options:
        shown = f"--{option.name}{' ' if option.value else ''}{option.value}"
        lines.append(f"  {shown:<24} {option.text}")
    return "\n".join(lines) + "\n"


@dataclass
class Options:
    """What was asked for: options by name, and what is no option."""

    given: dict[str, str]
    operands: list[str]

    def __getitem__(self, name: str) -> str:
        """The value; "" when the option was not given."""
        return self.given.get(name, "")

    def __contains__(self, name: str) -> bool:
        return bool(self[name])

    @property
    def dry(self) -> bool:
        return "dry-run" in self


def read_options(command: str, words: Sequence[str], environ: Mapping[str, str]) -> Options:
    """The options of `command`, from the variables and the words; the words win. Misused."""
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in {o.variable for o in OPTIONS.values()}:
            raise Misused(f"there is no option for the variable {variable}")
    given = {}
    for option in OPTIONS.values():
        # A variable may be set for all commands; an option is for this one.
        text = environ.get(option.variable, "")
        if command in option.commands and text:
            given[option.name] = text if option.value else _yes_or_no(option, text)
    operands: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            name, value = _read_option(command, word, rest)
            given[name] = value
        else:
            operands.append(word)
    options = Options(given, operands)
    _check(options)
    return options


def _yes_or_no(option: InstallOption, text: str) -> str:
    if text.lower() not in (*_YES, *_NO):
        raise Misused(f"{option.variable} is yes or no, not '{text}'")
    return "yes" if text.lower() in _YES else ""


def _read_option(command: str, word: str, rest: Iterator[str]) -> tuple[str, str]:
    name, equals, value = word.removeprefix("--").partition("=")
    if not word.startswith("--"):
        raise Misused(f"there is no option '{word}'")
    if name not in OPTIONS:
        raise Misused(f"there is no option '--{name}'")
    option = OPTIONS[name]
    if command not in option.commands:
        raise Misused(f"{command} has no option '--{name}'")
    if not option.value:
        if equals:
            raise Misused(f"--{name} takes nothing")
        return name, "yes"
    value = value if equals else next(rest, "")
    if not value:
        raise Misused(f"--{name} needs something after it: {option.value}")
    return name, value


# --- what a value has to be ---


def _check(options: Options) -> None:
    """Misused when a value cannot be what was meant."""
    if "root" in options and not Path(options["root"]).is_dir():
        raise Misused(f"--root: there is no directory {options['root']}")
    for name in ("port", "admin-port", "tunnel-port"):
        if name in options:
            _check_port(name, options[name])
    if "wait" in options and not re.fullmatch(r"\d+", options["wait"]):
        raise Misused(f"--wait is a number of seconds, not '{options['wait']}'")
    for name in ("weblab-password", "admin-password"):
        if name in options and len(options[name]) < 12 and "simulate" not in options:
            raise Misused(f"--{name} has 12 characters or more (without it, a good one is made up)")
    for name in ("weblab-username", "weblab-password"):
        if not options[name].isascii():
            raise Misused(
                "--weblab-username and --weblab-password are ASCII: central servers cannot send "
                "others"
            )
    _check_tunnel(options)
    _check_card(options)


def _check_port(name: str, text: str) -> None:
    if not re.fullmatch(r"[1-9]\d{0,4}", text):
        raise Misused(f"--{name} is a number, not '{text}'")
    if int(text) > 65535:
        raise Misused(f"--{name} is 1 to 65535, not {text}")


def _check_tunnel(options: Options) -> None:
    if "tunnel" in options:
        tunnel_server(options["tunnel"])
    elif given := {"tunnel-port", "tunnel-host-key"} & options.given.keys():
        raise Misused(f"--{min(given)} is for --tunnel")
    if "tunnel-host-key" in options:
        public_key(options["tunnel-host-key"], "tunnel-host-key")


def tunnel_server(text: str) -> tuple[str, str, int]:
    """The user, the host and the port of ssh in USER@HOST[:PORT]. Misused."""
    found = re.fullmatch(
        r"([A-Za-z_][\w.-]*)@(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9][A-Za-z0-9.-]*))(?::(\d+))?", text
    )
    if found is None:
        raise Misused(f"--tunnel is USER@HOST or USER@HOST:PORT, not '{text}'")
    user, address, name, port = found.groups()
    if port:
        _check_port("tunnel", port)
    return user, address or name, int(port or 22)


def _check_card(options: Options) -> None:
    names = {
        "hostname": (r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "small letters, digits and '-' only"),
        "user": (r"[a-z][a-z0-9_-]{0,31}", "small letters, digits, '-' and '_' only"),
    }
    for name, (pattern, words) in names.items():
        if name in options and not re.fullmatch(pattern, options[name]):
            raise Misused(f"--{name} has {words}, not '{options[name]}'")
    if "ssh-key" in options:
        public_key(options["ssh-key"], "ssh-key")
    if "wifi" in options and not re.fullmatch(r"[A-Z]{2}", options["wifi-country"]):
        raise Misused(
            "--wifi needs --wifi-country, two letters such as ES: without it the Pi's radio stays "
            "off"
        )


def public_key(file: str, option: str) -> str:
    """The first public key in the `file` of an option. Misused when there is none."""
    try:
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^(ssh|ecdsa|sk)-\S+ [A-Za-z0-9+/=]+.*$", text, re.M)
    if found is None:
        example = "~/.ssh/id_ed25519.pub" if option == "ssh-key" else "ssh_host_ed25519_key.pub"
        raise Misused(f"--{option}: there is no public key in {file} (such as {example})")
    return found[0]


def check_name(name: str) -> str:
    """`name`, if a lab may be called so; else Misused."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name) or name == "secrets":
        raise Misused(
            f"a lab's name has small letters, digits, '-' and '_' only, not '{name}' (--name)"
        )
    return name


def ports(options: Options) -> tuple[int, int]:
    """The port of the lab, and that of its administration. Misused when they are the same."""
    port = int(options["port"] or 8080)
    admin = int(options["admin-port"] or (port + 1000 if port <= 64535 else port - 1000))
    if port == admin:
        raise Misused("--admin-port is another one than --port")
    return port, admin
