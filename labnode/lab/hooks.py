"""A lab's hooks, run so that what they raise harms nothing but their session."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from labnode.errors import LabnodeError
from labnode.worker import harmless


def run(hook: Callable[..., Any], *args: Any) -> None:
    """Call a hook; what it raises is an Exception, not an exit, and says something."""
    try:
        hook(*args)
    except BaseException as caught:  # noqa: BLE001 - raised again, made harmless
        error = harmless(caught)
        try:
            str(error)
        except Exception:  # noqa: BLE001 - an exception of theirs may do anything
            raise LabnodeError(f"{name(hook)}() raised {type(error).__name__}.") from caught
        raise error from caught.__cause__


def check(what: str, function: Callable[..., Any], *arguments: str) -> None:
    """Raise a LabnodeError when `function` cannot be called with these arguments."""
    try:
        signature(function).bind(*arguments)
    except TypeError:
        raise LabnodeError(
            f"@lab.{what} is for a function that is called as {name(function)}"
            f"({', '.join(arguments)}); this one takes something else."
        ) from None
    except ValueError:  # written in C: nobody knows what it takes
        return


def name(hook: Callable[..., Any]) -> str:
    """What the lab's author calls it."""
    return getattr(hook, "__name__", None) or repr(hook)
