"""One thread ends another's wait."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator

import pytest

from labnode.waker import Waker


@pytest.fixture
def waker() -> Iterator[Waker]:
    waker = Waker()
    yield waker
    waker.close()


def is_readable(waker: Waker, seconds: float = 0) -> bool:
    return bool(select.select([waker.descriptor], [], [], seconds)[0])


def test_a_wait_ends_when_another_thread_wakes_it(waker: Waker) -> None:
    thread = threading.Thread(target=waker.wake)
    thread.start()
    assert is_readable(waker, 10)
    thread.join()


def test_many_wake_ups_are_one_and_never_block(waker: Waker) -> None:
    for _ in range(100_000):  # more than a pipe takes
        waker.wake()
    waker.heard()
    assert not is_readable(waker)


def test_what_comes_after_it_was_heard_is_heard_again(waker: Waker) -> None:
    waker.wake()
    waker.heard()
    waker.wake()
    assert is_readable(waker)


def test_after_its_end_it_wakes_nobody_and_may_end_again(waker: Waker) -> None:
    waker.close()
    waker.close()
    waker.wake()
