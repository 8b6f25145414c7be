"""Two labs behind one name: real nodes, a real nginx, and one browser that is in both."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request

import pytest

from labnode.errors import LabnodeError
from labnode.weblab.fake import CentralServer

from ..web.sockets import Page
from .machine import Machine, Node, Student
from .proxy import NGINX, Nginx, free_port

pytestmark = pytest.mark.skipif(
    NGINX is None,
    reason="there is no nginx on this machine (Debian: sudo apt-get install nginx-light)",
)

BOARD = """
schema: 1
title: The lab {name}
lab: {{name: {name}}}
session: {{timeout: -1}}
devices:
  switch: {{driver: digital_output, pin: GPIO17}}
module: bench.py
"""

MODULE = """
import hashlib

from bottle import request
from labnode import Lab

lab = Lab()


@lab.websocket("/switch")
def switch(ws):
    for message in ws:
        lab.devices.switch.set(message == "on")
        ws.send({"switch": lab.devices.switch.value})


@lab.app.post("/digest")
def digest():
    with request.body as body:  # Bottle has written it to a file, which nobody else closes
        content = body.read()
    return {"size": len(content), "digest": hashlib.sha256(content).hexdigest()}


@lab.app.get("/seen", access="public")
def seen():
    forwarded = [name for name in request.environ if name.startswith("HTTP_X_FORWARDED")]
    scheme = request.environ["wsgi.url_scheme"]
    host, address = request.environ["HTTP_HOST"], request.environ["REMOTE_ADDR"]
    return {"address": address, "scheme": scheme, "host": host, "forwarded": forwarded}
"""

FORGED = {
    "X-Forwarded-For": "203.0.113.66",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
}


@dataclass
class Lab:
    """A lab as it is seen from outside, and its node."""

    node: Node
    url: str
    server: CentralServer
    started: list[str] = field(default_factory=list)

    def start(self) -> str:
        """The student's address of a new session."""
        session_id, url = self.server.new()
        self.started.append(session_id)
        return url


def start_lab(directory: Path, origin: str) -> tuple[Machine, Lab]:
    name = directory.name
    directory.mkdir()
    (directory / "board.yaml").write_text(BOARD.format(name=name))
    (directory / "bench.py").write_text(MODULE)
    machine = Machine(directory)
    node = machine.node(
        board=directory / "board.yaml",
        LABNODE_BASE_URL=f"{origin}/{name}",
        LABNODE_TRUSTED_PROXIES="127.0.0.1",
        LABNODE_WEBLAB_USERNAME=f"weblab-{name}",
        LABNODE_WEBLAB_PASSWORD=f"password-{name}",
    )
    url = f"{origin}/{name}"
    return machine, Lab(node, url, CentralServer(url, f"weblab-{name}", f"password-{name}"))


@pytest.fixture(scope="module")
def public() -> int:
    """The port that the world sees."""
    return free_port()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, public: int) -> Iterator[list[Lab]]:
    directory = tmp_path_factory.mktemp("labs")
    machines, labs = [], []
    try:
        for name in ("lab1", "lab2"):
            machine, lab = start_lab(directory / name, f"http://127.0.0.1:{public}")
            machines.append(machine)
            labs.append(lab)
        yield labs
        for lab in labs:
            assert "Traceback" not in lab.node.errors
    finally:
        for machine in machines:
            machine.end()


@pytest.fixture(scope="module", params=["whole", "stripped", "appending"])
def nginx(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    nodes: list[Lab],
    public: int,
) -> Iterator[Nginx]:
    """The example as it is, without the prefix, and with the X-Forwarded-For of many a tutorial."""
    changes = {}
    for port, lab in zip(("8081", "8082"), nodes, strict=True):
        real = lab.node.url.rpartition(":")[2].partition("/")[0]
        slash = "/" if request.param == "stripped" else ""
        changes[f"proxy_pass http://127.0.0.1:{port};"] = (
            f"proxy_pass http://127.0.0.1:{real}{slash};"
        )
    if request.param == "appending":
        changes["X-Forwarded-For   $remote_addr"] = "X-Forwarded-For $proxy_add_x_forwarded_for"
    nginx = Nginx(tmp_path_factory.mktemp("nginx") / request.param, public, changes)
    yield nginx
    nginx.end()
    assert nginx.errors == ""


@pytest.fixture
def labs(nginx: Nginx, nodes: list[Lab]) -> Iterator[list[Lab]]:
    """Both labs, without sessions after the test."""
    yield nodes
    for lab in nodes:
        while lab.started:
            assert lab.server.delete(lab.started.pop()).clean


@pytest.fixture
def browser(labs: list[Lab]) -> Student:
    """One browser whose user is in both labs."""
    one, two = labs
    browser = Student("", one.start())
    assert browser.page.status == 200, browser.page
    assert browser.get(two.start()).status == 200
    return browser


def switch(browser: Student, lab: Lab) -> bool:
    answer = browser.get(f"{lab.url}/api/state")
    assert answer.status == 200, answer
    on: bool = answer.json["devices"]["switch"]["value"]
    return on


