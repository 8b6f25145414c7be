"""The devices of a board: opened, reset and closed in order, commanded, polled, and seen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from labnode.board.config.board_file import BoardFile
from labnode.board.interlocks import Emergency, Fault, Interlocks
from labnode.board.services import DriverServices, Post, Wait, alone
from labnode.board.simulation import Simulation
from labnode.board.snapshot import Snapshot, Snapshots, describe, reason
from labnode.clock import Clock
from labnode.drivers.framework.driver import Driver, Lendable, Simulatable
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.services import PendingPost
from labnode.drivers.gpio.factories import mock_factory, real_factory
from labnode.errors import BadInput, DeviceError, Interlocked, LabnodeError, NotFound
from labnode.events import Bus
from labnode.schema import did_you_mean

_RETRY = 0.25  # seconds until a device that could not be polled is polled again


class Polls:
    """Hardware thread only."""

    def __init__(self, devices: Mapping[str, Driver], snapshots: Snapshots, clock: Clock) -> None:
        self._devices = devices
        self._snapshots = snapshots
        self._clock = clock
        self._not_before: dict[str, float] = {}  # of those that failed

    def run(self, names: Iterable[str]) -> None:
        """Poll those of `names` that are due."""
        now = self._clock.now()
        for name in names:
            due = self.due(name)
            if due is not None and due <= now:
                if self._snapshots.poll(name):
                    self._not_before.pop(name, None)
                else:
                    self._not_before[name] = now + _RETRY
                self._snapshots.read([name])

    def due(self, name: str) -> float | None:
        """When a device is to be polled next."""
        due = self._devices[name].due()
        return None if due is None else max(due, self._not_before.get(name, due))


class Orders:
    """Hardware thread only. `opened` gives the devices that are open; `refresh` reads one again."""

    def __init__(
        self,
        file: BoardFile,
        emergency: Emergency,
        interlocks: Interlocks,
        *,
        opened: Callable[[], Collection[str]],
        refresh: Callable[[str], None],
    ) -> None:
        self._devices = file.devices
        self._emergency = emergency
        self._interlocks = interlocks
        self._opened = opened
        self._refresh = refresh

    def command(self, device: str, command: str, args: Any = None) -> Any:
        """Call a command with JSON arguments, a list or an object; its result is JSON.

        NotFound: there is no such device or command; BadInput: the arguments; Interlocked or Busy:
        not now; else DeviceError.
        """
        driver = self.driver(device)
        spec = driver.commands.get(command)
        if spec is None:
            there = f"; it has {', '.join(driver.commands)}" if driver.commands else ""
            hint = did_you_mean(command, driver.commands) or there
            raise NotFound(f"'{device}' has no command {command!r}{hint}")
        arguments = spec.bind(f"{device}.{command}", args)
        return self._do(
            f"{device}.{command}", driver, lambda: getattr(driver, command)(**arguments)
        )

    def put(self, device: str, value: Any) -> None:
        """Bring an output to a value; errors as those of `command`."""
        output = self.driver(device)
        assert isinstance(output, Output)
        self._do(device, output, lambda: output.put(value))

    def begin(self) -> None:
        """Give outputs the value that a session begins with, where they have one."""
        for name, driver in self._devices.items():
            if isinstance(driver, Output) and driver.initial is not None:
                try:
                    self.put(name, driver.initial)
                except LabnodeError as error:
                    log.warning("device %s does not begin with its value: %s", name, error)

    def permit(self, device: str, value: Any) -> None:
        """Interlocked when an output must not be `value` now."""
        output = self.driver(device)
        assert isinstance(output, Output)
        self._emergency.permit(output, value)
        self._interlocks.permit(device, value)

    def lend(self, device: str) -> AbstractContextManager[str]:
        """The path of a device's port, the caller's alone inside the block."""
        driver = self.driver(device)
        if not isinstance(driver, Lendable):
            raise DeviceError(f"'{device}' has no port to lend: it is a {driver.kind}")
        return driver.lent()

    def driver(self, name: str) -> Driver:
        """The device's driver; NotFound."""
        if name not in self._devices:
            hint = did_you_mean(name, self._devices)
            raise NotFound(f"there is no device {name!r}{hint}")
        return self._devices[name]

    def need_open(self, name: str) -> None:
        """DeviceError when the device is not open."""
        if name not in self._opened():
            raise DeviceError(f"'{name}' is not open")

    def _do(self, where: str, driver: Driver, action: Callable[[], Any]) -> Any:
        self.need_open(driver.name)
        if self._emergency.why is not None:
            raise Interlocked(f"The board is stopped: {self._emergency.why}")
        try:
            return action()
        except LabnodeError:
            raise
        except Exception as error:
            raise DeviceError(f"{where}: {reason(error)}") from error
        finally:
            self._refresh(driver.name)


