"""Settings put together: the command line wins over the environment, which wins over the file."""

from __future__ import annotations

import dataclasses
import logging
import stat
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path, PurePath
from typing import Any, get_args, get_origin

from labnode.errors import ConfigError, Problem
from labnode.locale import Message
from labnode.schema import (
    Problems,
    Secrets,
    Section,
    build,
    did_you_mean,
    load_yaml,
    options,
    parse_yaml,
    read_scalar,
)
from labnode.settings.model import Credentials, Settings

_log = logging.getLogger(__name__)

_PREFIX = "LABNODE_"
_OTHERS = ("LABNODE_TEST_", "LABNODE_INSTALL_")  # what install.sh reads
_SECRETS = ("weblab", "clients", "admin", "secret_key")
_DIGITS = {"0": (False,), "1": (True,)}


def load_settings(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    *,
    made_up: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this node, checked; ConfigError with everything that is wrong with them.

    `overrides` is the command line, {"port": 9000, "weblab": {"password": ...}}; None or, in
    `environ`, an empty text means "not given". Relative paths in the file start where it is.
    `made_up` are the credentials of the central server where none are given and only this machine
    can reach the node.
    """
    with Problems() as problems:
        environment = _from_environment(environ, problems)
        file = Section({}, "settings")
        if path is not None:
            file = _from_file(path, problems, is_copy=_is_copy(path, environ))
        merged = _merge(_merge(file, environment), _from_command_line(overrides))
        if "state_dir" not in merged:
            directory = _state_dir(environ, merged.child("board").value)
            merged.content["state_dir"] = Section.of(str(directory), "state_dir")
        if made_up and _has_no_server(merged) and _is_local(merged):
            merged.content["weblab"] = Section.of(dict(made_up), "made up")
        _check_credentials(merged, problems)
        settings = build(Settings, merged, problems)
        if settings is None:
            raise problems.error()
        if settings.unauthorized_template and not _is_file(settings.unauthorized_template):
            problems.add(merged["unauthorized_template"], Message("setting.no-file"))
    return settings


def _from_file(path: Path, problems: Problems, *, is_copy: bool) -> Section:
    file = load_yaml(path, problems, Secrets(path.parent).get)
    if not isinstance(file.content, dict | None):
        raise ConfigError(Problem(file.where, Message("setting.no-mapping")))
    content = dict(file.items())
    for option in options(Settings):
        section = file.child(option.key)
        if Path in (option.type, *get_args(option.type)) and _is_relative(section.content):
            beside = str(path.parent / section.content)
            if is_copy:
                problems.add(section, Message("setting.absolute", key=option.key))
            content[option.key] = dataclasses.replace(section, content=beside)
    if any(_has_plain_secret(file.child(key)) for key in _SECRETS):
        _warn_if_readable(path)
    return dataclasses.replace(file, content=content)


def _is_copy(path: Path, environ: Mapping[str, str]) -> bool:
    """Whether it is a copy made by systemd (LoadCredential), with nothing beside it."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.is_relative_to(directory or "")


def _is_relative(text: Any) -> bool:
    return isinstance(text, str) and text != "" and not text.startswith(("/", "~"))


def _has_plain_secret(section: Section) -> bool:
    """Whether a password or a key is in the file itself, without `!secret`."""
    if isinstance(section.content, dict | list):
        names = ("name", "username", "host", "port")
        inner = [child for key, child in section.items() if key not in names]
        return any(map(_has_plain_secret, inner + section.entries()))
    return bool(section.content) and section.hidden is None


def _warn_if_readable(path: Path) -> None:
    with suppress(OSError):  # a file that can be read but not looked at
        if path.stat().st_mode & stat.S_IROTH:
            _log.warning("%s has secrets that every user can read; chmod 600 ends that", path)


def _is_file(path: Path) -> bool:
    with suppress(OSError):  # no right to look
        return path.is_file()
    return False


def _from_environment(environ: Mapping[str, str], problems: Problems) -> Section:
    known = variables()
    found = Section({}, "environment")
    for name, text in environ.items():
        if not name.startswith(_PREFIX) or name.startswith(_OTHERS):
            continue
        if name not in known:
            problems.add(name, Message("setting.none", hint=did_you_mean(name, known)))
        elif text:
            keys, kind = known[name]
            section = _read(text, kind, name, problems)
            for key in reversed(keys):
                section = Section({key: section}, name, name)
            found = _merge(found, section)
    return found


def variables() -> dict[str, tuple[tuple[str, ...], Any]]:
    """The keys and the type of every variable: {"LABNODE_ADMIN_USERNAME": (("admin", ...), str)}.

    `weblab` and `admin` have one for each key.
    """
    kinds: dict[tuple[str, ...], Any] = {}
    for option in options(Settings):
        one = () if get_origin(option.type) is list else get_args(option.type)
        if pair := next(filter(_is_credentials, one), None):
            kinds |= {(option.key, part.key): part.type for part in options(pair)}
        else:
            kinds[option.key,] = option.type
    return {_PREFIX + "_".join(keys).upper(): (keys, kind) for keys, kind in kinds.items()}


def _is_credentials(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Credentials)


def _read(text: str, kind: Any, where: str, problems: Problems) -> Section:
    """The text of a variable of the type `kind`: lists have commas, lists of mappings are YAML."""
    try:
        text.encode()
    except UnicodeEncodeError:
        problems.add(where, Message("setting.not-utf-8"))
        return Section(None, where, bad=True)
    if get_origin(kind) is list:
        if dataclasses.is_dataclass(get_args(kind)[0]):
            try:
                return parse_yaml(text, where, problems)
            except ConfigError as error:
                problems.extend(error.problems)
                return Section(None, where, bad=True)
        parts = [part.strip() for part in text.split(",")]
        return Section.of([part for part in parts if part], where)
    candidates = [text, *_DIGITS.get(text, ())]
    with suppress(ValueError):  # a number that no option can have
        candidates.insert(1, read_scalar(text.strip()))
    for value in candidates:
        trial = Problems()
        build(kind, Section.of(value, where), trial)
        if not trial:
            break
    return Section.of(value, where)


def _from_command_line(overrides: Mapping[str, Any]) -> Section:
    given = {}
    for key, value in overrides.items():
        if value is not None:
            plain = str(value) if isinstance(value, PurePath) else value
            given[key] = Section.of(plain, f"option --{key.replace('_', '-')}")
    return Section(given, "command line")


def _merge(below: Section, above: Section) -> Section:
    """`above` wins; mappings are merged key by key."""
    if not isinstance(below.content, dict) or not isinstance(above.content, dict):
        return above
    content = dict(below.content)
    for key, section in above.content.items():
        content[key] = _merge(content[key], section) if key in content else section
    return dataclasses.replace(below, content=content)


def _state_dir(environ: Mapping[str, str], board: Any) -> Path:
    if environ.get("STATE_DIRECTORY"):  # from systemd, which may name several
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    if environ.get("XDG_STATE_HOME"):
        states = Path(environ["XDG_STATE_HOME"])
    elif environ.get("HOME"):
        states = Path(environ["HOME"]) / ".local/state"
    else:
        states = Path("/var/lib")
    return states / "labnode" / (Path(board).stem if isinstance(board, str) else "")


def _has_no_server(merged: Section) -> bool:
    weblab, clients = merged.child("weblab"), merged.child("clients")
    return not (weblab.bad or clients.bad) and weblab.content is None and not clients.content


def _is_local(merged: Section) -> bool:
    """Whether it listens on loopback alone, and no proxy is set."""
    host = merged.child("host").content
    with suppress(ValueError):  # a name
        return not merged.child("base_url").content and (
            host is None or ip_address(str(host)).is_loopback
        )
    return False


def _check_credentials(merged: Section, problems: Problems) -> None:
    """Add a problem for what is missing, with both ways to give it."""
    if _has_no_server(merged):
        example = "weblab: {username: ..., password: ...}"
        problems.add(merged, Message("setting.no-credentials", example=example))
    for key in ("weblab", "admin"):
        section = merged.child(key)
        if not isinstance(section.content, dict):
            continue
        missing = [option.key for option in options(Credentials) if option.key not in section]
        for part in missing:
            variable = f"{_PREFIX}{key.upper()}_{part.upper()}"
            missing_part = Message("setting.missing", key=f"{key}.{part}", variable=variable)
            problems.add(section, missing_part)
        bad = {part: Section(None, section.where, bad=True) for part in missing}
        merged.content[key] = dataclasses.replace(section, content=section.content | bad)
