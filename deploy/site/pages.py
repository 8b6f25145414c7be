"""The pages of docs/ that are made from the code: drivers, settings, commands, metrics and so on.

    LABNODE_TEST_WRITE=1 python -m pytest tests/site/test_pages.py

writes them; that test fails while one is stale.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import click

import labnode
from deploy.site import classes, http_api
from labnode.board import load_board
from labnode.cli.main import main
from labnode.clock import ManualClock
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.registry import load_drivers
from labnode.errors import LabnodeError
from labnode.events import Bus
from labnode.schema import Duration, Option, options
from labnode.settings import AdminAccess, Client, Credentials, Settings
from labnode.settings.load import variables
from labnode.system.gauges import MachineGauges, NodeGauges
from labnode.system.metrics import Metrics
from labnode.system.pi import Disk, Machine, Throttling
from labnode.wizard import reference
from labnode.wizard.pinout import as_svg
from labnode.wizard.wiring import wiring

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAVIGATION = ROOT / "mkdocs.yml"

GENERATED = "<!-- made from the code: python -m pytest tests/site says how -->"

# The folders of labnode/drivers (a driver directly in it is of ""), by what a driver hangs on.
GROUPS = {
    "gpio": ("Pins", "Devices on the Raspberry Pi's own pins."),
    "buses": ("I²C, SPI and 1-Wire", "Parts on a bus."),
    "serial": ("Serial ports", "Devices on a serial port: USB adapters, UARTs, boards."),
    "network": ("Network", "Devices that are reached over the network."),
    "instruments": ("Instruments", "What is controlled with text commands, and arrays; see also "
                    "[Instruments](../instruments.md)."),
    "programs": ("Programs and USB", "What a program of the Pi reads or switches."),
    "camera": ("Cameras", "Moving pictures of the board."),
    "tools": ("Programmers", "What writes students' files into chips; see also "
              "[Program chips](../programming.md)."),
    "logic": ("Values and control", "What follows from other devices or commands them: formulas, "
              "controllers, choices; see also [Derived values](../derived-values.md)."),
    "": ("Without hardware", "The Pi itself, and many readings at once."),
}  # fmt: skip

_STATUS: dict[str, Any] = {
    "state": "ready", "sessions": [], "users": 1, "uptime": 1.0, "quarantine": None,
    "estop": None, "faults": [], "draining": False, "alarm": None,
}  # fmt: skip


def pages() -> dict[str, str]:
    """The text of every generated file, by its path in docs/."""
    made = {
        "drivers/index.md": _driver_index(),
        "reference/settings.md": _settings(),
        **_commands(),
        "reference/http-api.md": http_api.page(),
        "reference/openapi.json": json.dumps(http_api.openapi(), indent=1) + "\n",
        "reference/metrics.md": _metrics(),
        "reference/errors.md": _errors(),
        **classes.pages(GENERATED),
        **recipes(),
    }
    for kind, cls in load_drivers().items():
        made[f"drivers/{kind}.md"] = f"{GENERATED}\n\n{reference.driver(cls)}\n"
    return made


def navigation(text: str) -> str:
    """mkdocs.yml with the drivers that there are."""
    lines = []
    for title, _, kinds in _groups():
        lines.append(f"          - {title}:")
        lines += [f"              - {kind}: drivers/{kind}.md" for kind in kinds]
    block = "\n".join(["# drivers", *lines, "          # end of drivers"])
    return re.sub(r"# drivers\n.*?# end of drivers", lambda _: block, text, flags=re.DOTALL)


# --- drivers ---


def _groups() -> Iterator[tuple[str, str, list[str]]]:
    """Each group's title, its sentence and its drivers."""
    rooms: dict[str, list[str]] = {room: [] for room in GROUPS}
    for kind, cls in sorted(load_drivers().items()):
        inside = cls.__module__.removeprefix("labnode.drivers.")
        room = inside.split(".")[0] if "." in inside else ""
        if room not in rooms:
            raise ValueError(f"deploy/site/pages.py: GROUPS has no title for drivers/{room}")
        rooms[room].append(kind)
    for room, kinds in rooms.items():
        yield (*GROUPS[room], kinds)


