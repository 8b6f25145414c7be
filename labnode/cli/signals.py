"""What a command does when its process gets a signal."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from labnode.errors import LabnodeError

if TYPE_CHECKING:
    from labnode.clock import Event
    from labnode.node.agent import Agent

log = logging.getLogger(__name__)

_ENDS_WITHIN = 5.0  # seconds; what a signal has begun must not keep the process


class Signals:
    """Calls functions when this process gets signals, on a thread of its own ("signals").

    Python runs signal handlers on the main thread, between any two of its instructions. One that
    takes a lock waits for ever if the main thread holds that, as it does for moments while it waits
    for an event. So the handlers here do nothing; the thread reads the numbers that the interpreter
    writes down.
    """

    def __init__(self) -> None:
        self._calls: dict[int, Callable[[], object]] = {}
        self._numbers, self._written = socket.socketpair()
        self._written.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="signals", daemon=True)

    def __enter__(self) -> Signals:
        signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        signal.set_wakeup_fd(-1)
        self._written.close()
        self._thread.join(_ENDS_WITHIN)
        self._numbers.close()

    def on(self, number: int, function: Callable[[], object], *, once: bool = False) -> None:
        """Call `function` at each signal `number`; `once`: the second does what it did before."""
        before = signal.getsignal(number)

        def handler(_number: int, _frame: object) -> None:
            if once:
                signal.signal(number, before)

        self._calls[number] = function
        signal.signal(number, handler)

    def _run(self) -> None:
        while numbers := self._numbers.recv(64):
            for function in filter(None, map(self._calls.get, numbers)):
                try:
                    function()
                except Exception:
                    log.exception("A signal has no effect.")


def stop_on(signals: Signals, *, patient: bool = True) -> Event:
    """An event set by SIGTERM, Ctrl-C and, unless under nohup(1), the end of the terminal.

    Unless `patient`, a second Ctrl-C interrupts the stop itself.
    """
    from labnode.clock import Clock  # noqa: PLC0415

    stop = Clock().event()
    signals.on(signal.SIGTERM, stop.set)
    signals.on(signal.SIGINT, stop.set, once=not patient)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.on(signal.SIGHUP, stop.set)
    return stop


def read_again_on_hangup(signals: Signals, agent: Agent, *, has_terminal: bool) -> None:
    """SIGHUP reloads the board; with a terminal it is the end of that instead."""
    if has_terminal or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return

    def read_again() -> None:
        try:
            agent.board_change.begin(agent.board.file.path)
        except LabnodeError as error:
            log.warning("SIGHUP: %s", error)

    signals.on(signal.SIGHUP, read_again)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
