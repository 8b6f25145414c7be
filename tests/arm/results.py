"""What was seen in a root: one line of JSON for each beginning and each end of a test."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

Result = dict[str, str]


def results_in(file: Path) -> dict[str, Result]:
    """The last result of each test: `test`, `outcome` (passed, failed, skipped) and `why`.

    A test that was begun twice and never ended, for example because it hangs, failed.
    """
    results: dict[str, Result] = {}
    begun: Counter[str] = Counter()
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        result = json.loads(line)
        if result["outcome"] == "begun":
            begun[result["test"]] += 1
        else:
            results[result["test"]] = result
            del begun[result["test"]]
    for test, times in begun.items():
        if times > 1:
            results[test] = {"test": test, "outcome": "failed", "why": "it never ended"}
    return results


def forget_failures(file: Path) -> list[str]:
    """The tests that failed, whose results are taken out: they can be run again."""
    last = results_in(file)
    failed = [test for test, result in last.items() if result["outcome"] == "failed"]
    kept = (json.dumps(result) + "\n" for test, result in last.items() if test not in failed)
    file.write_text("".join(kept), encoding="utf-8")
    return failed


def table(root: str, results: dict[str, Result]) -> str:
    """A row of a Markdown table, and below it each failure and each reason to skip."""
    counts = Counter(result["outcome"] for result in results.values())
    numbers = " | ".join(str(counts[outcome]) for outcome in ("passed", "failed", "skipped"))
    lines = [
        "| root | passed | failed | skipped |",
        "|---|---|---|---|",
        f"| {root} | {numbers} |",
        "",
    ]
    skipped: dict[str, int] = defaultdict(int)
    for test, result in sorted(results.items()):
        if result["outcome"] == "failed":
            lines.append(f"- failed: `{test}`: {result['why'].partition(chr(10))[0]}")
        elif result["outcome"] == "skipped":
            skipped[result["why"]] += 1
    lines += [f"- {number} skipped: {why}" for why, number in sorted(skipped.items())]
    return "\n".join(lines)
