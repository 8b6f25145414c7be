"""The devices of a board: opened, reset and closed in order, commanded, polled, and seen."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from labnode.board.config.board_file import BoardFile
from labnode.board.config.devices import derived_in_order, in_opening_order
from labnode.board.interlocks import Commander, Emergency, Fault, Interlocks
from labnode.board.services import (
    Alone,
    FaultStore,
    HardwareWorker,
    OperatorSource,
    RunningTask,
    Until,
)
from labnode.board.simulation import Simulation, without_hardware
from labnode.board.snapshot import Snapshot, Snapshots, describe, reason
from labnode.clock import Clock, earliest
from labnode.drivers.framework.driver import Driver, Lendable, Simulatable
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.services import DeviceView, Operator, PendingPost
from labnode.drivers.gpio.factories import mock_factory, real_factory
from labnode.errors import BadInput, DeviceError, Interlocked, LabnodeError, NotFound
from labnode.events import Bus, DeviceChanged, EmergencyPressed
from labnode.locale import Message
from labnode.schema import did_you_mean

log = logging.getLogger(__name__)

_MOST_ROUNDS = 10  # of interlocks that set off each other
_HUNG_AFTER = 2.5  # seconds without a turn, while a dead man watches: safe within 3
_EMERGENCY = 1.0  # seconds that an emergency waits in all for switches that answer slowly
_RETRY = 0.25  # seconds until a device that could not be polled is polled again


class Board:
    """A board file at run time; its drivers belong to this board alone.

    Everything is for the hardware thread, except `snapshot`, `faults` and `describe`, which any
    thread may read, and `halt`, `make_safe` and `fault`, for emergencies.
    """

    def __init__(
        self,
        file: BoardFile,
        *,
        clock: Clock,
        bus: Bus,
        simulate: bool,
        worker: HardwareWorker | None = None,
        tasks: RunningTask | None = None,
        store: FaultStore | None = None,
        operators: OperatorSource | None = None,
        pins: Any = None,
        work_dir: Path | None = None,
    ) -> None:
        """`pins` is a gpiozero factory that the caller closes.

        Without it the board has its own: a mock one with `simulate`, else this machine's, for
        which lgpio makes a pipe in `work_dir`. Without a node's `worker`, `tasks`, `store` and
        `operators` the board stands alone: changes of inputs are not seen, latched faults are not
        kept, and who commands it counts as present.
        """
        alone = Alone(clock)
        if simulate:
            devices = {n: without_hardware(n, driver) for n, driver in file.devices.items()}
            file = replace(file, devices=devices)
        self.file = file
        self.bus = bus
        self.clock = clock
        self.worker = worker or alone
        self.tasks = tasks or alone
        self.operators = operators or alone
        self._acknowledge_emergency = PendingPost(self.worker, self._after_emergency)
        self.pins = mock_factory() if simulate and pins is None else pins
        self.work_dir = work_dir
        self.emergency = Emergency(clock)
        self._owns_pins = self.pins is None
        self._outputs = {n: d for n, d in file.devices.items() if isinstance(d, Output)}
        self.commander = Commander(self._outputs)
        derived = derived_in_order(file.devices)
        self.interlocks = Interlocks(
            file.interlocks,
            self._outputs,
            derived,
            self.emergency,
            clock=clock,
            bus=bus,
            store=store or alone,
        )
        self._snapshots = Snapshots(file.devices, derived, self.interlocks)
        self.simulation = Simulation(file.simulate, self, clock) if simulate else None
        self._opened: list[str] = []  # in the order of opening, with one that failed half way
        self._closing: list[str] = []  # what a close has not reached yet
        self.asked_at = math.inf  # of the command that runs: when it was asked for
        self._retry_at: dict[str, float] = {}  # when devices whose poll failed are polled again
        for name, driver in file.devices.items():
            driver.attach(name, self.services(name))
            driver.follow(file.scripts.get(name))

    # ------------------------------------------------------------------ any thread

    @property
    def snapshot(self) -> Snapshot:
        """The state of every device by name: {"value": ...}, None while there is none.

        Replaced as a whole when something changes; nobody writes into it.
        """
        return self._snapshots.latest

    def versioned(self) -> tuple[int, Snapshot]:
        """The snapshot with its version, which grows with each change."""
        return self._snapshots.versioned

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The interlocks that act, or have acted and are latched."""
        return self.interlocks.faults

    def obstacles(self) -> list[str]:
        """Why nobody may start to use the board: the faults that are latched."""
        return [f"{fault.name}: {fault.message}" for fault in self.faults if fault.latched]

    def describe(
        self, locales: Sequence[str | None] = (), *, hidden: bool = False
    ) -> list[dict[str, Any]]:
        """What the page has to know of the devices on it; with `hidden`, of all devices."""
        names = self.file.devices if hidden else self.file.on_page()
        return [describe(name, self.file.devices[name], locales) for name in names]

    def services(self, name: str) -> DriverServices:
        """What a driver called `name` is given."""
        return DriverServices(self, name)

    # ------------------------------------------------------------------ emergencies, any thread

    @property
    def halted(self) -> str | None:
        """Why everything is stopped, None when it is not."""
        return self.emergency.why

    def halt(self, why: str) -> list[str]:
        """Emergency stop: everything safe now, and until `resume`; says what could not be."""
        self.emergency.begin(why)
        return self.make_safe()

    def press_emergency(self, why: str) -> None:
        """A device asks for an emergency stop: everything is made safe, then the bus has it."""
        self.halt(why)
        self.bus.publish(EmergencyPressed(why))

    def resume(self) -> None:
        """The emergency is over: outputs may be commanded again."""
        self.emergency.end()

    def make_safe(self) -> list[str]:
        """Drive to safe what can be; says what could not be, never raises.

        It does not wait for the hardware thread, which may hang, and at most a second in all for
        switches that answer slowly.
        """
        names = [*self._closing, *self._opened]
        failures = self._each("make safe", lambda driver: driver.make_safe(), names)
        try:
            self._acknowledge_emergency.post()  # many presses, one acknowledgement
        except Exception:
            log.exception("the snapshot after an emergency is not taken")
        until = self.clock.now() + _EMERGENCY  # the process may end right after this
        self._each("get safe", lambda driver: driver.await_safe(until - self.clock.now()), names)
        return failures

    def fault(self) -> str | None:
        """What the hardware thread should have done and has not, or None."""
        return self.emergency.fault(self._outputs.values()) or self._hung()

    def _hung(self) -> str | None:
        since, busy = self.guarded_since, self.worker.busy_since
        if since is None or busy is None or self.clock.now() - max(since, busy) <= _HUNG_AFTER:
            return None
        return f"the hardware thread had no turn for {_HUNG_AFTER:g} s while a dead man watches"

    @property
    def guarded_since(self) -> float | None:
        """Since when an output is on that has a dead man; None: none is."""
        return earliest(*(output.guarded_since for output in self._outputs.values()))

    def _after_emergency(self) -> None:
        self.emergency.acknowledge()
        self._each("make safe", lambda driver: driver.stay_safe())  # a command was half way
        self.refresh(*self._opened)

    # ------------------------------------------------------------------ open, reset, close

    def open(self) -> None:
        """Open every device; if one fails, all are closed (safe) and a DeviceError says why."""
        if self._opened:
            raise DeviceError("the board is open already")
        if self.pins is None and needs_pins(self.file.devices.values()):
            self.pins = real_factory(self.work_dir)
        for name in in_opening_order(self.file.devices):
            self._opened.append(name)
            try:
                self.file.devices[name].open()
            except BaseException as error:
                log.exception("device %s did not open", name)
                failures = [f"'{name}' did not open: {reason(error)}", *self._close()]
                raise DeviceError("; ".join(failures)) from error
        try:
            self._read(self._opened)
            if self.simulation is not None:
                self.simulation.restart()
            self._settle()
        except BaseException:
            self._close()
            raise

    def reset(self, names: Collection[str] | None = None) -> None:
        """Bring all devices, or some, to safe; one DeviceError names all that failed."""
        chosen = [name for name in self._opened if names is None or name in names]
        failures = self._each("reset", lambda driver: driver.reset(), chosen)
        if self.simulation is not None:
            self.simulation.show_again(chosen)
        self.refresh(*self._opened)
        _raise(failures)

    def prepare(self) -> None:
        """Before a session: what devices need, then their initial values."""
        _raise(self._each("prepare", lambda driver: driver.prepare()))
        for name, output in self._outputs.items():
            if output.initial is not None:
                try:
                    self.put(name, output.initial)
                except LabnodeError as error:
                    log.warning("device %s does not begin with its value: %s", name, error)

    def clean(self) -> None:
        """After a session; one DeviceError names all that failed."""
        _raise(self._each("clean up", lambda driver: driver.clean()))

    def close(self) -> None:
        """Close every device, the last one first; one DeviceError names all that failed.

        Outputs stay driven at their safe level. Closing twice is fine.
        """
        _raise(self._close())

    def _close(self) -> list[str]:
        names, self._closing = self._opened, self._opened[:]
        self._opened = []
        failures = []
        for name in names[::-1]:  # a device may take long, and an emergency come meanwhile
            failures += self._each("close", lambda driver: driver.close(), [name])
            self._closing.pop()
        self._publish(self._snapshots.forget(names))
        if self._owns_pins and self.pins is not None:
            pins, self.pins = self.pins, None
            try:
                pins.close()
            except Exception as error:
                log.exception("the GPIO chip did not close")
                failures.append(f"the GPIO chip did not close: {reason(error)}")
        return failures

    def _each(
        self, what: str, do: Callable[[Driver], None], names: Iterable[str] | None = None
    ) -> list[str]:
        """Do one thing to devices, by default all that are open; a sentence for each failure."""
        failures = []
        for name in list(self._opened if names is None else names):
            try:
                do(self.file.devices[name])
            except BaseException as error:  # whatever a lab's own driver does: others follow
                log.exception("device %s did not %s", name, what)
                failures.append(f"'{name}' did not {what}: {reason(error)}")
        return failures

    # ------------------------------------------------------------------ commands

    def command(
        self, device: str, command: str, args: Any = None, asked_at: float = math.inf
    ) -> Any:
        """Call a command with JSON arguments, a list or an object; its result is JSON.

        It was asked for at `asked_at`, by default now. NotFound: there is no such device or
        command; BadInput: the arguments; Interlocked or Busy: not now; Outdated: no longer; else
        DeviceError.
        """
        driver = self._driver(device)
        spec = driver.commands.get(command)
        if spec is None:
            there = Message("board.it-has", names=", ".join(driver.commands))
            hint = did_you_mean(command, driver.commands) or (there if driver.commands else "")
            missing = Message("board.no-command", device=device, name=repr(command), hint=hint)
            raise NotFound(missing)
        where = f"{device}.{command}"
        arguments = spec.bind(where, args)
        with self._commanding(driver, where, asked_at):
            return getattr(driver, command)(**arguments)

    def put(self, device: str, value: Any) -> None:
        """Bring an output to a value; errors as those of `command`."""
        output = self._outputs[device]
        with self._commanding(output, device):
            output.put(value)

    @contextmanager
    def _commanding(self, driver: Driver, where: str, asked_at: float = math.inf) -> Iterator[None]:
        """Inside the block a device is commanded; afterwards the snapshot has what came of it."""
        self._need_open(driver.name)
        if self.halted is not None:
            raise Interlocked(Message("error.board-stopped", why=self.halted))
        before = self.asked_at
        self.asked_at = min(before, asked_at)  # a command may command other devices
        try:
            yield
        except LabnodeError:
            raise
        except Exception as error:
            raise DeviceError(f"{where}: {reason(error)}") from error
        finally:
            self.asked_at = before
            self.refresh(driver.name)

    def permit(self, device: str, value: Any) -> None:
        """Interlocked when an output must not be `value` now."""
        self.emergency.permit(self._outputs[device], value)
        self.commander.permit(self._outputs[device], value)
        self.interlocks.permit(device, value, self.snapshot)

    def lend(self, device: str) -> AbstractContextManager[str]:
        """The path of a device's port, the caller's alone inside the block."""
        driver = self._driver(device)
        if not isinstance(driver, Lendable):
            raise DeviceError(f"'{device}' has no port to lend: it is a {driver.kind}")
        return driver.lent()

    def clear_faults(self) -> list[str]:
        """End the latched faults that are over; the names of those that are not."""
        left = self.interlocks.clear(self.snapshot)
        self._settle()
        return left

    def _driver(self, name: str) -> Driver:
        if name not in self.file.devices:
            hint = did_you_mean(name, self.file.devices)
            raise NotFound(Message("board.no-device", name=repr(name), hint=hint))
        return self.file.devices[name]

    def _need_open(self, name: str) -> None:
        if name not in self._opened:
            raise DeviceError(f"'{name}' is not open")

    # ------------------------------------------------------------------ polls and snapshots

    def poll(self) -> float | None:
        """Do what is due; seconds until the next is, None if nothing is waited for."""
        now = self.clock.now()
        for name in self._opened:
            due = self._due(name)
            if due is not None and due <= now:
                if self._snapshots.poll(name):
                    self._retry_at.pop(name, None)
                else:
                    self._retry_at[name] = now + _RETRY
                self._read([name])
        moving = None if self.simulation is None else self.simulation.move()
        if self._opened:
            self._settle()
        times = [*map(self._due, self._opened), self.interlocks.due(), moving]
        following = earliest(*times)
        return None if following is None else max(0.0, following - self.clock.now())

    def _due(self, name: str) -> float | None:
        try:
            due = self.file.devices[name].due()
        except Exception:  # noqa: BLE001 - its poll asks again, and shows the error
            due = 0.0
        return None if due is None else max(due, self._retry_at.get(name, due))

    def refresh(self, *devices: str) -> None:
        """Read `devices` again, publish what changed, let interlocks and a simulation follow."""
        self._read([name for name in devices if name in self._opened])
        if self._opened:
            self._settle()

    def _read(self, names: Collection[str]) -> None:
        self._publish(self._snapshots.read(names))

    def _publish(self, changes: Iterable[DeviceChanged]) -> None:
        for change in changes:
            self.bus.publish(change)

    def _settle(self) -> None:
        for _ in range(_MOST_ROUNDS):
            if self.simulation is not None:
                self.simulation.settle()
            self._publish(derived := self._snapshots.derive(self._opened))
            touched = self.interlocks.settle(self.snapshot)
            if not (touched or (derived and self.simulation is not None)):
                return
            self._read([name for name in touched if name in self._opened])
        log.error("the interlocks set off each other without end")

    def simulate(self, device: str, value: Any) -> None:
        """Make an input show `value` (JSON) as if from outside; BadInput: it cannot. NotFound."""
        if self.simulation is None:
            raise BadInput(Message("cli.not-simulated"))
        try:
            self.simulation.drive(device, value)
        except (TypeError, ValueError) as error:
            raise BadInput(f"'{device}' cannot show {value!r}: {error}") from None
        finally:
            self.refresh()

    def drive_input(self, name: str, value: Any) -> None:
        """Make the mock hardware of an input show `value`, for the simulation."""
        driver = self._driver(name)
        self._need_open(name)
        if not isinstance(driver, Simulatable):
            raise BadInput(Message("cli.no-input", name=name, kind=driver.kind))
        driver.simulate(value)
        self._read([name])


