"""Measures labnode on this machine. Nothing else should run on it meanwhile.

python -m tests.benchmarks --help
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks import compare, counts, growth, pi, picture, profiles
from tests.benchmarks.scenarios import SCENARIOS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("compare", help="labnode beside weblablib, in turns")
    one.add_argument(
        "--only", action="append", choices=SCENARIOS, help="may be given several times"
    )
    one.add_argument("--quick", action="store_true", help="fewer times, one round")
    one.add_argument("--rounds", type=int, help="turns of each of the two (2)")
    one.add_argument("--alone", action="store_true", help="labnode without weblablib")
    one.add_argument("--json", type=Path, help="write all values there")
    one.add_argument("--svg", type=Path, help="draw the table there")
    one.add_argument("--directory", type=Path, help="on which disk; by default that of /tmp")
    one.set_defaults(run=run_compare)

    one = commands.add_parser("profile", help="where labnode spends its time in a scenario")
    one.add_argument("scenario", choices=SCENARIOS)
    one.add_argument("--lines", type=int, default=25, help="functions for each list (25)")
    one.add_argument("--wall", action="store_true", help="with what waits, not only CPU time")
    one.add_argument("--thread", default="", help="only threads whose names begin so")
    one.set_defaults(run=run_profile)

    one = commands.add_parser("counts", help="what does not depend on how fast the machine is")
    one.add_argument("--renew", action="store_true", help="keep what is counted now")
    one.set_defaults(run=run_counts)

    one = commands.add_parser("growth", help="200 devices, a long history, 50 pages, 16 students")
    one.add_argument("--quick", action="store_true", help="fewer times")
    one.set_defaults(run=lambda options: growth.grow(options.quick))

    one = commands.add_parser("pi", help="labnode alone, in ten minutes: a table to paste")
    one.add_argument("--directory", type=Path, default=Path.home(), help="on which disk (home's)")
    one.set_defaults(run=lambda options: pi.measure(options.directory))

    one = commands.add_parser("draw", help="the picture of a comparison that has been written")
    one.add_argument("json", type=Path)
    one.add_argument("svg", type=Path)
    one.set_defaults(run=run_draw)

    options = parser.parse_args()
    options.run(options)


def run_compare(options: argparse.Namespace) -> None:
    def keep(result: compare.Comparison) -> None:
        if options.json:
            compare.write_json(result, options.json)
        if options.svg:
            options.svg.write_text(picture.draw(result))

    result = compare.compare(
        dict.fromkeys(options.only or SCENARIOS),
        rounds=options.rounds or (1 if options.quick else 2),
        quick=options.quick,
        directory=options.directory,
        alone=options.alone,
        on_progress=keep,
    )
    compare.report(result)


def run_draw(options: argparse.Namespace) -> None:
    options.svg.write_text(picture.draw(compare.read_json(options.json)))


def run_profile(options: argparse.Namespace) -> None:
    profiles.profile(
        options.scenario, lines=options.lines, wall=options.wall, thread=options.thread
    )


def run_counts(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as home:
        now = counts.count(Path(home))
    before = counts.kept()
    if options.renew:
        counts.renew(now)
    counts.show(before, now)
    for sentence in counts.regressions(before, now):
        print(sentence)


if __name__ == "__main__":
    main()
