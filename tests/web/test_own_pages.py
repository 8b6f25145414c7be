"""What a lab's own pages get: the student's language, and a script that keeps the session."""

from __future__ import annotations

import re

import pytest

from labnode.testing import LabClient
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
