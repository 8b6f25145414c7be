"""The rows of the page: devices, texts, plots and tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.board.config.page import describe_page
from labnode.errors import ConfigError
from labnode.lab.loader import load_lab

DEVICES = """
schema: 1
devices:
  heater: {driver: relay, pin: 17}
  fan: {driver: led, pin: 18}
  spy: {driver: led, pin: 19, access: system}
module: lab.py
"""

MODULE = """
from labnode import Lab

lab = Lab()


@lab.task(label="Heat")
def heat(): ...


@lab.task
def inside(): ...
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(page: str) -> Path:
        (tmp_path / "lab.py").write_text(MODULE)
        path = tmp_path / "x.yaml"
        path.write_text(f"{DEVICES}page:\n{page}")
        return path

    return write


def problems(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_lab(load_board(path))
    return str(caught.value)


def test_a_page_has_devices_texts_plots_and_tasks(write: Write) -> None:
    file = load_board(
        write(
            "  - [{text: {en: Hello, es: Hola}, label: Start}]\n"
            "  - [heater, {plot: [heater, fan], span: 5m}, {task: heat}]\n"
        )
    )
    load_lab(file)
    assert file.page is not None
    assert describe_page(file.page, ["es"]) == [
        [{"text": "Hola", "label": "Start"}],
        ["heater", {"plot": ["heater", "fan"], "span": 300.0, "label": None}, {"task": "heat"}],
    ]
    assert file.on_page() == ["heater", "fan"]


def test_a_stage_stays_in_view_and_cards_may_be_wider(write: Write, tmp_path: Path) -> None:
    (tmp_path / "board.svg").write_text('<svg viewBox="0 0 3 2"></svg>')
    path = write(
        "  - {stage: [picture, {plot: [fan]}], layout: beside}\n"
        "  - [{heater: 2}, fan]\n"
        "picture: {file: board.svg}\n"
    )
    file = load_board(path)
    assert file.page is not None
    assert file.stage is not None
    assert file.stage.describe([]) == {
        "items": [{"picture": True}, {"plot": ["fan"], "span": 120.0, "label": None}],
        "layout": "beside",
    }
    assert describe_page(file.page, []) == [[{"device": "heater", "columns": 2}, "fan"]]
    assert file.on_page() == ["heater", "fan"]


def test_a_picture_is_the_stage_where_the_page_has_none(write: Write, tmp_path: Path) -> None:
    (tmp_path / "board.svg").write_text('<svg viewBox="0 0 3 2"></svg>')
    file = load_board(write("  - [heater]\npicture: {file: board.svg}\n"))
    assert file.stage is not None
    assert file.stage.describe([]) == {"items": [{"picture": True}], "layout": "tabs"}


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("  - {stage: [picture]}\n", "x.yaml:9: the board has no picture: give it one"),
        ("  - {stage: []}\n", "the stage needs something on it"),
        ("  - {stage: [fan], layout: tab}\n", "did you mean 'tabs'?"),
        ("  - {stage: [fan]}\n  - {stage: [heater]}\n", "x.yaml:10: the page has one stage"),
        ("  - {stage: [fan]}\n  - [fan]\n", "x.yaml:10: 'fan' is on the page twice"),
        ("  - {stage: [{task: inside}]}\n", "the task 'inside' on the page needs a label"),
        ("  - [{heter: 2}]\n", "there is no device 'heter'; did you mean 'heater'?"),
        ("  - [{heater: 9}]\n", "a card is 1 to 4 columns wide"),
        ("  - [{heater: wide}]\n", "the columns of 'heater': expected a whole number"),
        ("  - [{plot: [heter]}]\n", "x.yaml:9: there is no device 'heter'; did you mean 'heater'?"),
        ("  - [{plot: [spy]}]\n", "'spy' has access: system, so no page"),
        ("  - [{plot: []}]\n", "a plot needs the name of one device at least"),
        ("  - [{plot: [fan], spam: 3}]\n", "unknown key 'spam' in this part of the page"),
        ("  - [{plot: [fan], span: 1}]\n", "expected a number from 2 to 86400"),
        ("  - [{image: x.png}]\n", "{text: ...}, {plot: [...]} or {task: ...}, not a mapping"),
        ("  - [{task: heat}, {task: heat}]\n", "'heat' is on the page twice"),
        (
            "  - [{task: heet}]\n",
            "the task 'heet', which the lab does not have; did you mean 'heat'",
        ),
        ("  - [{task: inside}]\n", "the task 'inside' on the page needs a label"),
    ],
)
def test_what_is_wrong_with_a_page_is_told(write: Write, page: str, message: str) -> None:
    assert message in problems(write(page))
