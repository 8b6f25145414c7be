"""`python -m tests.mutants`: tries mutants, and says which of them no test notices."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.mutants.run import FILES, Workshop, drawn, judge, read_coverage, reasons


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=FILES, action="append", metavar="FILE")
    parser.add_argument("--coverage", type=Path, help="use this coverage.json of an earlier run")
    parser.add_argument("--part", default="1/1", help="such as 1/2: the first half of them")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    chosen = drawn(options.count, options.seed, options.only or FILES)[part - 1 :: parts]
    known = reasons()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="labnode-mutants-") as directory:
        workshop = Workshop(Path(directory))
        coverage = read_coverage(options.coverage) if options.coverage else workshop.measure()
        for file, words in coverage.branches.items():
            print(f"{file}: {words}")
        for n, (mutant, verdict) in enumerate(judge(workshop, coverage, chosen), 1):
            counts[verdict] += 1
            if verdict == "survived":
                why = known.get(mutant.name, "no reason is known")
                print(f"survived, line {mutant.line}: {mutant.name}\n    ({why})", flush=True)
            if n % 20 == 0:
                print(f"{n} of {len(chosen)}: {dict(counts)}", file=sys.stderr, flush=True)
    killed = len(chosen) - counts["survived"]
    print(f"{killed} of {len(chosen)} mutants killed ({killed / len(chosen):.1%}): {dict(counts)}")
    return 0 if killed >= 0.9 * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
