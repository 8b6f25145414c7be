"""What a lab's own pages get: the student's language, and a script that keeps the session."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from labnode.errors import LabnodeError
from labnode.lab import Lab
from labnode.testing import LabClient, Reply
from tests.web.conftest import MakeLab


@pytest.mark.parametrize(
    ("user", "query", "browser", "text"),
    [
        ("es", "", "en", "Hola"),
        ("es", "?locale=en", "es", "Hello"),
        (None, "", "fr, es;q=0.5", "Hola"),
        (None, "", "", "Hello"),
        ("eu", "", "fr", "Hello"),
    ],
)
def test_a_text_is_in_the_language_asked_for_then_the_users_then_the_browsers(
    lab: LabClient, user: str | None, query: str, browser: str, text: str
) -> None:
    student = lab.student(locale=user)
    assert student.get(f"/words{query}", HTTP_ACCEPT_LANGUAGE=browser).json["text"] == text


def test_a_task_speaks_the_users_language_whatever_the_request_was(lab: LabClient) -> None:
    student = lab.student(locale="es")
    words = student.get("/words?locale=en").json
    assert words == {"text": "Hello", "from_a_task": "Hola"}


def test_the_poll_script_names_the_students_own_session(lab: LabClient) -> None:
    student = lab.student()
    script = student.get("/script").text
    callback = re.search(r'data-callback="([^"]+)"', script)
    assert callback
    assert callback[1] == student.callback
    assert student.post(f"{callback[1]}/poll").json["success"] is True
    assert student.get("/static/poll.js").status == 200


@pytest.mark.parametrize(
    ("timeout", "every"), [("5s", "1667"), ("15s", "5000"), ("60s", "5000"), ("0", "5000")]
)
def test_the_poll_script_asks_three_times_in_a_timeout_and_no_less_than_every_5_s(
    make_lab: MakeLab, tmp_path: Path, timeout: str, every: str
) -> None:
    board = tmp_path / "bench.yaml"
    board.write_text(f"{board.read_text()}session: {{timeout: {timeout}}}\n")
    assert f'data-every="{every}"' in make_lab().student().get("/script").text


SCRIPT = """
from labnode import Lab

lab = Lab()


@lab.app.get("/<callback>")
def page(callback):
    return lab.poll_script(logout_on_close=True, callback=callback)
"""


def test_a_page_says_what_happens_when_it_is_closed_and_at_the_end(
    make_lab: MakeLab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bench.py").write_text(SCRIPT)
    lab = make_lab()
    student = lab.student()
    script = student.get("/bench.ended").text
    assert 'data-close="logout"' in script
    assert 'data-ended="bench.ended"' in script
    assert student.get("/ended()").status == 500
    assert "callback is the name of a function in the page, not 'ended()'" in caplog.text


def test_nobody_gets_no_poll_script(lab: LabClient) -> None:
    assert lab.browser().get("/script").text == ""


def test_below_a_base_path_the_poll_script_is_there_too(make_lab: MakeLab) -> None:
    lab = make_lab(base_url="/lab1")
    script = lab.student().get("/lab1/script").text
    assert 'src="/lab1/static/poll.js"' in script
    assert 'data-callback="/lab1/callback/' in script
    assert 'data-over="/lab1/"' in script


UPLOAD = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.bin"\r\n\r\n2\r\n--b--\r\n'
)


def test_a_view_of_the_lab_reads_a_form_with_files(lab: LabClient) -> None:
    kind = {"CONTENT_TYPE": "multipart/form-data; boundary=b"}
    reply = lab.student().request("POST", "/form", UPLOAD, **kind)
    assert reply.json == {"fields": ["a"], "files": ["f"]}


@pytest.mark.parametrize(
    ("boundary", "body"),
    [
        ("b", UPLOAD.replace(b'"x.bin"', b'"x\x1d\n.bin"')),
        ("b", UPLOAD.replace(b"\r\n\r\n1", b"\r\nContent-Type: x; charset=none\r\n\r\n1")),
        ("b", UPLOAD.replace(b"\r\n\r\n1", b"\r\nContent-Length: none\r\n\r\n1")),
        ("b; charset=none", UPLOAD),
        ("b", UPLOAD.replace(b"--b--\r\n", b"")),
        ("b", b"--b"),
        ("b", b""),
        ("", UPLOAD),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_before_the_view(
    lab: LabClient, boundary: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    kind = {"CONTENT_TYPE": f"multipart/form-data; boundary={boundary}"}
    reply = lab.student().request("POST", "/form", body, **kind)
    assert reply.status == 400
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"{", b"\xff", b"9" * 5000])
def test_json_that_cannot_be_read_is_refused_by_a_view_of_the_lab(
    lab: LabClient, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reply = lab.student().request("POST", "/json", body, CONTENT_TYPE="application/json")
    assert reply.status in (400, 413)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_view_of_the_lab_reads_json(lab: LabClient) -> None:
    assert lab.student().post("/json", {"a": [1]}).json == {"got": {"a": [1]}}


OWN = """
from bottle import HTTPResponse, abort, response, template

from labnode import Lab

lab = Lab()
lab.content_security_policy(
    script_src="'unsafe-inline' https://cdn.example.org", style_src="'unsafe-inline'"
)


@lab.app.get("/own")
def own():
    return template("own", name="<Ada>")


@lab.app.get("/own-policy")
def own_policy():
    response.set_header("Content-Security-Policy", "default-src 'none'")
    return "strict"