class DriverServices:
    """What one driver sees of its board; see drivers.framework.services.Services."""

    def __init__(self, board: Board, name: str) -> None:
        self.clock = board.clock
        self.simulated = board.simulation is not None
        self.folder = board.file.path.parent
        self.state_dir = board.work_dir
        self._board = board
        self._name = name

    @property
    def pins(self) -> Any:
        return self._board.pins  # a board makes its own when it is opened

    def publish(self) -> None:
        self._board.refresh(self._name)

    def permit(self, value: Any) -> None:
        self._board.permit(self._name, value)

    def emergency(self, why: str) -> None:
        self._board.press_emergency(why)

    def device(self, name: str) -> DeviceView:
        return self._board.file.devices[name]

    @property
    def snapshot(self) -> Snapshot:
        return self._board.snapshot

    def command(self, device: str, command: str, args: Any = None) -> Any:
        with self._board.commander.acting(self._name):
            return self._board.command(device, command, args)

    @property
    def asked_at(self) -> float:
        return self._board.asked_at

    def operator(self) -> Operator:
        return self._board.commander.current or self._board.operators.current()

    def lend(self, device: str) -> AbstractContextManager[str]:
        return self._board.lend(device)

    def post(self, call: Callable[[], None]) -> None:
        self._board.worker.post(call)

    def wait(self, seconds: float, until: Until | None = None) -> bool:
        return self._board.tasks.pause(seconds, until)

    def outlast(self, seconds: float, over: Until) -> bool:
        return self._board.worker.outlast(seconds, over)

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        self._board.tasks.progress(percent, line)


def needs_pins(drivers: Iterable[Driver]) -> bool:
    """Whether there has to be a GPIO chip: a port or a camera is fine on any machine."""
    claims = (claim for driver in drivers for claim in driver.claims())
    return any(claim.kind == "pin" and not claim.bus for claim in claims)


def _raise(failures: list[str]) -> None:
    if failures:
        raise DeviceError("; ".join(failures))