class Lineup:
    """`opened` are the names in the order of opening, with one that failed half way."""

    def __init__(self, devices: Mapping[str, Driver]) -> None:
        self.opened: list[str] = []
        self._devices = devices

    def open(self) -> None:
        """Open every device until one does not: then a DeviceError says why."""
        for name, driver in self._devices.items():
            self.opened.append(name)
            try:
                driver.open()
            except Exception as error:
                log.exception("device %s did not open", name)
                raise DeviceError(f"'{name}' did not open: {reason(error)}") from error

    def each(
        self, what: str, do: Callable[[Driver], None], names: Collection[str] | None = None
    ) -> list[str]:
        """Do one thing to the devices that are open; a sentence for each that did not."""
        return self._each([n for n in self.opened if names is None or n in names], what, do)

    def close(self) -> list[str]:
        """Close every device, the last one first; a sentence for each that did not."""
        names, self.opened = self.opened, []
        return self._each(names[::-1], "close", lambda driver: driver.close())

    def _each(self, names: list[str], what: str, do: Callable[[Driver], None]) -> list[str]:
        failures = []
        for name in names:
            try:
                do(self._devices[name])
            except Exception as error:
                log.exception("device %s did not %s", name, what)
                failures.append(f"'{name}' did not {what}: {reason(error)}")
        return failures


log = logging.getLogger(__name__)

_MOST_ROUNDS = 10  # of interlocks that set off each other


