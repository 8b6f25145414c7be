"""The administration's page: who may see it, what it shows, what its buttons do."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import pytest

from labnode.board import Board
from labnode.clock import ManualClock
from labnode.errors import StorageError
from labnode.events import Bus, DeviceChanged
from labnode.testing import LabClient, Reply
from labnode.web.admin.page import Trends
from tests.kit.basic_auth import basic
from tests.kit.labs import lab_of
from tests.kit.waiting import eventually
from tests.web.conftest import MakeLab

ADMIN = {"username": "boss", "password": "a long password"}
HTML = {"HTTP_ACCEPT": "text/html,*/*"}

Ask = Callable[..., Reply]


BOSS = basic("boss:a long password")


@pytest.fixture
def lab(make_lab: MakeLab) -> LabClient:
    return make_lab(admin=ADMIN)


@pytest.fixture
def page(lab: LabClient) -> Callable[..., str]:
    """The page's text without its tags."""

    def page(**headers: str) -> str:
        reply = lab.request("GET", "/admin", HTTP_AUTHORIZATION=BOSS, **headers)
        assert reply.status == 200, reply
        return " ".join(re.sub(r"<[^>]*>", " ", reply.text).split())

    return page


def post(lab: LabClient, what: str, fields: dict[str, Any] | None = None, **headers: str) -> Reply:
    body = urlencode(fields or {}).encode()
    headers = {"HTTP_AUTHORIZATION": BOSS, **headers}
    return lab.request("POST", f"/admin/{what}", body, **headers)


# --- who may ---


def test_there_is_no_administration_unless_there_are_credentials(make_lab: MakeLab) -> None:
    lab = make_lab()
    assert lab.request("GET", "/admin", HTTP_AUTHORIZATION=BOSS).status == 404


@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin/estop", "/admin/no/such", "//admin"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_gets_in_without_credentials(lab: LabClient, method: str, path: str) -> None:
    reply = lab.request(method, path)
    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Basic realm=")
    assert lab.agent.estop.why is None


@pytest.mark.parametrize("pair", ["boss:wrong", "weblab:weblab", ":", "boss:"])
def test_wrong_credentials_are_refused(lab: LabClient, pair: str) -> None:
    assert lab.request("GET", "/admin", HTTP_AUTHORIZATION=basic(pair)).status == 401


def test_the_administrator_is_no_central_server(lab: LabClient) -> None:
    reply = lab.request("GET", "/weblab/sessions/test", HTTP_AUTHORIZATION=BOSS)
    assert reply.status == 401


def test_a_student_s_cookie_opens_nothing_here(lab: LabClient) -> None:
    assert lab.student().get("/admin").status == 401


def test_guesses_are_slowed_down(make_lab: MakeLab) -> None:
    lab = make_lab(admin=ADMIN, clock=ManualClock())
    guesses = [
        lab.request("GET", "/admin", HTTP_AUTHORIZATION=basic(f"boss:{n}")) for n in range(21)
    ]
    assert guesses[19].status == 401
    assert (guesses[20].status, guesses[20].headers["retry-after"]) == (429, "90")


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_ORIGIN": "https://evil.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site", "HTTP_ORIGIN": "http://lab.test"},
    ],
)
def test_another_site_s_browser_does_nothing_here(lab: LabClient, headers: dict[str, str]) -> None:
    assert post(lab, "estop", **headers).status == 403
    assert lab.agent.estop.why is None


def test_the_page_s_own_browser_may(lab: LabClient) -> None:
    own = {"HTTP_ORIGIN": "http://lab.test", "HTTP_SEC_FETCH_SITE": "same-origin"}
    assert post(lab, "estop", **own).status == 200


def test_it_is_below_the_base_path(make_lab: MakeLab) -> None:
    lab = make_lab(admin=ADMIN, base_url="/one")
    assert lab.request("GET", "/one/admin", HTTP_AUTHORIZATION=BOSS).status == 200
    slash = lab.request("GET", "/one/admin/", HTTP_AUTHORIZATION=BOSS)
    assert (slash.status, slash.headers["location"]) == (302, "/one/admin")


def test_no_frame_and_no_other_origin_has_a_part_in_it(make_lab: MakeLab) -> None:
    lab = make_lab(admin=ADMIN, embed=True, scheme="https")
    headers = lab.request("GET", "/admin", HTTP_AUTHORIZATION=BOSS).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    refused = lab.request("GET", "/admin").headers
    assert "frame-ancestors 'none'" in refused["content-security-policy"]


