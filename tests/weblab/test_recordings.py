"""Requests as central servers send them (requests/*.json) and the node's replies, whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from labnode.errors import StartFailed

RECORDINGS = sorted((Path(__file__).parent / "requests").glob("*.json"))


@pytest.mark.parametrize("path", RECORDINGS, ids=[path.stem for path in RECORDINGS])
def test_a_recorded_conversation_gets_the_same_replies_again(node: Any, path: Path) -> None:
    recording = json.loads(path.read_text(encoding="utf-8"))
    node.sessions.deletes_needed = recording.get("deletes_needed", 1)
    node.sessions.quarantine = recording.get("quarantine", [])
    if "start_fails" in recording:
        node.sessions.trouble = StartFailed(recording["start_fails"])

    for exchange in recording["exchanges"]:
        headers = dict(exchange["headers"])
        body = exchange.get("body", "")
        reply = node.call(
            exchange["method"],
            exchange["path"],
            body.encode() if isinstance(body, str) else body,
            authorization=headers.pop("Authorization", None),
            content_type=headers.pop("Content-Type", ""),
            headers=headers,
        )
        what = f"{exchange['method']} {exchange['path']}"
        assert (what, reply.status, reply.json) == (what, exchange["status"], exchange["reply"])
        assert {
            name: reply.headers[name]
            for name in ("Allow", "Retry-After", "WWW-Authenticate")
            if name in reply.headers
        } == exchange.get("reply_headers", {})

    if "started" in recording:
        started = [asdict(request) for request in node.sessions.started]
        assert [
            {key: request[key] for key in expected}
            for request, expected in zip(started, recording["started"], strict=True)
        ] == recording["started"]
