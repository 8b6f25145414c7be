"""The page's scripts in one piece, so that it works as soon as it has arrived.

A browser learns what a module imports when it has the module, and asks for six files at a time: on
a slow network twenty modules cost seconds. So a page has its modules in itself (`inline`). Whoever
imports one of them by its address as well (`served`), as a lab's own script does, gets the same
objects: each module is defined once in a page and kept under its name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path

STATIC = Path(__file__).parent / "static"
"""The files that the pages load from `static/`."""

# Lines that are comments and nothing else: a sixth of what would be sent.
COMMENTS = re.compile(r"^[ \t]*(?://.*|/\*(?:[^*]|\*(?!/))*\*/[ \t]*)\n", re.MULTILINE)

_IMPORT = re.compile(r'^import (?:(\{[^}]*\}) from )?"\./([\w-]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(
    r"^export (?=(?:async )?(?:function|class) (\w+)|const (?:(\w+) =|[\[{]([^\]}]*)[\]}] =))",
    re.MULTILINE,
)
_DYNAMIC = re.compile(r'import\(("\./[\w-]+\.js")\)')
_KNOWN = 'const $modules = (globalThis[Symbol.for("labnode modules")] ??= {});\n'
_BESIDE = (
    'const $url = new URL(`${JSON.parse(document.getElementById("boot").textContent).root}static/`,'
    " document.baseURI);\n"
)


def served(name: str) -> str:
    """The module `name` as a browser gets it from `static/`."""
    source = _source(name)
    imports = [f'import "./{each}.js";\n' for each in _imports(source)]
    exports = _exports(source)
    if not imports and not exports:
        return source
    head = "".join(imports) + _KNOWN + "const $url = import.meta.url;\n"
    tail = f"export const {{ {', '.join(exports)} }} = $modules.{name};\n" if exports else ""
    return head + _defined(name) + tail


@functools.lru_cache(maxsize=32)
def inline(names: tuple[str, ...]) -> str:
    """The modules `names` and all that they import as one script; comments are left out."""
    ordered: dict[str, None] = {}
    for name in names:
        _add(name, ordered)
    return COMMENTS.sub("", _KNOWN + _BESIDE + "".join(map(_defined, ordered)))


def _add(name: str, ordered: dict[str, None]) -> None:
    """Each after what it imports; they import in no circle."""
    for each in _imports(_source(name)):
        if each not in ordered:
            _add(each, ordered)
    ordered[name] = None


def _defined(name: str) -> str:
    source = _source(name)
    exports = _exports(source)
    body = _IMPORT.sub(lambda found: _taken(found[1], found[2]), source)
    body = _EXPORT.sub("", body)
    body = _DYNAMIC.sub(r"import(new URL(\1, $url))", body).replace("import.meta.url", "$url")
    result = f"return {{ {', '.join(exports)} }};\n"
    return f"$modules.{name} ??= (() => {{\n{body}{result}}})();\n"


def _taken(names: str | None, module: str) -> str:
    return f"const {names.replace(' as ', ': ')} = $modules.{module};" if names else ""


def _imports(source: str) -> Iterable[str]:
    return dict.fromkeys(found[2] for found in _IMPORT.finditer(source))


def _exports(source: str) -> list[str]:
    found = (match[1] or match[2] or match[3] for match in _EXPORT.finditer(source))
    return [name.strip() for names in found for name in names.split(",")]


def _source(name: str) -> str:
    return (STATIC / f"{name}.js").read_text(encoding="utf-8")