def test_the_page_has_no_script_nor_style_inside(lab: LabClient) -> None:
    html = lab.request("GET", "/admin", HTTP_AUTHORIZATION=BOSS).text
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert "style=" not in html
    assert re.findall(r"\son\w+=", html) == []


# --- what it shows ---


def test_an_idle_node_is_ready(page: Callable[..., str]) -> None:
    text = page()
    assert "Ready for a student" in text
    assert "Nobody." in text
    assert "All parts work" in text
    assert "bench@" in text
    assert "No sessions in the last 24 hours." in text


def test_it_speaks_spanish(page: Callable[..., str]) -> None:
    text = page(HTTP_ACCEPT_LANGUAGE="es")
    assert "Listo para un estudiante" in text
    assert "Banco" in text


def test_it_says_who_is_on_the_board(lab: LabClient, page: Callable[..., str]) -> None:
    lab.student(full_name="Ada Lovelace", username="ada")
    text = page()
    assert "In use" in text
    assert "Ada Lovelace" in text
    assert "A student is on the board" in text


def test_names_are_never_html(lab: LabClient) -> None:
    lab.student(full_name="<script>alert(1)</script>")
    html = lab.request("GET", "/admin", HTTP_AUTHORIZATION=BOSS).text
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_it_has_the_link_for_an_observer(lab: LabClient) -> None:
    lab.student(full_name="Ada")
    html = lab.request("GET", "/admin", HTTP_AUTHORIZATION=BOSS).text
    link = re.search(r'href="(http://lab.test/observe/[^"]+)"', html)
    assert link
    assert lab.browser().get(urlsplit(link[1]).path).status == 302


def test_it_lists_sessions_tasks_and_events(lab: LabClient, page: Callable[..., str]) -> None:
    student = lab.student(full_name="Ada Lovelace", username="ada")
    task = student.post("/api/tasks/wait", {"seconds": 0}).json["task_id"]
    eventually(lambda: student.get(f"/api/tasks/{task}").json["status"] == "done")
    lab.finish(student)
    text = page()
    assert re.search(r"Ada Lovelace &lt;ada&gt; over ended by the server 1:00 weblab", text)
    assert "wait" in text
    assert "Session: over" in text
    assert "Task: done" in text
    assert "session.disposed" not in text


def test_it_says_who_asks_for_help(lab: LabClient, page: Callable[..., str]) -> None:
    student = lab.student(full_name="Ada Lovelace")
    assert "Asks for help" not in page()
    student.post("/api/session/hand", {"raised": True})
    assert "Asks for help" in page()


def test_what_is_older_than_a_day_is_not_of_today(make_lab: MakeLab) -> None:
    clock = ManualClock()
    lab = make_lab(admin=ADMIN, clock=clock)
    lab.finish(lab.student(full_name="Ada Lovelace"))
    assert "Ada" in lab.request("GET", "/admin", HTTP_AUTHORIZATION=BOSS).text
    clock.jump_wall(90_000)
    assert "Ada" not in lab.request("GET", "/admin", HTTP_AUTHORIZATION=BOSS).text


def test_the_log_s_last_lines_are_there_without_secrets(
    lab: LabClient, page: Callable[..., str]
) -> None:
    logging.getLogger("labs.own").warning("the pump drips; a long password; %s", "weblab")
    text = page()
    assert "WARNING labs.own: the pump drips; …; …" in text


def test_a_traceback_is_in_the_log(lab: LabClient, page: Callable[..., str]) -> None:
    try:
        raise ValueError("no such gear")
    except ValueError:
        logging.getLogger("labs.own").exception("it broke")
    assert "ValueError: no such gear" in page()


