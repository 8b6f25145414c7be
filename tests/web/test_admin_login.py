"""Logging in to the administration: the form, its sessions, the codes, and scripts."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from labnode.clock import ManualClock
from labnode.settings.passwords import HashedPassword
from labnode.testing import Browser, LabClient, Reply
from labnode.web.admin.login import IDLE, LONGEST
from labnode.web.admin.totp import app_uri, code_at
from tests.kit.basic_auth import basic
from tests.web.conftest import MakeLab

ADMIN = {"username": "boss", "password": "a long password"}
KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # that of RFC 6238: 12345678901234567890
HTML = {"HTTP_ACCEPT": "text/html,*/*"}
BOSS = basic("boss:a long password")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lab(make_lab: MakeLab, clock: ManualClock) -> LabClient:
    return make_lab(admin=ADMIN, clock=clock)


@pytest.fixture
def with_codes(make_lab: MakeLab, clock: ManualClock) -> LabClient:
    return make_lab(admin={**ADMIN, "totp": KEY}, clock=clock)


def log_in(
    browser: Browser, password: str = "a long password", code: str = "", **headers: str
) -> Reply:
    fields = {"username": "boss", "password": password, **({"code": code} if code else {})}
    body = urlencode(fields).encode()
    return browser.request("POST", "/admin/login", body, **{**HTML, **headers})


def logged_in(lab: LabClient) -> Browser:
    browser = lab.browser()
    assert log_in(browser).status == 303
    return browser


def page(browser: Browser, **headers: str) -> Reply:
    return browser.get("/admin", **{**HTML, **headers})


def cookie_of(reply: Reply) -> str:
    (cookie,) = reply.cookies
    return cookie.partition(";")[0]


# --- the form ---


def test_a_browser_is_led_to_the_form_and_from_there_to_the_page(lab: LabClient) -> None:
    browser = lab.browser()
    reply = page(browser)
    assert (reply.status, reply.headers["location"]) == (303, "/admin/login")
    form = browser.get("/admin/login", **HTML)
    assert form.status == 200
    assert '<form method="post" action="login"' in form.text
    assert "www-authenticate" not in form.headers
    reply = log_in(browser)
    assert (reply.status, reply.headers["location"]) == (303, "/admin")
    reply = page(browser)
    assert reply.status == 200
    assert 'id="logout"' in reply.text


def test_the_form_needs_no_script_and_is_shown_in_no_frame(lab: LabClient) -> None:
    form = lab.browser().get("/admin/login", **HTML)
    assert "<script" not in form.text
    assert form.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in form.headers["content-security-policy"]
    assert 'name="code"' not in form.text


def test_the_form_speaks_spanish(lab: LabClient) -> None:
    spanish = {"HTTP_ACCEPT_LANGUAGE": "es"}
    assert "Contraseña" in lab.browser().get("/admin/login", **HTML, **spanish).text
    assert "incorrectos" in log_in(lab.browser(), "wrong", **spanish).text


@pytest.mark.parametrize("password", ["wrong", "", "a long passwor", "A long password"])
def test_a_wrong_password_is_told_in_the_form(lab: LabClient, password: str) -> None:
    browser = lab.browser()
    reply = log_in(browser, password)
    assert (reply.status, reply.cookies) == (403, [])
    assert "Wrong user name or password." in reply.text
    assert page(browser).status == 303


def test_what_was_typed_is_not_in_the_answer(lab: LabClient) -> None:
    assert "<b>typed" not in log_in(lab.browser(), "<b>typed").text
    assert "typed" not in log_in(lab.browser(), "<b>typed").text


def test_an_endless_form_is_not_read(lab: LabClient) -> None:
    body = b"x=" + b"1" * 1_000_000 + b"&username=boss&password=a+long+password"
    assert lab.browser().request("POST", "/admin/login", body, **HTML).status == 403


def test_another_site_logs_nobody_in(lab: LabClient) -> None:
    assert log_in(lab.browser(), HTTP_ORIGIN="https://evil.example").status == 403
    reply = log_in(lab.browser(), HTTP_SEC_FETCH_SITE="cross-site")
    assert (reply.status, reply.cookies) == (403, [])


def test_a_hashed_password_lets_in(make_lab: MakeLab, clock: ManualClock) -> None:
    hashed = str(HashedPassword.of("a long password"))
    lab = make_lab(admin={**ADMIN, "password": hashed}, clock=clock)
    assert page(logged_in(lab)).status == 200
    assert log_in(lab.browser(), hashed).status == 403


# --- the session ---


def test_the_cookie_is_for_this_page_alone(make_lab: MakeLab) -> None:
    lab = make_lab(admin=ADMIN, base_url="/one", scheme="https")
    reply = lab.browser().request("POST", "/one/admin/login", urlencode(ADMIN).encode(), **HTML)
    name, *attributes = reply.cookies[0].split("; ")
    assert re.fullmatch(r"labnode_admin_[0-9a-f]{8}=[\w-]{43}", name)
    assert attributes == ["HttpOnly", "Path=/one/admin", "SameSite=Strict", "Secure"]


def test_without_https_the_cookie_is_not_only_for_https(lab: LabClient) -> None:
    assert "Secure" not in log_in(lab.browser()).cookies[0]


def test_a_login_has_a_token_of_its_own_and_ends_the_one_before(lab: LabClient) -> None:
    browser = lab.browser()
    first = cookie_of(log_in(browser))
    second = cookie_of(log_in(browser))
    assert first != second
    assert lab.request("GET", "/admin", HTTP_COOKIE=first, **HTML).status == 303
    assert lab.request("GET", "/admin", HTTP_COOKIE=second, **HTML).status == 200


def test_a_token_that_was_planted_is_never_that_of_a_session(lab: LabClient) -> None:
    name = cookie_of(log_in(lab.browser())).partition("=")[0]
    planted = f"{name}={'x' * 43}"
    body = urlencode(ADMIN).encode()
    reply = lab.request("POST", "/admin/login", body, HTTP_COOKIE=planted, **HTML)
    assert cookie_of(reply) != planted
    assert lab.request("GET", "/admin", HTTP_COOKIE=planted, **HTML).status == 303


def test_logging_out_ends_the_session_in_all_its_windows(lab: LabClient) -> None:
    browser = lab.browser()
    cookie = cookie_of(log_in(browser))
    reply = browser.request("POST", "/admin/logout", b"", **HTML)
    assert (reply.status, reply.headers["location"]) == (303, "/admin/login")
    assert "Max-Age=0" in reply.cookies[0]
    for method, path in [("GET", "/admin"), ("POST", "/admin/estop")]:
        reply = lab.request(method, path, HTTP_COOKIE=cookie, HTTP_ORIGIN="http://lab.test")
        assert reply.status == 403
    assert lab.agent.estop.why is None


def test_logging_out_one_browser_leaves_the_others(lab: LabClient) -> None:
    one, other = logged_in(lab), logged_in(lab)
    assert one.post("/admin/logout").json == {"success": True}
    assert page(one).status == 303
    assert page(other).status == 200


def test_another_site_logs_nobody_out(lab: LabClient) -> None:
    browser = logged_in(lab)
    assert browser.post("/admin/logout", HTTP_ORIGIN="https://evil.example").status == 403
    assert page(browser).status == 200


def test_a_page_that_nobody_looks_at_is_logged_out(lab: LabClient, clock: ManualClock) -> None:
    browser = logged_in(lab)
    clock.advance(IDLE - 1)
    assert page(browser).status == 200
    clock.advance(IDLE)
    assert page(browser).status == 303


def test_a_session_has_an_end_also_while_it_is_used(lab: LabClient, clock: ManualClock) -> None:
    browser = logged_in(lab)
    for _ in range(int(LONGEST / 1000)):
        clock.advance(1000)
        assert page(browser).status == 200
    clock.advance(LONGEST % 1000)
    assert page(browser).status == 303


def test_sessions_are_bounded_and_the_oldest_ends(lab: LabClient) -> None:
    browsers = [logged_in(lab) for _ in range(21)]
    assert [page(browser).status for browser in browsers] == [303] + [200] * 20


def test_a_restart_ends_all_sessions(make_lab: MakeLab) -> None:
    lab = make_lab(admin=ADMIN)
    cookie = cookie_of(log_in(lab.browser()))
    lab.agent.stop()
    lab = make_lab(admin=ADMIN)
    assert lab.request("GET", "/admin", HTTP_COOKIE=cookie, **HTML).status == 303


def test_the_buttons_work_in_a_session(lab: LabClient) -> None:
    browser = logged_in(lab)
    own = {"HTTP_ORIGIN": "http://lab.test", "HTTP_SEC_FETCH_SITE": "same-origin"}
    assert browser.post("/admin/drain", **own).json["success"] is True
    assert browser.post("/admin/estop", HTTP_ORIGIN="https://evil.example").status == 403
    assert lab.agent.estop.why is None


def test_the_script_of_a_page_whose_session_is_over_asks_for_no_password(lab: LabClient) -> None:
    reply = lab.request(
        "POST", "/admin/estop", HTTP_ACCEPT="application/json", HTTP_ORIGIN="http://lab.test"
    )
    assert (reply.status, reply.json["message"]) == (403, "Log in first.")
    assert "www-authenticate" not in reply.headers


def test_logins_and_their_addresses_are_logged(
    lab: LabClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    logged_in(lab)
    log_in(lab.browser(), "wrong-one", REMOTE_ADDR="192.0.2.9")
    assert "The administrator has logged in from 127.0.0.1." in caplog.messages
    assert "Wrong credentials from 192.0.2.9" in caplog.messages
    assert "wrong-one" not in caplog.text


# --- guesses ---


def test_guesses_are_refused_and_told_how_long(lab: LabClient) -> None:
    for number in range(20):
        assert log_in(lab.browser(), f"guess {number}").status == 403
    reply = log_in(lab.browser())
    assert (reply.status, reply.headers["retry-after"], reply.cookies) == (429, "90", [])
    assert "Too many attempts: try again in 90 s." in reply.text


def test_form_and_scripts_have_one_budget(lab: LabClient) -> None:
    for number in range(10):
        assert log_in(lab.browser(), f"guess {number}").status == 403
        headers = {"HTTP_AUTHORIZATION": basic(f"boss:{number}")}
        assert lab.request("GET", "/admin", **headers).status == 401
    assert log_in(lab.browser()).status == 429
    assert lab.request("GET", "/admin", HTTP_AUTHORIZATION=BOSS).status == 429


def test_whoever_was_let_in_is_let_in_while_others_guess_also_after_a_restart(
    make_lab: MakeLab, clock: ManualClock
) -> None:
    lab = make_lab(admin=ADMIN, clock=clock)
    logged_in(lab)
    lab.agent.stop()
    lab = make_lab(admin=ADMIN, clock=clock)
    for number in range(100):
        assert log_in(lab.browser(), f"guess {number}").status in (403, 429)
    assert log_in(lab.browser()).status == 303


def test_an_address_of_a_central_server_may_not_guess_the_administrators(lab: LabClient) -> None:
    assert lab.server("GET", "/test").status == 200
    for number in range(20):
        assert log_in(lab.browser(), f"guess {number}").status == 403
    assert log_in(lab.browser()).status == 429


# --- codes ---


def code(clock: ManualClock, steps: int = 0) -> str:
    return code_at(KEY, clock.wall() + 30 * steps)


@pytest.mark.parametrize(
    ("wall", "expected"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_rfc_6238(wall: float, expected: str) -> None:
    assert code_at(KEY, wall) == expected


def test_an_app_reads_the_key_as_a_uri() -> None:
    assert app_uri(KEY, "pi 3") == f"otpauth://totp/labnode:pi%203?secret={KEY}&issuer=labnode"


def test_a_code_is_asked_for_and_needed(with_codes: LabClient, clock: ManualClock) -> None:
    browser = with_codes.browser()
    assert 'name="code"' in browser.get("/admin/login", **HTML).text
    for wrong in ("", "000000", code(clock, 2), code(clock, -2), code(clock)[:5], "ﬁ²³"):
        reply = log_in(browser, code=wrong)
        assert reply.status == 403
        assert "Wrong user name, password or code." in reply.text
    assert log_in(browser, "wrong", code(clock)).status == 403
    assert page(browser).status == 303
    assert log_in(browser, code=code(clock)).status == 303
    assert page(browser).status == 200


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_clock_that_is_half_a_minute_off_does_not_matter(
    with_codes: LabClient, clock: ManualClock, steps: int
) -> None:
    spaced = code(clock, steps)[:3] + " " + code(clock, steps)[3:]
    assert log_in(with_codes.browser(), code=spaced).status == 303


def test_a_code_lets_in_once_also_over_a_restart(make_lab: MakeLab, clock: ManualClock) -> None:
    settings: dict[str, Any] = {"admin": {**ADMIN, "totp": KEY}, "clock": clock}
    now, later = code(clock), code(clock, 1)
    lab = make_lab(**settings)
    assert log_in(lab.browser(), code=now).status == 303
    assert log_in(lab.browser(), code=now).status == 403
    assert log_in(lab.browser(), code=code(clock, -1)).status == 403  # older ones as well
    lab.agent.stop()
    lab = make_lab(**settings)
    assert log_in(lab.browser(), code=now).status == 403
    assert log_in(lab.browser(), code=later).status == 303


def test_the_password_alone_does_not_make_an_address_known(
    with_codes: LabClient, clock: ManualClock
) -> None:
    for _ in range(20):
        assert log_in(with_codes.browser(), code="000000").status == 403
    assert log_in(with_codes.browser(), code=code(clock)).status == 429


def test_codes_are_guessed_by_all_strangers_together_60_times_an_hour(
    with_codes: LabClient, clock: ManualClock
) -> None:
    compared = 0
    for number in range(720):  # with the right password, every 5 s from another address
        reply = log_in(
            with_codes.browser(), code="000000", REMOTE_ADDR=f"10.0.{number // 250}.{number % 250}"
        )
        compared += reply.status == 403
        clock.advance(5)
    assert 50 < compared <= 60


def test_strangers_who_have_the_password_do_not_use_up_the_codes_of_who_was_let_in(
    with_codes: LabClient, clock: ManualClock
) -> None:
    assert log_in(with_codes.browser(), code=code(clock)).status == 303
    clock.advance(60)
    for number in range(100):
        reply = log_in(with_codes.browser(), code="000000", REMOTE_ADDR=f"10.0.0.{number}")
        assert reply.status in (403, 429)
    assert reply.status == 429
    assert log_in(with_codes.browser(), code=code(clock)).status == 303


def test_from_an_address_that_was_let_in_codes_are_guessed_60_times_an_hour(
    with_codes: LabClient, clock: ManualClock
) -> None:
    from_network = {"REMOTE_ADDR": "2001:db8::1"}
    assert log_in(with_codes.browser(), code=code(clock), **from_network).status == 303
    statuses = [
        log_in(with_codes.browser(), code="000000", REMOTE_ADDR=f"2001:db8::{number:x}").status
        for number in range(100)
    ]
    assert (statuses.count(403), statuses.count(429)) == (20, 80)


def test_a_script_does_not_get_around_the_code(with_codes: LabClient) -> None:
    for method in ("GET", "POST"):
        reply = with_codes.request(method, "/admin/drain", HTTP_AUTHORIZATION=BOSS)
        assert (reply.status, reply.json["code"]) == (403, "credentials")
        assert "www-authenticate" not in reply.headers
    assert with_codes.start().status == 200


def test_the_key_of_the_codes_is_not_in_the_log_of_the_page(
    with_codes: LabClient, clock: ManualClock
) -> None:
    browser = with_codes.browser()
    log_in(browser, code=code(clock))
    logging.getLogger("labs.own").warning("the key is %s", KEY)
    text = page(browser).text
    assert "the key is …" in text
    assert KEY not in text
