"""A student's own programs: the client in labnode/client.py, against a node on a real port."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode import client
from labnode.client import LabError, connect
from labnode.sessions import Session
from tests.house import ROOT

from .sockets import Node, running

DEVICES = """\
  lamp: {driver: led, pin: GPIO27}
  mcu: {driver: avrdude, part: atmega328p, programmer: arduino, port: /dev/ttyACM0}
  heater: {driver: pwm_output, pin: GPIO18}
  temp: {driver: mcp3008, channel: 0, scale: 100, unit: °C, sample_every: 0.05}
simulate:
  temp: {value: 20 + 10 * heater, lag: 0.5, start: 20}
record: {devices: [lamp], every: 0.1}
"""
NOTEBOOK = ROOT / "docs" / "notebooks" / "lab.ipynb"
HEX = ":0400000001020304F2\n:00000001FF\n"
JSON = {"Content_Type": "application/json"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path, devices=DEVICES) as node:
        yield node


@pytest.fixture
def page(node: Node) -> Iterator[tuple[Session, str]]:
    """A session and its page's cookie."""
    session, cookie = node.session()
    yield session, cookie
    node.end(session)


@pytest.fixture
def url(node: Node, page: tuple[Session, str]) -> str:
    """What the page shows for programs."""
    return allow(node, page[1])


def allow(node: Node, cookie: str) -> str:
    status, _, body = node.http("POST", "/api/program-key", Cookie=cookie, **JSON)
    assert status == 200
    address: str = json.loads(body)["url"]
    return address


def test_a_program_commands_devices_and_reads_them(url: str, node: Node) -> None:
    lab = connect(url)
    assert (lab.title, lab.lamp.value) == ("Bench", False)
    lab.lamp.set(True)
    assert lab["lamp"].value is True
    assert lab.values["lamp"] is True
    assert {"set", "on", "toggle"} <= set(dir(lab.lamp))
    assert 0 < lab.time_left <= 600


def test_what_is_refused_is_an_error_with_the_lab_s_sentence(url: str) -> None:
    lab = connect(url)
    with pytest.raises(LabError, match="must be true or false") as refused:
        lab.lamp.set("blue")
    assert (refused.value.code, refused.value.status) == ("bad-input", 400)
    with pytest.raises(AttributeError, match="no device 'lap'"):
        _ = lab.lap
    with pytest.raises(AttributeError, match="'lamp' has no command 'glow'; it has set, on"):
        lab.lamp.glow()


def test_a_program_hears_of_each_change_until_the_session_ends(
    url: str, node: Node, page: tuple[Session, str]
) -> None:
    lab = connect(url)
    changes = lab.watch("lamp", every=0.01)
    assert next(changes) == ("lamp", False)
    lab.lamp.on()
    assert next(changes) == ("lamp", True)
    node.end(page[0])
    assert list(changes) == []
    with pytest.raises(LabError) as over:
        lab.lamp.off()
    assert over.value.code == "session-over"


def test_a_file_is_sent_and_written(url: str, tmp_path: Path) -> None:
    image = tmp_path / "blink.hex"
    image.write_text(HEX)
    connect(url).upload("mcu", image)
    image.write_text("no image")
    with pytest.raises(LabError, match=r"blink\.hex|Intel HEX"):
        connect(url).upload("mcu", image)


def test_what_was_recorded_comes_as_rows(url: str) -> None:
    lab = connect(url)
    lab.lamp.on()
    rows = lab.record()
    assert rows
    assert set(rows[0]) == {"seconds", "lamp"}


def test_a_key_that_was_withdrawn_opens_nothing_and_the_next_one_is_another(
    url: str, node: Node, page: tuple[Session, str]
) -> None:
    assert node.http("DELETE", "/api/program-key", Cookie=page[1])[0] == 200
    with pytest.raises(LabError) as refused:
        connect(url)
    assert refused.value.code == "forbidden"
    again = allow(node, page[1])
    assert again != url
    assert connect(again).lamp.value is False


@pytest.mark.parametrize("key", ["", "x", "x.y", ".", "é.é"])
def test_a_wrong_key_opens_nothing(key: str, url: str, node: Node) -> None:
    handle = url.partition("#")[2].partition(".")[0]
    for token in (key, f"{handle}.{key}", handle):
        bearer = f"Bearer {token}".encode().decode("latin-1")
        assert node.http("GET", "/api/state", Authorization=bearer)[0] in (400, 403)


def test_a_key_makes_no_keys_and_withdraws_none(url: str, node: Node) -> None:
    bearer = f"Bearer {url.partition('#')[2]}"
    for method in ("POST", "DELETE"):
        assert node.http(method, "/api/program-key", Authorization=bearer, **JSON)[0] == 403
    assert node.http("GET", "/api/labnode_client.py", Authorization=bearer)[0] == 403


def test_the_file_that_the_page_offers_is_all_that_a_program_needs(
    url: str, node: Node, page: tuple[Session, str], tmp_path: Path
) -> None:
    status, headers, source = node.http("GET", "/api/labnode_client.py", Cookie=page[1])
    assert (status, headers["cache-control"]) == (200, "no-store")
    (tmp_path / "labnode_client.py").write_bytes(source)
    program = (
        "from labnode_client import connect; lab = connect(); lab.lamp.on(); print(lab.values)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); {program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'lamp': True" in done.stdout


def test_the_notebook_runs_from_its_first_cell_to_its_last(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "connect", lambda: connect(url))
    monkeypatch.setitem(sys.modules, "labnode_client", client)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    said = capsys.readouterr().out
    assert "refused: heater.set: " in said
    assert re.search(r"\d\.\d\d °C per second", said)
    assert "'lamp': False" in said


def test_without_a_key_there_is_no_file(node: Node, page: tuple[Session, str]) -> None:
    assert node.http("GET", "/api/labnode_client.py", Cookie=page[1])[0] == 404


@pytest.mark.parametrize("url", ["", "lab", "http://lab/", "ftp://lab/#key"])
def test_an_address_without_a_key_is_told(url: str) -> None:
    with pytest.raises(ValueError, match="as the lab's page gives it"):
        connect(url)


def test_a_lab_that_does_not_answer_is_told() -> None:
    with pytest.raises(LabError, match="The lab does not answer") as refused:
        connect("http://127.0.0.1:1/#key")
    assert refused.value.code == "offline"
