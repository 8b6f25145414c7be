"""MkDocs: files of the project that pages link to, such as ../boards/demo.yaml, go into the site.

On GitHub such a link leads out of docs/; in the site the file is in files/, at the same path. A
link to a folder becomes the folder's name alone, because there is no page to show it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]+)(#[^)]*)?\)")


def outside(markdown: str, page: str) -> list[str]:
    """The paths in the project that a page of docs/ links to outside of docs/."""
    targets = (_target(match[2], page) for match in _LINK.finditer(markdown))
    return [target for target in targets if target]


def _target(link: str, page: str) -> str | None:
    """The path in the project; None for one inside docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return None if path.startswith("docs/") else path


def on_files(files: Any, config: Any) -> Any:
    """Add the files that are linked to."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - tests import this module without it

    pages = [file for file in files if file.is_documentation_page()]
    wanted = {path for file in pages for path in outside(file.content_string, file.src_uri)}
    for path in sorted(wanted):
        if (ROOT / path).is_file():
            files.append(
                File.generated(config, f"files/{path}.txt", content=(ROOT / path).read_text())
            )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links lead to them."""
    up = "../" * page.file.src_uri.count("/")

    def link(match: re.Match[str]) -> str:
        target = _target(match[2], page.file.src_uri)
        if target is None:
            return match[0]
        if (ROOT / target).is_file():
            return f"[{match[1]}]({up}files/{target}.txt)"
        return match[1]

    return _LINK.sub(link, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings begin their code with `::`, as Python's own do; in the site that is a colon."""
    return html.replace("::</p>", ":</p>")
