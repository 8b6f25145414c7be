"""A lab's hooks: checked when declared, and run so that errors only affect their session."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from labnode.errors import LabnodeError
from labnode.locale import Message
from labnode.worker import harmless


def run(hook: Callable[..., Any], *args: Any) -> Any:
    """What a hook returns; whatever it raises becomes an Exception with a message."""
    try:
        return hook(*args)
    except BaseException as caught:  # noqa: BLE001 - raised again, made harmless
        error = harmless(caught)
        try:
            str(error)
        except Exception:  # noqa: BLE001 - a lab's own exception may do anything
            raise LabnodeError(f"{name(hook)}() raised {type(error).__name__}.") from caught
        raise error from caught.__cause__


def check(what: str, function: Callable[..., Any], *arguments: str) -> None:
    """LabnodeError if `function` cannot be called with these arguments."""
    try:
        signature(function).bind(*arguments)
    except TypeError:
        call = f"{name(function)}({', '.join(arguments)})"
        raise LabnodeError(
            Message("board.other-arguments", hook=f"@lab.{what}", call=call)
        ) from None
    except ValueError:  # written in C: its arguments are unknown
        return


def check_only(what: str, present: Callable[..., Any] | None) -> None:
    """LabnodeError if there is one already."""
    if present is not None:
        first = f"{name(present)}()"
        raise LabnodeError(Message("board.two-hooks", hook=f"@lab.{what}", first=first))


def name(hook: Callable[..., Any]) -> str:
    """The hook's name in the lab's module."""
    return getattr(hook, "__name__", None) or repr(hook)
