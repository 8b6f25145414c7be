"""Every address of the administration, with every credential that is not the right one."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from labnode.clock import ManualClock
from labnode.testing import LabClient
from tests.kit.basic_auth import basic
from tests.kit.labs import lab_of

BOARD = "schema: 1\nlab: {name: oven}\ndevices: {heater: {driver: relay, pin: GPIO17}}\n"
ADMIN = {"username": "boss", "password": "the right password"}
FORM = b"username=boss&password=the+right+password"
HTML = "text/html,*/*"

PATHS = (
    *("/admin", "/admin/", "//admin", "/admin//", "/admin/%2e", "/admin/login/", "/admin/login/x"),
    *("/admin/static/admin.js", "/admin/static/../app.py", "/admin/static/icon.svg/../admin.js"),
    *("/admin/estop", "/admin/clear", "/admin/drain", "/admin/undrain", "/admin/reset"),
    *("/admin/devices/heater/on", "/admin/logout", "/admin/no/such"),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW")


def test_no_address_answers_to_anything_but_right_credentials(tmp_path: Path) -> None:
    clock = ManualClock()
    settings: dict[str, Any] = {"admin": ADMIN, "trusted_proxies": ["127.0.0.1"], "clock": clock}
    with lab_of(tmp_path, BOARD, **settings) as lab:
        cookie = log_in(lab)
        name = cookie.partition("=")[0]
        ended = log_in(lab)
        assert lab.request("POST", "/admin/logout", HTTP_COOKIE=ended).status == 200
        credentials: list[dict[str, str]] = [
            {},
            *({"HTTP_COOKIE": text} for text in (ended, f"{name}=", f"{name}={'A' * 43}")),
            {"HTTP_COOKIE": f"{cookie}x"},
            {"HTTP_COOKIE": cookie.replace("=", " = ", 1).replace(name, f"{name}2")},
            {"HTTP_COOKIE": lab.student().entered.cookies[0].partition(";")[0]},
            {"HTTP_AUTHORIZATION": f"Bearer {cookie.partition('=')[2]}"},
            *({"HTTP_AUTHORIZATION": basic(p)} for p in ("weblab:weblab", "boss:", ":", "boss")),
        ]
        tries = product(METHODS, PATHS, credentials, ("", HTML))
        for number, (method, path, given, accept) in enumerate(tries):
            headers = {**given, "HTTP_X_FORWARDED_FOR": f"10.{number >> 8}.{number & 255}.1"}
            if accept:
                headers["HTTP_ACCEPT"] = accept
            clock.advance(0.3)  # so that every guess is compared
            reply = lab.request(method, path, FORM, **headers)
            assert reply.status in (302, 303, 401, 403), (method, path, given, reply)
            assert "location" not in reply.headers or "login" in reply.headers["location"]
        assert lab.agent.estop.why is None
        assert not lab.agent.sessions.draining
        assert lab.value("heater") is False
        assert lab.request("GET", "/admin", HTTP_COOKIE=cookie).status == 200


def log_in(lab: LabClient) -> str:
    """The cookie of a session."""
    reply = lab.request("POST", "/admin/login", FORM, HTTP_ACCEPT=HTML)
    assert reply.status == 303
    return reply.cookies[0].partition(";")[0]
