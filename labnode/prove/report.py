"""What was promised and what was measured, as one report to keep and to paste."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from labnode import __version__
from labnode.clock import Clock, utc
from labnode.system.pi import Machine

_OS_NAME = 'PRETTY_NAME="'


@dataclass(frozen=True)
class Measurement:
    """One row of the report; `ok` is None where nothing is promised."""

    what: str
    promised: str
    measured: str
    ok: bool | None = None

    def row(self) -> str:
        verdict = {True: "ok", False: "**NOT KEPT**", None: ""}[self.ok]
        return f"| {self.what} | {self.promised} | {self.measured} | {verdict} |"


@dataclass(frozen=True)
class Report:
    """All measurements of one run, and where they were made."""

    facts: dict[str, str]
    measurements: tuple[Measurement, ...]

    @property
    def broken(self) -> list[Measurement]:
        """The promises that did not hold."""
        return [found for found in self.measurements if found.ok is False]

    def as_markdown(self) -> str:
        lines = ["# What labnode prove measured", ""]
        lines += [f"- {name}: {value}" for name, value in self.facts.items()]
        lines += ["", "| what | promised | measured | |", "| --- | --- | --- | --- |"]
        lines += [found.row() for found in self.measurements]
        return "\n".join(lines) + "\n"

    def as_json(self) -> str:
        measurements = [asdict(found) for found in self.measurements]
        whole = {**self.facts, "ok": not self.broken, "measurements": measurements}
        return json.dumps(whole, indent=2) + "\n"


def facts_of(clock: Clock, machine: Machine, **more: str) -> dict[str, str]:
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


def spread(seconds: Iterable[float]) -> str:
    """ "median 0.31 ms, 99 of 100 within 4.1 ms, longest 4.3 ms" of durations."""
    ordered = sorted(seconds)
    median, most = (
        ordered[len(ordered) // 2],
        ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
    )
    return (
        f"median {1000 * median:.3g} ms, 99 of 100 within {1000 * most:.3g} ms, "
        f"longest {1000 * ordered[-1]:.3g} ms ({len(ordered)} times)"
    )


def _system(os_release: Path) -> str:
    try:
        lines = os_release.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.system()
    names = [line.removeprefix(_OS_NAME).strip('"') for line in lines if line.startswith(_OS_NAME)]
    return names[0] if names else platform.system()
