"""What a page, another site or another lab on the host may not do to a student's session."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from labnode.testing import LabClient
from labnode.web import auth
from tests.house import read_house

BOARD = """\
schema: 1
lab: {name: "LAB"}
devices:
  switch: {driver: digital_output, pin: GPIO17}
module: bench.py
"""
MODULE = """\
from labnode import Lab

lab = Lab()


@lab.task(label="Heat")
def heat(seconds: float = 1, timeout: float = 2):
    return [seconds, timeout]


@lab.task(label="Anything")
def anything(**words):
    return words
"""

MakeLab = Callable[..., AbstractContextManager[LabClient]]


@pytest.fixture
def make_lab(tmp_path: Path) -> MakeLab:
    @contextmanager
    def make(name: str = "bench", **settings: Any) -> Iterator[LabClient]:
        (tmp_path / "board.yaml").write_text(BOARD.replace("LAB", name))
        (tmp_path / "bench.py").write_text(MODULE)
        with LabClient(tmp_path / "board.yaml", **settings) as lab:
            yield lab

    return make


# --- arguments ---

NAMES = ["self", "args", "kwargs", "function", "call", "func", "name", "cls", "tasks", "arguments"]


@pytest.mark.parametrize("name", NAMES)
def test_an_argument_called_like_one_of_labnodes_own_is_a_bad_request(
    make_lab: MakeLab, name: str
) -> None:
    with make_lab() as lab:
        student = lab.student()
        for path in ("/api/tasks/heat", "/api/devices/switch/set"):
            reply = student.post(path, {name: 1})
            assert (reply.status, reply.json["code"]) == (400, "bad-input"), path


def test_arguments_reach_the_task_under_their_own_names(make_lab: MakeLab) -> None:
    with make_lab() as lab:
        student = lab.student()
        words = dict.fromkeys(NAMES, 1)
        assert student.post("/api/tasks/anything", words).status == 200
        assert lab.lab.functions["anything"].run_sync(**words).result == words


SENSELESS = ['{"seconds": "\\ud800"}', '{"\\ud800": 1}', '["\\ud800"]', "1e999", '{"": 1}']


@pytest.mark.parametrize("text", SENSELESS)
@pytest.mark.parametrize("path", ["tasks/heat", "tasks/anything", "devices/switch/set"])
def test_senseless_arguments_are_no_fault_of_the_node(
    make_lab: MakeLab, path: str, text: str
) -> None:
    with make_lab() as lab:
        reply = lab.student().post(f"/api/{path}", json.loads(text))
        assert reply.status < 500, reply.text


# --- cookies ---


def test_labs_with_names_that_look_alike_have_cookies_of_their_own() -> None:
    names = ["lab 1", "lab_1", "lab-1", "lab.1", "lab1", "lab1_observer", "lab", "lab_", "Lab1"]
    cookies = [auth._default_cookie(name) for name in names]
    observers = [f"{cookie}_observer" for cookie in cookies]
    assert len({*cookies, *observers}) == 2 * len(names)
    assert auth._default_cookie("lab1") == "labnode_lab1"


# --- where a request comes from ---


@pytest.mark.parametrize("scheme", ["ftp", "chrome-extension", "moz-extension", "file", "ws", ""])
def test_only_pages_of_the_web_may_act(make_lab: MakeLab, scheme: str) -> None:
    with make_lab() as lab:
        student = lab.student()
        host = "127.0.0.1"
        for origin, status in ((f"{scheme}://{host}", 403), (f"http://{host}", 200)):
            reply = student.post("/api/tasks/heat", {}, HTTP_ORIGIN=origin, HTTP_HOST=host)
            assert reply.status == status, origin


@pytest.mark.parametrize("origin", ["127.0.0.1", "://127.0.0.1", "null", "", "http://"])
def test_what_is_no_origin_is_not_ours(make_lab: MakeLab, origin: str) -> None:
    with make_lab() as lab:
        reply = lab.student().post("/api/tasks/heat", {}, HTTP_ORIGIN=origin, HTTP_HOST="127.0.0.1")
        assert reply.status == 403


def test_a_page_without_https_may_not_act_on_a_lab_that_has_it(make_lab: MakeLab) -> None:
    with make_lab(scheme="https") as lab:
        student = lab.student()
        for origin, status in (("http://127.0.0.1", 403), ("https://127.0.0.1", 200)):
            reply = student.post("/api/tasks/heat", {}, HTTP_ORIGIN=origin, HTTP_HOST="127.0.0.1")
            assert reply.status == status


# --- https ---


@pytest.mark.parametrize(
    "settings", [{"scheme": "https"}, {"base_url": "https://labs.example.org/bench"}]
)
def test_a_lab_with_https_is_never_asked_for_without_it_again(
    make_lab: MakeLab, settings: dict[str, str]
) -> None:
    with make_lab(**settings) as lab:
        for path in ("/", "/static/labnode.js", "/nowhere", "/weblab/health", "/admin"):
            assert lab.browser().get(path).headers["strict-transport-security"] == HSTS


HSTS = "max-age=31536000"


def test_a_lab_without_https_does_not_promise_it(make_lab: MakeLab) -> None:
    with make_lab() as lab:
        assert "strict-transport-security" not in lab.browser().get("/").headers


# --- static files ---


@pytest.fixture
def static(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_text("of somebody else")
    static = tmp_path / "board/static"
    static.mkdir(parents=True)
    (static / "mine.txt").write_text("mine")
    (static / "out.txt").symlink_to(tmp_path / "outside/secret.txt")
    (static / "out.bin").symlink_to(tmp_path / "outside/secret.txt")
    (static / "dir").symlink_to(tmp_path / "outside")
    (static.parent / "assets").mkdir()
    (static.parent / "assets/shared.txt").write_text("shared")
    (static / "assets").symlink_to("../assets")
    (static / "loop.txt").symlink_to("loop.txt")
    (static.parent / "board.yaml").write_text("schema: 1\ndevices: {}\n")
    return static


@pytest.mark.parametrize("packed", ["gzip", "identity"])
@pytest.mark.parametrize(
    "name", ["out.txt", "out.bin", "dir/secret.txt", "loop.txt", "../board.yaml", "%00", "a%00.txt"]
)
def test_no_link_leads_a_page_out_of_the_boards_folder(
    static: Path, name: str, packed: str
) -> None:
    with LabClient(static.parent / "board.yaml") as lab:
        path = f"/static/lab/{name.replace('%00', chr(0))}"
        reply = lab.student().get(path, HTTP_ACCEPT_ENCODING=packed)
        assert reply.status in (403, 404)
        assert b"somebody" not in reply.body


@pytest.mark.parametrize("name", ["mine.txt", "assets/shared.txt", "/mine.txt", "\\mine.txt"])
def test_files_of_the_board_are_served(static: Path, name: str) -> None:
    with LabClient(static.parent / "board.yaml") as lab:
        assert lab.student().get(f"/static/lab/{name}").status == 200


@pytest.mark.parametrize("outside", [False, True])
def test_a_page_of_the_boards_own_is_one_of_its_folder(static: Path, outside: bool) -> None:
    """A template is Python, too, and no board file has to name it."""
    board = static.parent
    (board / "templates").mkdir()
    target = static.parent.parent / "outside" if outside else board / "assets"
    (target / "page.html").write_text("my own {{6 * 7}}")
    (board / "templates/page.html").symlink_to(target / "page.html")
    with LabClient(board / "board.yaml") as lab:
        page = lab.student().get("/")
        assert page.status == 200
        assert ("my own 42" in page.text) is not outside


# --- tokens ---

SECRET = {"token", "mac", "nonce", "handle", "secret", "password", "digest", "cookie"}


def test_what_is_secret_is_compared_in_constant_time() -> None:
    """By compare_digest alone: how long == takes tells how much of a guess is right."""
    found = []
    for source in read_house():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Compare) and not _with_none(node):
                names = {_name(side) for side in (node.left, *node.comparators)}
                if names & SECRET and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                    found.append(f"{source.path}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr.lstrip("_")
    return node.id if isinstance(node, ast.Name) else ""


def _with_none(node: ast.Compare) -> bool:
    return any(isinstance(side, ast.Constant) for side in node.comparators)
