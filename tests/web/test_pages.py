"""The HTML of the student's side."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from labnode.locale import BUILT_IN
from labnode.sessions.session import Reason
from labnode.web import html
from labnode.web.scripts import COMMENTS

SESSION: dict[str, Any] = {
    "read_only": False,
    "active": True,
    "username": "ada",
    "full_name": "Ada Lovelace",
    "time_left": 60.0,
    "back": None,
    "restarted": False,
}
BOARD: dict[str, Any] = {
    "title": "Demo board",
    "devices": [],
    "page": None,
    "tasks": [],
}
STATE: dict[str, Any] = {"run": "1", "version": 0, "devices": {}, "tasks": [], "session": SESSION}


class Reader(HTMLParser):
    """Reads a page: its elements, its text, its data block."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.data = ""
        self.style = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            if self.elements[-1][1]["type"] == "application/json":
                self.data += data
        elif self.cdata_elem == "style":
            self.style += data
        else:
            self.text += data

    def addresses(self) -> list[str]:
        return [
            value
            for _, attributes in self.elements
            for name, value in attributes.items()
            if name in ("href", "src") and value is not None
        ]


def page(
    board: dict[str, Any] | None = None, *, locales: Sequence[str] = (), **options: Any
) -> str:
    language = BUILT_IN.best(locales)
    options = {"token": "t", "language": language, **options}
    return html.render_page(html.boot({**BOARD, **(board or {})}, STATE, **options), language)


def before_its_script(page: str) -> str:
    return page.partition('<script type="module">')[0]


def every_page() -> list[str]:
    return [
        page(),
        html.render_farewell(BUILT_IN.best([]), reason="time", back="https://example.org/back"),
        html.render_forbidden(BUILT_IN.best([])),
        html.render_loading(BUILT_IN.best([])),
    ]


def test_the_page_names_the_board_and_the_student() -> None:
    text = Reader(page()).text
    assert "Demo board" in text
    assert "Ada Lovelace" in text


def test_a_student_without_a_full_name_is_shown_by_username() -> None:
    state = {**STATE, "session": {**SESSION, "full_name": ""}}
    english = BUILT_IN.best()
    text = html.render_page(html.boot(BOARD, state, token="t", language=english), english)
    assert "ada" in Reader(text).text


def test_the_data_block_has_all_that_the_script_starts_from() -> None:
    boot = json.loads(Reader(page(token="t0ken", root="../", locales=["es"])).data)
    assert boot == {
        "root": "../",
        "token": "t0ken",
        "sign_of_life": 5.0,
        "language": "es",
        "locales": ["es", "en"],
        "asked": "",
        "words": BUILT_IN.best(["es"]).section("page"),
        "board": BOARD,
        "state": STATE,
    }


@pytest.mark.parametrize(
    "nasty",
    ["</script><script>alert(1)</script>", "<!--<script>", "]]>&lt;", "\u2028\u2029", "\"'\\"],
)
def test_no_name_ends_the_data_block_or_becomes_an_element(nasty: str) -> None:
    reader = Reader(page({"title": nasty}))
    assert json.loads(reader.data)["board"]["title"] == nasty
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in Reader(page()).elements]
    assert nasty in reader.text


def test_without_javascript_the_page_says_that_it_needs_it() -> None:
    assert re.search("<noscript>.*needs JavaScript.*</noscript>", page())


def test_pages_ask_only_for_files_that_exist_and_only_at_the_lab() -> None:
    for text in every_page():
        for address in Reader(text).addresses():
            if not address.startswith(("https://example.org/back", "?locale=")):
                assert address.startswith("static/")
                assert (html.STATIC / address.removeprefix("static/")).is_file()


def test_addresses_start_at_the_root_that_is_given() -> None:
    for text in (page(root="/lab1/"), html.render_forbidden(BUILT_IN.best([]), root="/lab1/")):
        addresses = Reader(text).addresses()
        assert all(address.startswith(("/lab1/static/", "?locale=")) for address in addresses)


def test_nothing_in_the_pages_needs_more_than_the_strictest_content_policy() -> None:
    for text in every_page():
        reader = Reader(text)
        digest = b64encode(sha256(reader.style.encode()).digest()).decode()
        assert f"sha256-{digest}" == html.STYLE_HASH
        for _, attributes in reader.elements:
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            assert "src" not in attributes  # the page's script is in it, and its hash in the policy