class Board:
    """A board file at run time; its drivers belong to this board alone.

    Everything is for the hardware thread, except `attach` (before it starts), `snapshot`, `faults`
    and `describe`, which any thread may read, and `halt`, `make_safe` and `fault`, for emergencies.
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
        self.around = alone(clock, self.halt)
        self._hear_emergency = PendingPost(self.around, self._after_emergency)
        self.simulation = (
            Simulation(file.simulate, self._drive, lambda: self.snapshot, clock)
            if simulate
            else None
        )
        self.bus = bus
        self.emergency = Emergency(clock)
        self._clock = clock
        self.work_dir = work_dir
        self._owns_pins = self.pins is None
        self._outputs = {n: d for n, d in file.devices.items() if isinstance(d, Output)}
        self.interlocks = Interlocks(
            file.interlocks,
            self._outputs,
            self.emergency,
            clock=clock,
            bus=bus,
            snapshot=lambda: self.snapshot,
        )
        self._snapshots = Snapshots(file.devices, bus, self.interlocks.lock)
        self.versioned = self._snapshots.versioned  # any thread
        self._lineup = Lineup(file.devices)
        orders = Orders(
            file,
            self.emergency,
            self.interlocks,
            opened=lambda: self._opened,
            refresh=self.refresh,
        )
        self.command = orders.command
        self.put = orders.put
        self.permit = orders.permit
        self.lend = orders.lend
        self._orders = orders
        self._polls = Polls(file.devices, self._snapshots, clock)
        for name, driver in file.devices.items():
            driver.attach(name, self.services(name))
            driver.follow(file.scripts.get(name))

    @property
    def snapshot(self) -> Snapshot:
        """The state of every device by name: {"value": ...}, None while there is none.

        Replaced as a whole when something changes; nobody writes into it.
        """
        return self._snapshots.latest

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The interlocks that act, or have acted and are latched."""
        return self.interlocks.faults

    def obstacles(self) -> list[str]:
        """Why nobody should be let onto the board: the faults that are latched."""
        return [f"{fault.name}: {fault.message}" for fault in self.faults if fault.latched]

    @property
    def halted(self) -> str | None:
        """Why everything is stopped, None when it is not."""
        return self.emergency.why

    def services(self, name: str) -> DriverServices:
        """What a driver called `name` would be handed."""
        return DriverServices(self, name, self._clock, simulated=self.simulation is not None)

    def attach(self, post: Post, wait: Wait, **more: Any) -> None:
        """What the worker and the tasks offer; `more` is the rest of Surroundings."""
        self.around = replace(self.around, post=post, wait=wait, **more)
        self._hear_emergency = PendingPost(self.around, self._after_emergency)

    def open(self) -> None:
        """Open every device; if one fails, all are closed (safe) and a DeviceError says why."""
        if self._opened:
            raise DeviceError("the board is open already")
        if self.pins is None and self._needs_pins():
            self.pins = real_factory(self.work_dir)
        try:
            self._lineup.open()
        except DeviceError as error:
            raise DeviceError("; ".join([str(error), *self._close()])) from error.__cause__
        self._snapshots.read(self._opened)
        if self.simulation is not None:
            self.simulation.restart()
        self._settle()

    def _needs_pins(self) -> bool:
        """Whether there has to be a GPIO chip: a port or a camera is fine on any machine."""
        claims = (claim for driver in self.file.devices.values() for claim in driver.claims())
        return any(claim.kind == "pin" and not claim.bus for claim in claims)

    def reset(self, names: Collection[str] | None = None) -> None:
        """Bring all devices, or some, to safe; one DeviceError names all that failed."""
        failures = self._lineup.each("reset", lambda driver: driver.reset(), names)
        self.refresh(*self._opened)
        _raise(failures)

    def prepare(self) -> None:
        """Before a session: what devices need, then the values that it begins with."""
        _raise(self._lineup.each("prepare", lambda driver: driver.prepare()))
        self._orders.begin()

    def clean(self) -> None:
        """After a session; one DeviceError names all that failed."""
        _raise(self._lineup.each("clean up", lambda driver: driver.clean()))

    def close(self) -> None:
        """Close every device, the last one first; one DeviceError names all that failed.

        Outputs stay driven at their safe level. Closing twice is fine.
        """
        _raise(self._close())

    def make_safe(self) -> list[str]:
        """Drive to safe what can be, from any thread; says what could not be, never raises.

        For the moment when the hardware thread does not answer: nothing here waits for it.
        """
        failures = self._lineup.each("make safe", lambda driver: driver.make_safe())
        try:
            self._hear_emergency.post()  # many presses, one acknowledgement
        except Exception:
            log.exception("the snapshot after an emergency is not taken")
        return failures

    def halt(self, why: str) -> list[str]:
        """Emergency stop, from any thread: everything safe now, and until `resume`.

        Says what could not be made safe.
        """
        self.emergency.begin(why)
        return self.make_safe()

    def resume(self) -> None:
        """The emergency is over: outputs may be commanded again (any thread)."""
        self.emergency.end()

    def fault(self) -> str | None:
        """What the hardware thread should have done and has not, or None (any thread)."""
        return self.emergency.fault(self._outputs.values())

    def poll(self) -> float | None:
        """Do what is due; seconds until the next is, None if nothing is waited for."""
        self._polls.run(self._opened)
        moving = None if self.simulation is None else self.simulation.move()
        if self._opened:
            self._settle()
        times = [*map(self._polls.due, self._opened), self.interlocks.due(), moving]
        following = min((time for time in times if time is not None), default=None)
        return None if following is None else max(0.0, following - self._clock.now())

    def refresh(self, *devices: str) -> None:
        """Read `devices` again, tell what has changed, let interlocks and a simulation follow."""
        self._snapshots.read([name for name in devices if name in self._opened])
        if self._opened:
            self._settle()

    def clear_faults(self) -> list[str]:
        """End the latched faults that are over; the names of those that are not."""
        left = self.interlocks.clear()
        self._settle()
        return left

    def describe(
        self, locales: Sequence[str | None] = (), *, hidden: bool = False
    ) -> list[dict[str, Any]]:
        """What the page has to know of the devices on it; with `hidden`, of all devices."""
        names = self.file.devices if hidden else self.file.on_page()
        return [describe(name, self.file.devices[name], locales) for name in names]

    def simulate(self, device: str, value: Any) -> None:
        """Make an input show `value` (JSON), as if something outside had changed.

        BadInput where the board is not simulated, or the device cannot show that; NotFound.
        """
        if self.simulation is None:
            raise BadInput("The board is not simulated: run it with --simulate.")
        try:
            self.simulation.drive(device, value)
        except (TypeError, ValueError) as error:
            raise BadInput(f"'{device}' cannot show {value!r}: {error}") from None
        finally:
            self.refresh()

    def _close(self) -> list[str]:
        names = self._opened
        failures = self._lineup.close()
        self._snapshots.forget(names)
        if self._owns_pins and self.pins is not None:
            pins, self.pins = self.pins, None
            try:
                pins.close()
            except Exception as error:
                log.exception("the GPIO chip did not close")
                failures.append(f"the GPIO chip did not close: {reason(error)}")
        return failures

    @property
    def _opened(self) -> list[str]:
        return self._lineup.opened

    def _drive(self, name: str, value: Any) -> None:
        driver = self._orders.driver(name)
        if not isinstance(driver, Simulatable):
            raise BadInput(f"'{name}' cannot be simulated: a {driver.kind} is no input")
        self._orders.need_open(name)
        driver.simulate(value)
        self._snapshots.read([name])

    def _settle(self) -> None:
        for _ in range(_MOST_ROUNDS):
            if self.simulation is not None:
                self.simulation.settle()
            if not (touched := self.interlocks.settle()):
                return
            self._snapshots.read([name for name in touched if name in self._opened])
        log.error("the interlocks set off each other without end")

    def _after_emergency(self) -> None:
        self.emergency.heard()
        if self.emergency.why is not None:  # a command that was half way may have come after
            self._lineup.each("make safe", _stay_safe)
        self.refresh(*self._opened)


def _stay_safe(driver: Driver) -> None:
    if isinstance(driver, Output):
        driver.stay_safe()
    else:
        driver.make_safe()


def _raise(failures: list[str]) -> None:
    if failures:
        raise DeviceError("; ".join(failures))
