"""What a board needs while it is programmed: power, and its serial port for the program alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from labnode.drivers.framework.driver import Ref
from labnode.drivers.framework.services import Services
from labnode.drivers.tools.step import NOT_THERE, stopped
from labnode.errors import DeviceGone, ToolFailed

_PATIENCE = 6.0  # seconds until a port is back that was just unplugged, or got power
_LOOK = 0.5


@contextmanager
def powered(services: Services, power: Ref | None, wait: float) -> Iterator[None]:
    """Inside the block the board has power; afterwards it is as it was."""
    if power is None or services.device(power).value:
        yield
        return
    services.command(power, "set", [True])
    try:
        if not services.wait(wait):
            raise stopped()
        yield
    finally:
        services.command(power, "set", [False])


@contextmanager
def port_of(services: Services, port: str | None) -> Iterator[str]:
    """Inside the block the port at this path is nobody else's; "" where there is none.

    ToolFailed when the device that lends it has none for so long.
    """
    if not isinstance(port, Ref):
        yield port or ""
        return
    with ExitStack() as lent:
        yield _lend(services, port, lent)


def _lend(services: Services, device: Ref, lent: ExitStack) -> str:
    until = services.clock.now() + _PATIENCE
    while True:
        try:
            return lent.enter_context(services.lend(device))
        except DeviceGone:
            if services.clock.now() >= until:
                raise ToolFailed(NOT_THERE) from None
        if not services.wait(_LOOK):
            raise stopped()
