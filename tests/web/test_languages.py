"""What the lab says in the language of whoever asks: errors, tasks, a lab's own catalogues."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.errors import ConfigError
from labnode.locale import BUILT_IN
from labnode.testing import LabClient, Student
from labnode.web import html
from tests.kit.english import Read, english_in
from tests.kit.waiting import eventually

BOARD = """
schema: 1
devices:
  heater: {driver: relay, pin: 17, min_off_time: 60, label: {gl: Quentador, en: Heater}}
  fan: {driver: relay, pin: 18}
interlocks:
  - {name: one, mutex: [heater, fan], message: {gl: Só un, eu: Bat bakarrik}}
module: lab.py
"""

MODULE = """
from labnode import Lab
from labnode.errors import BadFile, DeviceError
from labnode.locale import Message
lab = Lab()

@lab.task(label="Fail")
def fail():
    raise DeviceError("cannot open /dev/ttyUSB0 ([Errno 5] OSError)")

@lab.task(label="Dry")
def dry():
    raise DeviceError("The pump is dry.")

@lab.task(label="Short")
def short():
    raise BadFile(Message("file.empty"))
"""

GALICIAN = {"language": "Galego", "page.leave": "Saír", "error.no-device": "Non hai «{device}»."}
MakeBoard = Callable[..., Path]


@pytest.fixture
def board(tmp_path: Path) -> MakeBoard:
    """A board with these catalogues beside it: objects, or texts as they are."""

    def make(**catalogues: Any) -> Path:
        (tmp_path / "locale").mkdir()
        (tmp_path / "board.yaml").write_text(BOARD)
        (tmp_path / "lab.py").write_text(MODULE)
        for language, texts in catalogues.items():
            text = texts if isinstance(texts, str) else json.dumps(texts, ensure_ascii=False)
            (tmp_path / "locale" / f"{language}.json").write_text(text)
        return tmp_path / "board.yaml"

    return make


def mistakes(board: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_board(board)
    return [str(problem).removeprefix(f"{board.parent}/") for problem in raised.value.problems]


def test_an_error_is_in_the_language_of_the_session_then_of_the_browser(board: MakeBoard) -> None:
    with LabClient(board()) as lab:
        student = lab.student(locale="eu")
        nothing = "/api/devices/nothing/on"
        basque = "Ez dago ikasleentzako «nothing» gailurik."
        assert student.post(nothing, HTTP_ACCEPT_LANGUAGE="fr").json["message"] == basque
        told = [
            student.post("/api/devices/heater/nothing").json,
            student.post(f"{nothing}?locale=de").json,
            student.post("/api/tasks/nothing").json,
            student.get("/api/nothing").json,
        ]
        messages = [each["message"] for each in told]
        assert english_in(messages, "eu") == []
        lab.finish(student)
        nobody = lab.request("GET", "/api/board", HTTP_ACCEPT_LANGUAGE="pt-BR,en;q=0.5")
        assert nobody.json["message"] == "Inicie sessão primeiro."


def test_an_interlock_is_told_with_labels_in_the_student_s_language(board: MakeBoard) -> None:
    with LabClient(board(gl=GALICIAN)) as lab:
        student = lab.student(locale="gl")
        assert student.post("/api/devices/fan/on").status == 200
        refused = student.post("/api/devices/heater/on")
        assert refused.json["message"] == "Quentador cannot be on while Fan is on: Só un"


def failure(student: Student, task: str) -> str:
    path = f"/api/tasks/{student.post(f'/api/tasks/{task}').json['task_id']}"
    eventually(lambda: student.get(path).json["status"] == "failed")
    error = student.get(path).json["error"]
    assert set(error) == {"code", "class", "message"}
    return str(error["message"])


def test_a_failed_task_tells_no_paths_and_no_english(board: MakeBoard) -> None:
    with LabClient(board()) as lab:
        english = lab.student(locale="en")
        assert failure(english, "fail") == BUILT_IN.texts("en")["error.details"]
        assert failure(english, "dry") == "The pump is dry."
        lab.finish(english)
        german = lab.student(locale="de")
        assert failure(german, "fail") == BUILT_IN.texts("de")["error.details"]
        assert failure(german, "dry") == "Das Gerät funktioniert nicht."
        assert failure(german, "short") == "Die Datei ist leer."


def test_a_lab_adds_a_language_and_changes_a_text_of_another(board: MakeBoard) -> None:
    path = board(gl=GALICIAN, eu={"page.leave": "Alde egin"})
    file = load_board(path)
    assert file.catalogues.names["gl"] == "Galego"
    assert [w for w in file.warnings() if "locale/gl.json" in str(w)]
    assert not [w for w in file.warnings() if "locale/eu.json" in str(w)]
    with LabClient(path) as lab:
        student = lab.student(locale="gl_ES")
        page = student.get("/").text
        assert '<html lang="gl">' in page
        assert "Saír" in page
        assert "Quentador" in page
        assert "Time left" in page  # what it lacks is English
        assert ">Galego</a>" in page
        assert student.post("/api/devices/x/on").json["message"] == "Non hai «x»."
        basque = student.get("/?locale=eu").text
        assert "Alde egin" in basque
        assert "Geratzen den denbora" in basque


ENGLISH_MORE = "'page.more' has to have {n}, as in English ('{n} more'); here it has none"
ENGLISH_ON = "'page.on' has to have no placeholders, as in English ('On'); here it has {x}"
OBJECT = 'a catalogue is one object of texts, such as {"page.leave": "Irten"}'
NAME = 'a new language has "language": what it calls itself, such as "Galego"'
LEAVE = "labnode has no text 'page.leve'; did you mean 'page.leave'?"
MISTAKES = [
    ("gl", '{\n"page.leve": "x"}', 2, LEAVE),
    ("eu", '{"page.leave": "a"\n"page.on": "b"}', 2, "this is not JSON: Expecting ',' delimiter"),
    ("eu", '{"page.more": "asko"}', 1, ENGLISH_MORE),
    ("eu", '{"page.on": "{x}"}', 1, ENGLISH_ON),
    ("eu", '{"page.on": 1}', 1, "'page.on' has to be a text, not 1"),
    ("eu", '{"page.on": "a",\n\n"page.on": "b"}', 3, "'page.on' is there twice"),
    ("eu", "[]", 1, OBJECT),
    ("gl", "{}", 1, NAME),
    ("our words", "{}", 1, "a catalogue is called eu.json or pt-BR.json, not our words.json"),
]


@pytest.mark.parametrize(("language", "text", "line", "sentence"), MISTAKES)
def test_what_is_wrong_in_a_catalogue_is_told_with_its_line(
    board: MakeBoard, language: str, text: str, line: int, sentence: str
) -> None:
    path = board(**{language: text})
    assert mistakes(path) == [f"locale/{language}.json:{line}: {sentence}"]


def test_a_catalogue_that_leads_out_of_the_board_s_folder_is_refused(
    board: MakeBoard, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = board()
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.json"
    secret.write_text("{}")
    (path.parent / "locale" / "gl.json").symlink_to(secret)
    assert "lie beside the board" in mistakes(path)[0]


@pytest.mark.parametrize("code", [code for code in BUILT_IN.languages if code != "en"])
def test_the_pages_around_a_session_have_no_english(code: str) -> None:
    language = BUILT_IN.best([code])
    pages = [
        html.render_forbidden(language),
        html.render_error(language, status=404, message=""),
        html.render_error(language, status=500, message=""),
        html.render_loading(language),
        html.render_farewell(language, reason="time", recording=True),
        html.render_farewell(language, reason="superseded", back="https://example.org"),
    ]
    for page in map(Read, pages):
        assert page.language == code
        assert english_in(page.texts, code) == []
