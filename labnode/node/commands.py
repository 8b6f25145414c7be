"""The commands of the control socket: the state and history of a node, and changes to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from labnode import __version__
from labnode.clock import Clock
from labnode.control import Command
from labnode.drivers.gpio.factories import mock_levels
from labnode.errors import BadInput, NotFound
from labnode.locale import Message
from labnode.node.apply import PATIENCE, BoardChange
from labnode.node.history import History
from labnode.node.runtime import RuntimeOwner
from labnode.schema import nearest
from labnode.sessions import Session

_LONGEST_WHY = 200  # characters


class Commands:
    """Each method answers one command with JSON; `by_name` has them all."""

    def __init__(self, owner: RuntimeOwner, board_change: BoardChange, clock: Clock) -> None:
        self._owner = owner
        self._board_change = board_change
        self._clock = clock
        history = History(owner, clock)
        self.by_name: Mapping[str, Command] = {
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
            "apply": self.apply,
            "applied": board_change.progress,
            "run_task": self.run_task,
            "cancel_task": self.cancel_task,
        }

    def status(self) -> dict[str, Any]:
        """The node now; `state` is ready, busy, draining, drained, quarantine or fault."""
        runtime = self._owner.runtime
        board, file, sessions = runtime.board, runtime.file, runtime.sessions
        live = sessions.live()
        return {
            "board": {
                "name": file.lab.name,
                "category": file.lab.category,
                "file": str(file.path.absolute()),
                "simulated": board.simulation is not None,
            },
            "state": self._state(len(live)),
            "sessions": [self._session(session) for session in live],
            "users": sessions.rules.users,
            "estop": runtime.estop.why,
            "quarantine": sessions.quarantine.why,
            "faults": board.obstacles(),
            "failing": sessions.failing(),
            "draining": sessions.draining,
            "alarm": runtime.store.alarm,
            "clock": runtime.wall.doubt,
            "uptime": round(self._clock.now() - runtime.began, 1),
            "url": self._owner.url,
            "state_dir": str(runtime.store.path.parent.absolute()),
            "pid": os.getpid(),
            "version": __version__,
        }

    def estop(self, why: str = "") -> dict[str, Any]:
        """Make everything safe at once; `unsafe` lists failures, `sessions` is how many end."""
        runtime = self._owner.runtime
        sessions = len(runtime.sessions.live())
        unsafe = runtime.estop.press(str(why)[:_LONGEST_WHY] or "labnode estop")
        return {"unsafe": unsafe, "sessions": sessions}

    def clear(self) -> dict[str, Any]:
        """End emergency stop, quarantine and latched faults, because a person says they are over.

        `was` is the reason of the quarantine, `faults` are those there were, `left` those of them
        that are not over yet. Busy while an emergency stop button is pressed.
        """
        runtime = self._owner.runtime
        runtime.estop.release()
        quarantine, faults = runtime.sessions.quarantine, runtime.board.obstacles()
        was = quarantine.why
        left = runtime.worker.call(runtime.board.clear_faults)
        if was is not None:
            quarantine.clear()
        return {"was": was, "faults": faults, "left": left}

    def drain(self) -> dict[str, Any]:
        """Accept no new sessions; `sessions` is how many continue until they end."""
        sessions = self._owner.runtime.sessions
        sessions.draining = True
        return {"sessions": len(sessions.live())}

    def undrain(self) -> dict[str, Any]:
        """Accept sessions again."""
        sessions = self._owner.runtime.sessions
        sessions.draining = False
        return {"quarantine": sessions.quarantine.why}

    def sentence(self) -> str:
        """The state of the node in one sentence for people."""
        runtime = self._owner.runtime
        live, users = len(runtime.sessions.live()), runtime.sessions.rules.users
        match self._state(live):
            case "fault":
                return f"Interlocks are latched: {'; '.join(runtime.board.obstacles())}"
            case "quarantine":
                return f"In quarantine: {runtime.sessions.quarantine.why}"
            case "draining":
                return f"Takes no new students; {live} still here."
            case "drained":
                return "Takes no new students, and none is here."
            case "busy":
                return f"Busy: {live} of {users} seats taken."
        return f"Ready: {live} of {users} seats taken."

    def simulate(self, device: str | None = None, **to: Any) -> dict[str, Any]:
        """The states of the devices of a simulated board, or of one, and its pins by name.

        With `value`, set that input first. BadInput if the board is not simulated or the device
        cannot have that value; NotFound.
        """
        board = self._owner.runtime.board
        if board.simulation is None:
            raise BadInput(Message("cli.not-simulated"))
        states = board.snapshot
        if device is not None and device not in states:
            raise NotFound(Message("cli.no-device", name=device, hint=_hint(device, states)))
        if device is not None and "value" in to:
            self._owner.runtime.worker.call(lambda: board.simulate(device, to["value"]))
            states = board.snapshot
        names = states if device is None else [device]
        return {"devices": {name: states[name] for name in names}, "pins": mock_levels(board.pins)}

    def run_task(self, name: str) -> dict[str, Any]:
        """Queue a task of the lab that needs no arguments; NotFound, BadInput.

        It may have failed already, for example because it runs: then `error` says why.
        """
        functions = self._owner.runtime.lab.functions
        if name not in functions:
            raise NotFound(Message("cli.no-task-named", name=name, hint=_hint(name, functions)))
        task = functions[name].delay()
        return {"id": task.task_id, "status": task.status, "error": task.error}

    def cancel_task(self, task: str) -> dict[str, Any]:
        """Stop a task that waits or runs, by its id or the first characters of it."""
        found = self._owner.runtime.tasks.unfinished(str(task))
        found.stop()
        return {"id": found.task_id, "name": found.name, "waited": found.submitted}

    def apply(
        self, board: str | None = None, now: bool = False, timeout: float = PATIENCE
    ) -> dict[str, Any]:
        """Begin to change to a board file, or to read the present one again; see `applied`."""
        path = self._owner.runtime.file.path if board is None else Path(board)
        self._board_change.begin(path, now, timeout)
        self._board_change.wait_until_checked()
        return self._board_change.progress()

    def _state(self, live: int) -> str:
        runtime = self._owner.runtime
        if runtime.board.obstacles():
            return "fault"
        if runtime.sessions.quarantine.why is not None:
            return "quarantine"
        if runtime.sessions.draining:
            return "draining" if live else "drained"
        return "busy" if live >= runtime.sessions.rules.users else "ready"

    def _session(self, session: Session) -> dict[str, Any]:
        left = session.time_left(self._clock.now())
        return {"id": session.tag, "state": str(session.state), "time_left": round(left, 1)}


def _hint(word: str, choices: Iterable[str]) -> Message | str:
    """The end of a sentence that says that there is no such thing."""
    near = nearest(word, choices)
    return "." if near is None else Message("cli.did-you-mean", near=near)
