"""docs/page.md and docs/own-page.md list what the code has, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from labnode.drivers.framework.driver import Widget
from labnode.locale import BUILT_IN
from labnode.web import html

from .conftest import MakeLab

DOCS = Path(__file__).parents[2] / "docs"
PAGE = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("page.md", "own-page.md"))
MODULE = (html.STATIC / "labnode.js").read_text(encoding="utf-8")


def table(head: str) -> list[str]:
    """The first cells of the table whose head begins like this."""
    rows = PAGE.partition(f"| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [row.split(" | ")[0].removeprefix("| ") for row in rows]


def names(cells: list[str]) -> set[str]:
    """What stands in backquotes, without parameters."""
    return {re.split(r"\W", code, maxsplit=1)[0] for cell in cells for code in quoted(cell)}


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_widgets_are_those_that_drivers_name_and_the_page_draws() -> None:
    assert names(table("widget")) == set(get_args(Widget)) == html._WIDGETS.keys()


def test_the_events_are_those_that_the_module_tells() -> None:
    told = set(re.findall(r'this\.#emit\("([\w-]+)"', MODULE))
    assert {code for cell in table("event") for code in quoted(cell)} == told


def test_the_members_are_those_of_the_board() -> None:
    board = MODULE.partition("export class Board {")[2].partition("\n}\n")[0]
    methods = re.findall(r"^  (?:async |get )?([a-z]\w*)\(", board, re.MULTILINE)
    fields = re.findall(r"^    this\.([a-z]\w*) = ", board.partition("/** Begin")[0], re.MULTILINE)
    assert names(table("of the board")) == {*methods, *fields} - {"constructor"}


def test_the_icons_are_those_of_the_file() -> None:
    sentence = PAGE.partition("one of these names: ")[2].partition(".")[0]
    symbols = re.findall(r'<symbol id="([\w-]+)"', (html.STATIC / "icons.svg").read_text())
    assert re.findall(r"`([\w-]+)`", sentence) == symbols


def test_the_variables_are_those_of_the_template(tmp_path: Path) -> None:
    boot = html.boot(
        {"title": "x", "devices": [], "page": None, "tasks": []},
        {"session": {"full_name": "Ada", "username": "ada", "read_only": False}},
        token=None,
        language=BUILT_IN.best([]),
    )
    template = tmp_path / "page.html"
    template.write_text("\n".join(f"{name}={{{{!{name}}}}}" for name in names(table("variable"))))
    page = html.render_page(boot, BUILT_IN.best([]), template=template)
    assert "language=en" in page
    assert "student=Ada" in page


def test_the_addresses_are_there(make_lab: MakeLab) -> None:
    student = make_lab().student()
    for cell in table("request"):
        method, path = quoted(cell)[0].split(" ")
        path = path.replace("COMMAND", "on").replace("ID", "x")
        path = path.replace("devices/NAME", "devices/switch").replace("NAME", "wait")
        if path.endswith("/program"):
            continue  # for programmers alone; tests/tools has them
        assert student.request(method, f"/{path}").json.get("code") != "http", path


@pytest.mark.parametrize("source", re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_import_what_the_modules_export(source: str) -> None:
    for imported, module in re.findall(r'import \{ (.+?) \} from ".*?(\w+\.js)"', source):
        text = (html.STATIC / module).read_text(encoding="utf-8")
        for name in imported.split(", "):
            assert re.search(rf"export (async )?(function|const|class) .*\b{name}\b", text), name