@lab.app.get("/list/<kind>")
def a_list(kind):
    response.set_header("X-Kind", kind)
    return {
        "rows": [{"at": 1, "value": 2.5}],
        "numbers": [1, 2],
        "none": [],
        "texts": ["<p>", "one", "</p>"],
        "reply": HTTPResponse([{"made": True}], 201),
    }[kind]


@lab.app.get("/broken/<how>")
def broken(how):
    match how:
        case "raises":
            raise KeyError("volts")
        case "no-template":
            return template("missing.html")
        case "template":
            return template("broken")
        case "no-json":
            return {"file": object()}
        case "no-type":
            return (row for row in [{"a": 1}])
        case "abort":
            abort(503, "The oven is being repaired.")
"""


@pytest.fixture
def own(make_lab: MakeLab, tmp_path: Path) -> LabClient:
    (tmp_path / "bench.py").write_text(OWN)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "own.html").write_text("<p>{{name}}</p>")
    (tmp_path / "templates" / "broken.html").write_text("<p>{{voltage}}</p>")
    return make_lab()


def test_a_view_finds_templates_beside_the_board(own: LabClient) -> None:
    assert own.student().get("/own").text == "<p>&lt;Ada&gt;</p>"


def test_the_templates_of_a_board_take_the_place_of_those_of_the_one_before(
    own: LabClient, tmp_path: Path
) -> None:
    own.student().get("/own")
    own.end_all()
    another = tmp_path / "another"
    shutil.copytree(tmp_path, another, ignore=shutil.ignore_patterns("state", "another"))
    (another / "templates" / "own.html").write_text("<h1>{{name}}</h1>")
    with LabClient(another / "bench.yaml") as lab:
        assert lab.student().get("/own").text == "<h1>&lt;Ada&gt;</h1>"


def policy(reply: Reply) -> dict[str, str]:
    directives = reply.headers["content-security-policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


def test_a_lab_says_what_its_own_pages_may_load(own: LabClient) -> None:
    student = own.student()
    generated, mine = policy(student.get("/")), policy(student.get("/own"))
    changed = {name: mine[name] for name in mine if mine[name] != generated.get(name)}
    assert changed == {
        "script-src": "'self' 'unsafe-inline' https://cdn.example.org",
        "style-src": "'self' 'unsafe-inline'",
    }
    assert generated.keys() <= mine.keys()


def test_a_view_may_have_a_policy_of_its_own(own: LabClient) -> None:
    assert policy(own.student().get("/own-policy")) == {"default-src": "'none'"}


def test_a_page_in_place_of_the_generated_one_is_the_labs_own(
    own: LabClient, tmp_path: Path
) -> None:
    (tmp_path / "templates" / "page.html").write_text("<h1>{{title}}</h1>")
    reply = own.student().get("/")
    assert reply.text == "<h1>Bench</h1>"
    assert "https://cdn.example.org" in policy(reply)["script-src"]
    assert reply.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    "sources",
    [
        {"frame_ancestors": "*"},
        {"script-src": "https://cdn.example.org"},
        {"script_src": "https://cdn.example.org; object-src *"},
        {"script_src": "https://a.example.org, default-src *"},
        {"img_src": "https://a.example.org\r\nSet-Cookie: a=b"},
        {"img_src": ""},
        {"img_src": "https://\x7fa.example.org"},
        {"img_src": "https://ñ.example.org"},
        {"img_src": ["https://a.example.org"]},
    ],
)
def test_sources_that_are_none_are_refused(sources: dict[str, Any]) -> None:
    with pytest.raises(LabnodeError, match=r"^content_security_policy\(\)"):
        Lab().content_security_policy(**sources)


@pytest.mark.parametrize(
    ("kind", "status", "content", "text"),
    [
        ("rows", 200, "application/json", '[{"at": 1, "value": 2.5}]'),
        ("numbers", 200, "application/json", "[1, 2]"),
        ("none", 200, "application/json", "[]"),
        ("reply", 201, "application/json", '[{"made": true}]'),
        ("texts", 200, "text/html; charset=UTF-8", "<p>one</p>"),
    ],
)
def test_a_view_returns_a_list_as_json_unless_it_is_one_of_texts(
    own: LabClient, kind: str, status: int, content: str, text: str
) -> None:
    reply = own.student().get(f"/list/{kind}")
    assert (reply.status, reply.headers["content-type"], reply.text) == (status, content, text)
    assert reply.headers.get("x-kind") == (None if kind == "reply" else kind)


@pytest.mark.parametrize(
    ("how", "why", "place"),
    [
        ("raises", "KeyError: 'volts'", 'raise KeyError("volts")'),
        ("no-template", "TemplateError: Template 'missing.html' not found.", "bench.py"),
        ("template", "NameError: name 'voltage' is not defined", "broken.html"),
        ("no-json", "TypeError: Object of type object is not JSON serializable", ""),
        ("no-type", "Unsupported response type: <class 'dict'>", ""),
        ("abort", "The oven is being repaired.", ""),
    ],
)
def test_the_log_says_why_a_view_failed_and_where(
    own: LabClient, how: str, why: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    reply = own.student().get(f"/broken/{how}")
    assert reply.status == (503 if how == "abort" else 500)
    assert "Something went wrong" in reply.text
    assert f"GET /broken/{how} failed: {why}" in caplog.text
    assert place in caplog.text
