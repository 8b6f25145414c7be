"""One program that a programmer runs: heard while it works, judged when it has ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from labnode.drivers.framework.driver import Ref
from labnode.drivers.framework.services import Services
from labnode.drivers.framework.subprocess import Cause, Ended, run
from labnode.drivers.tools.known import Known, hopeless, judged, missing
from labnode.drivers.tools.simulated import Rehearsal
from labnode.errors import DeviceGone, Stopped, ToolFailed

_MOST_LINES = 20  # of 0.1 s that are shown: nobody reads more

NOT_THERE = {
    "en": "The board cannot be found: it is unplugged, or has no power.",
    "es": "No se encuentra la placa: está desconectada o no tiene alimentación.",
}
_UNPLUGGED = {
    "en": "The board was unplugged while it was programmed.",
    "es": "La placa se desconectó mientras se programaba.",
}


@dataclass(frozen=True)
class Step:
    """An argument list to be run in `folder`, as the part `span` (0 to 1) of the whole work."""

    argv: Sequence[str]
    folder: Path
    port: str | None  # "": it was lent, but nothing is plugged in there
    span: tuple[float, float]
    timeout: float
    known: Sequence[Known]
    programs: Mapping[str, str]
    percent: Callable[[str], float | None]

    def run(self, services: Services, name: str, rehearsal: Rehearsal) -> None:
        """ToolFailed says why it failed, Stopped that the task was asked to stop."""

        def tell(far: float | None, lines: Sequence[str] = ()) -> None:
            first, last = self.span
            percent = None if far is None else round(100 * first + (last - first) * far, 1)
            text = "\n".join(lines[-_MOST_LINES:]) if lines else None
            if percent is not None or text is not None:
                services.progress(percent, text)

        def hear(lines: Sequence[str], rest: str) -> None:
            told = (self.percent(line) for line in (rest, *reversed(lines)))
            tell(next((far for far in told if far is not None), None), lines)
            if (failure := hopeless(lines, self.known)) is not None:
                raise failure
            if self._is_gone():
                raise ToolFailed(_UNPLUGGED)

        if services.simulated:
            ended = rehearsal.play(services, tell)
        elif self._is_gone():
            raise ToolFailed(NOT_THERE)
        else:
            ended = self._really(services, name, hear)
        if ended.cause is Cause.STOPPED:
            raise stopped()
        failure = judged(self.argv[0], ended, self.timeout, self.known)
        if failure is not None:
            raise failure

    def _is_gone(self) -> bool:
        if self.port is None:
            return False
        return not self.port or (self.port.startswith("/") and not Path(self.port).exists())

    def _really(
        self, services: Services, name: str, hear: Callable[[Sequence[str], str], None]
    ) -> Ended:
        try:
            return run(
                self.argv,
                services,
                name=name,
                folder=self.folder,
                timeout=self.timeout,
                hear=hear,
            )
        except FileNotFoundError as error:
            texts = missing(self.argv[0], self.programs.get(self.argv[0]))
            raise ToolFailed(texts, final=True) from error
        except OSError as error:
            name, why = self.argv[0], error.strerror
            en, es = f"{name} could not be started: {why}.", f"{name} no se pudo iniciar: {why}."
            raise ToolFailed({"en": en, "es": es}) from error


def stopped() -> Stopped:
    return Stopped("It was stopped before the board was programmed.")


_PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)? ?%")
_OF = re.compile(r"\b(\d{1,6}) ?/ ?(\d{1,6})\b")


def percent(line: str) -> float | None:
    """From the last "42 %" or "42.5%" in a line, or from a "3/12"."""
    if found := _PERCENT.findall(line):
        return float(min(100, int(found[-1])))
    if (match := _OF.search(line)) and 0 < int(match[2]) >= int(match[1]):
        return 100 * int(match[1]) / int(match[2])
    return None


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
