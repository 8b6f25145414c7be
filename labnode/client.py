"""A lab from Python: the devices of your session, with the rights of its page.

    from labnode_client import connect

    lab = connect()
    lab.lamp.set(True)
    print(lab.temp.value)
    for device, value in lab.watch():
        print(device, value)

The page of the lab offers this file with the address of your session in it. It needs nothing but
Python 3.9; docs/clients.md says more.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

URL = ""  # of your session, as the page gives it; it opens the lab until your session ends

_PATIENCE = 15.0  # seconds for an answer
_FINISHED = ("done", "failed")


class LabError(Exception):
    """The lab did not do it. `code` is for programs ("interlocked", "session-over")."""

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def connect(url: str = URL) -> RemoteLab:
    """The lab of a session; `url` is what the page shows under "Python".

    ValueError when it is no such address; LabError when the lab cannot be reached or the session
    is over.
    """
    address, _, key = url.partition("#")
    if not address.startswith(("http://", "https://")) or not key:
        raise ValueError(
            "The address of a session is wanted, as the lab's page gives it: "
            f"https://…/#…, not {url!r}."
        )
    return RemoteLab(address.rstrip("/") + "/", key)


class RemoteLab:
    """The devices of a session, as attributes or keys: `lab.heater`, `lab["heater"]`."""

    def __init__(self, root: str, key: str) -> None:
        self._root = root
        self._key = key
        board = self._ask("GET", "api/board")
        self.title: str = board["title"]
        self.devices = {each["name"]: RemoteDevice(self, each) for each in board["devices"]}

    def __getattr__(self, name: str) -> RemoteDevice:
        device = None if name.startswith("_") else self.devices.get(name)
        if device is None:
            raise AttributeError(f"there is no device {name!r}; there are {', '.join(self)}")
        return device

    def __getitem__(self, name: str) -> RemoteDevice:
        return self.devices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.devices)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.devices]

    @property
    def values(self) -> dict[str, Any]:
        """The value of every device by its name, all of one moment."""
        return {name: state.get("value") for name, state in self.states.items()}

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """Value, error, interlock and so on of every device by its name."""
        states: dict[str, dict[str, Any]] = self._ask("GET", "api/state")["devices"]
        return states

    @property
    def time_left(self) -> float:
        """Seconds until the session ends."""
        return float(self._ask("GET", "api/session")["time_left"])

    def watch(self, *names: str, every: float = 0.5) -> Iterator[tuple[str, Any]]:
        """Each device whose value has changed, with its value; of all devices or of `names`.

        The first round has all of them. The lab is asked `every` so many seconds. It ends with the
        session.
        """
        before: dict[str, Any] = {}
        while True:
            try:
                values = self.values
            except LabError as error:
                if error.code in ("session-over", "forbidden"):
                    return
                raise
            for name in names or values:
                if name not in before or before[name] != values[name]:
                    before[name] = values[name]
                    yield name, values[name]
            time.sleep(every)

    def run(self, task: str, **arguments: Any) -> Any:
        """Start a task of the page and wait for its result. LabError when it fails."""
        return self._result(self._ask("POST", f"api/tasks/{quote(task, safe='')}", arguments))

    def upload(self, device: str, file: str | Path) -> Any:
        """Send a file to a programmer and wait until it is written. LabError when it fails."""
        path = Path(file)
        address = f"api/devices/{quote(device, safe='')}/program?name={quote(path.name, safe='')}"
        return self._result(self._ask("POST", address, path.read_bytes()))

    def record(self) -> list[dict[str, Any]]:
        """What the lab has recorded in this session: a row for each moment.

        A row has `seconds` since the start and the value of each device that is recorded, None
        where there was none. LabError "not-found" where the lab records nothing.
        """
        recording = self._ask("GET", "api/recording.json")
        names = ["seconds", *recording["devices"]]
        return [dict(zip(names, row)) for row in recording["rows"]]  # noqa: B905 - Python 3.9

    def _command(self, device: str, command: str, arguments: list[Any]) -> Any:
        path = f"api/devices/{quote(device, safe='')}/{quote(command, safe='')}"
        return self._ask("POST", path, arguments).get("result")

    def _result(self, task: dict[str, Any]) -> Any:
        while task["status"] not in _FINISHED:
            time.sleep(0.2)
            task = self._ask("GET", f"api/tasks/{quote(task['task_id'], safe='')}")
        if task["status"] == "failed":
            error = task["error"] or {}
            raise LabError(error.get("code", "error"), error.get("message", "The task failed."))
        return task["result"]

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._key}"}
        if raw is not None:
            headers["Content-Type"] = kind
        request = urllib.request.Request(self._root + path, raw, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise _refused(error) from None
        except (OSError, ValueError) as error:
            raise LabError("offline", f"The lab does not answer: {error}.") from error


class RemoteDevice:
    """One device: `value` is what it shows, and its commands are methods (`set`, `on`, `off`)."""

    def __init__(self, lab: RemoteLab, description: dict[str, Any]) -> None:
        self._lab = lab
        self._name: str = description["name"]
        self._commands = [each["name"] for each in description.get("commands", ())]

    @property
    def value(self) -> Any:
        """What it shows now; None where there is nothing to show."""
        return self.state.get("value")

    @property
    def state(self) -> dict[str, Any]:
        """Its value with what else is known of it now: an error, an interlock."""
        return self._lab.states[self._name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._commands:
            there = ", ".join(self._commands) or "none"
            raise AttributeError(f"{self._name!r} has no command {name!r}; it has {there}")
        return lambda *arguments: self._lab._command(self._name, name, list(arguments))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._commands]

    def __repr__(self) -> str:
        return f"<RemoteDevice {self._name}>"


def _refused(reply: urllib.error.HTTPError) -> LabError:
    try:
        with reply:
            said = json.load(reply)
        code, message = said["code"], said["message"]
    except (OSError, ValueError, KeyError, TypeError):
        code, message = "error", f"The lab answers {reply.code} {reply.reason}."
    return LabError(str(code), str(message), reply.code)