def test_the_script_in_a_page_is_the_one_that_the_policy_allows() -> None:
    script = page().rpartition('<script type="module">')[2].partition("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert html.script_hash(BOARD) == f"sha256-{digest}"


def test_all_that_any_page_loads_is_small_on_its_way() -> None:
    files = [file for file in html.STATIC.iterdir() if file.name != "page.css"]  # it is in the page
    sent = [before_its_script(page()), *(COMMENTS.sub("", file.read_text()) for file in files)]
    assert sum(len(gzip.compress(text.encode())) for text in sent) < 80_000


def test_the_page_is_seen_with_what_comes_in_the_first_round_trip() -> None:
    seen = before_its_script(page()).encode()
    assert len(gzip.compress(seen)) < 14_000  # that many bytes TCP sends at once
    links = [a for tag, a in Reader(page()).elements if tag == "link"]
    assert "stylesheet" not in [attributes["rel"] for attributes in links]


@pytest.mark.parametrize(
    ("locales", "language"),
    [
        (["es_ES.UTF-8", "en"], "es"),
        (["gl", "es-MX"], "es"),
        (["pt-BR"], "pt"),
        (["ES"], "es"),
        (["en-GB", "es"], "en"),
        (["gl"], "en"),
        (["estonian", ""], "en"),
        ([], "en"),
    ],
)
def test_the_first_language_that_is_spoken_here_is_taken(locales: list[str], language: str) -> None:
    assert BUILT_IN.best(locales).code == language
    assert f'<html lang="{language}">' in page(locales=locales)


def test_a_farewell_says_why_and_leads_back() -> None:
    reader = Reader(
        html.render_farewell(
            BUILT_IN.best(["es"]), reason="time", back="https://example.org/?a=1&b"
        )
    )
    assert "Se ha acabado el tiempo." in reader.text
    assert "https://example.org/?a=1&b" in reader.addresses()


def test_a_farewell_without_a_way_back_says_that_one_can_go() -> None:
    reader = Reader(html.render_farewell(BUILT_IN.best([])))
    assert "You can close this page." in reader.text
    assert not [tag for tag, _ in reader.elements if tag == "a"]


@pytest.mark.parametrize("back", ["javascript:alert(1)", "//evil.example", "data:text/html,x"])
def test_a_farewell_leads_only_to_web_pages(back: str) -> None:
    reader = Reader(html.render_farewell(BUILT_IN.best([]), back=back))
    assert not [tag for tag, _ in reader.elements if tag == "a"]


def test_a_reason_that_nobody_translated_is_left_out() -> None:
    reader = Reader(html.render_farewell(BUILT_IN.best(), reason="new"))
    assert "Your session is over" in reader.text


def test_the_forbidden_page_explains_how_to_get_in() -> None:
    assert "when it is your turn" in Reader(html.render_forbidden(BUILT_IN.best(["en"]))).text


def test_a_lab_can_have_its_own_forbidden_page(tmp_path: Path) -> None:
    own = tmp_path / "forbidden.html"
    own.write_text("<p lang={{language}}>{{title}}, said the tiger.</p>", encoding="utf-8")
    text = html.render_forbidden(BUILT_IN.best(["en"]), template=own)
    assert text == "<p lang=en>No open session, said the tiger.</p>"


@pytest.mark.parametrize("code", BUILT_IN.languages)
def test_the_page_that_places_devices_is_in_the_language_of_the_terminal(code: str) -> None:
    text = Reader(html.render_place(BUILT_IN.best([code]), "Oven", [])).text
    placing = [key for key in BUILT_IN.texts(code) if key.startswith("site.place")]
    on_demand = ("site.place:nothing", "site.place:copied")  # said by the script
    for key in set(placing) - set(on_demand):
        assert BUILT_IN.texts(code)[key].replace("{title}", "Oven") in text


def test_the_loading_page_asks_again_by_itself() -> None:
    elements = Reader(html.render_loading(BUILT_IN.best([]))).elements
    assert ("meta", {"http-equiv": "refresh", "content": "2"}) in elements


@pytest.mark.parametrize("reason", Reason)
def test_the_farewell_says_why_whatever_the_reason(reason: Reason) -> None:
    for language in BUILT_IN.languages:
        assert BUILT_IN.texts(language)[f"page.over:{reason}"]
