"""The wall clock may say what it likes: sessions take the same course, and nothing is deleted."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from labnode.sessions import Session
from tests.kit.figures import FigureReporter
from tests.kit.node import SmallNode
from tests.kit.walk import STEPS, Hooks, Walk

SHORT, LONG = 60, 3000  # walks
YEAR = 365.25 * 86400
PLACES = (0.0, -3600.0, 3600.0, -10 * YEAR, 10 * YEAR)  # DST and NTP, an RTC without a battery
RULES = {"connect_timeout": 40, "start_wait": 30, "dispose_wait": 5, "max_time": 500}


class ToldWalk(Walk):
    """Notes what everybody sees after each step; `jumps` moves the wall clock before each."""

    def __init__(
        self, node: SmallNode, hooks: Hooks, seed: int, jumps: random.Random | None
    ) -> None:
        super().__init__(node, hooks, seed, reaped=False)
        self.jumps = jumps
        self.told: list[Any] = []

    def look(self) -> None:
        super().look()
        self.told.append([self._seen(session) for session in self.sessions])
        if self.jumps is not None:
            self._jump(self.jumps)

    def _seen(self, session: Session) -> tuple[Any, ...]:
        now = self.node.clock.now()
        return (
            session.state,
            session.reason,
            session.active and round(session.time_left(now), 6),
            self.node.sessions.status(session.id),
        )

    def _jump(self, jumps: random.Random) -> None:
        clock = self.node.clock
        place = jumps.choice([*PLACES, None])  # None: where a Pi without a battery starts
        to = jumps.uniform(0, 7200) if place is None else 1_800_000_000.0 + place
        clock.jump_wall(to - clock.wall())


def stories(directory: Path, walks: int, jumps: random.Random | None) -> list[Any]:
    directory.mkdir()
    hooks = Hooks()
    told = []
    with SmallNode(directory, hooks.lab, seats=100, keep_expired=200, **RULES) as node:
        if jumps is not None:
            node.clock.jump_wall(-node.clock.wall())
        for seed in range(walks):
            walk = ToldWalk(node, hooks, seed, jumps)
            walk()
            told.append(walk.told[:STEPS])  # who is served while all end is up to the threads
    return told


def test_sessions_take_the_same_course_whatever_the_wall_clock_says(
    tmp_path: Path, long_run: bool, figure: FigureReporter
) -> None:
    walks = LONG if long_run else SHORT
    right = stories(tmp_path / "right", walks, None)
    wrong = stories(tmp_path / "wrong", walks, random.Random(1))
    for seed, (expected, told) in enumerate(zip(right, wrong, strict=True)):
        assert told == expected, f"seed {seed}"
    jumps = sum(len(story) for story in wrong)
    figure(
        "jumps of the wall clock (an hour, 10 years, 1970)",
        "every session takes the same course",
        f"so it was with {jumps:,} jumps in {walks:,} walks, in every state of a session",
    )
