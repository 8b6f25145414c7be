"""What a start and a click pass on their way, taken from real requests to a real node.

    python -m tests.chains

A profiler notes the call stacks that lead to the marks of each: where the request is read, where it
has its effect, where it is answered. What stands on these stacks is what a reader has to follow.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from inspect import unwrap
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from urllib.parse import urlsplit

import labnode
from labnode import Lab
from labnode.board import load_board
from labnode.events import Bus
from labnode.http.request import RequestReader
from labnode.http.response import Response
from labnode.node.agent import Agent
from labnode.sessions.admission import Admission
from labnode.sessions.state_machine import StateMachine
from labnode.settings import load_settings
from labnode.store import Store
from tests.kit.basic_auth import basic

HOUSE = Path(labnode.__file__).parent
BOARD = "schema: 1\nlab: {name: chains}\ndevices:\n  lamp: {driver: led, pin: 17}\n"
PASSWORD = "correct horse battery"
MOST = {"start": 15, "click": 14}
_PATIENCE = 10.0


@dataclass
class Chain:
    """The stacks of one request, each as functions of labnode from the outermost inwards."""

    stacks: list[tuple[str, list[str]]] = field(default_factory=list)  # thread, functions
    classes: dict[str, None] = field(default_factory=dict)  # in the order in which they come

    def text(self) -> str:
        lines = [f"{thread}: {' > '.join(names)}" for thread, names in self.stacks]
        return "\n".join(
            [*dict.fromkeys(lines), f"{len(self.classes)} classes: " + ", ".join(self.classes)]
        )


class Watch:
    """Notes the stacks of all threads at the marks while a request is on its way."""

    def __init__(self) -> None:
        self._marks: set[CodeType] = set()
        self._chain: Chain | None = None
        self._noting = threading.local()

    @contextmanager
    def chain(self, *marks: Callable[..., Any]) -> Iterator[Chain]:
        self._marks = {unwrap(mark).__code__ for mark in marks}
        chain = self._chain = Chain()
        try:
            yield chain
        finally:
            self._chain = None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        chain = self._chain
        if chain is None or event != "call" or frame.f_code not in self._marks:
            return
        if getattr(self._noting, "on", False):
            return
        self._noting.on = True
        try:
            self._note(chain, frame)
        finally:
            self._noting.on = False

    def _note(self, chain: Chain, frame: FrameType) -> None:
        here = threading.current_thread()
        frames = sys._current_frames()
        waiting = [t for t in threading.enumerate() if t is not here and t.name.startswith("http-")]
        for thread, top in [*((t, frames.get(t.ident or 0)) for t in waiting), (here, frame)]:
            stack = _stack(top)
            if any(isinstance(owner, Response) for owner, _ in stack) or thread is here:
                chain.stacks.append((thread.name, [name for _, name in stack]))
                chain.classes |= dict.fromkeys(
                    type(owner).__name__ for owner, _ in stack if owner is not None
                )


def _stack(frame: FrameType | None) -> list[tuple[Any, str]]:
    """The frames of labnode's own code, outermost first: whose method it is, and its name."""
    found = []
    while frame is not None:
        if Path(frame.f_code.co_filename).is_relative_to(HOUSE):
            found.append((_owner(frame), frame.f_code.co_qualname.replace(".<locals>", "")))
        frame = frame.f_back
    return found[::-1]


def _owner(frame: FrameType) -> Any:
    """The object whose method this is, or which a function inside of a method closes over."""
    owner = frame.f_locals.get("self")
    return owner if type(owner).__module__.startswith("labnode.") else None


def measure() -> dict[str, Chain]:
    """The chains of a start and of a click on a simulated node, over HTTP."""
    watch = Watch()
    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        with tempfile.TemporaryDirectory() as directory:
            return _visit(watch, Path(directory))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _visit(watch: Watch, directory: Path) -> dict[str, Chain]:
    lab = Lab()

    @lab.on_start
    def begin(client_data: dict[str, Any], server_data: dict[str, Any]) -> None:
        pass

    (directory / "board.yaml").write_text(BOARD)
    client = {"username": "chains", "password": PASSWORD}
    settings = load_settings(None, {}, {"weblab": client, "state_dir": directory, "port": 0})
    agent = Agent(load_board(directory / "board.yaml"), lab, settings, simulate=True)
    agent.start()
    try:
        base = agent.url if isinstance(agent.url, str) else agent.url()
        login = {"Authorization": basic(f"chains:{PASSWORD}")}
        body = {
            "client_initial_data": {},
            "server_initial_data": {"priority.queue.slot.length": 60},
        }
        steps = (Admission.enter, Store.insert, begin, Store.update, StateMachine._active)
        with watch.chain(RequestReader.feed, *steps) as start:
            _, answer = _ask(base, "POST", "/weblab/sessions/", body, login)
        url = urlsplit(json.loads(answer)["url"])
        headers, _ = _ask(base, "GET", url.path)
        cookie = {"Cookie": headers["Set-Cookie"].split(";")[0]}
        with watch.chain(RequestReader.feed, _driven(agent), Bus.publish) as click:
            _ask(base, "POST", "/api/devices/lamp/set", [True], cookie)
        return {"start": start, "click": click}
    finally:
        agent.stop()


def _driven(agent: Agent) -> Callable[..., Any]:
    """What drives the lamp."""
    return type(agent.board.file.devices["lamp"]).drive


def _ask(
    base: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[Any, bytes]:
    place = urlsplit(base)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=_PATIENCE)
    try:
        kind = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body), {**kind, **(headers or {})})
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status < 400, data
        return answer.headers, data
    finally:
        connection.close()


def main() -> int:
    """Print the chains; 1 when one passes more classes than it may."""
    found = measure()
    for name, chain in found.items():
        print(f"== {name} (at most {MOST[name]} classes)\n{chain.text()}\n")
    return int(any(len(chain.classes) > MOST[name] for name, chain in found.items()))


if __name__ == "__main__":
    sys.exit(main())
