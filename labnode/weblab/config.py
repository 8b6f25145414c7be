"""The configuration that a central server needs to use this node, to be added to what it has.

The keys are those of WebLab-Deusto's documentation ("Remote laboratory deployment") and of its
`weblab/lab/status_handler.py` and `experiments/http_experiment.py`; for LabDiscoveryEngine those
of its `configuration/storage.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from labnode.errors import BadInput
from labnode.locale import Message, Say
from labnode.settings import Client, Settings

_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z][A-Za-z0-9_-]*", re.I)
_CHECKERS = "# A WebLab-Deusto that does not know WebHandler yet: 'checkers': (),\n"


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What a central server has to know about a lab."""

    url: str  # before /weblab and /ldl
    username: str
    password: str
    name: str
    category: str
    title: str
    users: int = 1
    max_time: float = 3600.0  # seconds
    notes: tuple[Message, ...] = ()  # about what could not be filled in, or cannot be sent

    @property
    def place(self) -> str:
        """The node's address as a part of names: identical boards differ in it."""
        url = urlsplit(self.url)
        return re.sub(r"[^A-Za-z0-9-]+", "_", url.netloc + url.path).strip("_")


@dataclass(frozen=True)
class Part:
    """Lines for one file of a central server; all of these files have comments with #."""

    file: str
    text: str


def registration(
    settings: Settings,
    *,
    name: str,
    category: str,
    title: str = "",
    users: int = 1,
    max_time: float = 3600.0,
    client: str | None = None,
    host: str | None = None,
    show_password: bool = False,
) -> Registration:
    """The registration at the central server with the credentials of `client`, else the first.

    `host` ("pi3:8080", or "pi3" where the node itself is asked at its port) is how it reaches the
    node, where `base_url` has none. Of several passwords
    the last counts; without `show_password`, or where it is hashed, it is a placeholder.
    BadInput without such a client.
    """
    chosen = _client(settings, client)
    password, notes = f"PASSWORD-OF-{chosen.name}", list[Message]()
    if show_password and chosen.clear_passwords:
        password = chosen.clear_passwords[-1]
    elif show_password:
        notes.append(Message("cli.not-printed", name=chosen.name, placeholder=password))
    if chosen.unsendable:
        notes.append(chosen.unsendable)
    if host and settings.scheme == "http" and not re.search(r":\d+$", host):
        host = f"{host}:{settings.port}"
    url = settings.external_url(host)
    if settings.weblab_base is not None:
        url = url.removesuffix(settings.base_path) + settings.weblab_base
    return Registration(
        url=url,
        username=chosen.username,
        password=password,
        name=name,
        category=category,
        title=title or name,
        users=users,
        max_time=max_time,
        notes=tuple(notes),
    )


def weblab_deusto(lab: Registration, say: Say = str) -> list[Part]:
    """The configuration of the lab server and the core; BadInput for names they cannot have.

    `say` gives the language of what is done by hand. The files are in English: those of Python 2
    without a coding line must be ASCII. A board for several users is one experiment server with as
    many instances.
    """
    for text in (lab.name, lab.category):
        if set(text) & set(":@|"):
            raise BadInput(Message("cli.weblab-names", name=text))
    queue = f"{_slug(lab.name)}_queue"
    component = f"{_slug(lab.name)}_{lab.place}"
    several = lab.users > 1
    instances = [f"{lab.place}_{number}" for number in range(1, lab.users + 1)]
    components = f"""\
# Below the components that are there:
# hosts:
#   core_host:
#     processes:
#       laboratory1:
#         components:
          {_yaml(component)}:
            class: experiments.http_experiment.{"Concurrent" if several else ""}HttpExperiment
            config:
              http_experiment_url: {_yaml(lab.url)}
              http_experiment_username: {_yaml(lab.username)}
              http_experiment_password: {_yaml(lab.password)}
            type: experiment
"""
    entries = "".join(
        f"""\
    {_python(f"{instance}:{lab.name}@{lab.category}")}: {{
        'coord_address': '{component}:laboratory1@core_host',
        'checkers': (('WebHandler', ({_health(lab)!r},)),),
        'api': '{"2_concurrent" if several else "2"}',
        'manages_polling': True,
    }},
"""
        for instance in instances
    )
    slots = "".join(
        f"    {_python(f'{instance}|{lab.name}|{lab.category}')}: '{component}_{n}@{queue}',\n"
        for n, instance in enumerate(instances, 1)
    )
    core = f"""\
{_at_the_end("core_host_config.py", f"core_{component}.py")}
core_scheduling_systems.update({{
    '{queue}': ('PRIORITY_QUEUE', {{}}),
}})
core_coordinator_laboratory_servers.setdefault('laboratory1:laboratory1@core_host', {{}}).update({{
{slots}}})
"""
    laboratory = f"""\
{_at_the_end("lab1_config.py", f"lab1_{component}.py")}
{_CHECKERS}laboratory_assigned_experiments.update({{
{entries}}})
"""
    steps = say(Message("cli.panel:steps", name=lab.name, category=lab.category))
    return [
        Part("configuration.yml", components),
        Part("lab1_config.py", laboratory),
        Part("core_host_config.py", core),
        Part(say(Message("cli.panel")), steps),
    ]


def lab_discovery_engine(lab: Registration) -> list[Part]:
    """The resources, one for each user of the board, and their laboratory."""
    names = [_yaml(f"{_slug(lab.name)}_{lab.place}-{number}") for number in range(1, lab.users + 1)]
    resources = "# Below the resources that are there:\n" + "".join(
        f"""\
{name}:
  url: {_yaml(lab.url)}
  login: {_yaml(lab.username)}
  password: {_yaml(lab.password)}
  api: labdiscoverylib
  healthchecks:
    labnode:
      type: robotchecker
      url: {_yaml(_health(lab))}
      timeout: 10
"""
        for name in names
    )
    laboratory = f"""\
# Identical boards are one laboratory: where it is there already, only add to its resources.
{_yaml(lab.name)}:
  display_name: {_yaml(lab.title)}
  category: {_yaml(lab.category)}
  max_time: {int(lab.max_time)}
  resources:
"""
    return [
        Part("resources.yml", resources),
        Part("laboratories.yml", laboratory + "".join(f"  - {name}\n" for name in names)),
    ]


def as_text(parts: Iterable[Part]) -> str:
    """All parts as one text, each under the name of its file."""
    return "\n".join(f"# ---- {part.file}\n\n{part.text}" for part in parts)


def _client(settings: Settings, name: str | None) -> Client:
    clients = settings.all_clients
    for client in clients:
        if name in (None, client.name):
            return client
    known = ", ".join(client.name for client in clients)
    raise BadInput(Message("cli.no-client", name=name, known=known))


def _health(lab: Registration) -> str:
    return f"{lab.url}/weblab/health"


def _at_the_end(file: str, own: str) -> str:
    return f"""\
# At the end of {file}; or in a file of its own beside it, which this line there includes:
# execfile(CURRENT_PATH + '/{own}')"""


def _slug(name: str) -> str:
    """`name` in letters, digits, '-' and '_', another one for each name."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")
    digest = "" if plain == name else f"_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return (plain + digest).lstrip("_")


def _python(text: str) -> str:
    """A literal for WebLab-Deusto's files, which are Python 2 without a coding line."""
    return repr(text) if text.isascii() else f"u{text!a}"


def _yaml(text: str) -> str:
    """A scalar: bare if it is a word, else quoted as in JSON, which is valid YAML."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
