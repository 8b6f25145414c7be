"""The devices of a board: opened, reset and closed in order, commanded, polled, and seen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from labnode.board.file import BoardFile
from labnode.board.simulate import Simulation
from labnode.board.snapshot import Snapshot, Snapshots, reason
from labnode.clock import Clock
from labnode.drivers.base import Driver, Simulatable
from labnode.drivers.pins import mock_factory, real_factory
from labnode.errors import BadInput, DeviceError, LabnodeError, NotFound
from labnode.events import Bus
from labnode.schema import did_you_mean

log = logging.getLogger(__name__)

Post = Callable[[Callable[[], None]], None]
Wait = Callable[[float, Callable[[], bool] | None], bool]  # see Services.wait


class Board:
    """A board file at run time; its drivers belong to this board alone.

    Everything is for the hardware thread, except `attach` (before it starts), `snapshot` and
    `describe`, which any thread may read, and `make_safe`, for emergencies.
    """

    def __init__(
        self,
        file: BoardFile,
        *,
        clock: Clock,
        bus: Bus,
        simulate: bool,
        pins: Any = None,
        work_dir: Path | None = None,
    ) -> None:
        """`pins` is a gpiozero factory that the caller closes.

        Without it the board has its own: a mock one with `simulate`, else this machine's, for
        which lgpio makes a pipe in `work_dir`.
        """
        self.file = file
        self.pins = mock_factory() if simulate and pins is None else pins
        self.simulation = (
            Simulation(file.simulate, self._drive, lambda: self.snapshot) if simulate else None
        )
        self._clock = clock
        self._post: Post = lambda _: None
        self._wait: Wait = lambda seconds, _: not clock.event().wait(seconds)
        self._work_dir = work_dir
        self._owns_pins = self.pins is None
        self._snapshots = Snapshots(file.devices, bus)
        self._opened: list[str] = []  # in the order of opening, with one that failed half way
        self._due: dict[str, float] = {}
        for name, driver in file.devices.items():
            driver.attach(name, _Services(self, name))

    @property
    def snapshot(self) -> Snapshot:
        """The state of every device by name: {"value": ...}, None while there is none.

        Replaced as a whole when something changes; nobody writes into it.
        """
        return self._snapshots.latest

    def attach(self, post: Post, wait: Wait) -> None:
        """What the worker offers: `post` a call to the hardware thread, `wait` serving others.

        Without it, changes of inputs go unseen, and waiting just waits.
        """
        self._post = post
        self._wait = wait

    def open(self) -> None:
        """Open every device; if one fails, all are closed (safe) and a DeviceError says why."""
        if self._opened:
            raise DeviceError("the board is open already")
        if self.pins is None:
            self.pins = real_factory(self._work_dir)
        for name, driver in self.file.devices.items():
            self._opened.append(name)
            try:
                driver.open()
            except Exception as error:
                log.exception("device %s did not open", name)
                failures = [f"'{name}' did not open: {reason(error)}", *self._close()]
                raise DeviceError("; ".join(failures)) from error
        now = self._clock.now()
        self._due = {name: now for name in self._opened if self._period(name) is not None}
        self._snapshots.read(self._opened)
        if self.simulation is not None:
            self.simulation.restart()

    def reset(self) -> None:
        """Bring every device to its safe state; one DeviceError names all that failed."""
        failures = self._each(self._opened, "reset", lambda driver: driver.reset())
        self.refresh(*self._opened)
        _raise(failures)

    def close(self) -> None:
        """Close every device, the last one first; one DeviceError names all that failed.

        Outputs stay driven at their safe level. Closing twice is fine.
        """
        _raise(self._close())

    def make_safe(self) -> list[str]:
        """Drive to safe what can be, from any thread; says what could not be, never raises.

        For the moment when the hardware thread does not answer: nothing here waits for it.
        """
        failures = self._each(tuple(self._opened), "make safe", lambda driver: driver.make_safe())
        try:
            self._post(lambda: self.refresh(*self._opened))
        except Exception:
            log.exception("the snapshot after an emergency is not taken")
        return failures

    def command(self, device: str, command: str, args: Any = None) -> Any:
        """Call a command with JSON arguments, a list or an object; its result is JSON.

        NotFound: there is no such device or command; BadInput: the arguments; else DeviceError.
        """
        driver = self._driver(device)
        spec = driver.commands.get(command)
        if spec is None:
            there = f"; it has {', '.join(driver.commands)}" if driver.commands else ""
            hint = did_you_mean(command, driver.commands) or there
            raise NotFound(f"'{device}' has no command {command!r}{hint}")
        where = f"{device}.{command}"
        arguments = spec.bind(where, args)
        self._need_open(device)
        try:
            return getattr(driver, command)(**arguments)
        except LabnodeError:
            raise
        except Exception as error:
            raise DeviceError(f"{where}: {reason(error)}") from error
        finally:
            self.refresh(device)

    def poll(self) -> float | None:
        """Poll the devices that are due; seconds until the next one is, None if none polls."""
        for name, due in self._due.items():
            if due <= self._clock.now():
                self._snapshots.poll(name)
                self._due[name] = self._clock.now() + (self._period(name) or 0)
                self.refresh(name)
        return max(0.0, min(self._due.values()) - self._clock.now()) if self._due else None

    def refresh(self, *devices: str) -> None:
        """Read `devices` again, tell what has changed, and let a simulation follow."""
        self._snapshots.read([name for name in devices if name in self._opened])
        if self.simulation is not None and self._opened:
            self.simulation.settle()

    def describe(self, locales: Sequence[str | None] = ()) -> list[dict[str, Any]]:
        """What the page has to know of the devices that students may see, in its order."""
        return [
            _description(name, self.file.devices[name], locales) for name in self.file.on_page()
        ]

    def _close(self) -> list[str]:
        names, self._due = self._opened, {}
        failures = self._each(names[::-1], "close", lambda driver: driver.close())
        self._opened = []
        self._snapshots.forget(names)
        if self._owns_pins and self.pins is not None:
            pins, self.pins = self.pins, None
            try:
                pins.close()
            except Exception as error:
                log.exception("the GPIO chip did not close")
                failures.append(f"the GPIO chip did not close: {reason(error)}")
        return failures

    def _each(self, names: Iterable[str], what: str, do: Callable[[Driver], None]) -> list[str]:
        """Do one thing to every device, whatever fails; a sentence for each that did."""
        failures = []
        for name in names:
            try:
                do(self.file.devices[name])
            except Exception as error:
                log.exception("device %s did not %s", name, what)
                failures.append(f"'{name}' did not {what}: {reason(error)}")
        return failures

    def _drive(self, name: str, value: Any) -> None:
        driver = self._driver(name)
        if not isinstance(driver, Simulatable):
            raise BadInput(f"'{name}' cannot be simulated: a {driver.kind} is no input")
        self._need_open(name)
        driver.simulate(value)
        self._snapshots.read([name])

    def _driver(self, name: str) -> Driver:
        if name not in self.file.devices:
            hint = did_you_mean(name, self.file.devices)
            raise NotFound(f"there is no device {name!r}{hint}")
        return self.file.devices[name]

    def _need_open(self, name: str) -> None:
        if name not in self._opened:
            raise DeviceError(f"'{name}' is not open")

    def _period(self, name: str) -> float | None:
        return self.file.devices[name].poll_every


class _Services:
    """What one driver sees of its board."""

    def __init__(self, board: Board, name: str) -> None:
        self._board = board
        self._name = name
        self.clock = board._clock
        self.simulated = board.simulation is not None

    @property
    def pins(self) -> Any:
        return self._board.pins

    def publish(self) -> None:
        self._board.refresh(self._name)

    def post(self, call: Callable[[], None]) -> None:
        self._board._post(call)

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        return self._board._wait(seconds, until)


def _description(name: str, driver: Driver, locales: Sequence[str | None]) -> dict[str, Any]:
    confirm = driver.confirm
    return {
        "name": name,
        "driver": driver.kind,
        "label": driver.label.pick(*locales) if driver.label else _readable(name),
        "group": driver.group.pick(*locales) if driver.group else None,
        "unit": driver.unit,
        "widget": driver.widget,
        "commands": [c.describe() for c in driver.commands.values() if c.students],
        "confirm": confirm if isinstance(confirm, bool) else confirm.pick(*locales),
        **driver.describe(),
    }


def _readable(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _raise(failures: list[str]) -> None:
    if failures:
        raise DeviceError("; ".join(failures))
