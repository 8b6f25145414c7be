"""Every way in which an active session ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labnode.sessions import Deletion, Reason, State

from .node import SAFE, SmallNode

Boot = Callable[..., SmallNode]


def test_a_session_ends_with_its_slot(node: SmallNode) -> None:
    session = node.connected(length=30)
    for _ in range(3):
        node.advance(9.9)
        node.sessions.poll(session)
    assert session.active
    node.advance(0.3)
    assert session.state is State.DISPOSED
    assert session.reason is Reason.TIME
