"""Orders to devices: commands of people and programs, values from sequences, lent ports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any

from labnode.board.emergency import Emergency
from labnode.board.file import BoardFile
from labnode.board.interlocks import Interlocks
from labnode.board.snapshot import reason
from labnode.drivers.base import Driver, Lendable
from labnode.drivers.output import Output
from labnode.errors import DeviceError, Interlocked, LabnodeError, NotFound
from labnode.schema import did_you_mean

log = logging.getLogger(__name__)


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
