"""What was promised and what was measured, as one report to keep and to paste."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labnode import __version__
from labnode.clock import Clock, utc
from labnode.locale import Message, Say
from labnode.system.pi import Machine

_OS_NAME = 'PRETTY_NAME="'
_VERDICT: dict[bool | None, str | Message] = {
    True: Message("doctor.level:ok"),
    False: Message("cli.not-kept"),
    None: "",
}


@dataclass(frozen=True)
class Measurement:
    """One row of the report; `ok` is None where nothing is promised."""

    what: str | Message
    promised: str | Message
    measured: str | Message
    ok: bool | None = None

    def row(self, say: Say) -> str:
        cells = self.what, self.promised, self.measured, _VERDICT[self.ok]
        return f"| {' | '.join(map(say, cells))} |"

    def as_json(self) -> dict[str, str | bool | None]:
        words = {"what": self.what, "promised": self.promised, "measured": self.measured}
        return {**{name: str(text) for name, text in words.items()}, "ok": self.ok}


@dataclass(frozen=True)
class Report:
    """All measurements of one run, and where they were made."""

    facts: dict[str, str | Message]
    measurements: tuple[Measurement, ...]

    @property
    def broken(self) -> list[Measurement]:
        """The promises that did not hold."""
        return [found for found in self.measurements if found.ok is False]

    def as_markdown(self, say: Say = str) -> str:
        """For people, in their language."""
        columns = [say(Message(f"cli.column:{name}")) for name in ("what", "promised", "measured")]
        lines = [f"# {say(Message('cli.report'))}", ""]
        for name, value in self.facts.items():
            lines.append(f"- {say(Message(f'cli.fact:{name}'))}: {say(value)}")
        lines += ["", f"| {' | '.join(columns)} | |", "| --- | --- | --- | --- |"]
        lines += [found.row(say) for found in self.measurements]
        return "\n".join(lines) + "\n"

    def as_json(self) -> str:
        """For programs, in English."""
        measurements = [found.as_json() for found in self.measurements]
        facts = {name: str(value) for name, value in self.facts.items()}
        whole = {**facts, "ok": not self.broken, "measurements": measurements}
        return json.dumps(whole, indent=2) + "\n"


def facts_of(clock: Clock, machine: Machine, **more: str | Message) -> dict[str, str | Message]:
    """The machine, its system and labnode's version, by name; then what else is to be said."""
    day = utc(clock.wall())
    return {
        "machine": machine.model() or platform.machine(),
        "system": _system(machine.root / "etc/os-release"),
        "kernel": platform.release(),
        "labnode": __version__,
        "date": f"{day:%Y-%m-%d %H:%M} UTC",
        **more,
    }


def spread(seconds: Iterable[float]) -> Message:
    """ "median 0.31 ms, 99 of 100 within 4.1 ms, longest 4.3 ms" of durations."""
    ordered = sorted(seconds)
    median, most = (
        ordered[len(ordered) // 2],
        ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
    )
    return Message(
        "cli.spread",
        median=f"{1000 * median:.3g}",
        most=f"{1000 * most:.3g}",
        longest=f"{1000 * ordered[-1]:.3g}",
        n=len(ordered),
    )


def _system(os_release: Path) -> str:
    try:
        lines = os_release.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.system()
    names = [line.removeprefix(_OS_NAME).strip('"') for line in lines if line.startswith(_OS_NAME)]
    return names[0] if names else platform.system()
