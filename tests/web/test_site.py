from __future__ import annotations

from typing import Any

import pytest

from labnode.node.front import site
from labnode.settings import load_settings
from labnode.testing import LabClient
from tests.web.conftest import MakeLab

PROXY = {"trusted_proxies": ["10.0.0.1", "10.0.0.2"]}


def start_with(lab: LabClient, **environ: str) -> dict[str, Any]:
    body = b'{"client_initial_data": {}, "server_initial_data": {"priority.queue.slot.length": 9}}'
    auth = "Basic d2VibGFiOndlYmxhYg=="
    reply = lab.request("POST", "/weblab/sessions/", body, HTTP_AUTHORIZATION=auth, **environ)
    answer: dict[str, Any] = reply.json
    return answer


@pytest.mark.parametrize(
    "path", ["/weblab/sessions/api", "//weblab/sessions//api", "/weblab//sessions/api"]
)
def test_repeated_slashes_are_one(lab: LabClient, path: str) -> None:
    assert lab.request("GET", path).json == {"api_version": "1"}


def test_the_base_path_may_be_there_or_taken_off_by_a_proxy(make_lab: MakeLab) -> None:
    lab = make_lab(base_url="/lab1")
    assert lab.request("GET", "/lab1/weblab/sessions/api").status == 200
    assert lab.request("GET", "/weblab/sessions/api").status == 200
    assert lab.request("GET", "/lab1/about").status == 200
    assert lab.request("GET", "/about").status == 200
    assert lab.request("GET", "/lab10/about").status == 404


def test_the_base_path_itself_leads_to_the_page_with_its_slash(make_lab: MakeLab) -> None:
    reply = make_lab(base_url="/lab1").request("GET", "/lab1")
    assert (reply.status, reply.headers["location"]) == (302, "/lab1/")


def test_the_protocol_can_have_a_prefix_of_its_own(make_lab: MakeLab) -> None:
    lab = make_lab(base_url="/lab1", weblab_base="/private")
    assert lab.request("GET", "/private/weblab/sessions/api").status == 200
    assert lab.request("GET", "/lab1/weblab/sessions/api").status == 404
    assert lab.request("GET", "/weblab/sessions/api").status == 404


@pytest.mark.parametrize(
    ("address", "host", "beginning"),
    [
        ("10.0.0.9", "evil.example", "http://lab.test/"),
        ("10.0.0.1", "labs.example.org", "https://labs.example.org/callback/"),
    ],
)
def test_forwarded_headers_of_a_trusted_proxy_alone_count(
    make_lab: MakeLab, address: str, host: str, beginning: str
) -> None:
    forwarded = {"HTTP_X_FORWARDED_HOST": host, "HTTP_X_FORWARDED_PROTO": "https"}
    url = start_with(make_lab(**PROXY), REMOTE_ADDR=address, **forwarded)["url"]
    assert url.startswith(beginning)


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("10.0.0.9", "1.2.3.4", "10.0.0.9"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, nonsense", "10.0.0.1"),
        ("10.0.0.1", "::1", "::1"),
    ],
)
def test_the_browsers_address_is_the_last_that_no_trusted_proxy_has(
    remote: str, forwarded: str, expected: str
) -> None:
    seen: list[str] = []

    def student(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["REMOTE_ADDR"])
        assert not [name for name in environ if name.startswith("HTTP_X_FORWARDED")]
        return []

    credentials = {"weblab": {"username": "weblab", "password": "weblab"}}
    settings = load_settings(None, {}, {**credentials, **PROXY, "state_dir": "unused"})
    environ = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded, "PATH_INFO": "/"}
    site(student, student, settings)(environ, lambda *_: None)
    assert seen == [expected]
