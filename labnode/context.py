"""The current user, task and sequence, as context variables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

current_user: ContextVar[Any] = ContextVar("labnode_user", default=None)
current_task: ContextVar[Any] = ContextVar("labnode_task", default=None)
current_sequence: ContextVar[Any] = ContextVar("labnode_sequence", default=None)


@contextmanager
def acting(user: Any = None, task: Any = None) -> Iterator[None]:
    """Inside the block, `user` and `task` are the current ones."""
    user_token, task_token = current_user.set(user), current_task.set(task)
    try:
        yield
    finally:
        current_task.reset(task_token)
        current_user.reset(user_token)


@contextmanager
def in_sequence(sequence: Any) -> Iterator[None]:
    """Inside the block, `sequence` is the current one."""
    token = current_sequence.set(sequence)
    try:
        yield
    finally:
        current_sequence.reset(token)
