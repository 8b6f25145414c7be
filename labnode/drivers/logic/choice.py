"""One of several allowed combinations of outputs, each left before the next one is made."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.commands import must_be, one_of
from labnode.drivers.framework.driver import Claim, Driver, Ref, Widget, command
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.readings import ValueType
from labnode.drivers.framework.registry import register
from labnode.drivers.logic.commanding import RETRY, Commanding
from labnode.errors import BadInput, Interlocked
from labnode.locale import Joined, Message, Wording
from labnode.schema import Doc, Duration, did_you_mean

_LOOK = 0.1  # seconds between two looks at whether a combination still stands


@register("choice")
@dataclass(kw_only=True)
class Choice(Commanding):
    """One of several combinations of outputs, such as a selector or a matrix of relays.

    Its value is the name of what is chosen. A change first brings every output that changes to
    safe, then waits for `break_time`, then makes the new combination (break before make). Only the
    choice commands its outputs, which have `access: system`. When one of them cannot be made, or
    does not stay (an interlock, a limit), all go to safe: no other combination ever stands.

    Example::

        source: {driver: choice, one_of: [lamp_red, lamp_green, lamp_blue], break_time: 100ms}
    """

    widget: ClassVar[Widget] = "text"

    safe: Annotated[str, Doc("The name of the choice in which every output is safe.")] = "off"
    initial: str | None = None
    one_of: Annotated[
        list[Ref] | None, Doc("Switches; one of them is on, and the choices have their names.")
    ] = None
    table: Annotated[
        dict[str, dict[str, Any]] | None,
        Doc("The choices by name, each with the outputs that are not safe then, and their values."),
    ] = None
    break_time: Annotated[
        Duration, Doc("How long all that changes is safe before the next combination is made.")
    ] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.one_of is None) == (self.table is None):
            raise ValueError(Message("driver.one-of-or-table"))
        self._rows: dict[str, dict[str, Any]] = {self.safe: {}}
        self._rows |= {str(name): {str(name): True} for name in self.one_of or ()}
        self._rows |= {name: dict(row) for name, row in (self.table or {}).items()}
        if len(self._rows) < 2:
            raise ValueError(Message("driver.no-choice", safe=self.safe))
        self._safes: dict[str, Any] = dict.fromkeys(self.owns, False)
        if self.initial is not None and self.initial not in self._rows:
            raise ValueError(must_be("initial", self._expected(), repr(self.initial)))

    @property
    def owns(self) -> Collection[str]:
        return list(dict.fromkeys(output for row in self._rows.values() for output in row))

    def claims(self) -> list[Claim]:
        return [*super().claims(), *map(self.output_claim, self.owns)]

    def misfits(self, devices: Mapping[str, Driver | None]) -> Iterator[tuple[str, str | Wording]]:
        key = "table" if self.one_of is None else "one_of"
        outputs: dict[str, Output] = {}
        for name in self.owns:
            output = devices.get(name)
            if name not in devices:
                hint = did_you_mean(name, devices)
                yield key, Message("board.no-device", name=repr(name), hint=hint)
            elif isinstance(output, Output):
                outputs[name] = output
                self._safes[name] = output.safe
                if output.access == "user":
                    yield key, Message("driver.choice-alone", name=name)
            elif output is not None:
                yield key, Message("board.no-output", name=name, kind=output.kind)
        for choice, row in self._rows.items():
            for name in row.keys() & outputs.keys():
                output = outputs[name]
                if self.one_of is not None:
                    row[name] = not output.safe
                try:
                    row[name] = output.accept(f"'{choice}': {name}", row[name])
                except BadInput as error:
                    yield key, error.words
                if choice == self.safe and not output.is_safe(row[name]):
                    yield key, Message("driver.choice-not-safe", choice=choice, name=name)
        # What has to rest goes first: while it does, nothing else of the combination is made.
        rests = {name: output.min_off_time or 0.0 for name, output in outputs.items()}
        for choice, row in self._rows.items():
            ordered = sorted(row, key=lambda name: -rests.get(name, 0.0))
            self._rows[choice] = {name: row[name] for name in ordered}

    # ------------------------------------------------------------------ at run time

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._make_at = float("-inf")
        self._made = True  # the combination stands, as far as it is known

    @command
    def set(self, value: str) -> None:
        self.put(value)

    def check(self, where: str, value: Any) -> Any:
        if value not in self._rows:
            hint = did_you_mean(str(value), self._rows)
            wrong = must_be("'value'", self._expected(), repr(value))
            raise BadInput(Joined(f"{where}: ", wrong, hint))
        return value

    def put(self, value: Any, where: str = "set") -> None:
        super().put(value, where)
        if self._value != value:
            raise Interlocked(
                Message(
                    "error.choice-refused",
                    device=self.called,
                    choice=value,
                    other=self._hindered_by or "",
                )
            )

    def drive(self, value: Any) -> None:
        self._made = False
        super().drive(value)

    @property
    def value_type(self) -> ValueType:
        return ValueType(str, tuple(self._rows))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "choices": list(self._rows)}

    def state(self) -> dict[str, Any]:
        return {**super().state(), **({} if self._made else {"switching": True})}

    def work(self, now: float) -> float | None:
        row = self._rows[self._value]
        wanted = {**self._safes, **row}
        if self._made:
            return self._look(wanted, now) if row else None
        leaving = [n for n, to in wanted.items() if self._shown(n) not in (to, self._safes[n])]
        for name in leaving:
            self.bring(name, self._safes[name])
        if leaving:
            self._make_at = now + self.break_time
            if any(self._shown(name) != self._safes[name] for name in leaving):
                return now + RETRY
        if now < self._make_at:
            return self._make_at
        for name, value in row.items():
            if not self.bring(name, value):
                return self._refused(now)
        self._made = True
        return now + _LOOK if row else None

    def _look(self, wanted: Mapping[str, Any], now: float) -> float | None:
        """Whether the combination still stands; else all goes to safe."""
        for name, value in wanted.items():
            state = self.services.snapshot[name]
            if state.get("value") != value and (state.get("value") is not None or "error" in state):
                self._hindered_by = name
                return self._fail(now)
        return now + _LOOK

    def _refused(self, now: float) -> float | None:
        """An output cannot be made now: later if it only rests, else never."""
        hindered, rests_until = self._hindered_by, self._rests_until
        if rests_until is None:
            return self._fail(now)
        for name in self._rows[self._value]:  # nothing of a combination stands alone meanwhile
            self.bring(name, self._safes[name])
        self._hindered_by = hindered
        return max(rests_until, now + self.break_time)

    def _fail(self, now: float) -> float | None:
        hindered = self._hindered_by
        self.stay_safe()
        again = self.work(now)
        self._hindered_by = hindered
        return again

    def _shown(self, name: str) -> Any:
        return self.services.snapshot[name].get("value")

    def _expected(self) -> Message:
        return one_of(self._rows)