def test_a_disk_that_fails_leaves_the_rest_of_the_page(
    lab: LabClient, page: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.student(full_name="Ada Lovelace")

    def broken(*_: Any, **__: Any) -> None:
        raise StorageError("The node's database does not answer.")

    monkeypatch.setattr(lab.agent.store, "run", broken)
    text = page()
    assert "Ada Lovelace" in text
    assert "Emergency stop" in text


def test_values_of_all_devices_are_shown(lab: LabClient, page: Callable[..., str]) -> None:
    text = page()
    for name in ("switch: digital_output", "lamp: digital_input", "hidden: led"):
        assert name in text


def test_a_device_with_words_of_its_own_is_shown_with_them(
    make_lab: MakeLab, tmp_path: Path
) -> None:
    board = (tmp_path / "bench.yaml").read_text()
    words = "words: {on: {en: Open, es: Abierta}, off: {en: Closed, es: Cerrada}}"
    with_words = board.replace("GPIO17}", f"GPIO17, {words}}}")
    (tmp_path / "bench.yaml").write_text(with_words)
    lab = make_lab(admin=ADMIN)

    def row(language: str) -> str:
        asked = {"HTTP_AUTHORIZATION": BOSS, "HTTP_ACCEPT_LANGUAGE": language}
        page = lab.request("GET", "/admin", **asked).text
        return page[page.index("switch: ") : page.index("lamp: ")]

    assert "Closed" in row("en")
    lab.student().post("/api/devices/switch/on")
    assert "Abierta" in row("es")


# --- what can be done ---


def test_an_emergency_stop(lab: LabClient, page: Callable[..., str]) -> None:
    student = lab.student()
    student.post("/api/devices/switch/on")
    reply = post(lab, "estop")
    assert (reply.status, reply.json) == (200, {"success": True, "unsafe": [], "sessions": 1})
    assert lab.agent.board.halted == "the administration's page"
    text = page()
    assert "Stopped" in text
    assert "Clear: the board is as it should be" in text


def test_the_page_s_button_ends_an_emergency_stop(lab: LabClient, page: Callable[..., str]) -> None:
    post(lab, "estop")
    assert lab.start().status == 503
    assert post(lab, "clear").json["success"] is True
    assert "Clear: the board" not in page()
    assert lab.start().status == 200


def test_draining_and_not_draining(lab: LabClient, page: Callable[..., str]) -> None:
    assert post(lab, "drain").status == 200
    assert "Drained: takes no students" in page()
    assert lab.start().status == 503
    assert post(lab, "undrain").status == 200
    assert lab.start().status == 200


def test_without_a_script_a_button_leads_back_to_the_page(lab: LabClient) -> None:
    reply = post(lab, "drain", **HTML)
    assert (reply.status, reply.headers["location"]) == (303, "/admin")


def test_without_a_script_a_refusal_is_a_page(lab: LabClient) -> None:
    lab.student()
    reply = post(lab, "devices/switch/on", **HTML)
    assert reply.status == 409
    assert "A student is on the board" in reply.text
    assert 'href="/admin"' in reply.text


def test_an_action_that_there_is_not(lab: LabClient) -> None:
    assert post(lab, "explode").status == 404
    assert lab.request("GET", "/admin/estop", HTTP_AUTHORIZATION=BOSS).status == 405


def test_actions_are_logged_with_their_address(
    lab: LabClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    post(lab, "drain")
    assert "drain, asked for by the administrator at 127.0.0.1." in caplog.messages


# --- devices ---


def test_a_device_can_be_tried_while_nobody_is_on_the_board(lab: LabClient) -> None:
    assert post(lab, "devices/switch/set", {"value": "true"}).json["success"] is True
    assert lab.value("switch") is True
    assert post(lab, "devices/hidden/on").status == 200  # not the students', but a person's
    assert lab.value("hidden") is True
    assert post(lab, "reset").status == 200
    assert (lab.value("switch"), lab.value("hidden")) == (False, False)


def test_a_device_is_the_student_s_while_one_is_on_the_board(lab: LabClient) -> None:
    student = lab.student()
    reply = post(lab, "devices/switch/on")
    assert (reply.status, reply.json["code"]) == (409, "occupied")
    assert post(lab, "reset").status == 409
    assert lab.value("switch") is False
    lab.finish(student)
    assert post(lab, "devices/switch/on").status == 200


def test_a_session_begins_with_what_was_tried_undone(lab: LabClient) -> None:
    post(lab, "devices/switch/on")
    lab.student()
    assert lab.value("switch") is False


def test_what_was_tried_is_undone_after_a_minute(make_lab: MakeLab) -> None:
    clock = ManualClock()
    lab = make_lab(admin=ADMIN, clock=clock)
    post(lab, "devices/switch/on")
    clock.advance(59)
    post(lab, "devices/dimmer/set", {"value": "0.5"})
    clock.advance(59)
    assert lab.agent.worker.call(lambda: lab.value("switch")) is True
    (trial,) = [t for t in threading.enumerate() if t.name == "device-trial"]
    clock.advance(1)
    trial.join(10)
    assert lab.agent.worker.call(lambda: lab.value("switch")) is False
    assert post(lab, "devices/switch/on").status == 200  # and it can be tried again


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("devices/switch/explode", {}, 404),
        ("devices/nothing/on", {}, 404),
        ("devices/dimmer/set", {}, 400),
        ("devices/dimmer/set", {"value": "much"}, 400),
        ("devices/dimmer/set", {"value": "true"}, 400),
        ("devices/dimmer/set", {"value": "7"}, 400),
        ("devices/switch/on", {"force": "1"}, 400),
    ],
)
def test_what_a_device_cannot_do_is_refused(
    lab: LabClient, path: str, fields: dict[str, str], status: int
) -> None:
    reply = post(lab, path, fields)
    assert (reply.status, reply.json["error"]) == (status, True)


