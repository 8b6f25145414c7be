"""Tries mutants in forks of one process that has loaded the tests: ten times as fast.

    python -m tests.mutants.forked JOBS.json RESULTS

A fork changes the code of one function and runs its tests. RESULTS, the number of an open file,
gets one line for each mutant: a verdict, or "elsewhere" if it does not change just that code.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TextIO

import pytest

from tests.mutants.run import ROOT

_LEAST, _SLOWER = 20, 10  # seconds, and times as long as it took: then the mutant hangs


def main() -> int:
    jobs, results = sys.argv[1:]
    found = json.loads(Path(jobs).read_text(encoding="utf-8"))
    tests = {test.partition("::")[0] for mutant in found["mutants"] for test in mutant["tests"]}
    with (
        os.fdopen(int(results), "w", encoding="utf-8") as out,
        tempfile.TemporaryDirectory() as place,
    ):
        trial = _Trial(found, out)
        options = ["-q", "-p", "no:cacheprovider", f"--basetemp={place}/tests"]
        return int(pytest.main([*options, *sorted(tests)], plugins=[trial]))


class _Trial:
    """A pytest plugin: instead of running the tests it tries the mutants."""

    def __init__(self, jobs: dict[str, Any], out: TextIO) -> None:
        self._mutants = jobs["mutants"]
        self._seconds = jobs["seconds"]
        self._out = out
        self._unreliable: set[str] = set()
        self._functions: list[FunctionType] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        gc.unfreeze()  # what tests/conftest.py has frozen, get_objects does not find
        gc.collect()
        files = {str(ROOT / mutant["file"]) for mutant in self._mutants}
        self._functions = [
            each
            for each in gc.get_objects()
            if isinstance(each, FunctionType) and each.__code__.co_filename in files
        ]
        gc.freeze()  # what is never looked at again is not copied into each fork
        for mutant in self._mutants:
            chosen = [items[test] for test in mutant["tests"] if test in items]
            print(self._verdict(chosen, mutant), file=self._out, flush=True)
        return True

    def _verdict(self, items: Sequence[pytest.Item], mutant: dict[str, str]) -> str:
        if self._change(mutant) is None:
            return "elsewhere"
        while True:
            reliable = [item for item in items if item.nodeid not in self._unreliable]
            if not reliable:
                return "survived"
            verdict, last = self._fork(reliable, mutant)
            if verdict == "survived" or self._fork([last], None)[0] == "survived":
                return verdict
            self._unreliable.add(last.nodeid)  # it fails without the mutant, too

    def _fork(
        self, items: Sequence[pytest.Item], mutant: dict[str, str] | None
    ) -> tuple[str, pytest.Item]:
        """What the tests say of the mutant, and the last that ran."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            os._exit(self._run(items, mutant, write))
        os.close(write)
        status = os.waitpid(child, 0)[1]
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what the tests have started
        os.set_blocking(read, False)
        last = items[max(len(os.read(read, len(items))) - 1, 0)]
        os.close(read)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            return "hangs", last
        return "survived" if status == 0 else "killed", last

    def _run(self, items: Sequence[pytest.Item], mutant: dict[str, str] | None, note: int) -> int:
        if mutant is not None:
            change = self._change(mutant)
            assert change is not None
            function, code = change
            function.__code__ = code
        for item, after in zip(items, [*items[1:], None], strict=True):
            os.write(note, b".")
            signal.alarm(int(_LEAST + _SLOWER * self._seconds.get(item.nodeid, 0.0)))
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if item.session.testsfailed:
                return 1
        return 0

    def _change(self, mutant: dict[str, str]) -> tuple[FunctionType, CodeType] | None:
        """The function that it changes and its new code; None when it changes something else."""
        path = str(ROOT / mutant["file"])
        compiled = compile(mutant["source"], path, "exec", dont_inherit=True)
        new = {(code.co_qualname, code.co_firstlineno): code for code in _functions(compiled)}
        changed = []
        for function in self._functions:
            old = function.__code__
            code = new.get((old.co_qualname, old.co_firstlineno))
            if old.co_filename == path and code is not None and old != code:
                changed.append((function, code))
        if len(changed) != 1 or changed[0][0].__code__.co_freevars != changed[0][1].co_freevars:
            return None
        return changed[0]


def _functions(code: CodeType) -> Iterator[CodeType]:
    """The functions of a module and its classes, not those inside other functions."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_flags & CO_OPTIMIZED:
                yield inner
            else:
                yield from _functions(inner)


if __name__ == "__main__":
    sys.exit(main())