def _driver_index() -> str:
    found = load_drivers()
    parts = [
        GENERATED,
        "# Drivers",
        "A driver is a kind of device that a [board file](../board-files.md) can have. Each has a "
        "page with its options and an example. [Devices](../devices.md) has the options that all "
        "drivers share. If yours is not here, [write one](../own-driver.md).",
    ]
    for title, about, kinds in _groups():
        rows = [f"| [`{kind}`]({kind}.md) | {_first_sentence(found[kind])} |" for kind in kinds]
        parts += [f"## {title}", about, "\n".join(["| driver | |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def _first_sentence(cls: type[Driver] | type[LabnodeError] | click.Command) -> str:
    text = cls.help if isinstance(cls, click.Command) else cls.__doc__
    paragraph = " ".join((text or "").partition("\n\n")[0].split())
    found = re.match(r".*?[.:;](?= [A-Z]|$)", paragraph)
    return (found[0] if found else paragraph).replace("|", "\\|")


# --- settings ---


def _settings() -> str:
    return "\n\n".join([
        GENERATED,
        "# Settings",
        "The settings of a node are a YAML file, `/etc/labnode/NAME.yaml` where `install.sh` has "
        "made it. Each can also be given as an environment variable, which wins over the file; "
        "options of `labnode run` win over both. Times are seconds, or have a unit: 500ms, 5s, 2m, "
        "1h, 90d. After a change, restart the service: `sudo systemctl restart labnode@NAME`.",
        _settings_table(Settings, ""),
        "## In `weblab`",
        _settings_table(Credentials, "weblab"),
        "## In each of `clients`",
        "`clients` has no variables for its parts: in the environment it is one text of YAML.",
        _settings_table(Client, None),
        "## In `admin`",
        _settings_table(AdminAccess, "admin"),
        "See [Administration](../admin.md) for what these do.",
    ]) + "\n"  # fmt: skip


def _settings_table(cls: Any, inside: str | None) -> str:
    """`inside`: the setting that these are part of; None where they have no variables."""
    known = {keys: name for name, (keys, _) in variables().items()}
    rows = ["| setting | variable | default | |", "| --- | --- | --- | --- |"]
    for option in options(cls):
        keys = (inside, option.key) if inside else (option.key,)
        variable = "" if inside is None else known.get(keys, "")
        cells = (f"`{option.key}`", variable and f"`{variable}`", _default(option, cls), option.doc)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _default(option: Option, cls: Any) -> str:
    """As one writes it in YAML; nothing where the sentence says what it is."""
    (field,) = (f for f in dataclasses.fields(cls) if f.name == option.name)
    value = field.default
    if value is dataclasses.MISSING or value is None or value == "" or option.key == "state_dir":
        return ""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    kinds = (option.type, *get_args(option.type))
    if Duration in kinds or any(kind in get_args(Duration) for kind in get_args(option.type)):
        return f"`{value / 86400:g}d`" if value >= 86400 else f"`{value / 3600:g}h`"
    return f"`{value}`"


# --- commands ---


_TOPICS = {
    "reference/commands.md": (
        "Commands",
        "demo new check run weblab-config fake suggest pinout bootconfig schema simulate",
    ),
    "reference/node-commands.md": ("Commands for a node that runs", ""),
}


def _commands() -> dict[str, str]:
    """Two pages: commands for making a board, and the others."""
    first = _TOPICS["reference/commands.md"][1].split()
    made = {}
    for path, (title, names) in _TOPICS.items():
        chosen = [n for n in main.commands if (n in first) == bool(names)]
        parts = [GENERATED, f"# {title}"]
        if names:
            parts.append(
                "Exit codes: 0 done; 1 it did not work, and a sentence says why; 2 a file, a "
                "setting or an option is wrong; 70 (`labnode run`) the node ended itself to make "
                "the hardware safe. `-h` and `--help` explain every command. Commands for a node "
                "that runs are [on a page of their own](node-commands.md)."
            )
        else:
            parts.append("How these reach a node, and as which user: "
                         "[Operating a node](../operating.md#commands).")  # fmt: skip
        for name in chosen:
            parts += _command(f"labnode {name}", main.commands[name])
        made[path] = "\n\n".join(parts) + "\n"
    return made


def _command(name: str, command: click.Command) -> Iterator[str]:
    with click.Context(command, info_name=name, max_content_width=100) as context:
        yield f"## {name}" if name.count(" ") == 1 else f"### {name}"
        yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
        yield _prose(command.help or "")
        shown = (p for p in command.params if isinstance(p, click.Option))
        rows = [
            f"| `{record[0]}` | {record[1]} |"
            for p in shown
            if (record := p.get_help_record(context))
        ]
        if rows:
            yield "\n".join(["| option | |", "| --- | --- |", *rows])
    if isinstance(command, click.Group):
        for inner, sub in command.commands.items():
            yield from _command(f"{name} {inner}", sub)


def _prose(text: str) -> str:
    """The help text of a command as Markdown."""
    paragraphs = re.sub(r"\x08\n", "", text).strip().split("\n\n")
    return "\n\n".join("\n".join(line.strip() for line in p.splitlines()) for p in paragraphs)


# --- metrics ---


class _Pi(Machine):
    """A machine that has everything that can be measured."""

    def temperature(self) -> float:
        return 50.0

    def throttling(self) -> Throttling:
        return Throttling(frozenset(), frozenset())

    def disk(self, path: Path) -> Disk:  # noqa: ARG002
        return Disk(1, 1, False, 0)


def metrics() -> dict[str, tuple[str, set[str], str]]:
    """Every metric of labnode's: its type, labels and sentence."""
    bus = Bus()
    made = Metrics(
        bus, ManualClock(), {"version": "1", "python": "", "machine": "", "experiment": ""}
    )
    state = {"value": 1, "rx_bytes": 1, "tx_bytes": 1, "dropped_bytes": 1}
    made.registry.register(NodeGauges(lambda: _STATUS, lambda: {"led": state}))
    made.registry.register(MachineGauges(_Pi(), Path("/"), ManualClock()))
    found = {}
    for family in made.registry.collect():
        if family.name.startswith("labnode_"):
            name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            labels |= set(getattr(_collector(made, family.name), "_labelnames", ()))
            found[name] = (family.type, labels, family.documentation)
    made.end()
    return found


def _collector(made: Metrics, name: str) -> Any:
    return made.registry._names_to_collectors.get(name)


def _metrics() -> str:
    rows = ["| metric | type | labels | |", "| --- | --- | --- | --- |"]
    for name, (kind, labels, doc) in metrics().items():
        rows.append(f"| `{name}` | {kind} | {', '.join(sorted(labels))} | {doc} |")
    return "\n\n".join([
        GENERATED,
        "# Metrics",
        "With `metrics: 127.0.0.1:9464` in the settings, the node serves these to Prometheus at "
        "`/metrics` of that address. [Logs, metrics and backups](../monitoring.md) says how, and "
        "which alerts there are. Times are seconds. A histogram has `_bucket`, `_count` and "
        "`_sum`.",
        "\n".join(rows),
        "Memory, processor time and open files of the process have their usual names, `process_…`.",
    ]) + "\n"  # fmt: skip


# --- errors ---


def _errors() -> str:
    for module in pkgutil.walk_packages(labnode.__path__, "labnode."):
        if not module.name.endswith(("__main__", "lgpio")):
            importlib.import_module(module.name)
    rows = {}
    for cls in _subclasses(LabnodeError):
        if cls.__module__.startswith("labnode.") and "code" in vars(cls):
            rows[cls.code] = (
                f"| `{cls.code}` | {cls.status} | `{cls.__name__}` | {_first_sentence(cls)} |"
            )
    return "\n\n".join([
        GENERATED,
        "# Errors",
        "What the HTTP API refuses is answered with a JSON object: `message` is a sentence for "
        "people, `code` is for programs. In a lab's Python the same errors are exceptions.",
        "\n".join(["| code | HTTP status | class | |", "| --- | --- | --- | --- |",
                   *(rows[code] for code in sorted(rows))]),
        "Codes of a task that has failed are the same; one that raised an exception of the lab's "
        "own has the code `exception`. A start that is refused has no code: central servers read "
        "`message`.",
    ]) + "\n"  # fmt: skip


def _subclasses(cls: type[LabnodeError]) -> Iterable[type[LabnodeError]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


# --- recipes and examples ---


def recipes() -> dict[str, str]:
    """The pages with files in them, and the drawing of each recipe's wiring."""
    made = {}
    for path in sorted([*(DOCS / "recipes").glob("*.md"), *DOCS.glob("own-driver*.md")]):
        text = path.read_text(encoding="utf-8")
        for kind, file in re.findall(r"<!-- (board|file) (\S+) -->", text):
            page = path.relative_to(DOCS).as_posix()
            made[page] = _with_file(made.get(page, text), kind, file)
            if kind == "board":
                board = load_board(ROOT / file)
                made[f"recipes/{path.stem}.svg"] = as_svg(board.title.pick(), wiring(board))
    return made


def _with_file(text: str, kind: str, file: str) -> str:
    begin, end = f"<!-- {kind} {file} -->", "<!-- end -->"
    inside = (ROOT / file).read_text(encoding="utf-8").rstrip()
    language = "python" if file.endswith(".py") else "yaml"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n```{language}\n{inside}\n```\n\n{end}{rest.partition(end)[2]}"