def test_nothing_can_be_tried_while_the_board_is_stopped(lab: LabClient) -> None:
    post(lab, "estop")
    reply = post(lab, "devices/switch/on")
    assert reply.status >= 400
    assert "stopped" in reply.json["message"]
    assert lab.value("switch") is False


def test_what_a_device_has_shown_in_the_last_hour_is_a_trend() -> None:
    clock, bus, state = ManualClock(), Bus(), {"value": 0.25, "stale": False}
    trends = Trends(cast(Board, SimpleNamespace(bus=bus, snapshot={"temp": state})), clock)
    trends.start()
    clock.advance(60 - clock.now() % 60)

    def show(value: float) -> None:
        bus.publish(DeviceChanged("temp", value))

    show(0.25)
    assert trends.of("temp") is None  # a line says nothing
    show(0.75)
    clock.advance(120)  # what stays the same goes on
    trend = trends.of("temp")
    assert trend is not None
    assert (trend.low, trend.high) == (0.25, 0.75)
    assert trend.spans == [None] * 57 + [(0.25, 0.75), (0.75, 0.75), (0.75, 0.75)]
    assert trend.path == "M57 19.0L57.5 1.0L58 1.0L58.5 1.0L59 1.0L59.5 1.0"

    state["stale"] = True  # the sensor died
    show(0.75)
    clock.advance(60)
    trend = trends.of("temp")
    assert trend is not None
    assert trend.spans[-3:] == [(0.75, 0.75), None, None]
    clock.advance(3600)
    assert trends.of("temp") is None
    trends.stop()


def test_a_latched_fault_is_shown_and_can_be_cleared(tmp_path: Path) -> None:
    board = (
        "schema: 1\n"
        "devices:\n"
        "  heater: {driver: relay, pin: GPIO17}\n"
        "  lid: {driver: digital_input, pin: GPIO27}\n"
        "  latch: {driver: relay, pin: GPIO22}\n"
        "simulate: {lid: latch}\n"
        "interlocks: [{name: lid-open, when: lid, force: {heater: off}, latch: true, "
        "message: {en: The lid is open, es: La tapa está abierta}}]\n"
    )
    with lab_of(tmp_path, board, admin=ADMIN) as lab:

        def shown() -> str:
            return lab.request(
                "GET", "/admin", HTTP_AUTHORIZATION=BOSS, HTTP_ACCEPT_LANGUAGE="es"
            ).text

        assert "Todas las partes funcionan" in shown()
        assert post(lab, "devices/latch/on").status == 200
        assert "Todas las partes funcionan" not in shown()
        assert post(lab, "clear").json["message"] == (
            "Not cleared, because its cause is still there: The lid is open."
        )
        assert "Enclavamiento lid-open actúa ahora: La tapa está abierta" in shown()
        post(lab, "reset")
        assert "Enclavamiento lid-open ha actuado y está retenido" in shown()
        assert "Ha actuado un enclavamiento" in shown()
        assert post(lab, "clear").json["message"] == "Cleared: The lid is open."
        assert "Enclavamiento" not in shown()
        assert post(lab, "clear").json["message"] == "There was nothing to clear."
        assert 'aria-label="última hora: 0 a 1"' in shown()


def test_its_own_files_are_for_the_administrator_alone(lab: LabClient) -> None:
    reply = lab.request("GET", "/admin/static/admin.js", HTTP_AUTHORIZATION=BOSS)
    assert reply.status == 200
    assert lab.request("GET", "/admin/static/admin.js").status == 401
    outside = lab.request("GET", "/admin/static/../page.py", HTTP_AUTHORIZATION=BOSS)
    assert outside.status in (403, 404)


def test_why_a_device_is_held_is_said_in_the_reader_s_language(
    make_lab: MakeLab, tmp_path: Path
) -> None:
    file = tmp_path / "bench.yaml"
    pump = "devices:\n  pump: {driver: relay, pin: GPIO5, min_off_time: 60}\n"
    file.write_text(file.read_text().replace("devices:\n", pump, 1))
    lab = make_lab(admin=ADMIN)
    spanish = {"HTTP_AUTHORIZATION": BOSS, "HTTP_ACCEPT_LANGUAGE": "es"}
    text = lab.request("GET", "/admin", **spanish).text
    assert "descansa" in text
    assert "It has just been" not in text
