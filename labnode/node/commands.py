"""What a person may ask of a running node: how it is and was, and whether it takes students."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from labnode import __version__
from labnode.clock import Clock
from labnode.drivers.gpio.factories import mock_levels
from labnode.errors import BadInput, NotFound
from labnode.lab import Node
from labnode.node.estop import EmergencyStop
from labnode.node.history import History
from labnode.schema import did_you_mean
from labnode.sessions import Session
from labnode.store import Store

_LONGEST_WHY = 200  # characters


class Commands:
    """Each method answers one command with JSON; `by_name` has them all.

    `url` is where the node listens, `store` its database.
    """

    def __init__(
        self,
        node: Node,
        clock: Clock,
        store: Store,
        estop: EmergencyStop,
        *,
        url: Callable[[], str],
    ) -> None:
        self._board = node.board
        self._worker = node.worker
        self._sessions = node.sessions
        self._estop = estop
        self._clock = clock
        self._url = url
        self._alarm = store.alarm
        self._began = clock.now()
        history = History(store.select, node.sessions, node.tasks.look, clock)
        self.by_name: dict[str, Callable[..., dict[str, Any]]] = {
            "status": self.status,
            "sessions": history.sessions,
            "tasks": history.tasks,
            "events": history.events,
            "actions": history.actions,
            "estop": self.estop,
            "clear": self.clear,
            "drain": self.drain,
            "undrain": self.undrain,
            "simulate": self.simulate,
        }

    def status(self) -> dict[str, Any]:
        """How the node is; `state` is ready, busy, draining, drained, quarantine or fault."""
        file = self._board.file
        sessions = self._sessions.live()
        return {
            "board": {
                "name": file.lab.name,
                "category": file.lab.category,
                "file": str(file.path.absolute()),
                "simulated": self._board.simulation is not None,
            },
            "state": self._state(len(sessions)),
            "sessions": [self._session(session) for session in sessions],
            "users": self._sessions.rules.users,
            "estop": self._estop.why,
            "quarantine": self._sessions.quarantine.why,
            "faults": self._board.obstacles(),
            "draining": self._sessions.draining,
            "alarm": self._alarm,
            "uptime": round(self._clock.now() - self._began, 1),
            "url": self._url(),
            "pid": os.getpid(),
            "version": __version__,
        }

    def estop(self, why: str = "") -> dict[str, Any]:
        """Make everything safe at once; `unsafe` is what could not be, `sessions` how many end."""
        sessions = len(self._sessions.live())
        unsafe = self._estop.press(str(why)[:_LONGEST_WHY] or "labnode estop")
        return {"unsafe": unsafe, "sessions": sessions}

    def clear(self) -> dict[str, Any]:
        """End an emergency stop, quarantine and latched faults, which a person says are over.

        `was` is why there was a quarantine, `faults` are those there were, `left` those of them
        that are not over yet. Busy while a button for emergencies is still pressed.
        """
        self._estop.release()
        was, faults = self._sessions.quarantine.why, self._board.obstacles()
        left = self._worker.call(self._board.clear_faults)
        if was is not None:
            self._sessions.quarantine.clear()
        return {"was": was, "faults": faults, "left": left}

    def drain(self) -> dict[str, Any]:
        """Take no new sessions; `sessions` is how many go on until they end."""
        self._sessions.draining = True
        return {"sessions": len(self._sessions.live())}

    def undrain(self) -> dict[str, Any]:
        """Take sessions again."""
        self._sessions.draining = False
        return {"quarantine": self._sessions.quarantine.why}

    def sentence(self) -> str:
        """How the node is, for people, in one line."""
        match self._state(sessions := len(self._sessions.live())):
            case "fault":
                return f"Interlocks are latched: {'; '.join(self._board.obstacles())}"
            case "quarantine":
                return f"In quarantine: {self._sessions.quarantine.why}"
            case "draining":
                return f"Takes no new students; {sessions} still here."
            case "drained":
                return "Takes no new students, and none is here."
            case "busy":
                return f"Busy: {sessions} of {self._sessions.rules.users} seats taken."
        return f"Ready: {sessions} of {self._sessions.rules.users} seats taken."

    def simulate(self, device: str | None = None, **to: Any) -> dict[str, Any]:
        """What devices of a simulated board show, all or one, and its pins by name.

        With `value`, the device is made to show that first. BadInput where the board is not
        simulated or the device cannot show that; NotFound.
        """
        board = self._board
        if device is not None and "value" in to:
            self._worker.call(lambda: board.simulate(device, to["value"]))
        if board.simulation is None:
            raise BadInput("The board is not simulated: run it with --simulate.")
        states = board.snapshot
        if device is not None and device not in states:
            raise NotFound(f"There is no device {device!r}{did_you_mean(device, states)}.")
        names = states if device is None else [device]
        return {"devices": {name: states[name] for name in names}, "pins": mock_levels(board.pins)}

    def _state(self, sessions: int) -> str:
        if self._board.obstacles():
            return "fault"
        if self._sessions.quarantine.why is not None:
            return "quarantine"
        if self._sessions.draining:
            return "draining" if sessions else "drained"
        return "busy" if sessions >= self._sessions.rules.users else "ready"

    def _session(self, session: Session) -> dict[str, Any]:
        left = session.time_left(self._clock.now())
        return {"id": session.tag, "state": str(session.state), "time_left": round(left, 1)}
