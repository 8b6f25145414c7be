"""The lab in docs/porting-from-weblablib.md: what the document shows works as it says."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.lab import Lab
from labnode.sessions import ANONYMOUS
from labnode.settings import Settings
from labnode.testing import LabClient, Reply, Student

DOCS = Path(__file__).parent.parent / "docs"
DOCUMENT = DOCS / "porting-from-weblablib.md"
NAMES = "".join(page.read_text() for page in sorted(DOCS.glob("porting-*.md")))
FORM = "application/x-www-form-urlencoded"


def block(first_line: str) -> str:
    """The code block that begins with this comment."""
    blocks = re.findall(r"^```\w+\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = (text for text in blocks if text.startswith(f"# {first_line}\n"))
    return str(found)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    for name in ("oven.yaml", "oven.py"):
        (tmp_path / name).write_text(block(name))
    return tmp_path / "oven.yaml"


@pytest.fixture
def client(board: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabClient]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with LabClient(board) as client:
        yield client


def post(student: Student, path: str, form: str = "") -> Reply:
    return student.request("POST", path, form.encode(), CONTENT_TYPE=FORM)


def test_a_student_visits_the_oven(client: LabClient) -> None:
    student = client.student(60, back="http://moodle.example.org/course")
    assert student.entered.headers["location"] == "/oven"
    oven = student.get("/oven").json
    assert 50 < oven.pop("time_left") <= 60
    assert oven == {"active": True, "heated": 0}

    assert post(student, "/lamp", "on=1").json == {"lamp": True}
    assert client.value("lamp") is True

    task_id = post(student, "/heat", "seconds=0.1").json["task_id"]
    assert client.agent.tasks.get(task_id).join(5).done
    heating = student.get(f"/heat/{task_id}").json
    assert heating == {"status": "done", "data": {"percent": 90}, "result": "finished"}
    assert client.value("heater") is False

    assert post(student, "/leave").json == {"error": False}
    client.finish(student)
    assert client.value("lamp") is False
    seen = student.get("/oven").json
    assert seen == {"active": False, "heated": 1, "time_left": 0}
    assert student.get("/heat/x").headers["location"] == "http://moodle.example.org/course"


def test_the_oven_is_off_when_the_student_leaves_in_the_middle(client: LabClient) -> None:
    student = client.student()
    task_id = post(student, "/heat", "seconds=3000").json["task_id"]
    second = post(student, "/heat", "seconds=1").json["task_id"]
    assert client.agent.tasks.get(second).error["code"] == "already-running"  # type: ignore[index]
    post(student, "/leave")
    assert client.finish(student)["finished"] is True
    assert client.agent.tasks.get(task_id).finished
    assert client.value("heater") is False


def test_students_cannot_switch_the_heater_themselves(client: LabClient) -> None:
    student = client.student()
    assert student.post("/api/devices/heater/on").status == 404


def test_strangers_see_nothing(client: LabClient) -> None:
    assert [client.browser().get(path).status for path in ("/oven", "/heat/x")] == [403, 403]


def test_the_board_has_what_the_document_says(board: Path) -> None:
    file = load_board(board)
    assert list(file.devices) == ["heater", "lamp"]
    assert file.session.timeout == 15


def test_both_versions_have_the_same_hooks_views_and_tasks() -> None:
    theirs, ours = (
        {node.name for node in ast.parse(block(name)).body if isinstance(node, ast.FunctionDef)}
        for name in ("laboratory.py (weblablib)", "oven.py")
    )
    assert theirs - ours == {"dispose"}  # as the document says: not needed any more
    assert ours <= theirs


def test_every_name_that_the_document_tells_of_exists() -> None:
    names = set(re.findall(r"(?<![\w/-])lab\.([a-z]\w+)", NAMES))
    user = set(re.findall(r"\blab\.user\.([a-z]\w+)", NAMES))
    assert {name for name in names if not hasattr(Lab, name)} == {"app"}
    assert user - set(dir(ANONYMOUS)) == set()
    assert len(names) > 15


# All that weblablib 0.5.9 documents, and the settings that WEBLAB_REDIS_ does not begin.
WEBLABLIB = """
WebLab WebLabTask WebLabError NoContextError InvalidConfigError WebLabNotInitializedError
TimeoutError AlreadyRunningError CurrentUser AnonymousUser ExpiredUser weblab_user
get_weblab_user socket_weblab_user requires_login requires_active socket_requires_login
socket_requires_active current_task current_task_stopping logout poll weblab_poll_script

init_app initial_url on_start on_dispose user_loader task tasks running_tasks get_task get_tasks
get_running_task get_running_tasks join_tasks create_token clean_expired_users run_tasks loop
timeout poll_interval cleaner_thread_interval join_step_time

active is_anonymous locale data full_name experiment_name category_name experiment_id back
last_poll session_id max_date start_date username username_unique exited request_client_data
request_server_data add_action store_action clean_actions update_data time_without_polling
time_left user to_expired_user disposing_resources store store_if_modified is_modified retrieve

delay run_sync join task_id name stop status done running submitted failed finished stopping
result error

WEBLAB_USERNAME WEBLAB_PASSWORD WEBLAB_BASE_URL WEBLAB_CALLBACK_URL WEBLAB_SESSION_ID_NAME
WEBLAB_REDIS_URL WEBLAB_TASK_EXPIRES WEBLAB_TIMEOUT WEBLAB_AUTOPOLL WEBLAB_UNAUTHORIZED_LINK
WEBLAB_UNAUTHORIZED_TEMPLATE WEBLAB_POLL_INTERVAL WEBLAB_CLEANER_INTERVAL WEBLAB_SCHEME
WEBLAB_EXPIRED_USERS_TIMEOUT WEBLAB_AUTOCLEAN_THREAD WEBLAB_TASK_THREADS_PROCESS
WEBLAB_NO_THREAD WEBLAB_LOG_SESSION_LIFECYCLE
"""


def test_the_document_tells_of_every_name_of_weblablib() -> None:
    tables = {
        word
        for row in re.findall(r"^\| (.+?) \|", NAMES, re.MULTILINE)
        for word in re.findall(r"\w+", row)
    }
    assert set(WEBLABLIB.split()) - tables == set()


def test_every_setting_that_the_document_tells_of_exists() -> None:
    rows = re.findall(r"\| settings (.*) \|$", NAMES, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([a-z_]+)", row)}
    assert told - {field.name for field in fields(Settings)} == set()
    assert len(told) > 10
