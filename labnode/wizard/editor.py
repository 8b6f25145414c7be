"""`labnode schema --install`: the settings with which editors complete and check board files.

VS Code and Zed both use yaml-language-server (https://github.com/redhat-developer), which takes the
schema of a file from these settings.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labnode.errors import LabnodeError
from labnode.jsondata import parse
from labnode.locale import Message

SCHEMA = "board.schema.json"


def yaml_settings(folder: Path) -> dict[str, Any]:
    """The language server's settings for the boards in a folder."""
    inside = "boards/" if (folder / "boards").is_dir() else ""
    schemas = {f"./{inside}{SCHEMA}": [f"{inside}*.yaml", "!secrets.yaml"]}
    return {"schemas": schemas, "customTags": ["!secret scalar"]}


def install(folder: Path, schema: str) -> list[Path]:
    """Write the schema and the settings of both editors; the files that were written.

    Other settings in those files stay. LabnodeError where a file cannot be read or written.
    """
    yaml = yaml_settings(folder)
    (name,) = yaml["schemas"]
    vscode = {f"yaml.{key}": value for key, value in yaml.items()}
    zed = {"lsp": {"yaml-language-server": {"settings": {"yaml": yaml}}}}
    files = {folder / name: schema}
    for path, settings in (
        (folder / ".vscode/settings.json", vscode),
        (folder / ".zed/settings.json", zed),
    ):
        merged = _merge(_read(path, settings), settings)
        files[path] = json.dumps(merged, indent=2, ensure_ascii=False) + "\n"
    for path, text in files.items():
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            words = Message("cli.not-written", path=path, why=error.strerror)
            raise LabnodeError(words) from error
    return list(files)


def _read(path: Path, ours: dict[str, Any]) -> dict[str, Any]:
    """The settings that are there; LabnodeError where they have comments, which would be lost."""
    try:
        found = parse(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        settings = json.dumps(ours, ensure_ascii=False)
        words = Message("cli.editor-not-json", path=path, why=error, settings=settings)
        raise LabnodeError(words) from error
    if not isinstance(found, dict):
        raise LabnodeError(Message("cli.editor-no-object", path=path))
    return found


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`new` over `old`: objects key by key, lists without repetition."""
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            merged[key] = before + [item for item in value if item not in before]
        else:
            merged[key] = value
    return merged
