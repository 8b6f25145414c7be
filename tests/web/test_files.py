"""Files: the page's own and the lab's, and the page that a lab has written itself."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from labnode.testing import LabClient
from labnode.web import files, html, scripts
from labnode.web.scripts import COMMENTS

from .conftest import BOARD, MakeLab


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip, deflate, br", True), ("GZIP;q=0.5", True), ("", False), ("br, gzip;q=0", False)],
)
def test_scripts_are_packed_for_browsers_that_take_it(
    lab: LabClient, accepted: str, packed: bool
) -> None:
    plain = lab.browser().get("/static/labnode.js")
    reply = lab.browser().get("/static/labnode.js", HTTP_ACCEPT_ENCODING=accepted)
    assert reply.headers["vary"] == "Accept-Encoding"
    assert (reply.headers.get("content-encoding") == "gzip") is packed
    assert reply.headers["content-length"] == str(len(reply.body))
    sent = gzip.decompress(reply.body) if packed else reply.body
    assert sent.decode() == (COMMENTS.sub("", plain.text) if packed else plain.text)


@pytest.mark.parametrize("script", sorted(html.STATIC.glob("*.js")), ids=lambda path: path.name)
def test_what_is_left_out_of_a_script_is_comments(script: Path) -> None:
    text = script.read_text()
    for left_out in COMMENTS.finditer(text):
        before = re.sub(r"//.*|/\*(?:[^*]|\*(?!/))*\*/", "", text[: left_out.start()])
        assert before.count("`") % 2 == 0  # not inside of a template
    assert len(COMMENTS.sub("", text)) > len(text) / 3


MODULES = [
    path for path in html.STATIC.glob("*.js") if path.stem not in ("place", "poll", "ticker")
]


@pytest.mark.parametrize("script", sorted(MODULES), ids=lambda path: path.name)
def test_a_module_is_defined_once_and_gives_what_it_exports(script: Path) -> None:
    source, sent = script.read_text(), scripts.served(script.stem)
    assert f"$modules.{script.stem} ??= (" in sent
    wanted = set(re.findall(r"^import .*\./(\w+)\.js", source, re.MULTILINE))
    assert set(re.findall(r'^import "\./(\w+)\.js";$', sent, re.MULTILINE)) == wanted
    own = re.findall(
        r"^export ((?:async )?(?:function|class) \w+|const [^=]*=)", source, re.MULTILINE
    )
    names = {name for each in own for name in re.findall(r"\w+", each)}
    names -= {"async", "function", "class", "const"}
    given = re.findall(r"^export const \{ (.*) \} = \$modules\.\w+;$", sent, re.MULTILINE)
    assert names == {name for each in given for name in each.split(", ")}


def test_the_script_of_a_page_defines_each_module_after_what_it_imports() -> None:
    whole = scripts.inline(tuple(path.stem for path in MODULES))
    order = re.findall(r"^\$modules\.(\w+) \?\?=", whole, re.MULTILINE)
    assert sorted(order) == sorted(path.stem for path in MODULES)
    for name in order:
        imports = re.findall(r'^import "\./(\w+)\.js";$', scripts.served(name), re.MULTILINE)
        assert all(order.index(each) < order.index(name) for each in imports)
    assert not re.search(r"^(import|export)\b", whole, re.MULTILINE)
    assert not re.search(r"</script|<!--", whole, re.IGNORECASE)  # which would end it


def test_a_file_that_the_browser_has_is_not_sent_again(lab: LabClient) -> None:
    first = lab.browser().get("/static/labnode.js", HTTP_ACCEPT_ENCODING="gzip")
    again = lab.browser().get(
        "/static/labnode.js",
        HTTP_ACCEPT_ENCODING="gzip",
        HTTP_IF_MODIFIED_SINCE=first.headers["last-modified"],
    )
    assert (again.status, again.body) == (304, b"")


def test_the_page_is_packed_too(lab: LabClient) -> None:
    reply = lab.student().get("/", HTTP_ACCEPT_ENCODING="gzip")
    assert "text/html" in reply.headers["content-type"]
    assert "<title>Bench</title>" in gzip.decompress(reply.body).decode()


def test_what_pages_have_in_common_is_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []
    deflate = files._deflate

    def noted(data: bytes, *more: int) -> bytes:
        packed.append(len(data))
        return deflate(data, *more)

    monkeypatch.setattr(files, "_deflate", noted)
    style, script = "päge {}" * 1000, "run();" * 2000
    for name in ("Ada", "Grace"):
        page = f"<style>{style}</style>{name}<script>{script}</script>"
        assert gzip.decompress(files.zipped(page, [style, "not in it", script])).decode() == page
    assert sum(size > 100 for size in packed) == 2


def test_a_lab_has_its_own_page_and_its_own_files(make_lab: MakeLab, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text(
        '% rebase("layout.html", scripts=["static/lab/mine.js"])\n'
        '<main><h2>{{title}}</h2><div data-card="switch"></div></main>'
        '<script type="application/json" id="boot">{{!boot}}</script>'
    )
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "mine.js").write_text('import { open } from "../labnode.js";')
    lab = make_lab()
    student = lab.student()
    page = student.get("/").text
    assert "<h2>Bench</h2>" in page
    assert '"devices":' in page
    scripts = ("static/lab/mine.js", "$modules.controls ??=", "$modules.page ??=")
    places = [page.index(script) for script in scripts]
    assert places == sorted(places)
    assert student.get("/static/lab/mine.js").body.startswith(b"import")
    assert student.get("/static/lab/../bench.yaml").status in (403, 404)
    assert lab.browser().get("/static/lab/mine.js").status == 403


def test_what_a_page_starts_from_can_be_asked_for(lab: LabClient) -> None:
    boot = lab.student(full_name="Ada", locale="es").get("/api/page").json
    assert boot["board"]["title"] == "Banco"
    assert boot["words"]["leave"] == "Salir"
    assert boot["state"]["session"]["full_name"] == "Ada"


def _give_picture(folder: Path, content: str) -> None:
    (folder / "board.svg").write_text(content)
    (folder / "bench.yaml").write_text(f"{BOARD}picture: {{file: board.svg}}\n")


def test_the_picture_of_the_board_is_for_students_and_runs_no_script(
    make_lab: MakeLab, tmp_path: Path
) -> None:
    _give_picture(tmp_path, '<svg viewBox="0 0 3 2"><script>alert(1)</script></svg>')
    lab = make_lab()
    assert lab.browser().get("/api/picture").status == 403
    reply = lab.student().get("/api/picture")
    assert reply.headers["content-type"].startswith("image/svg+xml")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["content-security-policy"].endswith("sandbox")
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_a_picture_that_was_replaced_by_a_link_out_of_the_folder_is_not_sent(
    make_lab: MakeLab, tmp_path: Path
) -> None:
    _give_picture(tmp_path, '<svg viewBox="0 0 3 2"></svg>')
    student = make_lab().student()
    (tmp_path.parent / "outside.svg").write_text("secret")
    (tmp_path / "board.svg").unlink()
    (tmp_path / "board.svg").symlink_to(tmp_path.parent / "outside.svg")
    assert student.get("/api/picture").status == 404
