"""What a board file says of recording: which devices, how often, for how long it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labnode.board.devices import Devices, is_known
from labnode.schema import Between, Doc, Duration, Problems, Section


@dataclass(frozen=True, kw_only=True)
class RecordSpec:
    """The keys under `record:`."""

    devices: Annotated[list[str], Doc("The devices whose values are written down.")]
    every: Annotated[Duration, Between(0.1, 3600), Doc("How often, while a session lasts.")] = 1.0
    keep: Annotated[
        Duration, Between(60), Doc("How long what was recorded in a session is kept after it.")
    ] = 30 * 86400.0

    def __post_init__(self) -> None:
        if not self.devices:
            raise ValueError("a recording needs the name of one device at least")
        if len(set(self.devices)) < len(self.devices):
            raise ValueError("a device is recorded once")


def check_record(
    spec: RecordSpec | None, section: Section, devices: Devices, problems: Problems
) -> None:
    """The devices have to exist, and to be such as students may see."""
    for name in spec.devices if spec is not None else ():
        if is_known(name, section.where, devices, problems):
            driver = devices[name]
            if driver is not None and driver.access != "user":
                problems.add(section, f"'{name}' has access: {driver.access}, so no recording")
