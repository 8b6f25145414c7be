"""A lab's WebSocket in a real browser, below a base path and under the strict security policy."""

from __future__ import annotations

import pytest

from .conftest import Student
from .real_node import Node

pytestmark = pytest.mark.browser

BOARD = """
schema: 1
title: Bench
lab: {name: bench}
devices:
  switch: {driver: digital_output, pin: GPIO17}
module: bench.py
"""

SETTINGS = {"BASE_URL": "/labs/bench"}

MODULE = '''
from bottle import HTTPResponse
from labnode import Lab

lab = Lab()

PAGE = """<!doctype html><html lang="en"><title>Bench</title><link rel="icon" href="favicon.ico">
<h1>Bench</h1><button id="say">Say</button><button id="work">Work</button><ul id="log"></ul>
<script src="page.js"></script></html>"""

SCRIPT = """
const socket = new WebSocket(new URL("talk", location.href.replace(/^http/, "ws")));
const log = (text) => {
  const line = document.createElement("li");
  line.textContent = text;
  document.querySelector("#log").append(line);
};
socket.onopen = () => log("open");
socket.onmessage = (event) => log(event.data);
socket.onclose = (event) => log(`closed ${event.code} ${event.reason} ${event.wasClean}`);
document.querySelector("#say").onclick = () => socket.send("hello");
document.querySelector("#work").onclick = () => socket.send("work");
"""


@lab.app.get("/")
def page():
    return PAGE


@lab.app.get("/page.js")
def script():
    return HTTPResponse(SCRIPT, **{"Content-Type": "text/javascript"})


@lab.task(unique="global")
def work():
    lab.push("progress", 50)


@lab.websocket("/talk")
def talk(ws):
    for message in ws:
        if message == "work":
            work.delay()
        else:
            ws.send({"user": lab.user.full_name, "said": message})
'''


def test_a_page_talks_to_its_lab_until_its_session_ends(student: Student, node: Node) -> None:
    session_id, url = node.server.new(name="Ada Lovelace", assigned_time=120)
    student.open(url)
    assert "/labs/bench/" in student.driver.current_url
    student.sees("#log", "open")
    student.click("#say")
    student.sees("#log", '{"user": "Ada Lovelace", "said": "hello"}')
    student.click("#work")
    student.sees("#log", '{"event": "progress", "data": 50}')
    assert node.server.delete(session_id).clean
    student.sees("#log", "closed 4001 session-over true")


def test_a_page_of_another_origin_gets_no_websocket(student: Student, node: Node) -> None:
    student.expects_failures = True
    session_id, url = node.server.new(name="Ada Lovelace", assigned_time=120)
    student.open(url)
    student.sees("#log", "open")
    student.open("about:blank")
    outcome = student.driver.execute_async_script(
        """const done = arguments[arguments.length - 1];
        const socket = new WebSocket(arguments[0]);
        socket.onopen = () => done("open");
        socket.onclose = (event) => done(`closed ${event.code}`);""",
        node.url.replace("http", "ws", 1) + "talk",
    )
    assert outcome == "closed 1006"
    assert node.server.delete(session_id).clean
