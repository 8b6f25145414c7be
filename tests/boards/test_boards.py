"""The boards that ship: each checks clean, starts simulated, has a session and ends safe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.drivers.framework.output import Output
from labnode.errors import BadInput
from labnode.testing import LabClient

ROOT = Path(__file__).parent.parent.parent / "boards"
BOARDS = sorted(path.stem for path in ROOT.glob("*.yaml"))

pytestmark = pytest.mark.usefixtures("own_modules")


def commands(driver: Output) -> Iterator[Any]:
    """Values that it takes, which are not its safe one."""
    limits = [getattr(driver, name, None) for name in ("most", "least", "max", "min", "width")]
    for value in (True, False, 1, *(limit for limit in limits if limit is not None), "#ffffff"):
        try:
            accepted = driver.accept("test", value)
        except BadInput:
            continue
        if not driver.is_safe(accepted):
            yield accepted


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_says_everything_in_both_languages(name: str) -> None:
    board = load_board(ROOT / f"{name}.yaml")
    texts = [board.title, *(driver.label for driver in board.devices.values())]
    texts += [rule.message for rule in board.interlocks]
    for text in texts:
        if text is not None and not isinstance(text.words, str):
            assert set(text.words) >= {"en", "es"}, text


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_has_a_session_and_ends_safe(name: str) -> None:
    with LabClient(ROOT / f"{name}.yaml") as lab:
        board = lab.agent.board
        outputs = {n: d for n, d in board.file.devices.items() if isinstance(d, Output)}
        own = [name for name, driver in outputs.items() if driver.access == "user"]
        student = lab.student(seconds=300, locale="es")
        assert student.entered.status == 302
        page = student.get("/", HTTP_ACCEPT_LANGUAGE="es")
        assert page.status == 200
        used = 0
        for device in own:
            for value in list(commands(outputs[device]))[:1]:
                reply = student.post(f"/api/devices/{device}/set", {"value": value})
                assert reply.status in (200, 403, 409, 503), reply  # or the board forbids it
                used += reply.status == 200
        assert used > 0, "nothing could be done with the board"
        reply = lab.finish(student)
        while not reply["finished"]:
            reply = lab.finish(student)
        assert lab.server("GET", "/test").json == {"valid": True}
        assert {n: d.target for n, d in outputs.items()} == {n: d.safe for n, d in outputs.items()}
        assert [n for n in outputs if board.snapshot[n].get("error")] == []