def seen(port: int, path: str, **headers: str) -> dict[str, object]:
    """What a node sees of somebody at 127.0.0.2, whom nobody trusts."""
    asker = http.client.HTTPConnection("127.0.0.1", port, 10, source_address=("127.0.0.2", 0))
    asker.request("GET", path, headers=headers)
    answer = json.loads(asker.getresponse().read())
    asker.close()
    assert isinstance(answer, dict)
    return answer


def opened(browser: Student, lab: Lab, origin: str, port: int) -> tuple[Page, int]:
    """A WebSocket of this browser, opened from a page at `origin`, and the answer's status."""
    request = Request(f"{lab.url}/switch")
    browser._jar.add_cookie_header(request)
    page = Page(("127.0.0.1", port), request.selector, origin, request.get_header("Cookie", ""))
    page.ask()
    return page, page.read_head()


def test_the_student_gets_the_public_address(labs: list[Lab]) -> None:
    for lab in labs:
        assert lab.start().startswith(f"{lab.url}/callback/")


def test_each_lab_has_its_own_credentials(labs: list[Lab]) -> None:
    stranger = CentralServer(labs[1].url, "weblab-lab1", "password-lab1")
    with pytest.raises(LabnodeError, match="does not know these credentials"):
        stranger.new()


def test_the_pages_of_both_labs_work_in_one_browser(browser: Student, labs: list[Lab]) -> None:
    for lab in labs:
        page = browser.get(f"{lab.url}/")
        assert (page.status, page.url) == (200, f"{lab.url}/")
        assert f"The lab {lab.url[-4:]}" in page.text
        assert browser.get(f"{lab.url}/api/session").json["active"] is True


def test_the_address_without_a_slash_leads_to_the_page(browser: Student, labs: list[Lab]) -> None:
    for lab in labs:
        assert browser.get(lab.url).url == f"{lab.url}/"


def test_the_cookies_of_both_labs_do_not_collide(browser: Student, labs: list[Lab]) -> None:
    assert {cookie.name: cookie.path for cookie in browser._jar} == {
        "labnode_lab1": "/lab1",
        "labnode_lab2": "/lab2",
    }


def test_a_command_reaches_its_own_lab_only(browser: Student, labs: list[Lab]) -> None:
    one, two = labs
    assert browser.post(f"{one.url}/api/devices/switch/on").status == 200
    assert (switch(browser, one), switch(browser, two)) == (True, False)


def test_leaving_one_lab_leaves_the_other_alone(labs: list[Lab]) -> None:
    one, two = labs
    browser = Student("", one.start())
    browser.get(two.start())
    assert browser.leave().json == {"success": True}
    assert browser.get(f"{one.url}/api/session").status == 403
    assert browser.get(f"{two.url}/api/session").json["active"] is True
    assert browser.post(f"{two.url}/api/devices/switch/on").status == 200


def test_a_websocket_goes_through(browser: Student, labs: list[Lab], public: int) -> None:
    one, two = labs
    page, status = opened(browser, one, f"http://127.0.0.1:{public}", public)
    assert status == 101
    assert page.send("on").json() == {"switch": True}
    assert (switch(browser, one), switch(browser, two)) == (True, False)
    page.leave()


def test_a_websocket_of_another_site_does_not(
    browser: Student, labs: list[Lab], public: int
) -> None:
    page, status = opened(browser, labs[0], "https://evil.example", public)
    page.close()
    assert status == 403


@pytest.mark.parametrize("kib", [1, 500, 1023])
def test_an_upload_goes_through_whole(browser: Student, labs: list[Lab], kib: int) -> None:
    content = os.urandom(kib << 10)
    answer = browser.post(f"{labs[1].url}/digest", content)
    digest = hashlib.sha256(content).hexdigest()
    assert answer.json == {"size": len(content), "digest": digest}


def test_an_upload_that_is_too_large_gets_the_nodes_answer(
    browser: Student, labs: list[Lab]
) -> None:
    answer = browser.post(f"{labs[0].url}/digest", bytes(3 << 20))
    assert answer.status == 413
    assert "nginx" not in answer.text


def test_the_lab_sees_the_browser_and_not_the_proxy(labs: list[Lab], public: int) -> None:
    assert seen(public, "/lab1/seen") == {
        "address": "127.0.0.2",
        "scheme": "http",
        "host": f"127.0.0.1:{public}",
        "forwarded": [],
    }


def test_forged_headers_change_nothing(labs: list[Lab], public: int) -> None:
    assert seen(public, "/lab2/seen", **FORGED) == seen(public, "/lab2/seen")


def test_forged_headers_beside_the_proxy_change_nothing(labs: list[Lab]) -> None:
    port = int(labs[0].node.url.rpartition(":")[2].partition("/")[0])
    told = seen(port, "/lab1/seen", **FORGED)
    assert (told["address"], told["host"]) == ("127.0.0.2", f"127.0.0.1:{port}")


def test_the_tokens_of_sessions_stay_out_of_the_log(
    nginx: Nginx, browser: Student, labs: list[Lab]
) -> None:
    assert browser.get(f"{labs[0].url}/api/session").status == 200
    log = nginx.access_log.read_text()
    assert "GET /lab1/api/session" in log
    assert "callback" not in log
